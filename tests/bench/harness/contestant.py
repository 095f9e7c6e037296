"""One worker process: it says that it is ready, and does a round for each line that it is sent."""

import json
import os
import subprocess
import tempfile


class Missing(Exception):
    """A contestant cannot take part, and why."""


class Contestant:
    """`name` in the tables; `command`; `group` of requirements and `models` that it needs."""

    def __init__(self, name, command, group=None, models=(), environment=None, prepare=None):
        self.name, self.command, self.group, self.models = name, [str(part) for part in command], group, models
        self.environment, self.prepare = environment or {}, prepare
        self.rounds, self.ready, self.process, self.errors = [], {}, None, None

    def start(self, threads):
        """Loads it.

        Raises Missing where it ends before it is ready, with the last lines that it wrote."""
        self.errors = tempfile.TemporaryFile()
        count = str(threads)
        limits = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS", "TOKIO_WORKER_THREADS", "LANCE_CPU_THREADS")
        environment = os.environ | dict.fromkeys(limits, count) | {"HF_HUB_OFFLINE": "1", "HAYSTACK_TELEMETRY_ENABLED": "False"} | self.environment
        self.process = subprocess.Popen(
            self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors, text=True, env=environment, bufsize=1
        )
        self.ready = self.read()

    def round(self):
        try:
            self.process.stdin.write("go\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass  # what it wrote last is told by read
        self.rounds.append(self.read())

    def read(self):
        """The next line that is an object; libraries may print others."""
        for line in self.process.stdout:
            if line.startswith("{"):
                return json.loads(line)
        self.process.wait()
        self.errors.seek(0)
        lines = self.errors.read().decode(errors="replace").strip().splitlines()
        # What follows an error of Rust's is a backtrace; a traceback of Python's ends with its error.
        first = next((number for number, line in enumerate(lines) if line.startswith("Error:")), len(lines) - 2)
        raise Missing(f"it ended with {self.process.returncode}: {' | '.join(lines[max(first, 0):][:4])}")

    def stop(self):
        if self.process:
            self.process.stdin.close()
            try:
                self.process.wait(60)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
            self.process.stdout.close()
            self.errors.close()
            self.process = None
