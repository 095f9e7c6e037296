"""What the machine itself can do, measured in the same run: reading memory, and multiplying matrices of float32."""

import os
import subprocess
import sys

from . import environment
from .contestant import Contestant


def measure(options):
    """Medians of gigabytes and of gigaflops a second, the better of Lore's and NumPy's matrix product."""
    print("== the machine's limits", flush=True)
    worker = Contestant("lore", [environment.WORKER, "limit", "--threads", options.threads])
    worker.start(options.threads)
    try:
        for _ in range(4):
            worker.round()
    finally:
        worker.stop()
    rounds = worker.rounds[1:]
    lore = max(round["gigaflops"] for round in rounds)
    numpy = numpy_gigaflops(options.threads)
    ceiling = {
        "gigabytes_per_second": max(round["gigabytes_per_second"] for round in rounds),
        "gigaflops": max(lore, numpy),
        "gigaflops_lore": lore,
        "gigaflops_numpy": numpy,
    }
    print(f"   memory {ceiling['gigabytes_per_second']:.1f} GB/s; float32 products {lore:.0f} (gemm) and {numpy:.0f} (NumPy) GFLOP/s", flush=True)
    return ceiling


def numpy_gigaflops(threads, side=2048):
    """In a process of its own, since OpenBLAS reads the number of threads once."""
    code = f"""
import numpy, time
a = numpy.random.rand({side}, {side}).astype(numpy.float32)
a @ a
best = 1e9
for _ in range(3):
    start = time.perf_counter()
    a @ a
    best = min(best, time.perf_counter() - start)
print(2 * {side} ** 3 / best / 1e9)
"""
    limits = {"OPENBLAS_NUM_THREADS": str(threads), "OMP_NUM_THREADS": str(threads)}
    done = subprocess.run([sys.executable, "-c", code], env=os.environ | limits, capture_output=True, text=True, check=True)
    return float(done.stdout)


def by_bandwidth(ceiling, facts):
    """Units a second if each needs its bytes read once from memory."""
    if not facts.get("bytes_per_unit"):
        return None
    value = ceiling["gigabytes_per_second"] * 1e9 / facts["bytes_per_unit"]
    why = f"{facts['bytes_per_unit'] / 1e6:.0f} MB a token at {ceiling['gigabytes_per_second']:.1f} GB/s"
    return {"value": value, "why": why}


def by_arithmetic(ceiling, facts):
    """Units a second if all arithmetic ran at the rate of the best float32 matrix product."""
    if not facts.get("flops_per_unit"):
        return None
    value = ceiling["gigaflops"] * 1e9 / facts["flops_per_unit"]
    why = f"{facts['flops_per_unit'] / 1e6:.0f} MFLOP each at {ceiling['gigaflops']:.0f} GFLOP/s"
    return {"value": value, "why": why}
