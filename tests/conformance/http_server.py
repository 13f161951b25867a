"""A Sluice MCP server over HTTP on the engine of a home directory; prints its URL once it listens.

usage: http_server HOME [--fixtures], the latter with what the conformance suite calls by name.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from contextlib import AsyncExitStack
from pathlib import Path

import uvicorn

from core.settings import Settings
from mcp_server import attach, server
from mcp_server.session import EngineSession
from tests.conformance import fixtures
from tests.mcp_server import fake


async def serve(home: Path, *, with_fixtures: bool) -> None:
    async with AsyncExitStack() as stack:

        async def open_session() -> EngineSession:
            return await stack.enter_async_context(attach.open_session(Settings(home=home, workers=0)))

        app = server.http_app(open_session, fake.options(allow_write=True, toolsets=("all",)))
        if with_fixtures:
            fixtures.mount(app.state.server)
        listener = socket.create_server(("127.0.0.1", 0))
        print(f"http://127.0.0.1:{listener.getsockname()[1]}/mcp", flush=True)
        config = uvicorn.Config(app, log_level="error", ws="none", timeout_graceful_shutdown=1)
        await uvicorn.Server(config).serve([listener])


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1]), with_fixtures="--fixtures" in sys.argv))
