"""The documents that come with Sluice, read from this package on first use."""

from __future__ import annotations

import functools
from importlib import resources

from core import documents
from core.catalog import items
from core.model import catalog


@functools.cache
def load() -> tuple[items.Entry, ...]:
    """Every built-in item. Cached: reading YAML takes tens of milliseconds, and many commands need none of it."""
    found = []
    folder = resources.files("core.catalog") / "builtin"
    for file in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if file.name.endswith(".yaml"):
            for document in documents.load(file.read_text(encoding="utf-8"), origin=f"builtin/{file.name}"):
                model = documents.check(document, catalog.MODELS[document.kind])
                found.append(items.entry(model, source="builtin"))
    return tuple(found)
