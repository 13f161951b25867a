"""Lists that are looked at again and again: redrawn in place at a terminal, a line for each change in a pipe.

A look follows what the engine announces, and comes every few seconds besides, for what nobody announces and for ages.
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import anyio
import orjson

from core import clock
from mcp_server.cli import codes, connect, news, reader, render, tables

Row = Mapping[str, Any]
Look = Callable[[], Awaitable[list[dict[str, Any]]]]

REST_SECONDS = 0.2  # after each look, so that many announcements are one
RESTLESS = frozenset({"last_heartbeat_at", "since", "duration_ms"})
"""What always changes, and is no change."""
CLEARED = "\x1b[H\x1b[2J"


async def watch(engine: connect.Client, look: Look, columns: tuple[str, ...], empty: str) -> int:
    """Print the rows that `look` gives until the user interrupts."""
    before: dict[str, dict[str, Any]] = {}
    with news.heard(engine) as change:
        while not reader.gone():
            rows = await look()
            if render.watched():
                _redraw(rows, columns, empty)
            else:
                before = _tell(before, rows, columns)
            await anyio.sleep(REST_SECONDS)
            await change(news.LOOK_SECONDS)
    return codes.UNREAD


def _redraw(rows: list[dict[str, Any]], columns: tuple[str, ...], empty: str) -> None:
    sys.stdout.write(CLEARED)
    render.rows(rows, columns, empty=empty)
    render.aside("Watching; Ctrl-C ends it.")
    sys.stdout.flush()


def _tell(before: dict[str, dict[str, Any]], rows: list[dict[str, Any]], columns: tuple[str, ...]) -> Any:
    now = {str(row[columns[0]]): row for row in rows}
    for row, gone in changes(before, now):
        sys.stdout.write(_line(row, columns, gone=gone) + "\n")
    sys.stdout.flush()
    return now


def changes(before: Mapping[str, Row], now: Mapping[str, Row]) -> list[tuple[Row, bool]]:
    """The rows that are new or have changed, and those that are gone."""
    fresh = [(row, False) for name, row in now.items() if name not in before or _at_rest(row) != _at_rest(before[name])]
    return [*fresh, *((row, True) for name, row in before.items() if name not in now)]


def _at_rest(row: Row) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in RESTLESS}


def _line(row: Row, columns: tuple[str, ...], *, gone: bool) -> str:
    match render.chosen():
        case "name":
            return render.printable("", str(row[columns[0]]))
        case "yaml":
            shown = orjson.loads(orjson.dumps({**row, "gone": gone}, default=str))
            return "---\n" + render.yaml(shown).rstrip("\n")
        case "json":
            return orjson.dumps({**row, "gone": gone}, default=str).decode()
    named = (name.removesuffix(tables.KEPT) for name in columns)
    told = [f"{name}={render.printable(name, row[name])}" for name in named if row.get(name) not in (None, "", [], {})]
    return "  ".join([clock.iso(clock.now_ns()), *told, *(["gone"] if gone else [])])
