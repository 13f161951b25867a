"""Results on the terminal: JSON as it is, or tables and short texts."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from typing import Any

import orjson
from rich import box, console, markup, table

from core import clock
from core.documents import dump
from mcp_server import results
from mcp_server.cli import wording

_STYLES = {
    "running": "green",
    "succeeded": "green",
    "online": "green",
    "completed": "green",
    "active": "green",
    "failed": "red",
    "quarantined": "red",
    "timed_out": "red",
    "canceled": "yellow",
    "lost": "red",
    "degraded": "yellow",
    "warning": "yellow",
    "applying": "yellow",
    "dispatched": "yellow",
    "accepted": "yellow",
}


def out() -> console.Console:
    """The console of results; as wide as it takes when nobody watches, so that a pipe gets whole lines."""
    return console.Console(width=None if sys.stdout.isatty() else 200, highlight=False, emoji=False)


def json(value: Any) -> None:
    """Print a result as JSON."""
    sys.stdout.write(orjson.dumps(value, option=orjson.OPT_INDENT_2, default=str).decode() + "\n")


def page(result: dict[str, Any], columns: Sequence[str], *, empty: str, as_json: bool) -> int:
    """Print a page of a list, as JSON or as a table; the exit code is 0."""
    if as_json:
        json(result)
    else:
        rows(result["items"], columns, empty=empty, more=result.get("next_cursor"))
    return 0


def one(result: dict[str, Any], names: Iterable[str] | None = None, *, as_json: bool) -> int:
    """Print one thing, as JSON or by its facts (all of them, or those named); the exit code is 0."""
    json(result) if as_json else facts(result, tuple(result) if names is None else names)
    return 0


def rows(items: Sequence[dict[str, Any]], columns: Sequence[str], *, empty: str, more: str | None = None) -> None:
    """Print items as a table of the columns that any of them has."""
    if not items:
        out().print(empty, style="dim")
        return
    shown = [name for name in columns if any(item.get(name) not in (None, "", [], {}) for item in items)]
    grid = table.Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in shown:
        grid.add_column(name.removesuffix("_ns").replace("_", " "), overflow="fold")
    for item in items:
        grid.add_row(*(styled(name, item.get(name)) for name in shown))
    out().print(grid)
    if more:
        out().print(f"More: add --cursor {markup.escape(more)}", style="dim")


def section(title: str, items: Sequence[dict[str, Any]], columns: Sequence[str]) -> None:
    """Print items as a table below a heading; nothing when there are none."""
    if items:
        heading(title)
        rows(items, columns, empty="")


def folded(items: Iterable[dict[str, Any]], name: str, by: str, most: int = 5) -> list[dict[str, Any]]:
    """Items that have the same value of `by` as one row with that value, their number and the first of their names.

    Fifty rows with one reason say no more than one; --json has them all.
    """
    groups: dict[Any, list[str]] = {}
    for item in items:
        groups.setdefault(item[by], []).append(str(item[name]))
    rows = []
    for value, names in groups.items():
        more = f" and {len(names) - most} more" if len(names) > most else ""
        rows.append({"number": len(names), name: ", ".join(names[:most]) + more, by: value})
    return rows


def facts(item: dict[str, Any], names: Iterable[str]) -> None:
    """Print the named facts of one thing, one a line."""
    grid = table.Table.grid(padding=(0, 2))
    for name in names:
        if item.get(name) not in (None, "", [], {}):
            grid.add_row(f"[bold]{name.removesuffix('_ns').replace('_', ' ')}[/]", styled(name, item[name]))
    out().print(grid)


def yaml(value: dict[str, Any]) -> str:
    """A document as the YAML that a person would edit."""
    return dump.to_yaml(value)


def heading(text: str) -> None:
    """Print a heading."""
    out().print(f"\n[bold]{markup.escape(text)}[/]")


def steps(calls: Sequence[dict[str, Any]]) -> None:
    """What to do next, in commands; nothing when there is nothing."""
    if calls:
        heading("Next")
    for call in calls:
        command = call.get("command") or wording.command(call["call"], call["arguments"])
        text(f"  {command}\n      {printable('', call['why'])}")


def text(value: str) -> None:
    """Print a text of the engine as it is, but for what would act on the terminal instead of being read."""
    sys.stdout.write(results.visible(value.rstrip("\n")) + "\n")


def diff(value: str) -> None:
    """Print a unified diff, which may be indented, coloured when someone watches."""
    screen = out()
    for line in results.visible(value).split("\n"):
        style = {"+": "green", "-": "red", "@": "cyan"}.get(line.lstrip()[:1], "")
        screen.print(markup.escape(line), style=style, soft_wrap=True)


def styled(name: str, value: Any) -> str:
    """One value as safe markup: times in UTC, states in colour, the rest as short text."""
    plain = markup.escape(printable(name, value))
    colour = _STYLES.get(str(value)) if name in ("state", "health", "active") else None
    return f"[{colour}]{plain}[/]" if colour else plain


def printable(name: str, value: Any) -> str:
    """One value as one line of text without control characters."""
    if value is None:
        return ""
    if name == "hint":
        value = wording.hint(str(value))
    if name.endswith("_ns") and isinstance(value, int):
        return clock.iso(value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict) and not any(isinstance(part, dict | list) for part in value.values()):
        value = ", ".join(f"{key}={part}" for key, part in value.items() if part not in (None, "", 0))
    elif isinstance(value, list) and not any(isinstance(part, list) for part in value):
        value = "; ".join(printable("", part) for part in value)
    elif isinstance(value, dict | list):
        value = orjson.dumps(value, default=str).decode()
    return "".join(c if c.isprintable() or c == "\n" else " " for c in str(value))
