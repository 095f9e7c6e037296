"""PEFT's LoRA step as a process of the benchmark: peft_step.py MODEL [BATCH] [TOKENS] [RANK] [THREADS] [STEPS].

Says {"ready": true, ...} when the model is loaded; for each line `go` on its standard input it does STEPS steps and prints
{"units": tokens, "seconds": ..., "peak_bytes": ..., "loss": ...}. shared/model/examples/lora_step.rs is its twin: the same
weights, tokens, adapters on all linear layers, clipping and AdamW.

PEFT_CHECKPOINTING=1 turns gradient checkpointing on (slower, less memory); PEFT_ATTENTION chooses the attention (sdpa).
"""

import json
import os
import sys
import time

ARGUMENTS = sys.argv[1:]
MODEL = ARGUMENTS[0]
BATCH, TOKENS, RANK, THREADS, STEPS = (
    int(ARGUMENTS[index]) if len(ARGUMENTS) > index else default
    for index, default in enumerate((4, 256, 16, 2, 1), start=1))
os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = str(THREADS)

import peft  # noqa: E402: the numbers of threads come first
import torch  # noqa: E402
import transformers  # noqa: E402

LEARNING_RATE, MOST_NORM = 2e-4, 1.0


def peak():
    """Most memory that this process has held, in bytes."""
    with open("/proc/self/status", encoding="ascii") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM:")) * 1024


def load():
    torch.set_num_threads(THREADS)
    attention = os.environ.get("PEFT_ATTENTION", "sdpa")
    model = transformers.AutoModelForCausalLM.from_pretrained(MODEL, dtype=torch.float32, attn_implementation=attention)
    model.config.use_cache = False
    config = peft.LoraConfig(r=RANK, lora_alpha=2 * RANK, target_modules="all-linear", task_type="CAUSAL_LM")
    model = peft.get_peft_model(model, config)
    if os.environ.get("PEFT_CHECKPOINTING") == "1":
        model.gradient_checkpointing_enable()
        model.enable_input_require_grads()
    return model.train()


def main():
    model = load()
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimiser = torch.optim.AdamW(trained, lr=LEARNING_RATE, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.01)
    ids = (torch.arange(BATCH * TOKENS) * 7919 + 17) % model.config.vocab_size
    ids = ids.reshape(BATCH, TOKENS)
    versions = f"peft {peft.__version__}, torch {torch.__version__}, transformers {transformers.__version__}"
    print(json.dumps({"ready": True, "name": versions}), flush=True)
    for line in sys.stdin:
        if line.strip() != "go":
            continue
        started = time.perf_counter()
        for _ in range(STEPS):
            loss = model(input_ids=ids, labels=ids).loss
            loss.backward()
            torch.nn.utils.clip_grad_norm_(trained, MOST_NORM)
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
        print(json.dumps({"units": BATCH * TOKENS * STEPS, "seconds": time.perf_counter() - started,
                          "peak_bytes": peak(), "loss": loss.item()}), flush=True)


if __name__ == "__main__":
    main()
