"""Adapters between Lore and PEFT: same ids, same logits. See README.md."""

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

TOLERANCE = 1e-4  # float32, for logits up to 1; larger logits round proportionally more, as in Lore's own parity check


def tiny_model(folder):
    """A random Llama of 64 hidden units, in the Hugging Face layout."""
    torch.manual_seed(1)
    config = LlamaConfig(vocab_size=320, hidden_size=64, intermediate_size=128, num_hidden_layers=2,
                         num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=128)
    LlamaForCausalLM(config).save_pretrained(folder)


def peft_adapter(model, folder):
    """An adapter as PEFT writes it, with A and B random, so that it changes something."""
    torch.manual_seed(2)
    adapted = get_peft_model(model, LoraConfig(r=4, lora_alpha=8, target_modules="all-linear", init_lora_weights=False))
    adapted.save_pretrained(folder)
    return adapted


def lore_logits(lore, model, adapter, ids, scratch):
    given, out = scratch / "ids.safetensors", scratch / "logits.safetensors"
    save_file({"input_ids": ids}, given)
    command = [lore, "model", "logits", "--model", str(model), "--ids", str(given), "--out", str(out)]
    subprocess.run(command + (["--adapter", str(adapter)] if adapter else []), check=True)
    return load_file(out)["logits"]


def compare(what, ours, theirs):
    difference = (ours - theirs).abs().max().item()
    tolerance = TOLERANCE * max(1.0, theirs.abs().max().item())
    good = difference <= tolerance
    print(json.dumps({"check": what, "largest_difference": difference, "tolerance": tolerance, "passed": good}))
    return good


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lore", default="target/debug/lore", help="the binary")
    parser.add_argument("--model", help="a Hugging Face folder; a tiny random Llama where absent")
    parser.add_argument("--adapter", help="a PEFT folder that Lore wrote: it is loaded in PEFT and compared")
    arguments = parser.parse_args()
    scratch = pathlib.Path(tempfile.mkdtemp(prefix="lore-interop-"))
    folder = pathlib.Path(arguments.model or scratch / "model")
    if not arguments.model:
        tiny_model(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
    ids = torch.randint(0, model.config.vocab_size, (2, 24), generator=torch.Generator().manual_seed(3))
    checks = []
    with torch.no_grad():
        checks.append(compare("base", lore_logits(arguments.lore, folder, None, ids, scratch), model(ids).logits))
        if arguments.adapter:
            ours = lore_logits(arguments.lore, folder, arguments.adapter, ids, scratch)
            theirs = PeftModel.from_pretrained(model, arguments.adapter).eval()(ids).logits
            checks.append(compare("an adapter that Lore wrote", ours, theirs))
        else:
            adapted = peft_adapter(model, scratch / "adapter").eval()
            ours = lore_logits(arguments.lore, folder, scratch / "adapter", ids, scratch)
            checks.append(compare("an adapter that PEFT wrote", ours, adapted(ids).logits))
    sys.exit(0 if all(checks) else 1)


if __name__ == "__main__":
    main()
