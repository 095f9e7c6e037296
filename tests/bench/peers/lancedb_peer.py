"""LanceDB in this process: hybrid search over the same texts and vectors, joined by reciprocal rank fusion as in Lore."""

import argparse
import json
import pathlib
import threading
import time
from importlib.metadata import version

import numpy
from protocol import serve

parser = argparse.ArgumentParser()
parser.add_argument("--data", required=True)
parser.add_argument("--clients", type=int, default=8)
options = parser.parse_args()
LIMIT = 10
DIMENSIONS = 384
data = pathlib.Path(options.data)


def vectors(name):
    return numpy.fromfile(data / name, dtype="<f4").reshape(-1, DIMENSIONS)


def table():
    import lancedb
    import pyarrow

    folder, mark = data / "lancedb", data / "lancedb.whole"
    database = lancedb.connect(str(folder))
    if mark.exists():
        return database.open_table("chunks")
    texts = json.loads((data / "texts.json").read_text())
    rows = pyarrow.FixedSizeListArray.from_arrays(pyarrow.array(vectors("vectors.f32").ravel()), DIMENSIONS)
    content = pyarrow.table({"number": pyarrow.array(range(len(texts))), "text": texts, "vector": rows})
    made = database.create_table("chunks", content, mode="overwrite")
    # A graph over 8-bit vectors in one partition: LanceDB's fastest index that reaches this recall here.
    made.create_index(metric="cosine", index_type="IVF_HNSW_SQ", num_partitions=1, m=16, ef_construction=128)
    made.create_fts_index("text")
    made.optimize()
    mark.touch()
    return made


def load():
    from lancedb.rerankers import RRFReranker

    chunks, reranker = table(), RRFReranker()
    questions = json.loads((data / "questions.json").read_text())
    asked = list(zip(questions, vectors("questions.f32")))
    truth = json.loads((data / "truth.json").read_text())

    def nearest(vector):
        return chunks.search(vector, query_type="vector").distance_type("cosine").ef(128).refine_factor(2).limit(LIMIT)

    found = [set(nearest(vector).select(["number"]).to_arrow()["number"].to_pylist()) for _, vector in asked]
    recall = sum(len(set(true) & got) for true, got in zip(truth, found)) / sum(map(len, truth))
    facts["recall_at_10"] = recall
    if recall < 0.97:
        raise RuntimeError(f"recall@10 is {recall:.3f}")

    def ask(text, vector):
        query = chunks.search(query_type="hybrid").vector(vector).text(text).distance_type("cosine").ef(128).refine_factor(2)
        passages = query.rerank(reranker).limit(LIMIT).to_arrow()["text"].to_pylist()
        if not passages:
            raise RuntimeError("nothing was found")

    def round(_):
        times = []
        for text, vector in asked:
            start = time.perf_counter()
            ask(text, vector)
            times.append(time.perf_counter() - start)
        p50, p99 = numpy.quantile(times, [0.5, 0.99]) * 1e3
        return {"units": len(asked), "seconds": sum(times), "p50_ms": p50, "p99_ms": p99, "clients_per_second": at_once(ask, asked)}

    return round


def at_once(ask, asked):
    """Questions a second with several clients, each in a thread of its own; the engine computes outside Python's lock."""
    waiting, failures = iter(asked), []
    lock = threading.Lock()

    def client():
        while True:
            with lock:
                question = next(waiting, None)
            if question is None:
                return
            try:
                ask(*question)
            except Exception as error:
                failures.append(error)
                return

    clients = [threading.Thread(target=client) for _ in range(options.clients)]
    start = time.perf_counter()
    [one.start() for one in clients]
    [one.join() for one in clients]
    if failures:
        raise failures[0]
    return len(asked) / (time.perf_counter() - start)


facts = {"recall_at_10": None}
serve("LanceDB", version("lancedb"), load, facts)
