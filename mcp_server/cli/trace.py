"""`sluice job trace`: run a job document over a few events and look at every step."""

from __future__ import annotations

from typing import Annotated, Any

import orjson
from cyclopts import Parameter

from core import errors
from core.documents import canonical
from mcp_server.cli import connect, documents, render

MOST_EVENTS = 1000
Source = Annotated[str, Parameter(allow_leading_hyphen=True)]


async def trace(
    file: Source | None = None,
    /,
    *,
    job: str | None = None,
    version: int | None = None,
    events: Source | None = None,
    message: str | None = None,
    sample: int | None = None,
    common: connect.Common = connect.DEFAULTS,
) -> int:
    """Run a job over a few events and show what each action does; nothing is sent or stored.

    Parameters
    ----------
    file
        The job document, or - for standard input.
    job
        Instead of a document: the name of a stored job.
    version
        With --job: which staged version; the newest when left out.
    events
        A file of events: JSON lines or one JSON array; - for standard input.
    message
        The payload for ${msg|...} as JSON.
    sample
        Take up to so many events from the real input; nothing is acknowledged or remembered.
    """
    if file == "-" and events == "-":
        raise errors.InvalidParams("Only one of document and events can come from standard input.")
    text, name = documents.text(file) if file is not None else (None, "")
    payload = _object("--message", message) if message is not None else None
    given = _events(events) if events is not None else None
    with documents.named(name):
        async with connect.engine(common) as engine:
            result = await engine.call(
                "job_trace", document=text, name=job, version=version, events=given, message=payload, sample=sample
            )
    if common.json:
        render.json(result)
    else:
        _show(result)
    return 1 if result["errors"] else 0


def _show(result: dict[str, Any]) -> None:
    render.heading(f"Events in: {result['counts']['events_in']}")
    _lines(result["events_in"])
    for step in result["steps"]:
        dropped = f", {step['dropped']} dropped" if step["dropped"] else ""
        title = f"{step['index']} {step['action']}: {step['events_in']} in, {step['events_out']} out{dropped}"
        render.heading(f"{title}  {step['description']}".rstrip())
        _lines(step["after"])
        for warning in step["warnings"]:
            render.text(f"  ! {warning}")
    render.heading(f"Would emit: {result['counts']['would_emit']}")
    _lines(result["would_emit"])
    if result["errors"]:
        render.heading(f"Errors: {result['counts']['errors']}")
        render.rows(result["errors"], ("step", "event", "message"), empty="")
    if result.get("truncated"):
        render.text(f"Cut to size: {', '.join(result['truncated'])}; the counts are whole.")


def _lines(values: list[Any]) -> None:
    for value in values:
        render.text("  " + orjson.dumps(value).decode())


def _object(flag: str, text: str) -> dict[str, Any]:
    value = _parsed(flag, text.encode())
    if not isinstance(value, dict):
        raise errors.InvalidParams(f"{flag} must be a JSON object.")
    return value


def _parsed(where: str, raw: bytes) -> Any:
    try:
        return canonical.parse_json(raw)
    except errors.InvalidParams as error:
        raise errors.InvalidParams(f"{where}: {error.message}", hint=error.hint, errors=error.errors) from None


def _events(source: str) -> list[dict[str, Any]]:
    """Events of a file: a JSON array, or one object on each line."""
    text, name = documents.text(source)
    if text.lstrip().startswith("["):
        found = _parsed(name, text.encode())
    else:
        lines = enumerate(text.splitlines(), 1)
        found = [_parsed(f"{name}:{number}", line.encode()) for number, line in lines if line.strip()]
    if not isinstance(found, list) or not all(isinstance(event, dict) for event in found):
        raise errors.InvalidParams(f"{name} holds something else than JSON objects.", hint="One event is one object.")
    if len(found) > MOST_EVENTS:
        raise errors.InvalidParams(f"{name} has {len(found)} events; a trace takes at most {MOST_EVENTS}.")
    return found
