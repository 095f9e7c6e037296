"""`lore serve` from its start until `/readyz`, and the memory that it holds when idle."""

import argparse
import time

from lore_server import Server
from protocol import peak_bytes, serve

parser = argparse.ArgumentParser()
parser.add_argument("--lore", required=True)
parser.add_argument("--data", required=True)
parser.add_argument("--generator", default="smollm2-135m-instruct")
parser.add_argument("--threads", type=int, default=2)
options = parser.parse_args()
# Long enough for what loading left behind to be given back.
IDLE = 3


def load():
    def round(_):
        server = Server(options.lore, options.data, options.threads, options.generator)
        try:
            seconds = server.wait_ready()
            time.sleep(IDLE)
            process = server.process.pid
            return {
                "units": 1,
                "seconds": seconds,
                "start_seconds": seconds,
                "idle_bytes": peak_bytes(process, "VmRSS"),
                "peak_bytes": peak_bytes(process),
            }
        finally:
            server.stop()

    return round


serve("lore", "serve", load)
