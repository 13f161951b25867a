"""Results on the terminal or in a pipe: for programs as they are, for people as tables and short texts.

How they are wanted is said once for each process (`choose`), by the flags that every command takes.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterable, Sequence
from typing import Any, Literal

import orjson

from core import clock, errors
from mcp_server import results
from mcp_server.cli import tables, wording

Output = Literal["table", "wide", "json", "yaml", "name"]
FOR_PROGRAMS = ("json", "yaml", "name")

_GREEN, _RED, _YELLOW, _BOLD, _CYAN = "32", "31", "33", "1", "36"
_STYLES = {
    "running": _GREEN,
    "succeeded": _GREEN,
    "online": _GREEN,
    "completed": _GREEN,
    "active": _GREEN,
    "healthy": _GREEN,
    "failed": _RED,
    "quarantined": _RED,
    "timed_out": _RED,
    "canceled": _YELLOW,
    "lost": _RED,
    "degraded": _YELLOW,
    "warning": _YELLOW,
    "applying": _YELLOW,
    "dispatched": _YELLOW,
    "accepted": _YELLOW,
}
NAMES = (
    *("workload", "invocation_id", "run_id", "plan_id", "event_id", "letter_id", "id", "slug", "name"),
    *("deployment", "namespace", "key"),
)
"""What a row is called, the narrowest first."""

_chosen: Output = "table"


def choose(output: Output) -> None:
    """Say how the results of this process are wanted."""
    global _chosen
    _chosen = output


def chosen() -> Output:
    """How the results of this process are wanted."""
    return _chosen


def watched() -> bool:
    """Whether somebody looks at what is printed, and not a program."""
    return sys.stdout.isatty()


def coloured() -> bool:
    """Whether colours are wanted: never in a pipe, nor where NO_COLOR is set to anything (no-color.org)."""
    return watched() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def width() -> int | None:
    """How wide a table may be; None for whole values, in a pipe or because they are wanted."""
    return shutil.get_terminal_size().columns if watched() and _chosen != "wide" else None


def json(value: Any, named_by: str = "") -> None:
    """Print a result for programs: as JSON, or as whatever else they have asked for; a row is `named_by` this key."""
    if _chosen == "name":
        sys.stdout.write("".join(f"{printable('', name)}\n" for name in names(value, named_by)))
    elif _chosen == "yaml":
        sys.stdout.write(yaml(orjson.loads(orjson.dumps(value, default=str))).rstrip("\n") + "\n")
    else:
        sys.stdout.write(orjson.dumps(value, option=orjson.OPT_INDENT_2, default=str).decode() + "\n")


def names(value: Any, by: str = "") -> list[str]:
    """What the rows of a list, or the one thing, are called. Raises InvalidParams when they have no names."""
    rows = value["items"] if isinstance(value, dict) and isinstance(value.get("items"), list) else value
    found = []
    for row in rows if isinstance(rows, list) else [rows]:
        name = next((str(row[key]) for key in (by, *NAMES) if row.get(key)), "") if isinstance(row, dict) else ""
        if not name:
            raise errors.InvalidParams("What this command answers has no names.", hint="Take -o json in place of it.")
        found.append(name)
    return found


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
    """Print items as a table of the columns that any of them has; those at the end go where there is no room."""
    if not items:
        sys.stdout.write(_styled(empty, "2") + "\n")
        return
    table = tables.lay(items, columns, printable, width=width(), now_ns=clock.now_ns(), paint=_painted)
    sys.stdout.write("\n".join((_styled(table.lines[0], _BOLD), *table.lines[1:])) + "\n")
    if table.dropped:
        aside(f"Not shown for want of room: {', '.join(table.dropped)} (-o wide shows all).")
    if more:
        aside(f"More: add --cursor {more}")


def aside(text: str) -> None:
    """Say something about a table, on stderr and behind it: it is none of its rows."""
    sys.stdout.flush()
    sys.stderr.write(printable("", text) + "\n")


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
    """Print the named facts of one thing, one a line and never folded: the terminal does that, and copies it whole."""
    shown = [name for name in names if item.get(name) not in (None, "", [], {})]
    heads = {name: name.removesuffix("_ns").replace("_", " ") for name in shown}
    wide = max(map(len, heads.values()), default=0)
    for name in shown:
        lines = printable(name, item[name]).split("\n")
        first = _painted(name, item[name], lines[0])
        sys.stdout.write("\n".join((f"{_styled(heads[name].ljust(wide), _BOLD)}  {first}", *lines[1:])) + "\n")


def yaml(value: Any) -> str:
    """A document as the YAML that a person would edit."""
    from core.documents import dump  # the room brings what reads documents as well, which most commands do without

    return dump.to_yaml(value)


def heading(text: str) -> None:
    """Print a heading."""
    sys.stdout.write("\n" + _styled(printable("", text), _BOLD) + "\n")


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
    for line in results.visible(value).split("\n"):
        colour = {"+": _GREEN, "-": _RED, "@": _CYAN}.get(line.lstrip()[:1], "")
        sys.stdout.write(_styled(line, colour) + "\n")


def _painted(name: str, value: Any, text: str) -> str:
    """The text of a value in its colour: states have one."""
    return _styled(text, _STYLES.get(str(value), "") if name in ("state", "health", "active") else "")


def _styled(text: str, style: str) -> str:
    return f"\x1b[{style}m{text}\x1b[0m" if style and coloured() else text


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
