"""The documents that come with Sluice, read from this package on first use.

They are written as YAML, and the parsed form lies beside them (`parsed.json`, made by `make docs`): reading YAML with
its places takes a third of a second, which every command that plans would wait for. The parsed form names the SHA-256
of the files that it was made of, and others are read as they are.
"""

from __future__ import annotations

import functools
import hashlib
from importlib import resources
from typing import Any

import orjson

from core import documents
from core.catalog import items
from core.documents import Document
from core.model import catalog

PARSED = "parsed.json"


@functools.cache
def load() -> tuple[items.Entry, ...]:
    """Every built-in item."""
    models = (documents.check(document, catalog.MODELS[document.kind]) for document in _documents())
    return tuple(items.entry(model, source="builtin") for model in models)


def parsed() -> bytes:
    """The parsed form of the files that are there."""
    texts = _texts()
    lines = b",\n".join(orjson.dumps(document.data) for document in _read(texts))
    return b'{"sha256":"%s","documents":[\n%s\n]}\n' % (_digest(texts).encode(), lines)


def _documents() -> list[Document]:
    texts = _texts()
    kept = resources.files("core.catalog") / "builtin" / PARSED
    if kept.is_file():
        form: dict[str, Any] = orjson.loads(kept.read_bytes())
        if form["sha256"] == _digest(texts):
            return [Document(data, "builtin") for data in form["documents"]]
    return _read(texts)


def _texts() -> dict[str, bytes]:
    folder = resources.files("core.catalog") / "builtin"
    files = sorted((file for file in folder.iterdir() if file.name.endswith(".yaml")), key=lambda file: file.name)
    return {file.name: file.read_bytes() for file in files}


def _digest(texts: dict[str, bytes]) -> str:
    return hashlib.sha256(
        b"\0".join(part for name, text in texts.items() for part in (name.encode(), text))
    ).hexdigest()


def _read(texts: dict[str, bytes]) -> list[Document]:
    return [
        document for name, text in texts.items() for document in documents.load(text.decode(), origin=f"builtin/{name}")
    ]
