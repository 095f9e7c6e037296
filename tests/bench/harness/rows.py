"""The rows of docs/benchmarks.md, each as cases with their contestants, measures and targets."""

import subprocess
import sys

from . import data, environment, limits
from .case import Bound, Case, Measure, Ratio

PEERS = environment.BENCH / "peers"
MODELS = ("qwen2.5-coder-0.5b-instruct", "smollm2-135m-instruct")
EMBEDDER = "multilingual-e5-small"
TOKENS = Measure("", "tokens/s")
#: One passage of 200 tokens through 12 layers of width 384 and 1,536: linear layers, and attention's two products.
PASSAGE_FLOPS = 200 * 2 * 12 * (4 * 384**2 + 2 * 384 * 1536) + 12 * 2 * 2 * 200**2 * 384


def chosen(options):
    """The cases of the rows that were asked for."""
    rows = {1: decode, 2: prefill, 3: adapter, 4: together, 5: training, 6: embedding, 7: ingesting, 8: searching, 9: starting}
    wanted = options.rows or list(rows)
    unknown = [row for row in wanted if row not in rows]
    if unknown:
        sys.exit(f"there is no row {unknown[0]}; rows are 1 to {len(rows)}")
    return [case for row in wanted for case in rows[row](options)]


def worker(*arguments, **settings):
    from .contestant import Contestant

    return Contestant(settings.pop("name", "lore"), [environment.WORKER, *arguments], **settings)


def peer(name, script, *arguments, **settings):
    from .contestant import Contestant

    return Contestant(name, [sys.executable, PEERS / script, *arguments], **settings)


def gguf(model):
    return environment.models_dir() / model / "model.gguf"


def decode(options):
    new = 32 if options.quick else 96
    for model in MODELS:
        common = ("--model", gguf(model), "--threads", options.threads, "--new", new)
        contestants = [
            worker("decode", *common, models=[model]),
            peer("llama.cpp", "llama_cpp_peer.py", "decode", *common, group="llama.cpp", models=[model]),
        ]
        work = f"{new} tokens one by one after a prompt of 32, batch 1, the same GGUF file and token ids"
        verdicts = [Ratio("lore", "llama.cpp", "rate", least=1.0)]
        yield Case(1, f"decode, {model}", work, contestants, [TOKENS], verdicts, limits.by_bandwidth)


def prefill(options):
    for model in MODELS:
        for tokens in [256] if options.quick else [1024, 2048]:
            common = ("--model", gguf(model), "--threads", options.threads, "--tokens", tokens)
            contestants = [
                worker("prefill", *common, models=[model]),
                peer("llama.cpp", "llama_cpp_peer.py", "prefill", *common, group="llama.cpp", models=[model]),
            ]
            work = f"a prompt of {tokens} tokens in batches of 512, the same GGUF file and token ids"
            verdicts = [Ratio("lore", "llama.cpp", "rate", least=1.0)]
            # The long prompt of the larger model takes half a minute a round.
            yield Case(2, f"prefill of {tokens}, {model}", work, contestants, [TOKENS], verdicts, limits.by_arithmetic, warm_up=False)


def adapter(options):
    new = 32 if options.quick else 96
    for model in MODELS:
        common = ("decode", "--model", gguf(model), "--threads", options.threads, "--new", new)
        contestants = [
            worker(*common, "--adapter-rank", 16, name="lore with an adapter", models=[model]),
            worker(*common, name="lore without", models=[model]),
        ]
        work = f"{new} tokens one by one, an unmerged adapter of rank 16 with random values on all linear layers"
        verdicts = [Ratio("lore with an adapter", "lore without", "rate", least=0.9)]
        yield Case(3, f"decode with an adapter, {model}", work, contestants, [TOKENS], verdicts, limits.by_bandwidth)


def together(options):
    new = 12 if options.quick else 32
    for model in MODELS:
        common = ("together", "--model", gguf(model), "--threads", options.threads, "--new", new)
        contestants = [
            worker(*common, name="lore, 8 at once", models=[model]),
            worker(*common, "--one-by-one", name="lore, one by one", models=[model]),
        ]
        work = f"8 requests of {new} new tokens, four adapters and the base model among them, through the server's generator"
        verdicts = [Ratio("lore, 8 at once", "lore, one by one", "rate", least=2.0)]
        yield Case(4, f"8 requests at once, {model}", work, contestants, [TOKENS], verdicts)


def training(options):
    model = "smollm2-135m-instruct"
    steps = 1
    # MODEL BATCH TOKENS RANK THREADS STEPS-A-ROUND, for both.
    settings = (4, 64 if options.quick else 256, 16, options.threads, steps)
    from .contestant import Contestant

    example = environment.TARGET / "debug/examples/lora_step"
    folder = data.FOLDER / model
    contestants = [
        peer("PEFT", "peft_step.py", folder, *settings, group="peft", models=[model], prepare=lambda: float32(model, folder)),
        Contestant("lore", [example, folder, *settings], models=[model]),
    ]
    measures = [TOKENS, Measure("peak memory", "GB", "peak_bytes", 1e-9)]
    verdicts = [Ratio("lore", "PEFT", "rate", least=1.2), Ratio("lore", "PEFT", "peak_bytes", most=0.7)]
    work = f"a LoRA step of {settings[0]} × {settings[1]} tokens, float32, rank 16 on all linear layers"
    yield Case(5, f"training, {model}", work, contestants, measures, verdicts, limits.by_arithmetic, warm_up=False, most_rounds=3)


