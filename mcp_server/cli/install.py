"""`sluice mcp install`: write a client's configuration, then start the server once and list its tools."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal

import anyio
from cyclopts import Parameter

from core import errors
from mcp_server import install as clients
from mcp_server.cli import connect, render

TRY_SECONDS = 30

Client = Literal["claude-code", "claude-desktop", "vscode", "cursor", "windsurf", "zed"]


async def install(
    client: Client,
    /,
    *,
    allow_write: Annotated[bool, Parameter(negative=())] = False,
    print_: Annotated[bool, Parameter(name="--print", negative=())] = False,
    common: connect.Common = connect.DEFAULTS,
) -> int:
    """Connect an MCP client to this engine, and try it once.

    Parameters
    ----------
    client
        Which client.
    allow_write
        Let the client change things: apply plans, publish and invoke triggers.
    print_
        Print the configuration instead of writing it.
    """
    program = clients.command()
    args = ["--allow-write"] if allow_write else []
    if common.url:
        args += ["--url", common.url]
    env = {"SLUICE_HOME": str(common.home.absolute())} if common.home else {}
    wanted = clients.document(client, program, args, env)
    where = clients.location(client, home=Path.home(), project=Path.cwd())
    spec = clients.CLIENTS[client]
    if print_:
        render.json(wanted)
    else:
        changed = clients.write(where, wanted)
        connect.note(f"{'Wrote' if changed else 'Already in'} {where}. {spec.restart}")
    tools = await listed(program, args, env)
    connect.note(f"Started it once: {len(tools)} tools.")
    for name, summary in tools:
        connect.note(f"  {name:<32} {summary}")
    if not allow_write:
        connect.note("It is read-only; install with --allow-write to let it change things.")
    return 0


async def listed(program: str, args: Sequence[str], env: Mapping[str, str]) -> list[tuple[str, str]]:
    """Start the server as the client would and return its tools.

    Raises TargetUnavailable when it does not answer in time.
    """
    from mcp import Client as McpClient
    from mcp import MCPError
    from mcp.client.stdio import StdioServerParameters

    server = StdioServerParameters(command=program, args=list(args), env={**os.environ, **env})
    tools: list[tuple[str, str]] = []
    try:
        with anyio.fail_after(TRY_SECONDS):
            async with McpClient(server) as client:
                cursor = None
                while True:
                    page = await client.list_tools(cursor=cursor)
                    tools += [(tool.name, (tool.description or "").partition("\n")[0][:80]) for tool in page.tools]
                    cursor = page.next_cursor
                    if cursor is None:
                        return tools
    except (TimeoutError, MCPError, OSError) as error:
        raise errors.TargetUnavailable(
            f"The configuration is in place, but the server did not answer: {errors.shorten(str(error))}.",
            hint=f"Run it by hand to see why: {' '.join([program, *args])}; Python is {sys.executable}.",
        ) from None
