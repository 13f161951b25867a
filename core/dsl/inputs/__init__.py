"""Inputs: where the events of a job come from.

What there is, and the module that declares it: imported when a job first needs it, so that a process has only what its
jobs use (core.dsl.component.Registry).
"""

from __future__ import annotations

COMPONENTS = {
    "azure-blob": "cloud",
    "echo": "echo",
    "exec": "exec",
    "file-store": "file_store",
    "files": "files",
    "gcs": "cloud",
    "http-poll": "http_poll",
    "http-server": "http_server",
    "internal-messages": "internal_messages",
    "jetstream": "jetstream",
    "kafka": "kafka",
    "s3": "cloud",
    "tcp": "tcp",
    "udp": "udp",
    "worker-channel": "worker_channel",
    "worker-kv": "worker_kv",
}
