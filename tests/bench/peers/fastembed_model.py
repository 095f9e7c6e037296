"""Python fastembed over the ONNX file that Lore exported: the same file, tokenizer, pooling and prefix."""

import json
import os
import pathlib
import shutil

NAME = "lore/multilingual-e5-small"


def folder(onnx, tokenizer, at):
    """A folder in the layout that fastembed reads: the same files, and the small ones that the tokenizer's package lacks."""
    at, onnx = pathlib.Path(at), pathlib.Path(onnx)
    shutil.rmtree(at, ignore_errors=True)
    at.mkdir(parents=True)
    weights = onnx.with_suffix(".onnx.data")
    same = [("model.onnx", onnx), ("tokenizer.json", tokenizer), *([(weights.name, weights)] if weights.exists() else [])]
    for name, target in same:
        # ONNX Runtime follows no symbolic link out of a model's folder.
        try:
            os.link(target, at / name)
        except OSError:
            shutil.copy(target, at / name)
    small = {
        "config.json": {"pad_token_id": 1, "model_type": "bert"},
        "tokenizer_config.json": {"model_max_length": 512, "pad_token": "<pad>"},
        "special_tokens_map.json": {},
    }
    for name, value in small.items():
        (at / name).write_text(json.dumps(value))
    return str(at)


def register():
    from fastembed import TextEmbedding
    from fastembed.common.model_description import ModelSource, PoolingType

    TextEmbedding.add_custom_model(
        model=NAME, pooling=PoolingType.MEAN, normalization=True, sources=ModelSource(hf=NAME), dim=384, model_file="model.onnx"
    )
