"""The protocol in front of a door: the low-level SDK server with a handler for each method, in both eras.

What a handler does is elsewhere: tools and calls in door.py, resources.py, prompts.py, completion.py, tasks.py,
confirmation.py; this module joins them to the SDK.
"""

from __future__ import annotations

import dataclasses
import importlib.metadata
from collections.abc import Awaitable
from contextlib import AbstractAsyncContextManager, nullcontext
from functools import partial
from typing import Any, TypeVar, cast

import mcp_types as types
from mcp import MCPError
from mcp.server import CacheHint, InitializationOptions, NotificationOptions, Server, ServerRequestContext
from mcp.server.context import CallNext, HandlerResult
from mcp.server.request_state import RequestStateBoundary, RequestStateSecurity
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from core import errors
from core.model import trace_context
from core.model.principal import Caller
from mcp_server import apps, asgi, completion, confirmation, prompts, resources, results, task_updates, tasks, tools
from mcp_server.changes import Changes
from mcp_server.door import Door, Origin, UnknownTool
from mcp_server.progress import Progress

Context = ServerRequestContext[Any, Any]
T = TypeVar("T")

LEGACY_RESOURCE_NOT_FOUND = -32002
BAGGAGE = "baggage"
TRACE = ("traceparent", "tracestate", BAGGAGE)

INSTRUCTIONS = """\
Sluice runs data pipelines: a catalog of workflows and blueprints, deployments of them on workers, and triggers ("run \
this now" actions).

Deploy: catalog_search -> catalog_get -> deployment_plan (computes, changes nothing) -> show the plan to the user -> \
deployment_apply with its plan_id. A plan is single use; when it is refused as stale, plan again. deployment_get shows \
state and drift.

Run a trigger: call its trigger_invoke_<slug> tool. Pass the same _idempotency_key when you retry, and you get the \
same invocation instead of a second run. When the answer is not terminal (accepted, dispatched), follow it with \
trigger_invocation_get.

Tools that change something exist only when the server was started with --allow-write; more tools with --toolsets. \
A failed call answers isError with error.code, error.hint (the next step) and error.errors (pointers to the faults); \
only a tool that is not in the list, or no more, is a protocol error (-32602, whose message says why). \
When something is not as expected, call explain with its kind and id; `next` has the calls that help, `outside` \
commands that only a person can run. Lists are paged: pass next_cursor as cursor. The manual begins at the resource \
docs://mcp."""


class McpServer(Server[Any]):
    """The SDK server, telling clients of every era and transport that the list of tools may change.

    The HTTP transport does not pass NotificationOptions, so the default is set here; without it a client of an
    earlier protocol is told listChanged: false and ignores the notification.
    """

    changes: Changes
    tasks: tasks.Methods

    def create_initialization_options(
        self,
        notification_options: NotificationOptions | None = None,
        experimental_capabilities: dict[str, dict[str, Any]] | None = None,
        extensions: dict[str, dict[str, Any]] | None = None,
    ) -> InitializationOptions:
        options = notification_options or NotificationOptions(tools_changed=True)
        return super().create_initialization_options(options, experimental_capabilities, extensions)


