"""The MCP server: the door behind the low-level SDK server, over stdio and streamable HTTP, in both protocol eras.

`serve_stdio` and `http_app` are what the commands call. See docs/mcp.md for what a client can expect.
"""

from __future__ import annotations

import asyncio
import gc
import importlib.metadata
import signal
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from typing import Any, TypeVar, cast

import anyio
import mcp_types as types
from mcp import MCPError
from mcp.server import CacheHint, InitializationOptions, NotificationOptions, Server, ServerRequestContext
from mcp.server.context import CallNext, HandlerResult
from mcp.server.stdio import stdio_server
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.shared.message import SessionMessage
from mcp_types.version import MODERN_PROTOCOL_VERSIONS
from starlette.applications import Starlette
from starlette.routing import Route

from core import errors
from core.model.principal import Caller
from mcp_server import asgi, resources, stdin, tools
from mcp_server.changes import Changes
from mcp_server.door import Door, Origin, UnknownTool
from mcp_server.progress import Progress
from mcp_server.session import Authenticate, Options, SessionFactory

Context = ServerRequestContext[Any, Any]
T = TypeVar("T")

CLOSE_SECONDS = 1.5
"""How long leaving the engine may take when a stdio client goes away."""
KILL_SECONDS = 5
"""How long after SIGTERM the process may live at most."""
LEGACY_RESOURCE_NOT_FOUND = -32002

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
A failed call answers isError with error.code, error.hint (the next step) and error.errors (pointers to the faults). \
When something is not as expected, call explain with its kind and id. Lists are paged: pass next_cursor as cursor."""


class McpServer(Server[Any]):
    """The SDK server, telling clients of every era and transport that the list of tools may change.

    The HTTP transport does not pass NotificationOptions, so the default is set here; without it a client of an
    earlier protocol is told listChanged: false and ignores the notification.
    """

    changes: Changes

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
    changes = Changes()
    progress = Progress()
    door.on_notice(changes.noticed)
    door.on_notice(progress.noticed)

    def caller_of(ctx: Context) -> Caller:
        return door.effective(asgi.caller_of(ctx.request) or door.options.caller)

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
        origin = Origin(caller_of(ctx), ctx.protocol_version)
        try:
            async with _reported(ctx, params, origin.caller):
                return await door.call(params.name, params.arguments or {}, origin)
        except UnknownTool as error:
            raise MCPError(
                types.INVALID_PARAMS,
                f"Unknown tool: {errors.shorten(params.name)}. tools/list has the tools of this session; "
                "more with --toolsets.",
            ) from error

    def _reported(
        ctx: Context, params: types.CallToolRequestParams, caller: Caller
    ) -> AbstractAsyncContextManager[None]:
        if (ctx.meta or {}).get("progress_token") is None:
            return nullcontext()
        seconds = door.options.heartbeat_seconds
        return progress.reported(ctx.session.report_progress, params.name, params.arguments or {}, caller, seconds)

    async def list_resources(ctx: Context, params: types.PaginatedRequestParams) -> HandlerResult:
        return {"resultType": "complete", "resources": resources.SCHEMAS}

    async def list_templates(ctx: Context, params: types.PaginatedRequestParams) -> HandlerResult:
        return {"resultType": "complete", "resourceTemplates": resources.TEMPLATES}

    async def read_resource(ctx: Context, params: types.ReadResourceRequestParams) -> HandlerResult:
        uri = str(params.uri)
        session = await _or_protocol_error(door.session())
        try:
            return await resources.read(session, uri, caller_of(ctx))
        except (errors.NotFound, errors.InvalidParams) as error:
            modern = ctx.protocol_version in MODERN_PROTOCOL_VERSIONS
            code = types.INVALID_PARAMS if modern else LEGACY_RESOURCE_NOT_FOUND
            raise MCPError(code, error.message, {"uri": uri}) from error
        except errors.SluiceError as error:
            raise MCPError(types.INTERNAL_ERROR, error.message, error.to_dict()) from error

    async def subscribe(ctx: Context, params: types.SubscribeRequestParams) -> HandlerResult:
        await _or_protocol_error(door.session())  # without a session no notice would ever come
        changes.follow(ctx.session, caller_of(ctx), str(params.uri))
        return types.EmptyResult()

    async def unsubscribe(ctx: Context, params: types.UnsubscribeRequestParams) -> HandlerResult:
        changes.unfollow(ctx.session, caller_of(ctx), str(params.uri))
        return types.EmptyResult()

    async def listen(ctx: Context, params: types.SubscriptionsListenRequestParams) -> HandlerResult:
        await _or_protocol_error(door.session())
        return await changes.serve_listen(ctx, params, caller_of(ctx))

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
            "server/discover": CacheHint(ttl_ms=60_000, scope="private"),
        },
        # No schema of ours carries x-mcp-header (tools.without_headers), so there is nothing to compare with headers.
        # Without this the SDK would walk tools/list before every call over HTTP.
        get_tool_input_schema=lambda name: None,
    )
    for method, params_type, handler in (
        ("tools/list", types.PaginatedRequestParams, list_tools),
        ("tools/call", types.CallToolRequestParams, call_tool),
        ("resources/list", types.PaginatedRequestParams, list_resources),
        ("resources/templates/list", types.PaginatedRequestParams, list_templates),
        ("resources/read", types.ReadResourceRequestParams, read_resource),
        ("resources/subscribe", types.SubscribeRequestParams, subscribe),
        ("resources/unsubscribe", types.UnsubscribeRequestParams, unsubscribe),
        ("subscriptions/listen", types.SubscriptionsListenRequestParams, listen),
    ):
        server.add_request_handler(method, params_type, handler)  # type: ignore[arg-type]  # each pair fits
    server.middleware += [remember_session, cache_list]
    server.changes = changes
    return server


async def serve_stdio(open_session: SessionFactory, options: Options) -> None:
    """Serve one client over stdin and stdout until it closes stdin, or SIGTERM or SIGINT comes.

    The engine session is opened behind the first request and left at the end, within CLOSE_SECONDS.
    """
    door = Door(open_session, options, "stdio")
    server = build(door)
    settle_memory()
    loop = asyncio.get_running_loop()
    try:
        with anyio.CancelScope() as scope:

            def stop() -> None:
                # If leaving the engine or writing to a client that does not read hangs, the alarm ends the process.
                signal.alarm(KILL_SECONDS)
                scope.cancel()

            for number in (signal.SIGTERM, signal.SIGINT):
                loop.add_signal_handler(number, stop)
            async with stdin.lines() as lines, stdio_server(stdin=cast(Any, lines)) as (read, write):

                async def refuse(id: str | int | None, code: int, reason: str) -> None:
                    fault = types.JSONRPCError(jsonrpc="2.0", id=id, error=types.ErrorData(code=code, message=reason))
                    await write.send(SessionMessage(fault))

                if lines is not None:
                    lines.refuse = refuse
                await server.run(read, write, server.create_initialization_options())
    finally:
        with anyio.move_on_after(CLOSE_SECONDS, shield=True):
            await door.aclose()


def http_app(
    open_session: SessionFactory,
    options: Options,
    *,
    authenticate: Authenticate | None = None,
    host: str = "127.0.0.1",
    allowed_hosts: Sequence[str] = (),
    path: str = "/mcp",
) -> Starlette:
    """An ASGI application that serves streamable HTTP at `path`.

    With `authenticate`, each request acts as the caller it returns; without, as `options.caller`, which is refused on
    an address that is not loopback. `allowed_hosts` are the Host headers to accept besides the loopback names.
    To serve it under another application, add its routes there and run its lifespan in that one's:
    `async with app.router.lifespan_context(app)`.
    """
    door = Door(open_session, options, "http")
    security = asgi.security(host, allowed_hosts, authenticated=authenticate is not None)
    server = build(door)
    manager = StreamableHTTPSessionManager(server, security_settings=security)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        settle_memory()
        try:
            async with manager.run():
                yield
        finally:
            await door.aclose()

    endpoint = asgi.Endpoint(manager.handle_request, authenticate)
    app = Starlette(routes=[Route(path, endpoint=endpoint)], lifespan=lifespan)
    app.state.server = server
    return app


def settle_memory() -> None:
    """Take what was imported out of the garbage collector's sight: it is two thirds of the time of a long list."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


async def _or_protocol_error(awaitable: Awaitable[T]) -> T:
    """The value, or the engine's fault as a JSON-RPC error: a list or a resource has no other way to tell it."""
    try:
        return await awaitable
    except errors.SluiceError as error:
        hint = f" {error.hint}" if error.hint else ""
        raise MCPError(types.INTERNAL_ERROR, error.message + hint, error.to_dict()) from error
