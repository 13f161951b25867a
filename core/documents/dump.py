"""Plain values to YAML text that a person can edit, and that `load` reads back as the same values."""

from __future__ import annotations

import re
from typing import Any

import yaml

FIRST = ("kind", "slug", "name", "version", "title", "description", "tags", "context", "input", "actions", "output")
"""The keys of a document that come first, in this order."""

_PLAIN = re.compile(r"[A-Za-z_/][A-Za-z0-9_./-]*")
_WORDS = frozenset({"true", "false", "null", "yes", "no", "on", "off", "y", "n"})


class _Writer(yaml.SafeDumper):  # type: ignore[misc]
    """Writes each value out where it stands, null as nothing, and every text in the style that fits it."""

    def ignore_aliases(self, data: Any) -> bool:
        return True

    def null(self, _: None) -> yaml.Node:
        return self.represent_scalar("tag:yaml.org,2002:null", "")

    def text(self, text: str) -> yaml.Node:
        return self.represent_scalar("tag:yaml.org,2002:str", text, style=_style(text))


_Writer.add_representer(type(None), _Writer.null)
_Writer.add_representer(str, _Writer.text)


def to_yaml(data: Any) -> str:
    """One document as block-style YAML; texts are quoted wherever a reader could take them for something else."""
    ordered = {key: data[key] for key in FIRST if key in data} | data if isinstance(data, dict) else data
    width = 1_000_000_000  # a folded line would come back with other white space
    written: str = yaml.dump(
        ordered, Dumper=_Writer, width=width, allow_unicode=True, sort_keys=False, default_flow_style=False
    )
    return written


def _style(text: str) -> str | None:
    """None (plain), a literal block (|) for lines that it keeps exactly, or the quotes that can show the text."""
    if _PLAIN.fullmatch(text) and text.lower() not in _WORDS:
        return None
    lines = text.split("\n")
    # A block keeps exactly these: no blank edge that it would have to guess at, nothing that it cannot show.
    if len(lines) > 1 and lines[0].strip() and lines[0][0] != " " and lines[-2:] != ["", ""]:
        if all(line.isprintable() and line == line.rstrip() for line in lines) and text != "\n":
            return "|"
    return "'" if text.isprintable() else '"'
