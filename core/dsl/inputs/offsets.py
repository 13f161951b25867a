"""Where a reader of a Kafka partition stands: what may be committed, and where reading begins. Pure."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from typing import NamedTuple

from core.dsl.files.memory import Settled
from core.dsl.inputs.rewind import NOW, Replay


class Committed(NamedTuple):
    """What a group has committed for a partition."""

    offset: int
    mark: str


class Reading:
    """One partition, for as long as it is this reader's.

    Offsets are those of the next record: what is to be committed is the end of the longest run of batches from the
    begin that the output has accepted.
    """

    def __init__(self, start: int) -> None:
        self.next = start
        """Of the record that comes after those which were handed on."""
        self.reached = start
        """Up to here everything is accepted."""
        self.committed = start
        self.ended = False
        """It is another reader's now, or nobody's."""
        self.open = 0
        """Records that are handed on and not settled."""
        self._idle = asyncio.Event()
        self._idle.set()
        self._settled: Settled[int] = Settled(self._reach)

    def expect(self, end: int, records: int) -> Callable[[BaseException | None], None]:
        """The settle of a batch of so many records that ends before this offset."""
        settle = self._settled.expect(end)
        self.next = end
        self.open += records
        self._idle.clear()

        def settled(error: BaseException | None) -> None:
            settle(error)
            self.open -= records
            if not self.open:
                self._idle.set()

        return settled

    def _reach(self, offset: int) -> None:
        self.reached = offset

    @property
    def due(self) -> bool:
        """Whether there is something to commit."""
        return self.reached != self.committed

    async def idle(self) -> None:
        """Wait until all that was handed on is settled."""
        await self._idle.wait()


def mark_of(replay: Replay | None) -> str:
    """What is committed beside the offsets, by which a replay is known to be carried out; empty without one."""
    if replay is None:
        return ""
    return f"sluice-replay:{hashlib.blake2b(replay.name.encode(), digest_size=6).hexdigest()}"


def start_of(replay: Replay | None, committed: Committed | None, since: int, beginning: int, *, known: bool) -> int:
    """Where reading a partition begins.

    `since` is the first offset since the point of the replay; `known`: the group has committed other partitions of the
    topic, so that one without a commit is new and nothing of it may be missed.
    """
    if committed is None:
        return beginning if known else since
    if replay is None or committed.mark == mark_of(replay):
        return committed.offset
    if replay.skip_unread:
        return since
    return committed.offset if replay.from_ == NOW else min(committed.offset, since)
