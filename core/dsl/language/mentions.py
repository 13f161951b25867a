"""Which secrets a job document names: what its worker must be given, and nothing else. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from core import pointers
from core.dsl.language import templates
from core.model import secret

_PROSE = frozenset({"name", "description", "tags"})  # keys of the job in which nothing is filled in


def secrets(document: Mapping[str, Any]) -> dict[secret.Reference, str]:
    """Every secret that a staged job document names, with the JSON pointer of the first place that does.

    A text that is no valid template cannot be filled in at run time, so it names nothing.
    """
    if not possible(orjson.dumps(document)):
        return {}
    found: dict[secret.Reference, str] = {}
    body = {key: value for key, value in document.items() if key not in _PROSE}
    for text, pointer in _texts(body, ""):
        if "${" not in text:
            continue
        try:
            parts = templates.parse(text)
        except ValueError:
            continue
        for part in parts:
            if isinstance(part, templates.Lookup) and part.source in templates.SECRET_SOURCES:
                found.setdefault(secret.parse(part.source, part.name), pointer)
    return found


def possible(document: bytes) -> bool:
    """Whether a document (JSON) may name a secret at all; most do not, and are not looked through."""
    return b"${" in document and (b"secret" in document or b"cred" in document)


def _texts(value: Any, pointer: str) -> Iterator[tuple[str, str]]:
    """Every text of a document in which something may be filled in, with its place."""
    if isinstance(value, str):
        yield value, pointer
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _texts(inner, f"{pointer}/{pointers.escape(key)}")
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _texts(inner, f"{pointer}/{index}")