def build(door: Door) -> McpServer:
    """The protocol in front of a door. The caller closes the door."""
    changes = Changes(door.hears)
    progress = Progress(door.hears)
    running = tasks.Methods()
    updates = task_updates.TaskUpdates(running, door.hears)
    answers = confirmation.Answers()
    door.on_notice(changes.noticed)
    door.on_notice(updates.noticed)
    door.on_notice(progress.noticed)

    def caller_of(ctx: Context) -> Caller:
        return door.effective(asgi.caller_of(ctx.request) or door.options.caller)

    def traced(ctx: Context) -> Caller:
        """Who calls, and from where in which trace, as the client says in `_meta`."""
        caller, said = caller_of(ctx), (ctx.meta or {}).get("traceparent")
        if not isinstance(said, str) or trace_context.parse(said) is None:
            return caller
        return dataclasses.replace(caller, traceparent=said)

    async def list_tools(ctx: Context, params: types.PaginatedRequestParams) -> HandlerResult:
        listing = await _or_protocol_error(door.listing(caller_of(ctx)))
        try:
            page, following = tools.page(listing.tools, params.cursor, door.options.page_bytes)
        except ValueError as error:
            raise MCPError(types.INVALID_PARAMS, f"Invalid cursor: {error}. Start again without a cursor.") from error
        listing.cursors.add(following)
        more = {} if following is None else {"nextCursor": following}
        return {"resultType": "complete", "tools": list(page), **more}

    async def call_tool(ctx: Context, params: types.CallToolRequestParams) -> HandlerResult:
        origin = Origin(traced(ctx), ctx.protocol_version)
        try:
            call = await door.resolve(params.name, params.arguments or {}, origin.caller)
        except UnknownTool as error:
            raise MCPError(types.INVALID_PARAMS, f"Unknown tool: {errors.shorten(params.name)}. {error}") from error
        except errors.SluiceError as error:
            return results.failure(error)
        if confirmation.can_be_asked(ctx):
            about = await confirmation.question(await door.session(), call.operation, call.arguments, origin.caller)
            if about is not None:
                refused = await confirmation.asked(ctx, params, about, answers)
                if refused is not None:
                    return refused
                call = call.with_arguments(about.pinned)
        as_task = tasks.offered(call) and tasks.declared(ctx)
        if as_task:
            call = tasks.patient(call)
        async with _reported(ctx, params, origin.caller):
            answer = await door.call(call, origin)
            return tasks.created(answer) if as_task else answer

    def _reported(
        ctx: Context, params: types.CallToolRequestParams, caller: Caller
    ) -> AbstractAsyncContextManager[None]:
        if (ctx.meta or {}).get("progress_token") is None:
            return nullcontext()
        seconds = door.options.heartbeat_seconds
        return progress.reported(ctx.session.report_progress, params.name, params.arguments or {}, caller, seconds)

    async def list_resources(ctx: Context, params: types.PaginatedRequestParams) -> HandlerResult:
        return {"resultType": "complete", "resources": resources.FIXED}

    async def list_templates(ctx: Context, params: types.PaginatedRequestParams) -> HandlerResult:
        return {"resultType": "complete", "resourceTemplates": resources.TEMPLATES}

    async def list_prompts(ctx: Context, params: types.PaginatedRequestParams) -> HandlerResult:
        await _or_protocol_error(door.session())
        return {"resultType": "complete", "prompts": prompts.listed(partial(door.has_tool, caller=caller_of(ctx)))}

    async def get_prompt(ctx: Context, params: types.GetPromptRequestParams) -> HandlerResult:
        session = await _or_protocol_error(door.session())
        try:
            return await prompts.get(session, params.name, params.arguments or {}, caller_of(ctx))
        except (errors.NotFound, errors.InvalidParams) as error:
            raise MCPError(types.INVALID_PARAMS, error.message, error.to_dict()) from error
        except errors.SluiceError as error:
            raise MCPError(types.INTERNAL_ERROR, error.message, error.to_dict()) from error

    async def complete(ctx: Context, params: types.CompleteRequestParams) -> HandlerResult:
        session = await _or_protocol_error(door.session())
        ref = params.ref.model_dump(mode="json")
        context = (params.context.arguments if params.context else None) or {}
        argument = params.argument
        try:
            return await completion.complete(session, ref, argument.name, argument.value, context, caller_of(ctx))
        except LookupError as error:
            raise MCPError(types.INVALID_PARAMS, str(error)) from error
        except errors.SluiceError as error:
            raise MCPError(types.INTERNAL_ERROR, error.message, error.to_dict()) from error

    async def _tasks() -> tasks.Methods:
        if not any(isinstance(source, tasks.Invocations) for source in running.sources):
            running.sources.append(tasks.Invocations(await _or_protocol_error(door.session())))
        return running

    async def get_task(ctx: Context, params: tasks.TaskParams) -> HandlerResult:
        return await _or_protocol_error((await _tasks()).get(ctx, params, caller_of(ctx)))

    async def cancel_task(ctx: Context, params: tasks.TaskParams) -> HandlerResult:
        return await _or_protocol_error((await _tasks()).cancel(ctx, params, caller_of(ctx)))

    async def update_task(ctx: Context, params: tasks.UpdateParams) -> HandlerResult:
        return await _or_protocol_error((await _tasks()).update(ctx, params, caller_of(ctx)))

    async def read_resource(ctx: Context, params: types.ReadResourceRequestParams) -> HandlerResult:
        uri = str(params.uri)
        try:
            page = await resources.standing(uri)  # read also where no engine can be opened
            if page is not None:
                return page
            return await resources.read(await _or_protocol_error(door.session()), uri, caller_of(ctx))
        except (errors.NotFound, errors.InvalidParams) as error:
            modern = ctx.protocol_version in MODERN_PROTOCOL_VERSIONS
            code = types.INVALID_PARAMS if modern else LEGACY_RESOURCE_NOT_FOUND
            raise MCPError(code, error.message, {"uri": uri}) from error
        except errors.SluiceError as error:
            raise MCPError(types.INTERNAL_ERROR, error.message, error.to_dict()) from error

    async def subscribe(ctx: Context, params: types.SubscribeRequestParams) -> HandlerResult:
        session = await _or_protocol_error(door.session())  # without a session no notice would ever come
        await _or_protocol_error(resources.check_followed(session, [str(params.uri)], caller_of(ctx)))
        changes.follow(ctx.session, caller_of(ctx), str(params.uri))
        return types.EmptyResult()

    async def unsubscribe(ctx: Context, params: types.UnsubscribeRequestParams) -> HandlerResult:
        changes.unfollow(ctx.session, caller_of(ctx), str(params.uri))
        return types.EmptyResult()

    async def listen(ctx: Context, params: types.SubscriptionsListenRequestParams) -> HandlerResult:
        session, caller = await _or_protocol_error(door.session()), caller_of(ctx)
        uris = map(str, params.notifications.resource_subscriptions or ())
        await _or_protocol_error(resources.check_followed(session, uris, caller))
        task_ids = (params.notifications.model_extra or {}).get("taskIds")
        if task_ids is None:
            return await changes.serve_listen(ctx, params, caller)
        await _tasks()
        return await _or_protocol_error(_listen_to_tasks(ctx, params, caller, task_ids))

    async def _listen_to_tasks(
        ctx: Context, params: types.SubscriptionsListenRequestParams, caller: Caller, task_ids: object
    ) -> HandlerResult:
        async with updates.followed(ctx, task_ids, caller) as following:
            return await changes.serve_listen(following, params, caller)

    def header_schema(name: str) -> dict[str, Any] | None:
        return door.header_schema(name, door.effective(asgi.calling() or door.options.caller))

    async def cache_list(ctx: Context, call_next: CallNext) -> HandlerResult:
        """Innermost middleware: answer tools/list with the finished wire form of an earlier, equal answer.

        Sound because a list depends on the caller, the registry's version, the protocol version and the cursor only.
        """
        cursor = (ctx.params or {}).get("cursor")
        # Before its handshake a session has no capabilities; the SDK refuses its requests, and must go on to do so.
        if ctx.method != "tools/list" or ctx.session.client_capabilities is None or not isinstance(cursor, str | None):
            return await call_next(ctx)
        listing = await _or_protocol_error(door.listing(caller_of(ctx)))
        key = (ctx.protocol_version, cursor)
        wire = listing.pages.get(key)
        if wire is None:
            answer = await call_next(ctx)
            if cursor not in listing.cursors or not isinstance(answer, dict):
                return answer
            wire = listing.pages[key] = answer
        return wire

    async def remember_session(ctx: Context, call_next: CallNext) -> HandlerResult:
        """Middleware: a session of an earlier protocol is told of changes once it has said `initialized`."""
        result = await call_next(ctx)
        if ctx.method == "notifications/initialized" and ctx.protocol_version not in MODERN_PROTOCOL_VERSIONS:
            changes.remember(ctx.session, caller_of(ctx))
        return result

    async def sound_trace(ctx: Context, call_next: CallNext) -> HandlerResult:
        """Outermost middleware: keep of a client's trace context (W3C) what is text, and of its baggage nothing; what
        makes spans of it would raise, and log what it does not understand."""
        said = dict[str, Any](ctx.meta or {})
        odd = [key for key in TRACE if key in said and (key == BAGGAGE or not isinstance(said[key], str))]
        if odd:
            ctx = dataclasses.replace(ctx, meta=cast(Any, {key: said[key] for key in said if key not in odd}))
        return await call_next(ctx)

    server = McpServer(
        "sluice",
        version=importlib.metadata.version("sluice-mcp"),
        title="Sluice",
        instructions=INSTRUCTIONS,
        cache_hints={
            "tools/list": CacheHint(ttl_ms=int(door.options.list_ttl_seconds * 1000), scope="private"),
            "resources/list": CacheHint(ttl_ms=60_000, scope="private"),
            "resources/templates/list": CacheHint(ttl_ms=60_000, scope="private"),
            "resources/read": CacheHint(ttl_ms=0, scope="private"),
            "prompts/list": CacheHint(ttl_ms=60_000, scope="private"),
            "server/discover": CacheHint(ttl_ms=60_000, scope="private"),
        },
        # Without this the SDK would walk tools/list before every call over HTTP, to compare headers with arguments.
        get_tool_input_schema=header_schema,
    )
    for method, params_type, handler in (
        ("tools/list", types.PaginatedRequestParams, list_tools),
        ("tools/call", types.CallToolRequestParams, call_tool),
        ("prompts/list", types.PaginatedRequestParams, list_prompts),
        ("prompts/get", types.GetPromptRequestParams, get_prompt),
        ("completion/complete", types.CompleteRequestParams, complete),
        ("tasks/get", tasks.TaskParams, get_task),
        ("tasks/cancel", tasks.TaskParams, cancel_task),
        ("tasks/update", tasks.UpdateParams, update_task),
        ("resources/list", types.PaginatedRequestParams, list_resources),
        ("resources/templates/list", types.PaginatedRequestParams, list_templates),
        ("resources/read", types.ReadResourceRequestParams, read_resource),
        ("resources/subscribe", types.SubscribeRequestParams, subscribe),
        ("resources/unsubscribe", types.UnsubscribeRequestParams, unsubscribe),
        ("subscriptions/listen", types.SubscriptionsListenRequestParams, listen),
    ):
        server.add_request_handler(method, params_type, handler)  # type: ignore[arg-type]  # each pair fits
    security = RequestStateSecurity.ephemeral(ttl=confirmation.VALID_SECONDS)
    security.bind_principal = lambda ctx: _bound_to(caller_of(ctx))
    boundary = RequestStateBoundary(security, default_audience=server.name)
    server.middleware.insert(0, sound_trace)
    server.middleware += [remember_session, boundary, cache_list]
    server.extensions.update({tasks.EXTENSION: {}, **({apps.EXTENSION: {}} if apps.available() else {})})
    server.changes = changes
    server.tasks = running
    return server


def _bound_to(caller: Caller) -> str:
    """Whose the state of a request is: of one credential, since another one of the same user may do less."""
    return "\0".join((caller.tenant, caller.username, caller.principal.credential))


async def _or_protocol_error(awaitable: Awaitable[T]) -> T:
    """The value, or the engine's fault as a JSON-RPC error: a list or a resource has no other way to tell it."""
    try:
        return await awaitable
    except errors.SluiceError as error:
        hint = f" {error.hint}" if error.hint else ""
        raise MCPError(types.INTERNAL_ERROR, error.message + hint, error.to_dict()) from error
