"""`sluice console`: a link that signs a browser in, and the browser with it."""

from __future__ import annotations

import asyncio
import contextlib
import webbrowser
from typing import Annotated
from urllib.parse import urlsplit

from cyclopts import Parameter

from core import errors, ownership
from mcp_server.cli import connect, render

ADDRESS = "http.address"  # in the home directory: where `sluice serve` listens
SECONDS = 5.0


async def console(
    *,
    no_open: Annotated[bool, Parameter(negative=())] = False,
    common: connect.Common = connect.DEFAULTS,
) -> int:
    """Open the console in a browser, signed in as you.

    Parameters
    ----------
    no_open
        Print the link only. It works once, for ten minutes.
    """
    async with connect.engine(common) as client:
        where = common.url or await _address(common)
        made = await client.call("console_link_create")
    url = f"{where.rstrip('/')}{made['path']}"
    if common.json:
        render.json({"url": url, "expires_in": made["expires_in"]})
    elif no_open or not webbrowser.open(url):
        render.text(url)
    return 0


async def _address(common: connect.Common) -> str:
    """Where the server of this home listens. Raises NoEngine, or TargetUnavailable when the engine serves no HTTP."""
    file = common.settings().home / ADDRESS
    found = file.read_text(encoding="utf-8").strip() if file.is_file() else ""
    if found:
        parts = urlsplit(found)
        with contextlib.suppress(OSError, TimeoutError):  # it ended without a word
            async with asyncio.timeout(SECONDS):
                _, writer = await asyncio.open_connection(parts.hostname, parts.port)
            writer.close()
            return found
    kind = errors.TargetUnavailable if ownership.held(file.parent) else errors.NoEngine
    raise kind("No server of this home listens, so there is no console.", hint="Run: sluice serve")