def float32(model, folder):
    """The model as a folder of float32 safetensors, which both read; made with transformers, so PEFT comes first."""
    if not (folder / "model.safetensors").exists():
        subprocess.run([sys.executable, PEERS / "hf_folder.py", gguf(model), folder], check=True, capture_output=True)


def exported():
    """The embedder's ONNX file. Lore makes it when it first loads the embedder; then it loads it here."""
    folder = environment.models_dir() / EMBEDDER
    if not list(folder.glob("lore-float32-*.onnx")):
        load = [environment.WORKER, "embed", "--models", environment.models_dir(), "--texts", data.passages()]
        subprocess.run(load, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=True)
    return next(iter(folder.glob("lore-float32-*.onnx")))


def embedding(options):
    per_round = 40 if options.quick else 200
    for model in ("onnxruntime", EMBEDDER):
        environment.pull(model)
    texts = data.passages()
    common = ("--texts", texts, "--per-round", per_round, "--threads", options.threads)
    needed = ["onnxruntime", EMBEDDER]
    files = ("--onnx", exported(), "--tokenizer", environment.models_dir() / EMBEDDER / "tokenizer.json")
    python = ("fastembed_peer.py", *files, "--folder", data.FOLDER / "fastembed", *common)
    contestants = [
        worker("embed", "--models", environment.models_dir(), *common, models=needed),
        peer("fastembed", *python, group="fastembed", models=needed),
        peer("fastembed, batches of 8", *python, "--batch", 8, group="fastembed", models=needed),
        worker("embed", "--models", environment.models_dir(), "--precision", "int8", *common, name="lore, int8", models=needed),
    ]
    work = f"passages of exactly 200 tokens, {per_round} a round, each round the next of 2,000; the same ONNX file (float32)"
    verdicts = [Ratio("lore", "fastembed", "rate", least=1.1)]
    limit = lambda ceiling, _: limits.by_arithmetic(ceiling, {"flops_per_unit": PASSAGE_FLOPS})
    yield Case(6, f"embedding, {EMBEDDER}", work, contestants, [Measure("", "passages/s")], verdicts, limit, warm_up=False)


def ingesting(options):
    for model in ("onnxruntime", EMBEDDER):
        environment.pull(model)
    files, count = data.documents(8 if options.quick else None)
    onnx = ("--onnx", exported(), "--tokenizer", environment.models_dir() / EMBEDDER / "tokenizer.json")
    needed = ["onnxruntime", "pdfium", EMBEDDER, "smollm2-135m-instruct"]
    threads = ("--threads", options.threads)
    lore = ("lore_ingest.py", "--lore", environment.LORE, "--files", files, *threads)
    contestants = [
        peer("lore", *lore, "--data", data.FOLDER / "ingest", models=needed),
        peer("lore, int8", *lore, "--data", data.FOLDER / "ingest-int8", "--precision", "int8", models=needed),
        peer("Haystack", "haystack_ingest.py", *onnx, "--folder", data.FOLDER / "fastembed", "--files", files, *threads, group="haystack", models=needed),
    ]
    measures = [
        Measure("", "files/s"),
        Measure("outside embedding", "%", "outside", 100),
        Measure("chunks", "", "chunks"),
        Measure("chunks/s", "", "chunks_per_second"),
    ]
    verdicts = [
        Ratio("lore", "Haystack", "rate", least=3.0),
        Ratio("lore, int8", "Haystack", "rate", least=3.0),
        Bound("lore", "outside", "%", most=25),
    ]
    work = f"{count} good files of ../shared/data/documents, from upload until all can be found; the embedder's float32 ONNX file in both"
    yield Case(7, "ingesting", work, contestants, measures, verdicts, warm_up=False, most_rounds=3)


def searching(options):
    folder = data.search_folder()
    contestants = [
        worker("search", "--data", folder, "--threads", options.threads),
        peer("LanceDB", "lancedb_peer.py", "--data", folder, group="lancedb"),
    ]
    measures = [
        Measure("p50", "ms", "p50_ms"),
        Measure("p99", "ms", "p99_ms"),
        Measure("8 clients", "questions/s", "clients_per_second"),
    ]
    verdicts = [
        Ratio("lore", "LanceDB", "p50_ms", most=1.0),
        Ratio("lore", "LanceDB", "p99_ms", most=1.0),
        Bound("lore", "recall_at_10", "", least=0.97, fact=True),
        Bound("LanceDB", "recall_at_10", "", least=0.97, fact=True),
    ]
    work = (
        "hybrid search over 100,000 chunks, k = 10, 300 questions a round, in process; prose recombined from SciFact and COVID-QA, "
        "clustered random unit vectors of 384 dimensions; texts of the passages fetched"
    )
    yield Case(8, "hybrid search", work, contestants, measures, verdicts)


def starting(options):
    measures = [Measure("start", "s", "start_seconds"), Measure("idle memory", "MB", "idle_bytes", 1e-6)]
    for model in ("smollm2-135m-instruct", "qwen2.5-coder-0.5b-instruct"):
        needed = ["onnxruntime", "pdfium", EMBEDDER, model]
        common = ("--lore", environment.LORE, "--data", data.FOLDER / f"start-{model}", "--generator", model, "--threads", options.threads)
        contestants = [peer("lore", "lore_start.py", *common, models=needed)]
        small = model.startswith("smollm2")
        verdicts = [Bound("lore", "start_seconds", "s", most=2.0)]
        verdicts += [Bound("lore", "idle_bytes", "MB", most=700)] if small else []
        work = f"`lore serve` with {EMBEDDER} and {model} on disk, from the start of the process until /readyz; memory 3 s later"
        yield Case(9, f"start, {model}", work, contestants, measures, verdicts)
