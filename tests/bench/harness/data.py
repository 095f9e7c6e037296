"""The texts, vectors and files that rows work on. Made once in target/bench, the same each time."""

import json
import random
import re

from . import environment

FOLDER = environment.TARGET / "bench"
DIMENSIONS = 384
CHUNKS = 100_000
QUESTIONS = 300
#: Formats that Lore and the pipeline beside it both read.
FORMATS = {"pdf", "docx", "html", "md", "txt"}


def texts():
    """English prose: the published collections where they are, else this project's own documents."""
    found = []
    for name in ("scifact", "covidqa"):
        path = environment.DATA / "retrieval" / name / "corpus.jsonl"
        if path.exists():
            found += [json.loads(line)["text"] for line in path.open()]
    if not found:
        own = [*(environment.ROOT / "ingest/samples").rglob("*.md"), *environment.ROOT.glob("*.md"), *environment.ROOT.glob("docs/*.md")]
        found = [path.read_text() for path in sorted(own)]
    return found


def passages(count=2000, tokens=200):
    """A file of texts that the default embedder reads as exactly this many tokens, its prefix and special tokens included."""
    path = FOLDER / f"passages-{count}-{tokens}.json"
    if path.exists():
        return path
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(environment.models_dir() / "multilingual-e5-small/tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    chosen, sources, shuffle = [], texts(), random.Random(7)
    while len(chosen) < count:
        words = shuffle.choice(sources).split()
        start = shuffle.randrange(max(len(words) - 40, 1))
        text = " ".join(words[start : start + 2 * tokens])
        ends = [end for _, end in tokenizer.encode("passage: " + text).offsets]
        if len(ends) <= tokens:
            text = " ".join([text, *shuffle.choice(sources).split()[: 2 * tokens]])
            ends = [end for _, end in tokenizer.encode("passage: " + text).offsets]
        for last in range(tokens - 2, tokens + 3):
            cut = ("passage: " + text)[: ends[min(last, len(ends) - 2)]].removeprefix("passage: ")
            if len(tokenizer.encode("passage: " + cut).ids) == tokens:
                chosen.append(cut)
                break
    write(path, json.dumps(chosen))
    return path


def search_folder():
    """100,000 chunks of about 80 words, recombined from the prose, clustered random unit vectors, questions, and the exact answer."""
    folder = FOLDER / f"search-{CHUNKS}"
    if (folder / "truth.json").exists():
        return folder
    import numpy

    folder.mkdir(parents=True, exist_ok=True)
    shuffle, generator = random.Random(7), numpy.random.default_rng(7)
    windows = []
    for text in texts():
        words = text.split()
        windows += [" ".join(words[start : start + 40]) for start in range(0, len(words), 40)]
    made = [f"{shuffle.choice(windows)} {shuffle.choice(windows)}" for _ in range(CHUNKS)]
    centres = generator.uniform(-1, 1, (1000, DIMENSIONS)).astype("float32")

    def vectors(count):
        own = generator.uniform(-1, 1, (count, DIMENSIONS)).astype("float32")
        both = centres[generator.integers(0, len(centres), count)] + 0.8 * own
        return (both / numpy.linalg.norm(both, axis=1, keepdims=True)).astype("<f4")

    chunks, questions = vectors(CHUNKS), vectors(QUESTIONS)
    nearest = numpy.argsort(-(questions @ chunks.T), axis=1)[:, :10]
    chunks.tofile(folder / "vectors.f32")
    questions.tofile(folder / "questions.f32")
    write(folder / "texts.json", json.dumps(made))
    write(folder / "questions.json", json.dumps(question_texts(shuffle, windows)))
    write(folder / "truth.json", json.dumps(nearest.tolist()))
    return folder


def question_texts(shuffle, windows):
    found = []
    for name in ("scifact", "covidqa"):
        path = environment.DATA / "retrieval" / name / "queries.jsonl"
        if path.exists():
            found += [json.loads(line)["text"] for line in path.open()][: QUESTIONS // 2]
    while len(found) < QUESTIONS:
        found.append(" ".join(shuffle.choice(windows).split()[:8]))
    return found


def documents(most=None):
    """The good files of ../shared/data/documents in formats that both pipelines read; this project's samples where they are absent."""
    manifest = environment.DATA / "documents/manifest.jsonl"
    if manifest.exists():
        entries = [json.loads(line) for line in manifest.open()]
        good = [entry for entry in entries if entry["cls"] == "good" and entry["format"] in FORMATS]
        paths = [manifest.parent / entry["path"] for entry in good]
    else:
        paths = sorted(path for path in (environment.ROOT / "ingest/samples").rglob("*") if path.suffix.lstrip(".") in FORMATS)
    chosen = [str(path) for path in paths if re.search(r"\.\w+$", path.name)][:most]
    path = FOLDER / f"documents-{len(chosen)}.json"
    write(path, json.dumps(chosen))
    return path, len(chosen)


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
