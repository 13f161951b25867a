"""`sluice invocation`: the runs of triggers, their callbacks, and runs that repeat others."""

from __future__ import annotations

import os
from typing import Annotated, Any

import anyio
from cyclopts import Parameter

from core import clock, errors
from mcp_server.cli import connect, documents, progress, render, wording

ENDED = frozenset({"succeeded", "failed", "timed_out"})
LOOK_SECONDS = 1.0  # between two looks at a run when nothing was announced

_LISTED = (
    *("invocation_id", "trigger_slug", "trigger_revision", "state", "caller", "surface", "attempts", "rerun_of"),
    *("requested_at_ns", "finished_at_ns"),
)
_SHOWN = (
    *("invocation_id", "trigger_slug", "trigger_revision", "state", "deduplicated", "caller", "surface", "attempts"),
    *("requested_at_ns", "deadline_ns", "finished_at_ns", "trigger_proxy_recorded_at", "rerun_of", "callback"),
)
_DELIVERIES = ("event_id", "invocation_id", "receiver", "state", "outcome", "attempts", "next_try_at", "last")

Header = Annotated[list[str] | None, Parameter(name="--callback-header", negative=())]
HeaderEnv = Annotated[list[str] | None, Parameter(name="--callback-header-env", negative=())]


async def get(invocation_id: str, /, *, common: connect.Common = connect.DEFAULTS) -> int:
    """Show one invocation: state, result, history, callbacks.

    Parameters
    ----------
    invocation_id
        The invocation.
    """
    async with connect.engine(common) as engine:
        result = await engine.call("trigger_invocation_get", invocation_id=invocation_id)
        engine.tell_when_idle()
    return show(result, common, failing=False)


async def list_invocations(
    *,
    trigger: str | None = None,
    state: str | None = None,
    user: str | None = None,
    surface: str | None = None,
    tag: str | None = None,
    since: str | None = None,
    until: str | None = None,
    limit: int | None = None,
    cursor: str | None = None,
    common: connect.Common = connect.DEFAULTS,
) -> int:
    """List invocations, the newest first.

    Parameters
    ----------
    trigger
        Only those of this trigger.
    state
        Only those in this state: dispatched, succeeded, failed or timed_out.
    user
        Only those by this user.
    surface
        Only those asked for through this door: mcp, http, cli or internal.
    tag
        Only those of triggers with this tag.
    since
        Only those asked for at this time (2026-03-13T10:15:00Z) or so long ago (90s, 15m, 2h, 7d), or later.
    until
        Only those asked for before this time.
    limit
        How many rows.
    cursor
        Where the last page ended.
    """
    async with connect.engine(common) as engine:
        result = await engine.call(
            "trigger_invocation_list",
            slug=trigger,
            state=state,
            username=user,
            surface=surface,
            tag=tag,
            since=since,
            until=until,
            limit=limit,
            cursor=cursor,
        )
        engine.tell_when_idle()
    none = "There are no invocations that fit. Make one with: sluice trigger invoke SLUG"
    return render.page(
        result,
        _LISTED,
        empty=wording.hint(result.get("hint", none)),
        as_json=common.json,
    )


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
                    return show(result, common)
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
    return show(result, common)


async def callbacks(
    invocation_id: str | None = None,
    /,
    *,
    outcome: str | None = None,
    limit: int | None = None,
    cursor: str | None = None,
    common: connect.Common = connect.DEFAULTS,
) -> int:
    """List what was posted to callbacks, the newest first.

    Parameters
    ----------
    invocation_id
        Only what tells of this invocation.
    outcome
        Only pending, delivered or dead deliveries.
    limit
        How many rows.
    cursor
        Where the last page ended.
    """
    async with connect.engine(common) as engine:
        result = await engine.call(
            "callback_delivery_list", invocation_id=invocation_id, outcome=outcome, limit=limit, cursor=cursor
        )
    if common.json:
        render.json(result)
    else:
        _deliveries(result["items"], result.get("next_cursor"))
    return 0


async def redeliver(event_id: str, /, *, common: connect.Common = connect.DEFAULTS) -> int:
    """Post a callback delivery that has ended once more.

    Parameters
    ----------
    event_id
        The delivery.
    """
    async with connect.engine(common) as engine:
        result = await engine.call("callback_redeliver", event_id=event_id)
    return render.one(result, as_json=common.json)


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


def show(invocation: dict[str, Any], common: connect.Common, *, failing: bool = True) -> int:
    """Print an invocation; the exit code says whether it failed."""
    if common.json:
        render.json(invocation)
    else:
        render.facts(invocation, (*_SHOWN, "params"))
        if invocation.get("result") is not None:
            render.heading("Result")
            render.json(invocation["result"])
        if invocation.get("events"):
            render.heading("Events")
            columns = dict.fromkeys(key for event in invocation["events"] for key in event)
            render.rows(invocation["events"], tuple(columns), empty="")
        if invocation.get("callbacks"):
            render.heading("Callbacks")
            _deliveries(invocation["callbacks"], None)
    return 1 if failing and invocation["state"] in ("failed", "timed_out") else 0


def _deliveries(items: list[dict[str, Any]], more: str | None) -> None:
    rows = [{**item, "last": item["tries"][-1] if item["tries"] else None} for item in items]
    render.rows(rows, _DELIVERIES, empty="There are no callback deliveries that fit.", more=more)
