"""`sluice-mcp` (and `sluice mcp`): serve MCP over stdio or HTTP."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import Annotated

import anyio
import structlog
from cyclopts import App, Parameter

from core import errors, logs, precedence, settingsfile
from core import settings as engine_settings
from core.model import principal
from mcp_server import limits, session
from mcp_server.cli import connect, examples, main

app = App(
    name="mcp",
    help="Serve MCP (the same as sluice-mcp), or connect an MCP client.",
    help_epilogue=examples.epilogue("mcp"),
)
for path, (place, text) in main.commands().items():
    group, _, name = path.rpartition(" ")
    if group == "mcp":
        app.command(f"mcp_server.cli.{place}", name=name, help=text, help_epilogue=examples.epilogue(path))

log = structlog.get_logger("mcp_server.cli.mcp")
IDENTIFY_SECONDS = 10
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
    adopt: Flag = False,
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
    adopt
        If this server becomes the engine: run on a home that was copied, as a home of its own from then on.
    """
    from mcp_server import server, stdout

    if stdio and http:
        raise errors.InvalidParams("--stdio and --http exclude each other.")
    wire = stdout.take() if http is None else None
    if common.url and as_:
        raise errors.InvalidParams("--as is for the engine of this host; a remote one decides by its token who calls.")
    options = session.Options(
        caller=caller(common.tenant, as_, activity_session_label),
        allow_write=allow_write,
        toolsets=tuple(part.strip() for part in toolsets.split(",") if part.strip()),
        trigger_tools_max=trigger_tools_max,
        label=activity_session_label,
        activity_forward=activity_forward,
    )
    logs.configure(common.settings().log_level)

    def read() -> engine_settings.Settings:
        """The settings of the home: it becomes the engine."""
        if found := precedence.unheeded():
            log.warning("variables_not_heeded", variables=found, hint=f"Put them into {settingsfile.NAME} of the home.")
        return common.of_home(adopt=adopt or None)

    async with contextlib.AsyncExitStack() as stack:
        first: session.EngineSession | None = None

        async def open_session() -> session.EngineSession:
            if first is not None:
                return first
            return await stack.enter_async_context(connect.opened(common, read, options.caller))

        if common.url is not None:  # who this is decides which tools there are, so the engine is asked at once
            try:
                with anyio.fail_after(IDENTIFY_SECONDS):
                    first = await open_session()
                options = replace(options, caller=first.acting(options.caller))
            except (errors.SluiceError, TimeoutError) as error:  # each request tries again, and is told
                connect.note(f"sluice-mcp: {error or 'the engine does not answer'}")

        if wire is not None:
            await server.serve_stdio(open_session, options, wire)
        elif http is not None:
            await _serve_http(open_session, options, http, common.of_home())
    return 0


def caller(tenant: str, username: str | None, label: str) -> principal.Caller:
    """The OS user (or the one named by --as), acting through MCP."""
    local = connect.local_caller(tenant)
    identity = replace(local.principal, username=username) if username else local.principal
    return replace(local, principal=identity, surface=principal.Surface.MCP, label=label)


async def _serve_http(
    open_session: session.SessionFactory, options: session.Options, address: str, settings: engine_settings.Settings
) -> None:
    from mcp_server import live, server
    from mcp_server.cli import signals
    from mcp_server.http import serving

    host, _, port = address.rpartition(":")
    if not port.isdigit() or int(port) > 65535:
        raise errors.InvalidParams(f"--http {errors.shorten(address, 60)} is not HOST:PORT.")
    host = host or "127.0.0.1"
    visitors = serving.room(settings)
    answers = live.Live(limits.of(settings), connections=visitors.most)
    app = server.http_app(open_session, options, host=host, live=answers)
    listener = serving.bind(host, int(port))
    with signals.StopRequest() as stop:
        async with serving.running(app, [listener], visitors, drain_seconds=2):
            connect.note(f"sluice-mcp listens on {serving.url(listener)}/mcp")
            await stop.taken()
