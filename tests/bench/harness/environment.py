"""Where things are, and what is installed: `install("GROUP")` gives None, or why the group cannot be had."""

import json
import os
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[3]
BENCH = ROOT / "tests/bench"
CACHE = pathlib.Path(os.environ["LORE_BENCH_CACHE"])
DATA = ROOT.parent / "shared/data"
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
LORE = TARGET / "debug/lore"
WORKER = TARGET / "debug/lore-bench"


def groups():
    """The groups of requirements.txt: name to list of requirements."""
    found, name = {}, None
    for line in (BENCH / "requirements.txt").read_text().splitlines():
        heading = re.fullmatch(r"# group: (\S+)", line)
        if heading:
            name = heading[1]
            found[name] = []
        elif line and not line.startswith("#"):
            found[name].append(line)
    return found


def install(group):
    """Sees to it that a group is installed; None, or why it is not."""
    wanted = groups()[group]
    if all(is_there(requirement) for requirement in wanted):
        return None
    print(f"== installing {', '.join(wanted)}", flush=True)
    pip = [sys.executable, "-m", "pip", "install", "--disable-pip-version-check", "-q", *wanted]
    done = subprocess.run(pip, capture_output=True, text=True)
    if done.returncode == 0:
        return None
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    reason = next((line for line in lines if line.startswith("ERROR")), lines[-1] if lines else "no message")
    return f"pip install {' '.join(wanted)} failed: {reason.strip()}"


def is_there(requirement):
    from importlib.metadata import PackageNotFoundError, version

    name, wanted = requirement.split("==")
    try:
        return version(name) == wanted
    except PackageNotFoundError:
        return False


def models_dir():
    named = os.environ.get("LORE_MODELS_DIR")
    cache = os.environ.get("XDG_CACHE_HOME", os.path.expanduser("~/.cache"))
    return pathlib.Path(named) if named else pathlib.Path(cache) / "lore/models"


def pull(model):
    """Fetches a model; None, or why it cannot be had."""
    done = subprocess.run([LORE, "models", "pull", model], capture_output=True, text=True)
    return None if done.returncode == 0 else f"lore models pull {model} failed: {done.stderr.strip()[-300:]}"


def commit():
    def git(*command):
        return subprocess.run(["git", *command], cwd=ROOT, capture_output=True, text=True).stdout.strip()

    return git("rev-parse", "--short=10", "HEAD") + ("+" if git("status", "--porcelain", "-uno") else "")


def machine():
    """What the machine is, for the record."""
    cpu = re.search(r"model name\s*:\s*(.*)", pathlib.Path("/proc/cpuinfo").read_text())
    flags = set(re.search(r"flags\s*:\s*(.*)", pathlib.Path("/proc/cpuinfo").read_text())[1].split())
    telling = [flag for flag in ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_int8") if flag in flags]
    memory = int(re.search(r"MemTotal:\s*(\d+)", pathlib.Path("/proc/meminfo").read_text())[1])
    return {
        "cpu": cpu[1].strip() if cpu else "unknown",
        "cores": os.cpu_count(),
        "instructions": telling,
        "memory_gib": round(memory / 2**20, 1),
        "kernel": os.uname().release,
    }


def load(path):
    return json.loads(path.read_text()) if path.exists() else None
