"""The one registry of operations, and what their params have in common."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

from pydantic import Field

from core import clock, errors
from core.model.operation import Params, Registry

REGISTRY = Registry()
operation = REGISTRY.operation

PAGE = 25
MAX_PAGE = 200

_AGO = re.compile(r"([0-9]{1,9})([smhd])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


class Page(Params):
    """A page of a list."""

    cursor: str | None = Field(default=None, max_length=64)
    """`next_cursor` of the page before."""
    limit: int = Field(default=PAGE, ge=1, le=MAX_PAGE)
    """Rows a page."""


def position(cursor: str | None) -> int | None:
    """The row id behind a cursor. Raises InvalidParams for one that this server did not make."""
    if cursor is None:
        return None
    if not cursor.isascii() or not cursor.isdigit() or len(cursor) > 19 or int(cursor) >= 2**63:
        raise errors.InvalidParams(
            "This cursor is not one of ours.",
            hint="Leave it out for the first page.",
            errors=[errors.Problem("/cursor", "must be a next_cursor of this operation")],
        )
    return int(cursor)


def moment(text: str, now_ns: int, pointer: str) -> int:
    """The time in ns that a filter names: ISO 8601 with a zone, or how long before now. Raises InvalidParams."""
    ago = _AGO.fullmatch(text)
    if ago is not None:
        return max(0, now_ns - int(ago[1]) * _SECONDS[ago[2]] * clock.NANOSECONDS)
    try:
        at = datetime.fromisoformat(text)
        if at.tzinfo is not None:
            return max(0, clock.from_datetime(at))
    except (ValueError, OverflowError):
        pass  # told below, with the one that has no zone
    raise errors.InvalidParams(
        f"{errors.shorten(text, 40)} is not a time.",
        hint="Write it like 2026-03-13T10:15:00Z, or as a time ago: 90s, 15m, 2h, 7d.",
        errors=[errors.Problem(pointer, "must be ISO 8601 with a zone, or a number with s, m, h or d")],
    )


def offset_page(items: list[Any], page: Page) -> dict[str, Any]:
    """One page of a list that is whole in memory: {items, next_cursor, total}."""
    start = position(page.cursor) or 0
    end = start + page.limit
    return {
        "items": items[start:end],
        "next_cursor": str(end) if end < len(items) else None,
        "total": len(items),
    }


def items_schema(item: dict[str, Any] | None = None) -> dict[str, Any]:
    """The outputSchema of a list operation."""
    return {
        "type": "object",
        "properties": {
            "items": {"type": "array", "items": item or {"type": "object"}},
            "next_cursor": {"type": ["string", "null"]},
            "total": {"type": "integer"},
        },
        "required": ["items", "next_cursor", "total"],
    }
