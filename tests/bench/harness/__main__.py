"""Builds what is measured, runs the rows that were asked for, and writes the results down."""

import argparse
import subprocess
import sys

from . import environment


def arguments():
    parser = argparse.ArgumentParser(prog="tests/bench/run", description="Lore beside its peers, interleaved, on this machine.")
    parser.add_argument("rows", nargs="*", type=int, metavar="ROW", help="rows of docs/benchmarks.md to measure, 1 to 9; all where absent")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of each contestant (5)")
    parser.add_argument("--quick", action="store_true", help="2 rounds of smaller work: shows that it runs, not how fast")
    parser.add_argument("--threads", type=int, default=2, help="threads of every contestant (2)")
    parser.add_argument("--no-write", action="store_true", help="leave docs/ as it is")
    parser.add_argument("--write-only", action="store_true", help="write docs/benchmarks.md and the plot again from docs/benchmarks.json")
    return parser.parse_args()


def build():
    """An example beside the programs makes cargo choose the features that tests/run chooses, so that nothing is built twice."""
    command = ["cargo", "build", "--workspace", "--bins", "--example", "throughput"]
    if (environment.ROOT / "shared/model/examples/lora_step.rs").exists():
        command += ["--example", "lora_step"]
    print("== building:", " ".join(command), flush=True)
    subprocess.run(command, cwd=environment.ROOT, check=True)


def main():
    options = arguments()
    problem = environment.install("harness")
    if problem:
        sys.exit(f"tests/bench/run needs numpy and matplotlib: {problem}")
    from . import report, rows, running

    if not options.write_only:
        build()
        results = running.measure(rows.chosen(options), options)
        report.show(results)
        if options.no_write:
            return
        report.keep(results, options)
    report.write()


main()
