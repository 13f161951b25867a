"""`sluice job log`, and what `sluice logs` and `sluice job metrics` print."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import orjson

from mcp_server.cli import connect, render

FOLLOW_SECONDS = 20


async def log(given: dict[str, Any], beside: Mapping[str, Any], common: connect.Common) -> int:
    """Print the last lines of a job, and with --follow those that come."""
    name, follow = given["name"], beside.get("follow")
    async with connect.engine(common) as engine:
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
        more = {**given, "limit": 500, "wait_seconds": FOLLOW_SECONDS}
        while follow:
            result = await engine.call("job_log", **more, after=result["cursor"])
            _print(result["items"], as_json=common.json)
    return 0


def _print(lines: list[dict[str, Any]], *, as_json: bool) -> None:
    for line in lines:
        if as_json:
            sys.stdout.write(orjson.dumps(line).decode() + "\n")
            continue
        fields = orjson.dumps(line["fields"]).decode() if "fields" in line else ""
        text = f"{line['at']} {line['level']:7} {line['text']} {fields}"
        render.text(render.printable("", text))
    sys.stdout.flush()


def found(answer: dict[str, Any], typed: Mapping[str, Any]) -> None:
    """Print the lines of a search, the newest one last, and how to go on."""
    if answer["next_cursor"] is not None:
        render.text(f"There may be more before {answer['searched_until']}: --cursor {answer['next_cursor']}")
    _print(answer["items"][::-1], as_json=False)
    if not answer["items"]:
        connect.note("No line fits.")


def metrics(found: dict[str, Any], typed: Mapping[str, Any]) -> None:
    """Print what jobs have done: events, bytes, errors, lag."""
    figures = ("events_in", "events_out", "bytes_in", "bytes_out", "errors", "runs", "runs_failed", "lag_seconds")
    rows = [{**row, **{key: row["metrics"].get(key, 0) for key in figures}} for row in found["items"]]
    columns = ("job", "replica", "worker", "state", *figures)
    render.rows(rows, columns, empty="No jobs are deployed.", more=found.get("next_cursor"))
