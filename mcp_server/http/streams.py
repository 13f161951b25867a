"""What happens, as it happens, as server-sent events: messages, lines of logs, and the states of trigger invocations
and of jobs.

Each stream is like an operation that tells the same when it is asked (`FEEDS`): whoever may call that one may open the
stream, and hears what that one would show him.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from core import clock, errors
from core.model import principal
from core.model.operation import Operation
from core.model.states import INVOCATION, InvocationState
from mcp_server import session
from mcp_server.http import admission, arguments, auth, log_stream, message_stream, openapi, problems, routes, sse
from mcp_server.live import Live

TERMINAL = frozenset(state.value for state in InvocationState if INVOCATION.terminal(state))
OPEN = tuple(state.value for state in InvocationState if state.value not in TERMINAL)
PAGE = 200


@dataclass(frozen=True)
class Feed:
    """One stream: `operation` tells the same when it is asked, and gets those `filters` that it knows."""

    name: str
    path: str
    tag: str
    summary: str
    topic: str
    """Of the notices that it passes on (`core.model.notices`); empty: it asks `operation` itself, page by page."""
    operation: str
    filters: tuple[str, ...]
    resumes: bool = False
    """Whether it goes on after the id that the header Last-Event-ID, or else the query, names."""


LAST = "last_event_id"
ONE, LIST, WORKLOADS = "trigger_invocation_get", "trigger_invocation_list", "workload_list"
EXPORT, NDJSON = "/api/messages/export", "application/x-ndjson"
_OF_A_PAGE = frozenset({"limit", "cursor"})
FEEDS = (
    Feed(
        "message_subscribe",
        "/api/messages/subscribe",
        "messages",
        "Follow messages as they happen.",
        "message",
        "message_search",
        ("kind", "type", "source", "tag", "job", "worker", "text"),
        resumes=True,
    ),
    Feed(
        "trigger_invocation_subscribe",
        "/api/trigger-invocations/subscribe",
        "triggers",
        "Follow the states of invocations; of one invocation until its end.",
        "invocation",
        LIST,  # of one invocation: ONE
        ("invocation_id", "state"),
    ),
    Feed(
        "log_subscribe",
        "/api/logs/subscribe",
        "deployments",
        "Follow the logs of jobs.",
        "",
        log_stream.OPERATION,
        log_stream.FILTERS,
        resumes=True,
    ),
    Feed(
        "job_subscribe",
        "/api/jobs/subscription",
        "jobs",
        "Follow the states of jobs.",
        "job",
        WORKLOADS,
        ("job", "worker", "deployment", "state"),
    ),
)


def router(engine: session.EngineSession, live: Live) -> APIRouter:
    """The streams."""
    out = APIRouter(route_class=routes.PlainRoute)
    for feed in FEEDS:
        out.add_api_route(
            feed.path,
            routes.stands_for(feed.operation, _endpoint(engine, live, feed)),
            methods=["GET"],
            name=feed.name,
            operation_id=feed.name,
            summary=feed.summary,
            tags=[feed.tag],
            response_model=None,
            response_class=Response,
            openapi_extra=openapi.stream((*feed.filters, LAST) if feed.resumes else feed.filters),
        )
    search = engine.operations.get(message_stream.OPERATION)
    if search is not None:
        about = openapi.describe(search, "GET", EXPORT)
        about["parameters"] = [one for one in about["parameters"] if one["name"] not in _OF_A_PAGE]
        about["responses"]["200"] = {"description": "Lines of JSON.", "content": {NDJSON: {}}}
        out.add_api_route(
            EXPORT,
            routes.stands_for(search.name, _export(engine, live, search)),
            methods=["GET"],
            name="message_export",
            operation_id="message_export",
            summary="Export messages, the oldest first, as lines of JSON.",
            tags=[search.toolset],
            response_model=None,
            response_class=Response,
            responses={},
            openapi_extra=about,
        )
    return out


def _export(engine: session.EngineSession, live: Live, search: Operation) -> routes.Handler:
    async def export(request: Request) -> Response:
        try:
            wanted = arguments.from_query(request.query_params.multi_items(), search.schema)
            if beyond := _OF_A_PAGE & wanted.keys():
                raise errors.InvalidParams(f"An export has no pages: leave out {' and '.join(sorted(beyond))}.")
            caller = auth.caller(request.scope[admission.PRINCIPAL], request.headers.get(routes.TENANT_HEADER))
            await engine.call(search.name, {**wanted, "limit": 1}, caller)  # what it raises, the export is refused with
        except errors.SluiceError as error:
            return problems.response(error)

        def parts(reader: sse.Reader) -> sse.Parts:
            return message_stream.export(engine, caller, wanted, reader)

        return sse.EventStream(live, search.name, caller, parts, NDJSON)

    return export


def _endpoint(engine: session.EngineSession, live: Live, feed: Feed) -> routes.Handler:
    async def subscribe(request: Request) -> Response:
        try:
            wanted, caller = _asked(request, (*feed.filters, LAST) if feed.resumes else feed.filters)
            last = request.headers.get("last-event-id") or wanted.pop(LAST, None)
            wanted.pop(LAST, None)
            operation = await _opened(engine, feed, wanted, caller)
            typed = arguments.from_query(wanted.items(), engine.operations[feed.operation].schema)
        except errors.SluiceError as error:
            return problems.response(error)

        def parts(reader: sse.Reader) -> sse.Parts:
            if feed.operation == log_stream.OPERATION:
                return log_stream.lines(live.engine or engine, caller, typed, reader, last or None)
            if feed.resumes:
                return message_stream.messages(engine, caller, wanted, reader, last or None)
            follow = {"invocation": invocations, "job": jobs}[feed.topic]
            return follow(engine, caller, wanted, reader)

        return sse.EventStream(live, operation, caller, parts)

    return subscribe


async def _opened(
    engine: session.EngineSession, feed: Feed, wanted: Mapping[str, str], caller: principal.Caller
) -> str:
    """The operation that a stream is like, called once: what it raises, the stream is refused with."""
    if "invocation_id" in wanted:  # 404 for what is not there, before the stream begins
        await engine.call(ONE, {"invocation_id": wanted["invocation_id"]}, caller)
        return ONE
    schema = engine.operations[feed.operation].schema
    known = schema.get("properties", {})
    typed = arguments.from_query(((n, value) for n, value in wanted.items() if n in known), schema)
    await engine.call(feed.operation, {**typed, "limit": 1}, caller)
    return feed.operation


def _asked(request: Request, filters: tuple[str, ...]) -> tuple[dict[str, str], principal.Caller]:
    """The filters and the caller of a request. Raises InvalidParams for a filter that there is not."""
    unknown = set(request.query_params) - set(filters)
    if unknown:
        raise errors.InvalidParams(
            f"Unknown filter: {errors.shorten(', '.join(sorted(unknown)), 80)}.", hint=f"Filters: {', '.join(filters)}."
        )
    caller = auth.caller(request.scope[admission.PRINCIPAL], request.headers.get(routes.TENANT_HEADER))
    return dict(request.query_params), caller


async def invocations(
    engine: session.EngineSession, caller: principal.Caller, wanted: Mapping[str, str], reader: sse.Reader
) -> sse.Parts:
    """The changes of state of a tenant's invocations: {invocation_id, state}; first the states of those that are open.

    With an invocation_id its present state comes first, and its terminal one last.
    """
    one = wanted.get("invocation_id")

    async def open_ones() -> sse.Parts:
        asked = OPEN if "state" not in wanted else [wanted["state"]] if wanted["state"] in OPEN else []
        for state in asked:
            async for item in _items(engine, caller, LIST, {"state": state}):
                yield sse.event("invocation", "", {"invocation_id": item["invocation_id"], "state": item["state"]})

    def select(topic: str, data: dict[str, Any]) -> tuple[str, dict[str, Any]] | None:
        if topic != "invocation" or (one is None and data.get("tenant") != caller.tenant):
            return None
        told = {"invocation_id": data["invocation_id"], "state": data["state"]}
        return ("", told) if all(told.get(key) == value for key, value in wanted.items()) else None

    async with contextlib.aclosing(reader.parts(engine, caller, "invocation", select)) as parts:
        async for part, told in parts:
            yield part
            if one is not None and not told and part == sse.CONNECTED:  # from here on no change is missed
                record = await engine.call(ONE, {"invocation_id": one}, caller)
                told = {"invocation_id": one, "state": record["state"]}
                if wanted.get("state") in (None, record["state"]):
                    yield sse.event("invocation", "", told)
                if record["state"] in TERMINAL:
                    return
            elif one is None and not told and part == sse.CONNECTED:
                async for present in open_ones():
                    yield present
            elif one is not None and told.get("state") in TERMINAL:
                return


async def jobs(
    engine: session.EngineSession, caller: principal.Caller, wanted: Mapping[str, str], reader: sse.Reader
) -> sse.Parts:
    """The changes of state of a tenant's workloads: {job, workload, worker, deployment, state, reason, at_ns}; first
    the states of all that fit, with the time since which they are so (0: not known).

    One that is not deployed any more is told as stopped.
    """

    def select(topic: str, data: dict[str, Any]) -> tuple[str, dict[str, Any]] | None:
        if topic != "job" or data.get("tenant") != caller.tenant:
            return None
        told = {key: value for key, value in data.items() if key != "tenant"}
        return ("", told) if all(told.get(key) == value for key, value in wanted.items()) else None

    async with contextlib.aclosing(reader.parts(engine, caller, "job", select)) as parts:
        async for part, told in parts:
            yield part
            if not told and part == sse.CONNECTED:  # what changes while these are read is told once more after them
                async for item in _items(engine, caller, WORKLOADS, wanted):
                    yield sse.event("job", "", _present(caller.tenant, item))


def _present(tenant: str, item: Mapping[str, Any]) -> dict[str, Any]:
    """How a workload is, as its changes are told."""
    return {
        "job": item["job"],
        "worker": item["worker"] or "",
        "deployment": item["deployment"] or "",
        "workload": f"{tenant}/{item['workload']}",
        "state": item["state"],
        "reason": item["reason"],
        "at_ns": 0 if item.get("since") is None else clock.from_datetime(datetime.fromisoformat(item["since"])),
    }


async def _items(
    engine: session.EngineSession, caller: principal.Caller, operation: str, wanted: Mapping[str, str]
) -> AsyncGenerator[dict[str, Any], None]:
    pages = session.pages(lambda given: engine.call(operation, given, caller), {**wanted, "limit": PAGE})
    async for page in pages:
        for item in page["items"]:
            yield item
