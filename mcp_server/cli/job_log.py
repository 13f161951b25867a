"""`sluice job log` and `sluice logs`, which can go on with what comes, and what `sluice job metrics` prints."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from typing import Any

import orjson

from mcp_server.cli import connect, following, render

FOLLOW_SECONDS = 20
PAGE = 500
_COLOURS = re.compile(r"\x1b\[[0-9:;]*m")
_CONTINUED = "\n    | "  # of a text of several lines: no line of it looks like one of its own


async def log(given: dict[str, Any], beside: Mapping[str, Any], common: connect.Common) -> int:
    """Print the last lines of a job, and with --follow those that come."""
    name, follow = given["name"], beside.get("follow")
    async with connect.engine(common, follows=bool(follow)) as engine:
        result = await engine.call("job_log", **given)
        if common.json and not follow:
            render.json(result)
            return 0
        for worker in result["unreachable"]:
            connect.note(f"note: worker {worker} is not there; these are the lines that it had sent")
        if not result["items"] and not follow:
            connect.note(f"The log of {name} is empty.")
        elif not result["deployed"]:
            connect.note(f"note: {name} is not deployed; these are the lines that are kept")
        _print(result["items"], as_json=common.json)
        if follow:
            await _follow(engine, "job_log", given, result["cursor"], as_json=common.json)
    return 0


async def logs(given: dict[str, Any], beside: Mapping[str, Any], common: connect.Common) -> int:
    """Print the lines of a search, the newest one last, and how to go on; or with --follow those that come."""
    follow = beside.get("follow")
    async with connect.engine(common, follows=bool(follow)) as engine:
        result = await engine.call("log_search", **given)
        if follow:
            _print(result["items"][::-1], as_json=common.json)
            wanted = {name: given.get(name) for name in ("text", "regex", "of", "level", "run", "invocation")}
            await _follow(engine, "log_search", wanted, result["after"], as_json=common.json)
    if common.json:
        render.json(result)
        return 0
    if result["next_cursor"] is not None:
        render.text(f"There may be more before {result['searched_until']}: --cursor {result['next_cursor']}")
    _print(result["items"][::-1], as_json=False)
    if not result["items"]:
        connect.note("No line fits.")
    return 0


async def _follow(
    engine: connect.Client, operation: str, wanted: Mapping[str, Any], after: str, *, as_json: bool
) -> None:
    """Print what comes after a place, each line once, also of the next engines; ends with the command."""
    asked = {**wanted, "limit": PAGE, "wait_seconds": FOLLOW_SECONDS}
    while True:
        asked["after"] = after
        result = await following.ask(lambda: engine.call(operation, **asked))
        if result.get("reset"):
            connect.note("note: some lines were let go before they could be shown here (log_retention_mb, log_job_mb)")
        after = result.get("after") or result["cursor"]
        _print(result["items"], as_json=as_json)


def _print(lines: list[dict[str, Any]], *, as_json: bool) -> None:
    for line in lines:
        if as_json:
            sys.stdout.write(orjson.dumps(line).decode() + "\n")
            continue
        fields = orjson.dumps(line["fields"]).decode() if "fields" in line else ""
        sys.stdout.write(render_line(line["at"], line["level"], line["text"], fields) + "\n")
    sys.stdout.flush()


def render_line(at: str, level: str, text: str, fields: str = "") -> str:
    """A line of a log for a terminal, whatever its job wrote: without colours, with control characters that can be
    seen (`\\x1b`), and with further lines of its text set off from lines of their own."""
    text = _COLOURS.sub("", text).replace("\r\n", "\n").rstrip("\n")
    whole = f"{at} {level:7} {text} {fields}".rstrip()
    return "".join(_CONTINUED if c == "\n" else c if c.isprintable() or c == "\t" else _escape(c) for c in whole)


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode()


def metrics(found: dict[str, Any], typed: Mapping[str, Any]) -> None:
    """Print what jobs have done: events, refused ones, bytes, errors, lag."""
    figures = ("events_in", "events_out", "bytes_in", "bytes_out", "errors", "runs", "runs_failed", "lag_seconds")
    rows = [
        {
            **row,
            **{key: row["metrics"].get(key, 0) for key in figures},
            "refused": sum(count for name, count in row["metrics"].items() if name.startswith("refused_by_")),
        }
        for row in found["items"]
    ]
    columns = ("job", "replica", "worker", "state", "events_in", "events_out", "refused", *figures[2:])
    empty = "No job fits." if typed.get("name") or typed.get("deployment") else "No jobs are deployed."
    render.rows(rows, columns, empty=empty, more=found.get("next_cursor"))
