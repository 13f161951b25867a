"""`sluice-mcp` (and `sluice mcp`): serve MCP over stdio or HTTP."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import Annotated

from cyclopts import App, Parameter

from core import errors, logs
from core.model import principal
from mcp_server import attach, session
from mcp_server.cli import connect

app = App(name="mcp", help="Serve MCP (the same as sluice-mcp), or connect an MCP client.")
app.command(
    "mcp_server.cli.install:install", name="install", help="Connect an MCP client to this engine, and try it once."
)

app.command("mcp_server.cli.activity:activity", name="activity", help="List what MCP sessions called lately.")
app.command(
    "mcp_server.cli.activity:notifications", name="notifications", help="Show how a client hears of what jobs do."
)

Flag = Annotated[bool, Parameter(negative=())]


@app.default
async def mcp(
    *,
    stdio: Flag = False,
    http: str | None = None,
    allow_write: Flag = False,
    toolsets: str = ",".join(session.DEFAULT_TOOLSETS),
    trigger_tools_max: int = 30,
    as_: Annotated[str | None, Parameter(name="--as")] = None,
    activity_forward: Flag = False,
    activity_session_label: str = "",
    common: connect.Common = connect.DEFAULTS,
) -> int:
    """Serve MCP to one client over stdin and stdout, or to many over HTTP.

    Parameters
    ----------
    stdio
        Serve over stdin and stdout (the default).
    http
        Serve streamable HTTP at HOST:PORT/mcp instead, on loopback, without authentication.
    allow_write
        Offer the tools that change something.
    toolsets
        Which groups of tools to offer, comma-separated, or all.
    trigger_tools_max
        With more triggers than this, offer one generic tool beside the tool of each trigger.
    as_
        Act as this user instead of the one who started the server.
    activity_forward
        Tell the engine which tools are called, for admins to see: names, outcomes and times, nothing else.
    activity_session_label
        A name of this session, for records.
    """
    from mcp_server import server

    if stdio and http:
        raise errors.InvalidParams("--stdio and --http exclude each other.")
    options = session.Options(
        caller=caller(common.tenant, as_, activity_session_label),
        allow_write=allow_write,
        toolsets=tuple(part.strip() for part in toolsets.split(",") if part.strip()),
        trigger_tools_max=trigger_tools_max,
        label=activity_session_label,
        activity_forward=activity_forward,
    )
    settings = common.settings()
    logs.configure(settings.log_level)
    async with contextlib.AsyncExitStack() as stack:

        async def open_session() -> session.EngineSession:
            return await stack.enter_async_context(
                attach.open_session(settings, url=common.url, api_key=common.api_key)
            )

        if http is None:
            await server.serve_stdio(open_session, options)
        else:
            await _serve_http(open_session, options, http)
    return 0


def caller(tenant: str, username: str | None, label: str) -> principal.Caller:
    """The OS user (or the one named by --as), acting through MCP."""
    local = connect.local_caller(tenant)
    identity = replace(local.principal, username=username) if username else local.principal
    return replace(local, principal=identity, surface=principal.Surface.MCP, label=label)


async def _serve_http(open_session: session.SessionFactory, options: session.Options, address: str) -> None:
    from mcp_server import server
    from mcp_server.cli import signals
    from mcp_server.http import serving

    host, _, port = address.rpartition(":")
    if not port.isdigit() or int(port) > 65535:
        raise errors.InvalidParams(f"--http {errors.shorten(address, 60)} is not HOST:PORT.")
    host = host or "127.0.0.1"
    app = server.http_app(open_session, options, host=host)
    listener = serving.bind(host, int(port))
    async with serving.running(app, [listener], drain_seconds=2):
        connect.note(f"sluice-mcp listens on {serving.url(listener)}/mcp")
        await signals.stop_requested()
