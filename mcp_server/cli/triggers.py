"""`sluice trigger` and `sluice invocation`."""

from __future__ import annotations

from typing import Annotated, Any

from cyclopts import Parameter

from core import clock, errors
from core.documents import Document
from mcp_server.cli import connect, documents, render

WAIT_SECONDS = 30  # how long one look of `invocation watch` waits at the engine
ENDED = frozenset({"succeeded", "failed", "timed_out"})

File = Annotated[str, Parameter(name=("--file", "-f"), allow_leading_hyphen=True)]
_SHOWN = ("invocation_id", "trigger_slug", "trigger_revision", "state", "deduplicated", "caller", "requested_at_ns")


async def list_triggers(
    *,
    surface: str | None = None,
    invokable_only: Annotated[bool, Parameter(negative=())] = False,
    limit: int | None = None,
    cursor: str | None = None,
    common: connect.Common = connect.DEFAULTS,
) -> int:
    """List triggers.

    Parameters
    ----------
    surface
        Only triggers published to this surface: ui or mcp.
    invokable_only
        Only triggers that you may invoke.
    limit
        How many rows.
    cursor
        Where the last page ended.
    """
    async with connect.engine(common) as engine:
        result = await engine.call(
            "trigger_list", surface=surface, invokable_only=invokable_only or None, limit=limit, cursor=cursor
        )
    if common.json:
        render.json(result)
    else:
        render.rows(
            result["items"],
            ("slug", "revision", "active", "display_name", "target_job_name", "tool_name"),
            empty="There are no triggers. Publish one with: sluice trigger publish -f trigger.json",
            more=result.get("next_cursor"),
        )
    return 0


async def show(slug: str, /, *, common: connect.Common = connect.DEFAULTS) -> int:
    """Show one trigger.

    Parameters
    ----------
    slug
        The trigger.
    """
    async with connect.engine(common) as engine:
        result = await engine.call("trigger_get", slug=slug)
    render.json(result) if common.json else render.facts(result, tuple(result))
    return 0


async def publish(*, file: File, common: connect.Common = connect.DEFAULTS) -> int:
    """Publish a trigger definition.

    Parameters
    ----------
    file
        The definition in JSON or YAML, or - for standard input.
    """
    document = documents.one(file)
    return await _define("trigger_publish", document, document.data, common)


async def revise(slug: str, /, *, file: File, common: connect.Common = connect.DEFAULTS) -> int:
    """Publish a new revision of a trigger; the file holds the full definition.

    Parameters
    ----------
    slug
        The trigger.
    file
        The definition in JSON or YAML, or - for standard input.
    """
    document = documents.one(file)
    definition = {"slug": slug, **document.data}
    if definition["slug"] != slug:
        raise errors.InvalidParams(
            f"{document.origin} defines {errors.shorten(definition['slug'], 60)}, not {slug}.",
            errors=[errors.Problem("/slug", f"must be {slug} or left out", document.where("/slug"))],
        )
    return await _define("trigger_revise", document, definition, common)


async def _define(operation: str, document: Document, definition: dict[str, Any], common: connect.Common) -> int:
    with documents.blamed(document):
        async with connect.engine(common) as engine:
            result = await engine.session.call(operation, definition, engine.caller)
    render.json(result) if common.json else render.facts(result, ("slug", "revision", "active", "tool_name"))
    return 0


async def deactivate(slug: str, /, *, common: connect.Common = connect.DEFAULTS) -> int:
    """Take a trigger out of service; its history stays.

    Parameters
    ----------
    slug
        The trigger.
    """
    async with connect.engine(common) as engine:
        result = await engine.call("trigger_deactivate", slug=slug)
    render.json(result) if common.json else render.facts(result, tuple(result))
    return 0


async def invoke(
    slug: str,
    /,
    *,
    set_: Annotated[list[str] | None, Parameter(name="--set", negative=())] = None,
    file: Annotated[str | None, Parameter(name=("--file", "-f"), allow_leading_hyphen=True)] = None,
    idempotency_key: str | None = None,
    wait: int | None = None,
    common: connect.Common = connect.DEFAULTS,
) -> int:
    """Run a trigger now, and wait for its result.

    Parameters
    ----------
    slug
        The trigger.
    set_
        A parameter, NAME=VALUE; may be repeated. A value that reads as JSON is that, otherwise it is text.
    file
        The parameters as one JSON or YAML object, or - for standard input; --set goes over it.
    idempotency_key
        A second call with the same key gives the first call's invocation.
    wait
        How many seconds to wait for the end (0-300).
    """
    given = {**(documents.one(file).data if file is not None else {}), **documents.values(set_ or ())}
    async with connect.engine(common, workers=common.settings().workers) as engine:
        result = await engine.call(
            "trigger_invoke", slug=slug, params=given, idempotency_key=idempotency_key, wait_timeout_seconds=wait
        )
    return _show(result, common)


async def invocation_get(invocation_id: str, /, *, common: connect.Common = connect.DEFAULTS) -> int:
    """Show one invocation.

    Parameters
    ----------
    invocation_id
        The invocation.
    """
    async with connect.engine(common) as engine:
        result = await engine.call("trigger_invocation_get", invocation_id=invocation_id)
    return _show(result, common, failing=False)


async def invocation_list(
    *,
    trigger: str | None = None,
    state: str | None = None,
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
        Only those in this state.
    limit
        How many rows.
    cursor
        Where the last page ended.
    """
    async with connect.engine(common) as engine:
        result = await engine.call("trigger_invocation_list", slug=trigger, state=state, limit=limit, cursor=cursor)
    if common.json:
        render.json(result)
    else:
        render.rows(
            result["items"],
            _SHOWN,
            empty="There are no invocations. Make one with: sluice trigger invoke SLUG",
            more=result.get("next_cursor"),
        )
    return 0


async def invocation_watch(
    invocation_id: str,
    /,
    *,
    within: Annotated[float | None, Parameter(name="--timeout")] = None,
    common: connect.Common = connect.DEFAULTS,
) -> int:
    """Wait until an invocation has ended, and show it.

    Parameters
    ----------
    invocation_id
        The invocation.
    within
        Give up after so many seconds; without it, wait as long as it takes.
    """
    deadline = None if within is None else clock.monotonic() + within
    async with connect.engine(common, workers=common.settings().workers) as engine:
        while True:
            left = WAIT_SECONDS if deadline is None else max(0, min(WAIT_SECONDS, int(deadline - clock.monotonic())))
            result = await engine.call("trigger_invocation_get", invocation_id=invocation_id, wait_seconds=left)
            if result["state"] in ENDED or (deadline is not None and clock.monotonic() >= deadline - 1):
                return _show(result, common)


def _show(invocation: dict[str, Any], common: connect.Common, *, failing: bool = True) -> int:
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
            render.rows(invocation["events"], tuple(invocation["events"][0]), empty="")
    return 1 if failing and invocation["state"] in ("failed", "timed_out") else 0
