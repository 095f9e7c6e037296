"""A running `lore serve` of this benchmark, with a data folder of its own."""

import atexit
import http.client
import json
import os
import pathlib
import signal
import subprocess
import time


class Server:
    """Starts the server; `wait_ready` gives the seconds until `/readyz` says so."""

    def __init__(self, lore, data, threads=2, generator="smollm2-135m-instruct", precision="float32"):
        self.data = pathlib.Path(data)
        self.data.mkdir(parents=True, exist_ok=True)
        environment = os.environ | {
            "LORE_MODELS_GENERATOR": generator,
            "LORE_MODELS_THREADS": str(threads),
            "LORE_MODELS_PRECISION": precision,
            "LORE_MODELS_OFFLINE": "true",
            "LORE_DATA_DIR": str(self.data),
            "LORE_LISTEN": "127.0.0.1:0",
            "LORE_TELEMETRY_LOG": "warn",
        }
        self.log = open(self.data / "bench.log", "w")
        self.began = time.perf_counter()
        self.process = subprocess.Popen([lore, "serve"], env=environment, stdout=subprocess.DEVNULL, stderr=self.log)
        self.port = None
        atexit.register(self.stop)

    def wait_ready(self, longest=120):
        while time.perf_counter() - self.began < longest:
            if self.process.poll() is not None:
                raise RuntimeError(f"lore serve ended: {(self.data / 'bench.log').read_text()[-500:]}")
            if self.is_ready():
                return time.perf_counter() - self.began
            time.sleep(0.003)
        raise RuntimeError(f"lore serve was not ready after {longest} s")

    def is_ready(self):
        self.port = self.port or self.announced()
        if not self.port:
            return False
        try:
            return self.request("GET", "/readyz")[0] == 200
        except OSError:
            return False

    def announced(self):
        """The port, which the server writes into its data folder; a file of an earlier one has another process."""
        for lock in self.data.glob("serve-gateway.lock"):
            text = lock.read_text()
            holder = json.loads(text) if text.endswith("}") else {}
            if holder.get("pid") == self.process.pid and holder.get("url"):
                return int(holder["url"].rstrip("/").rsplit(":", 1)[1])
        return None

    def request(self, method, path, body=None, kind=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=300)
        try:
            connection.request(method, path, body, {"content-type": kind} if kind else {})
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def checked(self, method, path, body=None, kind=None):
        status, answer = self.request(method, path, body, kind)
        if status >= 400:
            raise RuntimeError(f"{method} {path}: {status} {answer[:300]!r}")
        return answer

    def get(self, path):
        return json.loads(self.checked("GET", path))

    def text(self, path):
        return self.checked("GET", path).decode()

    def post(self, path, body, kind):
        return json.loads(self.checked("POST", path, body, kind))

    def delete(self, path):
        self.checked("DELETE", path)

    def stop(self):
        """Ends the server, where it has not ended; also when this process ends."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(60)
        self.log.close()
