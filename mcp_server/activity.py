"""Activity forwarding: what tools a session calls, told to the engine, where admins can look (mcp_activity_list).

Metadata only: names, outcomes and times, never arguments or results. Best effort: a call neither waits for it nor fails
with it, and what cannot be sent is counted and dropped.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import structlog

from core import clock, errors
from core.model.principal import Caller
from mcp_server.session import EngineSession

log = structlog.get_logger("mcp_server.activity")

MOST_WAITING = 1000
BATCH = 50
SEND_SECONDS = 5.0
LAST_SECONDS = 0.5
"""How long the last records may take when the session ends."""


class Forwarder:
    """Sends records in batches, in the background. Use from one event loop."""

    def __init__(self, session: Callable[[], Awaitable[EngineSession]], about: dict[str, str]) -> None:
        self._session = session
        self._about = about  # label, transport
        self._waiting: deque[tuple[Caller, dict[str, Any]]] = deque()
        self._task: asyncio.Task[None] | None = None
        self.sent = 0
        self.dropped = 0

    def note(self, caller: Caller, protocol: str, tool: str, outcome: str, seconds: float) -> None:
        """Record one call; returns at once."""
        if len(self._waiting) >= MOST_WAITING:
            self._waiting.popleft()
            self.dropped += 1
        record = {
            "tool": tool[:64],
            "outcome": outcome,
            "duration_ms": round(seconds * 1000),
            "at_ns": clock.now_ns(),
            "protocol": protocol[:20],
        }
        self._waiting.append((caller, record))
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._send())

    async def _send(self) -> None:
        while self._waiting:
            caller = self._waiting[0][0]
            batch: list[dict[str, Any]] = []
            while self._waiting and len(batch) < BATCH and self._waiting[0][0] == caller:
                batch.append(self._waiting.popleft()[1])
            try:
                with anyio.fail_after(SEND_SECONDS):
                    session = await self._session()
                    await session.call("mcp_activity_record", {"records": batch, **self._about}, caller)
            except (errors.SluiceError, TimeoutError) as error:
                self.dropped += len(batch)
                log.debug("activity_not_forwarded", count=len(batch), error=str(error))
            else:
                self.sent += len(batch)

    async def aclose(self) -> None:
        """Send what waits, for a moment."""
        if self._task is not None and not self._task.done():
            with anyio.move_on_after(LAST_SECONDS):
                await asyncio.wait([self._task])
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
