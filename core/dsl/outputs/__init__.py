"""Outputs: where the events of a job go. Importing this package puts every output into the registry."""

from __future__ import annotations

from core.dsl.outputs import (
    cloud,
    discard,
    dispatch,
    elasticsearch,
    file,
    file_store,
    http_get,
    http_post,
    jetstream,
    message,
    print,
    respond,
    splunk_hec,
    worker_channel,
)

__all__ = [
    "cloud",
    "discard",
    "dispatch",
    "elasticsearch",
    "file",
    "file_store",
    "http_get",
    "http_post",
    "jetstream",
    "message",
    "print",
    "respond",
    "splunk_hec",
    "worker_channel",
]
