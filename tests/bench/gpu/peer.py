#!/usr/bin/env python3
"""The peer on the GPU: PEFT with SDPA attention, and transformers, on random weights in the shape of a known model.

Makes the weights, an adapter and the tokens, keeps them where Lore can load the same, and measures. Every part is
written to OUT as soon as it is there. usage: peer.py SHAPE FOLDER OUT.json [--batch N] [--steps N] ...
"""

import argparse
import gc
import json
import pathlib
import statistics
import time

import torch
from peft import LoraConfig, get_peft_model, get_peft_model_state_dict
from safetensors.torch import save_file
from transformers import LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM

SHAPES = {
    "llama-3.1-8b": (LlamaForCausalLM, LlamaConfig, dict(
        vocab_size=128256, hidden_size=4096, intermediate_size=14336, num_hidden_layers=32, num_attention_heads=32,
        num_key_value_heads=8, max_position_embeddings=8192, rope_theta=500000.0, rms_norm_eps=1e-5,
        tie_word_embeddings=False, bos_token_id=128000, eos_token_id=128001)),
    "qwen2.5-0.5b": (Qwen2ForCausalLM, Qwen2Config, dict(
        vocab_size=151936, hidden_size=896, intermediate_size=4864, num_hidden_layers=24, num_attention_heads=14,
        num_key_value_heads=2, max_position_embeddings=32768, rope_theta=1000000.0, rms_norm_eps=1e-6,
        tie_word_embeddings=True, bos_token_id=151643, eos_token_id=151645)),
    # For trying the script itself on a CPU.
    "tiny": (LlamaForCausalLM, LlamaConfig, dict(
        vocab_size=512, hidden_size=128, intermediate_size=256, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=1, head_dim=64, max_position_embeddings=4096, rope_theta=10000.0, rms_norm_eps=1e-5,
        tie_word_embeddings=False, bos_token_id=1, eos_token_id=2)),
}
MODULES = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def wait():
    if DEVICE == "cuda":
        torch.cuda.synchronize()


def memory(reset=False):
    if DEVICE != "cuda":
        return {"error": "no GPU"}
    if reset:
        gc.collect()
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    return {"used": torch.cuda.memory_allocated(), "peak": torch.cuda.max_memory_allocated(),
            "reserved": torch.cuda.max_memory_reserved()}


def make_model(shape):
    kind, config_kind, values = SHAPES[shape]
    config = config_kind(**values, dtype="bfloat16", attn_implementation="sdpa")
    torch.manual_seed(1)
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.bfloat16)
    with torch.device(DEVICE):
        model = kind(config)
    torch.set_default_dtype(before)
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    return model.eval()


def save_model(model, folder):
    """config.json and one safetensors file; a tied output projection is left out, as in the real files."""
    folder.mkdir(parents=True, exist_ok=True)
    tied = model.config.tie_word_embeddings
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()
               if not (tied and name == "lm_head.weight")}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    config = model.config.to_dict()
    config["architectures"] = [type(model).__name__]
    for old in ("rope_parameters", "rope_scaling"):
        rope = config.pop(old, None)
        if isinstance(rope, dict) and rope.get("rope_theta"):
            config["rope_theta"] = rope["rope_theta"]
    (folder / "config.json").write_text(json.dumps(config, indent=1, default=str))


def make_tokens(model, args):
    """Tokens of a small vocabulary with steeply falling frequencies: there is something to learn in a few steps."""
    torch.manual_seed(2)
    kinds = min(2000, model.config.vocab_size - 10)
    weights = 1.0 / torch.arange(1, kinds + 1, dtype=torch.float32)
    count = args.steps * args.batch
    tokens = torch.multinomial(weights, count * args.length, replacement=True) + 5
    return tokens.reshape(count, args.length)


def make_adapter(model):
    torch.manual_seed(3)
    config = LoraConfig(r=16, lora_alpha=32, lora_dropout=0.0, target_modules=MODULES, task_type="CAUSAL_LM")
    adapted = get_peft_model(model, config)
    return adapted


