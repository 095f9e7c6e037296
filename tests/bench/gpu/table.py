#!/usr/bin/env python3
"""Lore beside its peer from the JSON of both sides: one JSON and one Markdown table. usage: table.py FOLDER SHAPE..."""

import json
import pathlib
import sys

# name, path in the report, what Lore should reach against the peer
ROWS = [
    ("train, tokens/s", ("train", "tokens_per_second"), "at least 1.3 x"),
    ("train, peak memory, GB", ("train", "memory", "peak"), "at most 0.7 x"),
    ("train recomputing, tokens/s", ("train_recomputing", "tokens_per_second"), ""),
    ("train recomputing, peak memory, GB", ("train_recomputing", "memory", "peak"), ""),
    ("prefill, tokens/s", ("generate", "prefill_tokens_per_second"), ""),
    ("decode, tokens/s", ("generate", "decode_tokens_per_second"), ""),
]


def load(path):
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):
        return {}


def value(report, path):
    for key in path:
        report = report.get(key) if isinstance(report, dict) else None
    return report if isinstance(report, (int, float)) else None


def shown(number, scale=1.0):
    return "-" if number is None else f"{number / scale:,.1f}"


def curve(lore, peer):
    """Largest difference of two losses of one step, as a share of the peer's."""
    pairs = list(zip(lore.get("train", {}).get("losses", []), peer.get("train", {}).get("losses", [])))
    return max((abs(a - b) / b for a, b in pairs), default=None)


def compare(folder, shape):
    lore, peer = load(folder / f"{shape}.lore.json"), load(folder / f"{shape}.peer.json")
    rows = []
    for name, path, target in ROWS:
        a, b = value(lore, path), value(peer, path)
        scale = 1e9 if path[-1] == "peak" else 1.0
        ratio = f"{a / b:.2f} x" if a and b else "-"
        rows.append([name, shown(a, scale), shown(b, scale), ratio, target])
    peak, flops = value(peer, ("peak", "bf16_flops")), value(peer, ("flops_per_token",))
    for name in ("train", "train_recomputing"):
        share = [value(side, (name, "tokens_per_second")) for side in (lore, peer)]
        if peak and flops:
            percent = [None if rate is None else 100 * rate * flops / peak for rate in share]
            rows.append([f"{name.replace('_', ' ')}, % of the bf16 peak", shown(percent[0]), shown(percent[1]), "", ""])
    difference = curve(lore, peer)
    percent = "-" if difference is None else f"{100 * difference:.3f} %"
    rows.append(["largest difference of the losses", percent, "", "", "below 1 %"])
    return {"shape": shape, "rows": rows, "loss_difference": difference, "lore": lore, "peer": peer}


def main():
    folder = pathlib.Path(sys.argv[1])
    results = [compare(folder, shape) for shape in sys.argv[2:]]
    (folder / "gpu.json").write_text(json.dumps(results, indent=1))
    lines = []
    for result in results:
        lines += [f"## {result['shape']}", "", "| measure | Lore | PEFT, transformers | ratio | target |",
                  "| --- | --- | --- | --- | --- |"]
        lines += ["| " + " | ".join(row) + " |" for row in result["rows"]] + [""]
    (folder / "gpu.md").write_text("\n".join(lines))
    print("\n".join(lines))


if __name__ == "__main__":
    main()
