"""What stands fenced in the pages of docs/: calls of tools, documents, commands."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

DOCS = Path(__file__).parents[1] / "docs"
_FENCE = re.compile(r"^```(\w*)(?: (\S+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
CALL = "call"
"""What stands behind ```json where a block is the params of a tools/call: {"name": …, "arguments": {…}}."""


@dataclass(frozen=True, slots=True)
class Fence:
    """One fenced block: `kind` and `name` are the words behind the fence, `at` is PAGE.md:LINE."""

    kind: str
    name: str
    text: str
    at: str

    @property
    def is_call(self) -> bool:
        return (self.kind, self.name) == ("json", CALL)


def of_page(path: Path) -> list[Fence]:
    text = path.read_text(encoding="utf-8")
    return [
        Fence(found[1], found[2] or "", found[3], f"{path.name}:{text.count(chr(10), 0, found.start()) + 1}")
        for found in _FENCE.finditer(text)
    ]


def of_docs() -> Iterator[Fence]:
    for path in sorted(DOCS.glob("*.md")):
        yield from of_page(path)


def calls_of(fences: list[Fence]) -> list[tuple[str, dict[str, Any]]]:
    """The calls among them, as (tool, arguments)."""
    parsed = [orjson.loads(fence.text) for fence in fences if fence.is_call]
    return [(call["name"], call["arguments"]) for call in parsed]
