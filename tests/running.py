"""A server in a process of its own for the tests of a module."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio

from mcp_server.cli import stage


@asynccontextmanager
async def running(place: Path, workers: int) -> AsyncIterator[stage.Stage]:
    """`sluice serve` with so many workers on a home in this directory; it is stopped at the end."""
    scene = stage.Stage(place / "home")
    try:
        with anyio.fail_after(60):
            await scene.start(workers=workers)
        yield scene
    finally:
        with anyio.fail_after(30, shield=True):
            await scene.stop()
