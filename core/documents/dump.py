"""Plain values to YAML text that a person can edit, and that `load` reads back as the same values."""

from __future__ import annotations

import io
import re
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.scalarstring import DoubleQuotedScalarString, LiteralScalarString, SingleQuotedScalarString

FIRST = ("kind", "slug", "name", "version", "title", "description", "tags", "context", "input", "actions", "output")
"""The keys of a document that come first, in this order."""

_PLAIN = re.compile(r"[A-Za-z_/][A-Za-z0-9_./-]*")
_WORDS = frozenset({"true", "false", "null", "yes", "no", "on", "off", "y", "n"})


def to_yaml(data: dict[str, Any]) -> str:
    """One document as block-style YAML; texts are quoted wherever a reader could take them for something else."""
    ordered = {key: data[key] for key in FIRST if key in data} | data
    writer = YAML(typ="rt", pure=True)
    writer.width = 1_000_000  # a folded line would come back with other white space
    writer.allow_unicode = True
    out = io.StringIO()
    writer.dump(_styled(ordered), out)
    return out.getvalue()


def _styled(value: Any) -> Any:
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, dict):
        return {_text(key): _styled(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_styled(inner) for inner in value]
    return value


def _text(text: str) -> str:
    if _PLAIN.fullmatch(text) and text.lower() not in _WORDS:
        return text
    lines = text.split("\n")
    # A block keeps exactly these: no blank edge that it would have to guess at, nothing that it cannot show.
    if len(lines) > 1 and lines[0].strip() and lines[0][0] != " " and lines[-2:] != ["", ""]:
        if all(line.isprintable() and line == line.rstrip() for line in lines) and text != "\n":
            block: str = LiteralScalarString(text)
            return block
    quoted: str = SingleQuotedScalarString(text) if text.isprintable() else DoubleQuotedScalarString(text)
    return quoted
