"""`lore serve` and its HTTP interface: uploads the same files into a new collection each round and waits until they can be found."""

import argparse
import json
import pathlib
import re
import time
import urllib.parse
import uuid

from lore_server import Server
from protocol import peak_bytes, serve

parser = argparse.ArgumentParser()
parser.add_argument("--lore", required=True)
parser.add_argument("--data", required=True)
parser.add_argument("--files", required=True, help="a JSON array of paths")
parser.add_argument("--threads", type=int, default=2)
parser.add_argument("--precision", default="float32")
options = parser.parse_args()
TOGETHER = 50


def form(files):
    """A multipart body; each file is named by its whole path, so that no two are one document."""
    border = uuid.uuid4().hex
    parts = []
    for path in files:
        name = urllib.parse.quote(path.lstrip("/"), safe="/ ()-_.,")
        head = f'--{border}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\nContent-Type: application/octet-stream\r\n\r\n'
        parts += [head.encode(), pathlib.Path(path).read_bytes(), b"\r\n"]
    return border, b"".join(parts) + f"--{border}--\r\n".encode()


def wait(server, job):
    while True:
        status = server.get(f"/v1/jobs/{job}")
        if status["status"] in ("succeeded", "failed", "cancelled"):
            return status
        time.sleep(0.02)


def stages(server):
    """Seconds of each stage so far, those in which the embedder computed, and chunks."""
    text = server.text("/metrics")
    seconds = {stage: float(value) for stage, value in re.findall(r'lore_ingest_stage_seconds_sum\{stage="(\w+)"\} (\S+)', text)}
    computing = re.search(r"^lore_embed_batch_seconds_sum (\S+)", text, re.MULTILINE)
    seconds["computing"] = float(computing[1]) if computing else 0.0
    chunks = re.search(r"^lore_ingest_chunks_total (\S+)", text, re.MULTILINE)
    return seconds, float(chunks[1]) if chunks else 0.0


def load():
    server = Server(options.lore, options.data, options.threads, precision=options.precision)
    server.wait_ready()
    with open(options.files) as file:
        files = json.load(file)
    forms = [form(files[start : start + TOGETHER]) for start in range(0, len(files), TOGETHER)]

    def round(number):
        collection = f"round-{uuid.uuid4().hex[:12]}"
        before, chunks_before = stages(server)
        start = time.perf_counter()
        jobs = []
        for border, body in forms:
            answer = server.post(f"/v1/collections/{collection}/documents", body, f"multipart/form-data; boundary={border}")
            jobs += [one["job_id"] for one in answer["data"]]
        ends = [wait(server, job) for job in jobs]
        seconds = time.perf_counter() - start
        after, chunks = stages(server)
        spent = {stage: after[stage] - before.get(stage, 0.0) for stage in after}
        failed = [(end.get("error") or {}).get("message", "") for end in ends if end["status"] != "succeeded"]
        server.delete(f"/v1/collections/{collection}")
        return {
            "units": len(ends) - len(failed),
            "seconds": seconds,
            "peak_bytes": peak_bytes(server.process.pid),
            "chunks": chunks - chunks_before,
            "chunks_per_second": (chunks - chunks_before) / seconds,
            "outside": 1 - spent["computing"] / seconds,
            "stages": spent,
            "failed": failed,
        }

    return round


serve("lore", "serve", load)
