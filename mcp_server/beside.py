"""Something that runs beside the body of a block, and ends with it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import anyio
import structlog

log = structlog.get_logger("mcp_server.beside")


@asynccontextmanager
async def beside(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run `work` for as long as the body runs.

    What the body raises goes on as it is; a task group would wrap it, and a refusal would become a fault of ours.
    """
    task = asyncio.get_running_loop().create_task(work)
    try:
        yield
    finally:
        task.cancel()
        (outcome,) = await asyncio.gather(task, return_exceptions=True)
        # A client that has left is nobody to tell.
        if isinstance(outcome, Exception) and not isinstance(
            outcome, anyio.BrokenResourceError | anyio.ClosedResourceError
        ):
            log.error("work_beside_failed", error=repr(outcome))
