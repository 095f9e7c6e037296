"""Makes ../data/*: tiny random encoders of every family that the exporter knows, with their expected outputs.

    python tiny_models.py

needs numpy and safetensors. The forward passes are plain numpy in float64, written from the papers and the models'
published configurations; nothing of them is shared with the exporter.
"""

import json
import math
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

HIDDEN, HEADS, WIDE, LAYERS, POSITIONS, EPS = 8, 2, 16, 2, 24, 1e-5
WORDS = "water pump seal the of warranty is months two how long a b c d".split()
TEXTS = ["the warranty of the pump is two months", "water", "how long is the seal", "a b c d a b c d a b c d"]
PAIRS = [("how long is the warranty", "two months"), ("water", "the pump of the seal is a pump"), ("a", "b c d")]
DATA = Path(__file__).parents[1] / "data"
erf = np.vectorize(math.erf)


def tokenizer(specials, pair):
    """A word-level tokenizer; `specials` = (first, last, padding, unknown) in order of their ids."""
    ids = {t: i for i, t in enumerate(specials["order"] + WORDS)}
    item = lambda t, type_id=0: {"SpecialToken": {"id": t, "type_id": type_id}}
    first, last = specials["first"], specials["last"]
    seq = lambda name, type_id: {"Sequence": {"id": name, "type_id": type_id}}
    single = [item(first), seq("A", 0), item(last)]
    double = {"types": [seq("B", 1), item(last, 1)], "plain": [seq("B", 0), item(last)],
              "roberta": [item(last), seq("B", 0), item(last)]}[pair]
    return {
        "version": "1.0", "truncation": {"direction": "Right", "max_length": 3, "strategy": "LongestFirst", "stride": 0},
        "padding": None,
        "added_tokens": [{"id": ids[t], "content": t, "single_word": False, "lstrip": False, "rstrip": False,
                          "normalized": False, "special": True} for t in specials["order"]],
        "normalizer": {"type": "Lowercase"}, "pre_tokenizer": {"type": "Whitespace"},
        "post_processor": {"type": "TemplateProcessing", "single": single, "pair": single + double,
                           "special_tokens": {t: {"id": t, "ids": [ids[t]], "tokens": [t]} for t in (first, last)}},
        "decoder": None, "model": {"type": "WordLevel", "unk_token": specials["unknown"], "vocab": ids},
    }


BERT = {"order": ["[PAD]", "[UNK]", "[CLS]", "[SEP]"], "first": "[CLS]", "last": "[SEP]", "unknown": "[UNK]"}
ROBERTA = {"order": ["<s>", "<pad>", "</s>", "<unk>"], "first": "<s>", "last": "</s>", "unknown": "<unk>"}
NAMES = {
    "bert": dict(q="attention.self.query", k="attention.self.key", v="attention.self.value", ao="attention.output.dense",
                 aln="attention.output.LayerNorm", fi="intermediate.dense", fo="output.dense", oln="output.LayerNorm"),
    "mpnet": dict(q="attention.attn.q", k="attention.attn.k", v="attention.attn.v", ao="attention.attn.o",
                  aln="attention.LayerNorm", fi="intermediate.dense", fo="output.dense", oln="output.LayerNorm"),
    "distilbert": dict(q="attention.q_lin", k="attention.k_lin", v="attention.v_lin", ao="attention.out_lin",
                       aln="sa_layer_norm", fi="ffn.lin1", fo="ffn.lin2", oln="output_layer_norm"),
}
ACTIVATIONS = {
    "gelu": lambda x: x * (1 + erf(x / math.sqrt(2))) / 2,
    "gelu_new": lambda x: x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))) / 2,
    "relu": lambda x: np.maximum(x, 0),
}


