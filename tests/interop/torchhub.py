"""The real run of docs/finetune-run.md: Torch Hub calls for instructions, tuned by Lore and by PEFT, and asked before and after.

  torchhub.py data  FOLDER                     writes train.jsonl and held_out.jsonl from ../shared/data
  torchhub.py ask   FOLDER --model NAME        exact match on held_out.jsonl through a running Lore
  torchhub.py peft  FOLDER --weights HF_FOLDER the same training with PEFT and torch, and its exact match

Data and asking need nothing but Python; `peft` needs requirements.txt.
"""

import argparse
import json
import math
import os
import pathlib
import time
import urllib.request

SOURCE = pathlib.Path(__file__).resolve().parents[3] / "shared" / "data" / "instructions" / "torchhub"
MASK = (1 << 64) - 1


def lines(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


def data(folder, source, held_out):
    """Alpaca lines; the held-out ones are spread evenly over the evaluation file."""
    folder.mkdir(parents=True, exist_ok=True)
    train = [{"instruction": row["instruction"], "input": "", "output": row["output"]} for row in lines(source / "train.jsonl")]
    every = lines(source / "eval.json")
    chosen = [every[index * len(every) // held_out] for index in range(held_out)]
    cut = [row["code"].split("###Instruction:")[1].split("\n###Output:")[0].strip() for row in chosen]
    held = [{"instruction": text, "input": "", "output": row["api_call"]} for text, row in zip(cut, chosen)]
    for name, rows in (("train.jsonl", train), ("held_out.jsonl", held)):
        (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        print(f"{folder / name}: {len(rows)} examples")


def ask(folder, server, model, most):
    """Greedy answers through the gateway; what equals the reference to the character counts."""
    right, started, rows = 0, time.perf_counter(), lines(folder / "held_out.jsonl")
    for row in rows:
        body = {"model": model, "messages": [{"role": "user", "content": row["instruction"]}], "temperature": 0, "max_tokens": most}
        request = urllib.request.Request(f"{server}/v1/chat/completions", json.dumps(body).encode(), {"content-type": "application/json"})
        with urllib.request.urlopen(request, timeout=300) as answer:
            text = json.load(answer)["choices"][0]["message"]["content"]
        right += text.strip() == row["output"].strip()
    report("exact match", model=model, right=right, of=len(rows), seconds=round(time.perf_counter() - started, 1))


def report(what, **values):
    print(json.dumps({"what": what, **values}), flush=True)


class Random:
    """Lore's SplitMix64, so that both trainers see the examples in one order."""

    def __init__(self, seed, purpose=None):
        self.state = seed & MASK
        if purpose is not None:
            self.state ^= (purpose * 0xD6E8FEB86659FD93) & MASK
            self.state = self.next()

    def next(self):
        self.state = (self.state + 0x9E3779B97F4A7C15) & MASK
        mixed = ((self.state ^ (self.state >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & MASK
        return mixed ^ (mixed >> 31)

    def shuffle(self, items):
        for last in range(len(items) - 1, 0, -1):
            other = (self.next() * (last + 1)) >> 64
            items[last], items[other] = items[other], items[last]


def order(examples, seed, epoch):
    """One epoch of one data set, as Lore's schedule shuffles it."""
    picks = list(range(examples))
    Random(Random(seed, 1).next(), epoch).shuffle(picks)
    Random(seed, (MASK - epoch) & MASK).shuffle(picks)
    return picks


def learning_rate(highest, step, steps, warmup):
    if step < warmup:
        return highest * (step + 1) / warmup
    return highest * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup))) / 2


def encoded(tokenizer, row):
    """Tokens and labels: the loss counts on the answer and on the token that ends the turn."""
    prompt = tokenizer.apply_chat_template([{"role": "user", "content": row["instruction"]}], tokenize=False, add_generation_prompt=True)
    prompt = tokenizer(prompt, add_special_tokens=False)["input_ids"]
    answer = tokenizer(row["output"] + "<|im_end|>", add_special_tokens=False)["input_ids"]
    return prompt + answer, [-100] * len(prompt) + answer


def padded(torch, examples):
    longest = max(len(tokens) for tokens, _ in examples)
    fill = lambda values, value: values + [value] * (longest - len(values))  # noqa: E731
    return {"input_ids": torch.tensor([fill(tokens, 0) for tokens, _ in examples]),
            "labels": torch.tensor([fill(labels, -100) for _, labels in examples]),
            "attention_mask": torch.tensor([fill([1] * len(tokens), 0) for tokens, _ in examples])}


def held_out_loss(torch, model, examples):
    total = count = 0
    with torch.no_grad():
        for start in range(0, len(examples), 8):
            some = examples[start:start + 8]
            labels = sum(label != -100 for _, row in some for label in row[1:])
            total += model(**padded(torch, some)).loss.item() * labels
            count += labels
    return total / count


def tune(folder, weights, settings):
    os.environ["OMP_NUM_THREADS"] = str(settings.threads)
    import peft
    import torch
    import transformers

    torch.set_num_threads(settings.threads)
    torch.manual_seed(settings.seed)
    tokenizer = transformers.AutoTokenizer.from_pretrained(weights)
    model = transformers.AutoModelForCausalLM.from_pretrained(weights, dtype=torch.float32)
    train = [encoded(tokenizer, row) for row in lines(folder / "train.jsonl")]
    held = [encoded(tokenizer, row) for row in lines(folder / "held_out.jsonl")]
    config = peft.LoraConfig(r=16, lora_alpha=32, target_modules="all-linear", task_type="CAUSAL_LM")
    model = peft.get_peft_model(model, config)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimiser = torch.optim.AdamW(trained, lr=settings.rate, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.01)
    picks = [pick for epoch in range(1 + settings.steps * settings.batch // len(train)) for pick in order(len(train), settings.seed, epoch)]
    warmup, tokens, seconds = round(0.05 * settings.steps), 0, 0.0
    for step in range(settings.steps + 1):
        if step % settings.evaluate == 0 or step == settings.steps:
            report("evaluation", step=step, validation_loss=round(held_out_loss(torch, model, held), 4))
        if step == settings.steps:
            break
        started = time.perf_counter()
        batch = [train[pick] for pick in picks[step * settings.batch:(step + 1) * settings.batch]]
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(settings.rate, step, settings.steps, warmup)
        loss = model(**padded(torch, batch)).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        seconds += time.perf_counter() - started
        tokens += sum(len(row) for row, _ in batch)
        if step % 10 == 9:
            report("step", step=step + 1, train_loss=round(loss.item(), 4), tokens_per_second=round(tokens / seconds, 1))
    with open("/proc/self/status", encoding="ascii") as status:
        peak = next(int(line.split()[1]) for line in status if line.startswith("VmHWM:")) * 1024
    report("done", seconds=round(seconds, 1), tokens=tokens, tokens_per_second=round(tokens / seconds, 1), peak_bytes=peak,
           versions=f"peft {peft.__version__}, torch {torch.__version__}, transformers {transformers.__version__}")
    if settings.answers:
        answers(torch, tokenizer, model.eval(), lines(folder / "held_out.jsonl"), settings.most)


def answers(torch, tokenizer, model, rows, most):
    right = 0
    for row in rows:
        prompt = tokenizer.apply_chat_template([{"role": "user", "content": row["instruction"]}], add_generation_prompt=True,
                                               return_tensors="pt", return_dict=True)
        with torch.no_grad():
            out = model.generate(**prompt, max_new_tokens=most, do_sample=False)
        text = tokenizer.decode(out[0, prompt["input_ids"].shape[1]:], skip_special_tokens=True)
        right += text.strip() == row["output"].strip()
    report("exact match", model="peft", right=right, of=len(rows))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["data", "ask", "peft"])
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--source", type=pathlib.Path, default=SOURCE)
    parser.add_argument("--held-out", type=int, default=62, dest="held_out", help="examples to ask and to validate on")
    parser.add_argument("--server", default="http://127.0.0.1:7878")
    parser.add_argument("--model", help="the name to ask: the base model's or an adapter's")
    parser.add_argument("--weights", help="a Hugging Face folder of the base model")
    parser.add_argument("--most", type=int, default=64, help="tokens of an answer at most")
    parser.add_argument("--steps", type=int, default=104)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rate", type=float, default=5e-4)
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--evaluate", type=int, default=26, help="steps between two evaluations")
    parser.add_argument("--answers", action="store_true", help="ask the tuned model too")
    settings = parser.parse_args()
    if settings.what == "data":
        data(settings.folder, settings.source, settings.held_out)
    elif settings.what == "ask":
        ask(settings.folder, settings.server, settings.model, settings.most)
    else:
        tune(settings.folder, settings.weights, settings)


if __name__ == "__main__":
    main()
