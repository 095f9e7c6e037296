"""llama.cpp, through llama-cpp-python: decode after a short prompt, or a prompt as a whole. The token ids are those of lore-bench."""

import argparse
from importlib.metadata import version

from protocol import serve, timed

parser = argparse.ArgumentParser()
parser.add_argument("work", choices=["decode", "prefill"])
parser.add_argument("--model", required=True)
parser.add_argument("--threads", type=int, default=2)
parser.add_argument("--prompt", type=int, default=32)
parser.add_argument("--new", type=int, default=96)
parser.add_argument("--tokens", type=int, default=1024)
options = parser.parse_args()


def load():
    from llama_cpp import Llama

    model = Llama(options.model, n_ctx=4096, n_batch=512, n_threads=options.threads, n_threads_batch=options.threads, verbose=False)
    vocabulary = model.n_vocab()

    def prompt(count):
        return [index * 7919 % vocabulary for index in range(count)]

    def decode(_):
        model.reset()
        model.eval(prompt(options.prompt))

        def tokens():
            for index in range(options.new):
                model.eval([index * 31 % vocabulary])

        seconds, _ = timed(tokens)
        return {"units": options.new, "seconds": seconds}

    def prefill(_):
        model.reset()
        seconds, _ = timed(lambda: model.eval(prompt(options.tokens)))
        return {"units": options.tokens, "seconds": seconds}

    return decode if options.work == "decode" else prefill


serve("llama.cpp", version("llama-cpp-python"), load)
