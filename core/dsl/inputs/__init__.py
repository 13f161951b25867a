"""Inputs: where the events of a job come from. Importing this package puts every input into the registry."""

from __future__ import annotations

from core.dsl.inputs import echo, file_store, files, internal_messages, worker_channel

__all__ = ["echo", "file_store", "files", "internal_messages", "worker_channel"]
