"""Texts with `{{…}}` in a document: where they are, and whether a value waits for one. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from core import pointers


def texts(value: Any, pointer: str) -> Iterator[tuple[str, str]]:
    """Every text with a placeholder, with its JSON Pointer."""
    if isinstance(value, str):
        if "{{" in value:
            yield pointer, value
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from texts(inner, f"{pointer}/{pointers.escape(key)}")
    elif isinstance(value, list | tuple):
        for index, inner in enumerate(value):
            yield from texts(inner, f"{pointer}/{index}")


def is_open(value: Any) -> bool:
    """Whether a placeholder is somewhere in a value."""
    return any(True for _ in texts(value, ""))
