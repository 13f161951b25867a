"""A program that serves the fake engine over stdio; started by the tests as a client would start sluice-mcp."""

from __future__ import annotations

import asyncio
import os
import sys

from mcp_server import server
from mcp_server.session import EngineSession
from tests.mcp_server import fake


async def open_session() -> EngineSession:
    print("a stray line on stdout, which must not reach the wire")
    engine = fake.FakeSession()
    engine.publish("smoke")
    return engine


def main() -> None:
    options = fake.options(allow_write="--allow-write" in sys.argv, heartbeat_seconds=0.05)
    asyncio.run(server.serve_stdio(open_session, options))
    print("ended in good order", os.getpid(), file=sys.stderr)


if __name__ == "__main__":
    main()
