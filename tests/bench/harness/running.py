"""Runs cases: all contestants of one case load, then take turns, A B A B."""

import statistics
import subprocess
import sys
import time

from . import environment, limits
from .contestant import Missing


def measure(cases, options):
    """The results of all cases, and the machine's limits in the same run."""
    ceiling = limits.measure(options)
    results = []
    for case in cases:
        print(f"\n== row {case.row}: {case.title}", flush=True)
        result = run(case, options, ceiling)
        tell(result)
        results.append(result)
    return results


def run(case, options, ceiling):
    rounds = 2 if options.quick else min(options.rounds, case.most_rounds or options.rounds)
    missing, playing = {}, []
    for contestant in case.contestants:
        problem = ready(contestant, options)
        if problem:
            missing[contestant.name] = problem
            print(f"   {contestant.name} is missing: {problem}", flush=True)
        else:
            playing.append(contestant)
    try:
        if case.warm_up:
            for contestant in list(playing):
                attempt(contestant, playing, missing)
                contestant.rounds.clear()
        for number in range(rounds):
            for contestant in list(playing):
                attempt(contestant, playing, missing)
            print(f"   round {number + 1} of {rounds}", file=sys.stderr, flush=True)
    finally:
        for contestant in case.contestants:
            contestant.stop()
    return result_of(case, playing, missing, ceiling, options)


def ready(contestant, options):
    """Installs, fetches and loads; None, or why it cannot take part."""
    problem = environment.install(contestant.group) if contestant.group else None
    for model in contestant.models:
        problem = problem or environment.pull(model)
    if problem:
        return problem
    try:
        if contestant.prepare:
            contestant.prepare()
        contestant.start(options.threads)
    except (Missing, OSError, subprocess.CalledProcessError) as error:
        return str(error)
    return None


def attempt(contestant, playing, missing):
    try:
        contestant.round()
    except Missing as error:
        playing.remove(contestant)
        missing[contestant.name] = str(error)
        print(f"   {contestant.name} dropped out: {error}", flush=True)


def result_of(case, playing, missing, ceiling, options):
    entries = {}
    for contestant in playing:
        measures = {measure.key: spread([measure.of(round) for round in contestant.rounds]) for measure in case.measures}
        facts = {key: value for key, value in contestant.ready.items() if key != "ready"}
        facts["peak_bytes"] = max(round["peak_bytes"] for round in contestant.rounds)
        entries[contestant.name] = {"measures": measures, "facts": facts}
    facts = next((entry["facts"] for entry in entries.values() if "bytes_per_unit" in entry["facts"]), {})
    return {
        "row": case.row,
        "title": case.title,
        "work": case.work,
        "when": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "commit": environment.commit(),
        "machine": environment.machine(),
        "threads": options.threads,
        "quick": options.quick,
        "ceiling": ceiling,
        "measures": [measure.described() for measure in case.measures],
        "contestants": entries,
        "missing": missing,
        "limit": case.limit(ceiling, facts) if case.limit else None,
        "verdicts": [verdict.of(entries) for verdict in case.verdicts],
    }


def spread(values):
    return {"median": statistics.median(values), "min": min(values), "max": max(values), "rounds": len(values)}


def tell(result):
    for name, entry in result["contestants"].items():
        parts = []
        for measure in result["measures"]:
            found = entry["measures"][measure["key"]]
            parts.append(f"{measure['name']} {found['median']:.4g} {measure['unit']} ({found['min']:.4g}–{found['max']:.4g})")
        print(f"   {name}: {'; '.join(parts)}; peak {entry['facts']['peak_bytes'] / 1e6:.0f} MB", flush=True)
    for verdict in result["verdicts"]:
        print(f"   {verdict['text']}", flush=True)
