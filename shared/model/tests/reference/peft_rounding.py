"""How far PEFT's own training ends from a parity folder's `adapter-after`, by precision and attention.

  pip install torch transformers peft && python peft_rounding.py FOLDER...

AdamW's first change of a value is lr * g / (|g| + eps). Where the true gradient is zero, g is the rounding of its sum, so
another order or precision of sums moves that value by up to 2 lr, in torch as anywhere. Printed beside each folder's
distances (adapter: the worst tensor, relative Frobenius norm; logits: absolute): how many of its values have such a first
gradient, that is, one which float32 gives above 0 and below 1e-7.
"""
import json
import sys
from pathlib import Path

import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM
from transformers.utils import logging


def train(folder, dtype, attention):
    settings = json.loads((folder / "training.json").read_text())
    batches = load_file(folder / "training.safetensors")
    base = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, attn_implementation=attention)
    model = PeftModel.from_pretrained(base, folder / "adapter-before", is_trainable=True, autocast_adapter_dtype=False)
    model.to(dtype)
    values = {name: value for name, value in model.named_parameters() if value.requires_grad}
    optimiser = torch.optim.AdamW(
        values.values(), lr=settings["lr"], betas=settings["betas"], eps=settings["eps"], weight_decay=settings["weight_decay"]
    )
    firsts = {name: torch.zeros_like(value) for name, value in values.items()}
    for step in range(len(settings["losses"])):
        batch = {name: tensor[step] for name, tensor in batches.items()}
        optimiser.zero_grad()
        model(**batch).loss.backward()
        torch.nn.utils.clip_grad_norm_(values.values(), settings["clip_grad_norm"])
        for name, value in values.items():
            firsts[name] = torch.where(firsts[name] == 0, value.grad.abs(), firsts[name])
        optimiser.step()
    undecided = sum(int(((first > 0) & (first < 1e-7)).sum()) for first in firsts.values())
    return model, {name: value.detach() for name, value in values.items()}, undecided


def compare(folder):
    after = load_file(folder / "adapter-after" / "adapter_model.safetensors")
    reference = load_file(folder / "reference.safetensors")
    for dtype in (torch.float32, torch.float64):
        for attention in ("eager", "sdpa"):
            model, values, undecided = train(folder, dtype, attention)
            worst = 0.0
            for name, value in values.items():
                expected = after[name.replace(".default.", ".")].to(dtype)
                worst = max(worst, float((value - expected).norm() / expected.norm()))
            with torch.no_grad():
                logits = model.eval()(input_ids=reference["input_ids"]).logits
            off = float((logits - reference["logits_after_training"]).abs().max())
            print(f"{folder.name:14} {str(dtype)[6:]:8} {attention:6} adapter {worst:.1e}  logits {off:.1e}  undecided {undecided}")


logging.disable_progress_bar()
torch.set_num_threads(1)
for path in sys.argv[1:]:
    compare(Path(path))