class Tiny:
    def __init__(self, folder, kind, prefix="", types=2, seed=0, activation="gelu", head=None, dtype=np.float32):
        self.folder, self.kind, self.prefix, self.types, self.head = DATA / folder, kind, prefix, types, head
        self.activation, self.dtype = activation, dtype
        self.rng, self.tensors = np.random.default_rng(seed), {}
        self.roberta = kind in ("xlm-roberta", "mpnet")
        self.specials = ROBERTA if self.roberta else BERT
        self.ids = {t: i for i, t in enumerate(self.specials["order"] + WORDS)}
        self.names = NAMES.get(kind, NAMES["bert"])

    def tensor(self, name, *shape, scale=0.6, mean=0, prefixed=True):
        name = (self.prefix if prefixed else "") + name
        if name not in self.tensors:
            self.tensors[name] = self.rng.normal(mean, scale, shape).astype(self.dtype)
        return self.tensors[name].astype(np.float64)

    def linear(self, x, name, out, prefixed=True):
        w = self.tensor(name + ".weight", out, x.shape[-1], prefixed=prefixed)
        return x @ w.T + self.tensor(name + ".bias", out, scale=0.1, prefixed=prefixed)

    def norm(self, x, name):
        x = x - x.mean(-1, keepdims=True)
        x = x / np.sqrt((x * x).mean(-1, keepdims=True) + EPS)
        return x * self.tensor(name + ".weight", HIDDEN, mean=1) + self.tensor(name + ".bias", HIDDEN)

    def states(self, ids, types):
        n, e = len(ids), "embeddings."
        first = 2 if self.roberta else 0
        x = self.tensor(e + "word_embeddings.weight", len(self.ids), HIDDEN)[ids]
        x = x + self.tensor(e + "position_embeddings.weight", POSITIONS, HIDDEN)[first:first + n]
        if self.types:
            x = x + self.tensor(e + "token_type_embeddings.weight", self.types, HIDDEN)[types]
        x = self.norm(x, e + "LayerNorm")
        size, bias = HIDDEN // HEADS, 0
        if self.kind == "mpnet":
            table = self.tensor("encoder.relative_attention_bias.weight", 32, HEADS)
            buckets = [[bucket(j - i) for j in range(n)] for i in range(n)]
            bias = table[np.array(buckets)].transpose(2, 0, 1)
        split = lambda y: y.reshape(n, HEADS, size).transpose(1, 0, 2)
        stack = "transformer" if self.kind == "distilbert" else "encoder"
        for i in range(LAYERS):
            part = lambda p: f"{stack}.layer.{i}.{self.names[p]}"
            q, k, v = (split(self.linear(x, part(p), HIDDEN)) for p in "qkv")
            s = np.exp(q @ k.transpose(0, 2, 1) / math.sqrt(size) + bias)
            a = (s / s.sum(-1, keepdims=True)) @ v
            a = self.linear(a.transpose(1, 0, 2).reshape(n, HIDDEN), part("ao"), HIDDEN)
            x = self.norm(x + a, part("aln"))
            f = ACTIVATIONS[self.activation](self.linear(x, part("fi"), WIDE))
            x = self.norm(x + self.linear(f, part("fo"), HIDDEN), part("oln"))
        return x

    def vector(self, text, pooling="mean"):
        ids = [self.ids[self.specials["first"]], *(self.ids[w] for w in text.split()), self.ids[self.specials["last"]]]
        x = self.states(ids, [0] * len(ids))
        v = x[0] if pooling == "cls" else x.mean(0)
        return v / np.linalg.norm(v)

    def score(self, query, passage):
        first, last = self.ids[self.specials["first"]], self.ids[self.specials["last"]]
        a, b = ([self.ids[w] for w in text.split()] for text in (query, passage))
        if self.roberta:
            ids = [first, *a, last, last, *b, last]
            types = [0] * len(ids)
        else:
            ids, types = [first, *a, last, *b, last], [0] * (len(a) + 2) + [1] * (len(b) + 1)
        x = self.states(ids, types if self.types > 1 else [0] * len(ids))[0]
        if self.kind == "bert":
            return self.linear(np.tanh(self.linear(x, "pooler.dense", HIDDEN)), "classifier", 1, prefixed=False)[0]
        if self.kind == "distilbert":
            x = np.maximum(self.linear(x, "pre_classifier", HIDDEN, prefixed=False), 0)
            return self.linear(x, "classifier", 1, prefixed=False)[0]
        x = np.tanh(self.linear(x, "classifier.dense", HIDDEN, prefixed=False))
        return self.linear(x, "classifier.out_proj", 1, prefixed=False)[0]

    def config(self):
        if self.kind == "distilbert":
            sizes = {"dim": HIDDEN, "n_layers": LAYERS, "n_heads": HEADS, "hidden_dim": WIDE, "activation": self.activation}
        else:
            sizes = {"hidden_size": HIDDEN, "num_hidden_layers": LAYERS, "num_attention_heads": HEADS,
                     "intermediate_size": WIDE, "hidden_act": self.activation}
        config = {"model_type": self.kind, **sizes, "layer_norm_eps": EPS, "max_position_embeddings": POSITIONS,
                  "pad_token_id": 1 if self.roberta else 0}
        return config | ({"id2label": {"0": "LABEL_0"}} if self.head else {})

    def save(self, pooling="mean"):
        self.folder.mkdir(parents=True, exist_ok=True)
        if self.head:
            expected = {"pairs": [{"query": q, "passage": p, "score": round(self.score(q, p), 6)} for q, p in PAIRS]}
        else:
            expected = {"texts": [{"text": t, "vector": [round(x, 6) for x in self.vector(t, pooling)]} for t in TEXTS]}
        save_file(self.tensors, self.folder / "model.safetensors")
        write = lambda name, value: (self.folder / name).write_text(json.dumps(value) + "\n")
        write("config.json", self.config())
        write("tokenizer.json", tokenizer(self.specials, "roberta" if self.roberta else "types" if self.types > 1 else "plain"))
        write("expected.json", expected)
        if pooling == "cls":
            (self.folder / "1_Pooling").mkdir(exist_ok=True)
            write("1_Pooling/config.json", {"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False})


def bucket(relative):
    """MPNet's bucket of a distance (memory - context), 32 buckets, distances up to 128."""
    n, result = -relative, 0
    if n < 0:
        n, result = -n, 16
    if n < 8:
        return result + n
    return result + min(15, 8 + int(math.log(n / 8) / math.log(16) * 8))


if __name__ == "__main__":
    Tiny("bert", "bert", prefix="bert.", seed=1).save(pooling="cls")
    Tiny("bert-half", "bert", seed=2, activation="gelu_new", dtype=np.float16).save()
    Tiny("xlm-roberta", "xlm-roberta", types=1, seed=3).save()
    Tiny("mpnet", "mpnet", types=0, seed=4).save()
    Tiny("distilbert", "distilbert", types=0, seed=5, activation="relu").save()
    Tiny("bert-reranker", "bert", prefix="bert.", seed=6, head=True).save()
    Tiny("xlm-roberta-reranker", "xlm-roberta", prefix="roberta.", types=1, seed=7, head=True).save()
    Tiny("distilbert-reranker", "distilbert", prefix="distilbert.", types=0, seed=8, head=True).save()
