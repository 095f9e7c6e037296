"""Python fastembed: passages to vectors."""

import argparse
import json
from importlib.metadata import version

import fastembed_model
from protocol import serve, timed

parser = argparse.ArgumentParser()
parser.add_argument("--onnx", required=True)
parser.add_argument("--tokenizer", required=True)
parser.add_argument("--folder", required=True)
parser.add_argument("--texts", required=True)
parser.add_argument("--per-round", type=int, default=400)
parser.add_argument("--threads", type=int, default=2)
parser.add_argument("--batch", type=int, default=256, help="fastembed's own default")
options = parser.parse_args()


def load():
    from fastembed import TextEmbedding

    fastembed_model.register()
    path = fastembed_model.folder(options.onnx, options.tokenizer, options.folder)
    model = TextEmbedding(fastembed_model.NAME, threads=options.threads, specific_model_path=path)
    with open(options.texts) as file:
        texts = ["passage: " + text for text in json.load(file)]
    rounds = max(len(texts) // options.per_round, 1)

    def round(number):
        start = number % rounds * options.per_round
        some = texts[start : start + options.per_round]
        seconds, vectors = timed(lambda: list(model.embed(some, batch_size=options.batch)))
        return {"units": len(vectors), "seconds": seconds}

    return round


serve("fastembed", f"{version('fastembed')} with ONNX Runtime {version('onnxruntime')}", load)
