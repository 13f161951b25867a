"""Actions: what happens to an event between input and output.

What there is, and the module that declares it: imported when a job first needs it (core.dsl.component.Registry).
"""

from __future__ import annotations

COMPONENTS = {
    "abort": "signal",
    "add": "fields",
    "assert": "assert_",
    "chunk": "chunk",
    "convert": "convert",
    "copy": "fields",
    "csv": "csv",
    "dedupe": "dedupe",
    "docx-to-text": "to_text",
    "enrich": "enrich",
    "expand": "expand",
    "expand-events": "expand",
    "extract": "extract",
    "filter": "filter",
    "flatten": "flatten",
    "http": "http",
    "infer": "infer",
    "json": "json",
    "key-value": "key_value",
    "message": "signal",
    "pdf-text": "to_text",
    "remove": "fields",
    "rename": "fields",
    "script": "script",
    "time": "time",
    "tokenize": "tokenize",
    "worker-kv": "worker_kv",
    "xml": "xml",
}
