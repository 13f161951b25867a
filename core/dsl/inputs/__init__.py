"""Inputs: where the events of a job come from. Importing this package puts every input into the registry."""

from __future__ import annotations

from core.dsl.inputs import (
    cloud,
    echo,
    exec,
    file_store,
    files,
    http_poll,
    http_server,
    internal_messages,
    jetstream,
    tcp,
    udp,
    worker_channel,
    worker_kv,
)

__all__ = [
    "cloud",
    "echo",
    "exec",
    "file_store",
    "files",
    "http_poll",
    "http_server",
    "internal_messages",
    "jetstream",
    "tcp",
    "udp",
    "worker_channel",
    "worker_kv",
]
