"""Trace contexts of W3C, level 1: which trace a call belongs to, and which span of it asked. Pure.

Sluice keeps trace ids, and hands them on, whether or not it sends spans to anybody (docs/traces.md).
"""

from __future__ import annotations

import re
import secrets
from typing import NamedTuple

_FORM = re.compile(r"(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(-.*)?").fullmatch
MOST_CHARACTERS = 256  # of a later version, which may have more behind the flags
_SAMPLED = 1


class TraceContext(NamedTuple):
    """A place in a trace."""

    trace_id: str
    """32 hexadecimal digits, not all of them 0."""
    span_id: str
    """16 of them: the span that asks."""
    sampled: bool = False
    """Whether who asks sends its spans to somebody. Of a caller it is a hint and no order."""

    def __str__(self) -> str:
        """The header `traceparent`, version 00."""
        return f"00-{self.trace_id}-{self.span_id}-{'01' if self.sampled else '00'}"


def parse(text: str) -> TraceContext | None:
    """The context in a header `traceparent`; None for what is none, which is as if nothing had been said."""
    found = _FORM(text) if len(text) <= MOST_CHARACTERS else None
    if found is None or (found[1] == "00" and found[5]):
        return None
    return TraceContext(found[2], found[3], bool(int(found[4], 16) & _SAMPLED))


def new_trace() -> str:
    """The id of a trace that begins."""
    return f"{secrets.randbits(128) or 1:032x}"


def new_span() -> str:
    """The id of a span that begins."""
    return f"{secrets.randbits(64) or 1:016x}"
