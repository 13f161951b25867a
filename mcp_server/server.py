"""The MCP server over its two transports, stdio and streamable HTTP.

`serve_stdio` and `http_app` are what the commands call; `protocol.build` is what they serve. See
docs/mcp-server.md for what a client can expect.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, TextIO, cast

import anyio
import mcp_types as types
from mcp.server.stdio import stdio_server
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.shared.message import SessionMessage
from starlette.applications import Starlette
from starlette.routing import Route

from core import collector
from mcp_server import asgi, stdin
from mcp_server.door import Door
from mcp_server.live import Live
from mcp_server.protocol import build
from mcp_server.session import Authenticate, EngineSession, Options, SessionFactory
from mcp_server.stepping_up import Needed

CLOSE_SECONDS = 1.5
"""How long leaving the engine may take when a stdio client goes away."""
KILL_SECONDS = 5
"""How long after SIGTERM the process may live at most."""


async def serve_stdio(open_session: SessionFactory, options: Options, wire: TextIO) -> None:
    """Serve one client over stdin and `wire` (see stdout.take) until it closes stdin, or SIGTERM or SIGINT comes.

    The engine session is opened behind the first request and left at the end, within CLOSE_SECONDS.
    """
    door = Door(open_session, options, "stdio")
    server = build(door)
    collector.settle()
    loop = asyncio.get_running_loop()
    try:
        with anyio.CancelScope() as scope:

            def stop() -> None:
                # If leaving the engine or writing to a client that does not read hangs, the alarm ends the process.
                signal.alarm(KILL_SECONDS)
                scope.cancel()

            for number in (signal.SIGTERM, signal.SIGINT):
                loop.add_signal_handler(number, stop)
            to_client = anyio.wrap_file(wire)
            async with stdin.lines() as lines, stdio_server(cast(Any, lines), to_client) as (read, write):

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
    live: Live | None = None,
    needed: Needed | None = None,
) -> Starlette:
    """An ASGI application that serves streamable HTTP at `path`.

    With `authenticate`, each request acts as the caller it returns; without, as `options.caller`, which is refused on
    an address that is not loopback. `allowed_hosts` are the Host headers to accept besides the loopback names.
    `live` is the registry of long answers that it shares with other doors of this server.
    `needed` says which scope a request of an MCP host lacks (stepping_up).
    To serve it under another application, add its routes there and run its lifespan in that one's:
    `async with app.router.lifespan_context(app)`.
    """
    answers = Live() if live is None else live

    async def opened() -> EngineSession:
        return answers.watched(await open_session())

    door = Door(opened, options, "http", answers)
    security = asgi.security(host, allowed_hosts, authenticated=authenticate is not None)
    server = build(door)
    # Which sessions there are, and when they end, is the business of legacy.py.
    manager = StreamableHTTPSessionManager(server, security_settings=security, session_idle_timeout=None)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        collector.settle()
        try:
            async with manager.run():
                yield
        finally:
            await door.aclose()

    endpoint = asgi.Endpoint(manager.handle_request, authenticate, answers, options.caller, needed)
    app = Starlette(routes=[Route(path, endpoint=endpoint)], lifespan=lifespan)
    app.state.server = server
    return app
