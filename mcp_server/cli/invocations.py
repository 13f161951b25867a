"""`sluice invocation watch` and `rerun`, and what is printed of runs and of what was posted to their callbacks."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Annotated, Any

import anyio
from cyclopts import Parameter

from core import clock, errors
from mcp_server.cli import connect, documents, progress, render

ENDED = frozenset({"succeeded", "failed", "timed_out"})
LOOK_SECONDS = 1.0  # between two looks at a run when nothing was announced

_SHOWN = (
    *("invocation_id", "trigger_slug", "trigger_revision", "state", "deduplicated", "caller", "surface", "attempts"),
    *("requested_at_ns", "deadline_ns", "finished_at_ns", "trigger_proxy_recorded_at", "rerun_of", "callback"),
)
_DELIVERIES = ("event_id", "invocation_id", "receiver", "state", "outcome", "attempts", "next_try_at", "last")

Header = Annotated[list[str] | None, Parameter(name="--callback-header", negative=())]
HeaderEnv = Annotated[list[str] | None, Parameter(name="--callback-header-env", negative=())]


async def watch(
    invocation_id: str,
    /,
    *,
    within: Annotated[float | None, Parameter(name="--timeout")] = None,
    common: connect.Common = connect.DEFAULTS,
) -> int:
    """Tell what happens to an invocation until it has ended, and show it.

    Parameters
    ----------
    invocation_id
        The invocation.
    within
        Give up after so many seconds; without it, watch as long as it takes.
    """
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
    more = ", ".join(f"{key}={value}" for key, value in event.items() if key not in ("at_ns", "type"))
    return render.printable("", f"{clock.iso(event['at_ns'])}  {event['type']}  {more}".rstrip())


async def rerun(
    invocation_id: str,
    /,
    *,
    set_: Annotated[list[str] | None, Parameter(name="--set", negative=())] = None,
    unset: Annotated[list[str] | None, Parameter(name="--unset", negative=())] = None,
    idempotency_key: str | None = None,
    wait: int | None = None,
    callback: str | None = None,
    callback_header: Header = None,
    callback_header_env: HeaderEnv = None,
    common: connect.Common = connect.DEFAULTS,
) -> int:
    """Run a trigger again with the parameters of an earlier run, and wait for the result.

    Parameters
    ----------
    invocation_id
        The run to repeat.
    set_
        A parameter that shall be another, NAME=VALUE; may be repeated.
    unset
        A parameter to leave out; may be repeated.
    idempotency_key
        A second call with the same key gives the first call's invocation.
    wait
        How many seconds to wait for the end (0-300).
    callback
        Post each change of state to this address.
    callback_header
        A header of these posts, NAME=VALUE; may be repeated.
    callback_header_env
        The same with the value taken from an environment variable, NAME=VARIABLE.
    """
    async with connect.engine(common) as engine:
        with progress.bar(engine, invocation_id, f"repeating {invocation_id}", quiet=common.json):
            result = await engine.call(
                "trigger_invocation_rerun",
                invocation_id=invocation_id,
                params=documents.values(set_ or ()) or None,
                unset=unset or None,
                idempotency_key=idempotency_key,
                wait_timeout_seconds=wait,
                callback=callback_of(callback, callback_header, callback_header_env),
            )
    return end(result, common)


def callback_of(
    url: str | None, headers: list[str] | None, from_environment: list[str] | None
) -> dict[str, Any] | None:
    """The callback that the flags describe. Raises InvalidParams for headers alone, or a variable that is not set."""
    given = documents.texts(headers or (), "--callback-header")
    for name, variable in documents.texts(from_environment or (), "--callback-header-env").items():
        if variable not in os.environ:
            raise errors.InvalidParams(f"The environment variable {errors.shorten(variable, 60)} is not set.")
        given[name] = os.environ[variable]
    if url is None and given:
        raise errors.InvalidParams("There are headers for a callback, and no --callback.")
    return None if url is None else {"url": url, "headers": given}


def end(invocation: dict[str, Any], common: connect.Common) -> int:
    """Print an invocation; the exit code says whether it failed."""
    render.json(invocation) if common.json else shown(invocation, {})
    return 1 if invocation["state"] in ("failed", "timed_out") else 0


def shown(invocation: dict[str, Any], given: Mapping[str, Any]) -> None:
    """Print an invocation: state, result, history, callbacks."""
    render.facts(invocation, (*_SHOWN, "params"))
    if invocation.get("result") is not None:
        render.heading("Result")
        render.json(invocation["result"])
    events = invocation.get("events") or ()
    render.section("Events", events, tuple(dict.fromkeys(key for event in events for key in event)))
    if invocation.get("callbacks"):
        render.heading("Callbacks")
        deliveries({"items": invocation["callbacks"]}, {})


def deliveries(found: dict[str, Any], given: Mapping[str, Any]) -> None:
    """Print what was posted to callbacks."""
    rows = [{**item, "last": item["tries"][-1] if item["tries"] else None} for item in found["items"]]
    render.rows(rows, _DELIVERIES, empty="There are no callback deliveries that fit.", more=found.get("next_cursor"))
