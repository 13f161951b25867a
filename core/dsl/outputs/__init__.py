"""Outputs: where the events of a job go. Importing this package puts every output into the registry."""

from __future__ import annotations

from core.dsl.outputs import (
    cloud,
    discard,
    file,
    file_store,
    http_get,
    http_post,
    message,
    print,
    worker_channel,
)

__all__ = ["cloud", "discard", "file", "file_store", "http_get", "http_post", "message", "print", "worker_channel"]