def save_adapter(adapted, folder):
    """PEFT's two files, written here: `save_pretrained` looks for the base model on the network."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in get_peft_model_state_dict(adapted).items()}
    save_file(tensors, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    config = {"peft_type": "LORA", "task_type": "CAUSAL_LM", "r": 16, "lora_alpha": 32, "lora_dropout": 0.0,
              "target_modules": MODULES, "base_model_name_or_path": None, "bias": "none"}
    (folder / "adapter_config.json").write_text(json.dumps(config, indent=1))


def trained(model):
    return [parameter for parameter in model.parameters() if parameter.requires_grad]


def train(model, tokens, args, recomputing):
    model.train()
    if recomputing:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        model.enable_input_require_grads()
    optimiser = torch.optim.AdamW(trained(model), lr=args.rate)
    memory(reset=True)
    losses, start = [], time.perf_counter()
    for step in range(args.steps):
        if step == args.warm_up:
            wait()
            start = time.perf_counter()
        batch = tokens[step * args.batch:(step + 1) * args.batch].to(DEVICE)
        loss = model(input_ids=batch, labels=batch, use_cache=False).loss
        loss.backward()
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        losses.append(loss.detach())
    wait()
    seconds = time.perf_counter() - start
    count = (args.steps - args.warm_up) * args.batch * args.length
    result = {"tokens_per_second": count / seconds, "seconds": seconds, "tokens": count,
              "losses": [float(loss) for loss in losses], "memory": memory()}
    if recomputing:
        model.gradient_checkpointing_disable()
    return result


def generate(model, args):
    model.eval()
    vocabulary = model.config.vocab_size
    prompt = torch.tensor([[index * 7919 % vocabulary for index in range(args.prompt)]], device=DEVICE)
    prefills, decodes = [], []
    memory(reset=True)
    with torch.inference_mode():
        for _ in range(4):
            wait()
            start = time.perf_counter()
            out = model(prompt, use_cache=True, logits_to_keep=1)
            token = out.logits[:, -1:].argmax(-1)
            wait()
            prefills.append(args.prompt / (time.perf_counter() - start))
            start = time.perf_counter()
            for _ in range(args.new):
                out = model(token, use_cache=True, past_key_values=out.past_key_values, logits_to_keep=1)
                token = out.logits[:, -1:].argmax(-1)
                int(token)  # a server has to know each token
            decodes.append(args.new / (time.perf_counter() - start))
            del out
    return {"prefill_tokens_per_second": statistics.median(prefills[1:]),
            "decode_tokens_per_second": statistics.median(decodes[1:]), "prefills": prefills, "decodes": decodes,
            "memory": memory()}


def peak_rate():
    """bf16 operations a second of a large product of random matrices, and bytes a second of a large copy."""
    if DEVICE != "cuda":
        return {}
    a, b = (torch.randn(8192, 8192, device=DEVICE, dtype=torch.bfloat16) for _ in range(2))
    times = []
    for _ in range(13):
        wait()
        start = time.perf_counter()
        a @ b
        wait()
        times.append(time.perf_counter() - start)
    big = torch.empty(1 << 31, dtype=torch.uint8, device=DEVICE).random_()
    other, copies = torch.empty_like(big), []
    for _ in range(8):
        wait()
        start = time.perf_counter()
        other.copy_(big)
        wait()
        copies.append(time.perf_counter() - start)
    return {"bf16_flops": 2 * 8192 ** 3 / statistics.median(times[3:]),
            "copy_bytes": 2 * big.numel() / statistics.median(copies[3:])}


def flops_per_token(model, length):
    """Forward and the gradients of activations: 4 a weight; causal attention: 6 * length * (heads * width) a layer."""
    config = model.config
    linear = sum(parameter.numel() for name, parameter in model.named_parameters()
                 if parameter.dim() == 2 and "embed_tokens" not in name and "lora_" not in name)
    if config.tie_word_embeddings:
        linear += config.vocab_size * config.hidden_size
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return 4 * linear + 6 * length * config.num_attention_heads * width * config.num_hidden_layers


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("shape", choices=SHAPES)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("out", type=pathlib.Path)
    for name, value in [("batch", 1), ("steps", 13), ("warm-up", 3), ("length", 2048), ("prompt", 2048), ("new", 128)]:
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--rate", type=float, default=2e-4)
    return parser.parse_args()


def main():
    args = arguments()
    report = {"side": "peft", "torch": torch.__version__, "device": DEVICE}

    def keep(name, work):
        start = time.perf_counter()
        try:
            report[name] = work()
        except Exception as error:  # a part that fails must not lose the others
            report[name] = {"error": f"{type(error).__name__}: {error}"[:500]}
        args.out.write_text(json.dumps(report, indent=1))
        print(f"{args.shape} {name}: {time.perf_counter() - start:.1f} s", flush=True)

    model = make_model(args.shape)
    keep("flops_per_token", lambda: flops_per_token(model, args.length))
    keep("saved", lambda: save_model(model, args.folder / "model"))
    tokens = make_tokens(model, args)
    save_file({"tokens": tokens.to(torch.int64)}, args.folder / "tokens.safetensors")
    keep("generate", lambda: generate(model, args))
    keep("peak", peak_rate)
    for name, recomputing in [("train", False), ("train_recomputing", True)]:
        adapted = make_adapter(model)
        if not recomputing:
            save_adapter(adapted, args.folder / "adapter")
        keep(name, lambda: train(adapted, tokens, args, recomputing))
        model = adapted.unload()
        for parameter in model.parameters():
            parameter.requires_grad_(False)


if __name__ == "__main__":
    main()
