"""The one registry of operations, and what their params have in common."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Annotated, Any, Literal, TypeVar, overload

import orjson
from pydantic import Field, StringConstraints

from core import clock, errors
from core.model import results, row_order
from core.model.operation import FOR_PEOPLE, Params, Registry
from core.model.worker_group import LABEL_PATTERN, MOST_LABELS, NAME_PATTERN

REGISTRY = Registry()
operation = REGISTRY.operation

PAGE = 25
MAX_PAGE = 200
PAGE_BYTES = 1024 * 1024  # of the items of one page, as JSON
CUT_CHARACTERS = 1000  # of a text within an item that is larger than a page
MAX_DOCUMENT = 1_000_000  # characters

LISTED = ("items", "next_cursor", "total")
"""The outline of operations that answer with a list."""
RECORDED = (
    *("invocation_id", "trigger_slug", "trigger_revision", "tenant_id", "state", "params", "requested_at_ns"),
    *("deadline_ns", "result", "deduplicated", "rerun_of"),
)
"""The outline of operations that answer with the record of a run."""
_AGO = re.compile(r"([0-9]{1,9})([smhd])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
Row = TypeVar("Row")
Item = TypeVar("Item")


Slug = Annotated[str, StringConstraints(max_length=64)]
Version = Annotated[str, StringConstraints(max_length=64)] | Annotated[int, Field(ge=1, le=2**31)]
ItemKind = Literal["workflow", "perspective", "blueprint", "job"]
Kind = Literal["workflow", "perspective", "blueprint"]  # of documents that tenants write
GroupName = Annotated[str, StringConstraints(pattern=NAME_PATTERN, max_length=63)]
Label = Annotated[str, StringConstraints(pattern=LABEL_PATTERN, max_length=63)]
Labels = Annotated[list[Label], Field(max_length=MOST_LABELS)]
WorkflowDocument = Annotated[str, StringConstraints(max_length=MAX_DOCUMENT)]
JobDocument = Annotated[str, StringConstraints(max_length=MAX_DOCUMENT)]


class Page(Params):
    """A page of a list."""

    cursor: str | None = Field(default=None, max_length=64)
    """The last `next_cursor`."""
    limit: int = Field(default=PAGE, ge=1, le=MAX_PAGE)
    """Rows a page."""


class Sorted(Page):
    """A page of a list that is whole in memory, in the order that its reader wants."""

    sort: str | None = Field(default=None, max_length=64, pattern=row_order.PATTERN, json_schema_extra=FOR_PEOPLE)
    """A field of the rows; with - before it from the highest."""


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


def moment(text: str, now_ns: int, pointer: str, *, ahead: bool = False) -> int:
    """The time in ns that a text names: ISO 8601 with a zone, or how long before now, or `ahead` of it. Raises
    InvalidParams."""
    ago = _AGO.fullmatch(text)
    if ago is not None:
        span = int(ago[1]) * _SECONDS[ago[2]] * clock.NANOSECONDS
        return now_ns + span if ahead else max(0, now_ns - span)
    try:
        at = datetime.fromisoformat(text)
        if at.tzinfo is not None:
            return max(0, clock.from_datetime(at))
    except (ValueError, OverflowError):
        pass  # told below, with the one that has no zone
    raise errors.InvalidParams(
        f"{errors.shorten(text, 40)} is not a time.",
        hint=f"Write it like 2026-03-13T10:15:00Z, or as a time {'from now' if ahead else 'ago'}: 90s, 15m, 2h, 7d.",
        errors=[errors.Problem(pointer, "must be ISO 8601 with a zone, or a number with s, m, h or d")],
    )


@overload
def offset_page(items: Sequence[Item], page: Page) -> results.Listing[Item]: ...
@overload
def offset_page(items: Sequence[Row], page: Page, show: Callable[[Row], Item]) -> results.Listing[Item]: ...
def offset_page(items: Sequence[Any], page: Page, show: Callable[[Any], Any] | None = None) -> results.Listing[Any]:
    """One page of a list that is whole in memory; `show` makes an item of a row.

    It may end before it has `limit` items: see `fitting`.
    """
    start = position(page.cursor) or 0
    if isinstance(page, Sorted) and page.sort is not None:
        items, show = row_order.arranged(items if show is None else list(map(show, items)), page.sort), None
    rows = items[start : start + page.limit]
    shown = fitting(rows if show is None else map(show, rows))
    end = start + len(shown)
    return {"items": shown, "next_cursor": str(end) if end < len(items) else None, "total": len(items)}


def rows_page(
    rows: Sequence[Row], limit: int, show: Callable[[Row], Item], cursor: Callable[[Row], str], *, more: bool = False
) -> results.Page[Item]:
    """One page of rows that a query has found, of which it was asked for one beyond the limit.

    `show` makes an item of a row, and `cursor` the text that the page after it begins with. `more` says that the query
    ended before it had all of them. It may end before it has `limit` items: see `fitting`.
    """
    shown = fitting(map(show, rows[:limit]))
    more = more or len(shown) < len(rows)
    return {"items": shown, "next_cursor": cursor(rows[len(shown) - 1]) if more and shown else None}


def fitting(items: Iterable[Item]) -> list[Item]:
    """The first of these items, as many as fit into PAGE_BYTES; at least one. What alone does not fit is cut, and
    carries `"cut": true`."""
    out: list[Item] = []
    left = PAGE_BYTES
    for item in items:
        size = len(orjson.dumps(item))
        if size > left and out:
            break
        out.append(_cut(item) if size > PAGE_BYTES else item)
        left -= size
    return out


def _cut(item: Any) -> Any:
    """An item with its long texts cut, and without what comes after as much as one page takes."""
    left = PAGE_BYTES // 8  # a character takes up to six bytes

    def cut(value: Any) -> Any:
        nonlocal left
        if isinstance(value, str) and len(value) > CUT_CHARACTERS:
            value = f"{value[:CUT_CHARACTERS]}… ({len(value)} characters)"
        left -= len(value) + 4 if isinstance(value, str) else 24
        if isinstance(value, dict):
            return {cut(key): cut(one) for key, one in value.items() if left > 0}
        if isinstance(value, list):
            return [cut(one) for one in value if left > 0]
        return value

    found = cut(item)
    return {**found, "cut": True} if isinstance(found, dict) else found
