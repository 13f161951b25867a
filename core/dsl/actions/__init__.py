"""Actions: what happens to an event between input and output. Importing this package registers every one."""

from __future__ import annotations

from core.dsl.actions import (
    assert_,
    chunk,
    convert,
    csv,
    dedupe,
    enrich,
    expand,
    extract,
    fields,
    filter,
    flatten,
    json,
    key_value,
    script,
    signal,
    time,
    tokenize,
    worker_kv,
    xml,
)

__all__ = [
    "assert_",
    "chunk",
    "convert",
    "csv",
    "dedupe",
    "enrich",
    "expand",
    "extract",
    "fields",
    "filter",
    "flatten",
    "json",
    "key_value",
    "script",
    "signal",
    "time",
    "tokenize",
    "worker_kv",
    "xml",
]
