"""`sluice job trace`: run a job document over a few events and look at every step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from core import errors
from core.documents import canonical
from mcp_server.cli import documents, render

MOST_EVENTS = 1000


def show(result: dict[str, Any], typed: Mapping[str, Any]) -> None:
    """Print the events before and after each step."""
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


def walked(result: dict[str, Any], typed: Mapping[str, Any]) -> None:
    """Print what each step of a workflow does to the events."""
    for one in result["steps"]:
        dropped = f", {one['dropped']} dropped" if one["dropped"] else ""
        counts = f"{len(one['events_in'])} in, {len(one['events_out'])} out{dropped}"
        render.heading(f"{one['step']}  {one['uses']}: {one['passed_over'] or counts}")
        _lines(one["events_out"])
        for sent in one["would_emit"]:
            if sent.get("kind") not in ("worker-channel", "dispatch"):
                render.text("  would emit " + orjson.dumps(sent).decode())
        for fault in one["errors"]:
            render.text(f"  ! {fault['step']}: {fault['message']}")
        if one["truncated"]:
            render.text(f"  Cut to size: {', '.join(one['truncated'])}; what comes behind has seen no more.")


def _lines(values: list[Any]) -> None:
    for value in values:
        render.text("  " + orjson.dumps(value).decode())


def message(text: str, flag: str) -> dict[str, Any]:
    """The payload of a message, which is an object. Raises InvalidParams."""
    value = _parsed(flag, text.encode())
    if not isinstance(value, dict):
        raise errors.InvalidParams(f"{flag} must be a JSON object.")
    return value


def _parsed(where: str, raw: bytes) -> Any:
    try:
        return canonical.parse_json(raw)
    except errors.InvalidParams as error:
        raise errors.InvalidParams(f"{where}: {error.message}", hint=error.hint, errors=error.errors) from None


def events(source: str, flag: str) -> list[dict[str, Any]]:
    """Events of a file: a JSON array, or one object on each line. Raises InvalidParams."""
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
