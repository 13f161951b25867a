"""`sluice job log`, and what `sluice job metrics` prints."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import orjson
from cyclopts import Parameter

from mcp_server.cli import connect, render

FOLLOW_SECONDS = 20
MOST_CHARACTERS = 1_000_000


async def log(
    name: str,
    /,
    *,
    follow: Annotated[bool, Parameter(negative=())] = False,
    limit: int | None = None,
    level: Literal["warning", "error"] | None = None,
    common: connect.Common = connect.DEFAULTS,
) -> int:
    """Read or follow the log of a job.

    Parameters
    ----------
    name
        The job.
    follow
        Keep printing lines as they come, until interrupted.
    limit
        How many lines.
    level
        Only lines of this level or a higher one.
    """
    async with connect.engine(common) as engine:
        result = await engine.call("job_log", name=name, limit=limit, level=level, characters=MOST_CHARACTERS)
        if common.json and not follow:
            render.json(result)
            return 0
        for worker in result["unreachable"]:
            connect.note(f"note: worker {worker} does not answer; these are the lines that it had sent")
        if not result["items"] and not follow:
            connect.note(f"The log of {name} is empty.")
        elif not result["deployed"]:
            connect.note(f"note: {name} is not deployed; these are the lines of its last run")
        _print(result["items"], as_json=common.json)
        while follow:
            result = await engine.call(
                "job_log",
                name=name,
                limit=500,
                level=level,
                after=result["cursor"],
                wait_seconds=FOLLOW_SECONDS,
                characters=MOST_CHARACTERS,
            )
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


def metrics(found: dict[str, Any], given: Mapping[str, Any]) -> None:
    """Print what jobs have done: events, bytes, errors, lag."""
    figures = ("events_in", "events_out", "bytes_in", "bytes_out", "errors", "runs", "runs_failed", "lag_seconds")
    rows = [{**row, **{key: row["metrics"].get(key, 0) for key in figures}} for row in found["items"]]
    columns = ("job", "replica", "worker", "state", *figures)
    render.rows(rows, columns, empty="No jobs are deployed.", more=found.get("next_cursor"))
