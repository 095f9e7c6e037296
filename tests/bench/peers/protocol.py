"""The protocol of all contestants, for those in Python: `serve(name, version, load, round)`."""

import json
import os
import re
import sys
import time


def serve(name, version, load, facts=None):
    """Calls `load()`, which gives a function from the round's number to a dict with `units`, `seconds` and what else was measured,
    and may put into `facts` what is to be told with being ready.

    Libraries print to standard output; only the protocol's lines may appear there."""
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    began = time.perf_counter()
    round = load()
    say(out, {"ready": True, "name": name, "version": version, "load_seconds": time.perf_counter() - began, **(facts or {})})
    for number, _ in enumerate(sys.stdin):
        say(out, {"peak_bytes": peak_bytes(), **round(number)})


def say(out, line):
    out.write(json.dumps(line) + "\n")
    out.flush()


def peak_bytes(process="self", what="VmHWM"):
    """The most memory that a process has held, or what it holds now (`VmRSS`)."""
    with open(f"/proc/{process}/status") as status:
        return int(re.search(rf"{what}:\s*(\d+)", status.read())[1]) * 1024


def timed(work):
    """The seconds that `work()` takes, and what it gives."""
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result
