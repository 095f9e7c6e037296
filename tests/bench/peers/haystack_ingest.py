"""A Haystack pipeline over the same files: convert by type, clean, split, embed with fastembed over Lore's ONNX file, write."""

import argparse
import json
import time
from importlib.metadata import version

import fastembed_model
from protocol import serve, timed

parser = argparse.ArgumentParser()
parser.add_argument("--onnx", required=True)
parser.add_argument("--tokenizer", required=True)
parser.add_argument("--folder", required=True)
parser.add_argument("--files", required=True, help="a JSON array of paths")
parser.add_argument("--threads", type=int, default=2)
parser.add_argument("--words", type=int, default=150, help="words of a chunk: about as many tokens as Lore's 256")
parser.add_argument("--overlap", type=int, default=20)
options = parser.parse_args()

TYPES = {
    "application/pdf": "pdf",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": "docx",
    "text/html": "html",
    "text/markdown": "markdown",
    "text/plain": "text",
}


def pipeline(embedder):
    from haystack import Pipeline
    from haystack.components.converters import DOCXToDocument, HTMLToDocument, MarkdownToDocument, PyPDFToDocument, TextFileToDocument
    from haystack.components.joiners import DocumentJoiner
    from haystack.components.preprocessors import DocumentCleaner, DocumentSplitter
    from haystack.components.routers import FileTypeRouter
    from haystack.components.writers import DocumentWriter
    from haystack.document_stores.in_memory import InMemoryDocumentStore
    from haystack.document_stores.types import DuplicatePolicy

    made = Pipeline()
    made.add_component("router", FileTypeRouter(mime_types=list(TYPES)))
    converters = {"pdf": PyPDFToDocument, "docx": DOCXToDocument, "html": HTMLToDocument, "markdown": MarkdownToDocument, "text": TextFileToDocument}
    made.add_component("joiner", DocumentJoiner())
    for mime, name in TYPES.items():
        made.add_component(name, converters[name]())
        made.connect(f"router.{mime}", f"{name}.sources")
        made.connect(f"{name}.documents", "joiner.documents")
    made.add_component("cleaner", DocumentCleaner())
    made.add_component("splitter", DocumentSplitter(split_by="word", split_length=options.words, split_overlap=options.overlap))
    made.add_component("embedder", embedder)
    made.add_component("writer", DocumentWriter(InMemoryDocumentStore(), policy=DuplicatePolicy.OVERWRITE))
    made.connect("joiner", "cleaner")
    made.connect("cleaner", "splitter")
    made.connect("splitter", "embedder")
    made.connect("embedder", "writer")
    return made


def load():
    from haystack_integrations.components.embedders.fastembed import FastembedDocumentEmbedder

    fastembed_model.register()
    path = fastembed_model.folder(options.onnx, options.tokenizer, options.folder)
    embedder = FastembedDocumentEmbedder(
        model=fastembed_model.NAME, prefix="passage: ", threads=options.threads, progress_bar=False, model_kwargs={"specific_model_path": path}
    )
    if hasattr(embedder, "warm_up"):
        embedder.warm_up()
    embedding = {"seconds": 0.0}
    inner = embedder.embedding_backend.embed

    def embed(*arguments, **names):
        seconds, result = timed(lambda: inner(*arguments, **names))
        embedding["seconds"] += seconds
        return result

    embedder.embedding_backend.embed = embed
    with open(options.files) as file:
        files = json.load(file)

    # Once: a component cannot be in two pipelines. Writing a chunk again overwrites it.
    made = pipeline(embedder)

    def round(_):
        embedding["seconds"] = 0.0
        start = time.perf_counter()
        result = made.run({"router": {"sources": files}}, include_outputs_from={"splitter"})
        seconds = time.perf_counter() - start
        chunks = result["splitter"]["documents"]
        done = {chunk.meta.get("file_path") for chunk in chunks}
        return {
            "units": len(done),
            "seconds": seconds,
            "chunks": len(chunks),
            "characters": sum(len(chunk.content) for chunk in chunks),
            "outside": 1 - embedding["seconds"] / seconds,
            "chunks_per_second": len(chunks) / seconds,
        }

    return round


serve("Haystack", f"{version('haystack-ai')} with fastembed {version('fastembed')}", load)
