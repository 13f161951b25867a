"""The internal-messages input: messages of the bus as events, as long as the job runs."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import ClassVar

from core.dsl.component import REGISTRY, Batch, Env, Event, Input, Run
from core.dsl.language.schedule import MessageFilter

MOST_PER_BATCH = 1000


@REGISTRY.register("internal-messages")
class InternalMessages(MessageFilter, Input):
    """Read the messages of the bus that pass the filters; each is one event, acknowledged when the output took it."""

    example: ClassVar[str] = """
name: watch-alerts
input:
  internal-messages: {filter-type: [user-alert]}
output: {print: STDOUT}
"""

    @property
    def continuous(self) -> bool:
        return True

    def open(self, env: Env) -> MessageSource:
        return MessageSource()


class MessageSource:
    """Yields what `offer` was given. It holds no more than the bus sends ahead of acknowledgements."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[Event, Callable[[BaseException | None], None]]] = deque()
        self._arrived = asyncio.Event()

    def offer(self, event: Event, settle: Callable[[BaseException | None], None]) -> None:
        """Take one message in; `settle` is called once, when the output has accepted or refused it."""
        self._waiting.append((event, settle))
        self._arrived.set()

    def withdraw(self, event: Event) -> bool:
        """Forget a message that was offered, and its `settle`; false when it has gone on with a batch."""
        kept = deque(one for one in self._waiting if one[0] is not event)
        there, self._waiting = len(kept) < len(self._waiting), kept
        return there

    async def batches(self, run: Run) -> AsyncIterator[Batch]:
        while True:
            await self._arrived.wait()
            taken = [self._waiting.popleft() for _ in range(min(len(self._waiting), MOST_PER_BATCH))]
            if not self._waiting:
                self._arrived.clear()
            if taken:
                yield Batch([event for event, _ in taken], _settle_all([settle for _, settle in taken]), True)

    async def close(self) -> None:
        pass


def _settle_all(settles: list[Callable[[BaseException | None], None]]) -> Callable[[BaseException | None], None]:
    def settle(error: BaseException | None) -> None:
        for one in settles:
            one(error)

    return settle
