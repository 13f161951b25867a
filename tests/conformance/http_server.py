"""A Sluice MCP server over HTTP with the fixtures of the conformance suite; prints its URL once it listens."""

from __future__ import annotations

import asyncio
import socket
import sys

import uvicorn

from mcp_server import server
from mcp_server.session import EngineSession
from tests.conformance import fixtures
from tests.mcp_server import fake


async def open_session() -> EngineSession:
    engine = fake.FakeSession()
    engine.publish("smoke")
    return engine


def main() -> None:
    options = fake.options(allow_write=True, toolsets=("all",))
    app = server.http_app(open_session, options)
    if "--without-fixtures" not in sys.argv:
        fixtures.mount(app.state.server)
    listener = socket.create_server(("127.0.0.1", 0))
    print(f"http://127.0.0.1:{listener.getsockname()[1]}/mcp", flush=True)
    config = uvicorn.Config(app, log_level="error", ws="none", timeout_graceful_shutdown=1)
    asyncio.run(uvicorn.Server(config).serve([listener]))


if __name__ == "__main__":
    main()
