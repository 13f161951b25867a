"""`sluice invocation watch`, and what is given for and printed of runs and what is posted to their callbacks."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import anyio

from core import clock, errors
from mcp_server.cli import connect, documents, forms, render

ENDED = frozenset({"succeeded", "failed", "timed_out", "canceled"})
LOOK_SECONDS = 1.0  # between two looks at a run when nothing was announced

_SHOWN = (
    *("invocation_id", "trigger_slug", "trigger_revision", "state", "deduplicated", "caller", "surface", "attempts"),
    *("requested_at", "deadline", "finished_at", "trigger_proxy_recorded_at", "rerun_of", "trace_id", "callback"),
)
_DELIVERIES = ("event_id", "invocation_id", "receiver", "state", "outcome", "attempts", "next_try_at", "last")


async def watch(given: dict[str, Any], beside: Mapping[str, Any], common: connect.Common) -> int:
    """Print what happens to an invocation until it has ended, and then what became of it."""
    invocation_id, within = given["invocation_id"], beside.get("timeout")
    deadline = None if within is None else clock.monotonic() + within
    async with connect.engine(common, follows=True) as engine:
        news = anyio.Event()

        def notice(kind: str, data: dict[str, Any]) -> None:
            if kind == "invocation" and data.get("invocation_id") == invocation_id:
                news.set()

        leave = engine.session.subscribe(notice)
        try:
            told = 0
            while True:
                news = anyio.Event()  # before the look, so that nothing between the two is missed
                result = await engine.call("trigger_invocation_get", invocation_id=invocation_id)
                for event in result["events"][told:]:
                    connect.note(_event(event))
                told = len(result["events"])
                if result["state"] in ENDED or (deadline is not None and clock.monotonic() >= deadline):
                    return end(result, common)
                left = LOOK_SECONDS if deadline is None else min(LOOK_SECONDS, deadline - clock.monotonic())
                with anyio.move_on_after(max(0.0, left)):
                    await news.wait()
        finally:
            leave()


def _event(event: dict[str, Any]) -> str:
    more = ", ".join(f"{key}={value}" for key, value in event.items() if key not in ("at_ns", "at", "type"))
    return render.printable("", f"{event['at']}  {event['type']}  {more}".rstrip())


def with_callback(given: dict[str, Any], beside: Mapping[str, Any], common: connect.Common) -> dict[str, Any]:
    """The callback that the flags describe. Raises InvalidParams for headers alone, or a variable that is not set."""
    url, headers = beside.get("callback"), documents.texts(beside.get("callback_header", ()), "--callback-header")
    for name, variable in documents.texts(beside.get("callback_header_env", ()), "--callback-header-env").items():
        if variable not in os.environ:
            raise errors.InvalidParams(f"The environment variable {errors.shorten(variable, 60)} is not set.")
        headers[name] = os.environ[variable]
    if url is None and headers:
        raise errors.InvalidParams("There are headers for a callback, and no --callback.")
    return given if url is None else {**given, "callback": {"url": url, "headers": headers}}


def end(invocation: dict[str, Any], common: connect.Common) -> int:
    """Print an invocation; the exit code says whether it failed."""
    render.json(invocation) if common.json else show(invocation, {})
    return forms.outcome(invocation, {})


def show(invocation: dict[str, Any], typed: Mapping[str, Any]) -> None:
    """Print an invocation: state, result, history, callbacks."""
    render.facts(invocation, (*_SHOWN, "params"))
    if invocation.get("result") is not None:
        render.heading("Result")
        render.json(invocation["result"])
    events = invocation.get("events") or ()
    keys = ("at", *(key for event in events for key in event if key != "at_ns"))
    render.section("Events", events, tuple(dict.fromkeys(keys)))
    if invocation.get("callbacks"):
        render.heading("Callbacks")
        deliveries({"items": invocation["callbacks"]}, {})
    render.steps(invocation.get("next") or ())


def deliveries(found: dict[str, Any], typed: Mapping[str, Any]) -> None:
    """Print what was posted to callbacks."""
    rows = [{**item, "last": item["tries"][-1] if item["tries"] else None} for item in found["items"]]
    render.rows(rows, _DELIVERIES, empty="There are no callback deliveries that fit.", more=found.get("next_cursor"))
