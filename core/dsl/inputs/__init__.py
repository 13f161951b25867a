"""Inputs: where the events of a job come from. Importing this package puts every input into the registry."""

from __future__ import annotations

from core.dsl.inputs import echo, exec, file_store, files, http_poll, internal_messages, worker_channel

__all__ = ["echo", "exec", "file_store", "files", "http_poll", "internal_messages", "worker_channel"]
