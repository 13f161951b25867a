"""Fair sharing of one worker: jobs work in turns of bounded time, and between two turns the worker hears its engine.

The rule is told in docs/decisions: one turn lasts TURN_SECONDS, whoever has more to do queues up behind the others,
and a batch that takes longer than a slice goes on in a later turn.
"""

from __future__ import annotations

import asyncio
from collections import deque

from core import clock

TURN_SECONDS = 0.001
SLICE_SECONDS = 0.002  # that the actions of one job may take without a break


class Turns:
    """Hands out turns to the jobs of one worker, first come, first served."""

    def __init__(self, seconds: float = TURN_SECONDS) -> None:
        self._seconds = seconds
        self._until = 0.0  # end of the turn that is being taken
        self._holder: object = None
        self._queue: deque[asyncio.Future[None]] = deque()

    async def next(self, who: object) -> None:
        """Go on at once within the turn that `who` has; else wait until all that came earlier had theirs."""
        if clock.monotonic() < self._until and (who is self._holder or not self._queue):
            return
        loop = asyncio.get_running_loop()
        turn = loop.create_future()
        if not self._queue:
            loop.call_soon(self._grant)
        self._queue.append(turn)
        await turn
        self._holder = who
        self._until = clock.monotonic() + self._seconds

    def _grant(self) -> None:
        """Give one turn in each round of the loop, so that sockets are heard in between."""
        while self._queue:
            turn = self._queue.popleft()
            if not turn.done():
                turn.set_result(None)
                break
        if self._queue:
            asyncio.get_running_loop().call_soon(self._grant)
