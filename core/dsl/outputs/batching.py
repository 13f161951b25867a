"""Grouping of events into what one write or one request carries, with the settling that follows from it."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Awaitable, Callable
from typing import ClassVar, Literal, NamedTuple, Self

from pydantic import Field, model_validator

from core.dsl.component import Batch, Config, Event, Run
from core.dsl.language.duration import Duration
from core.errors import JobFailed

MOST_HELD_BYTES = 64 * 1024 * 1024  # a group that grows beyond this is sent early, so that memory stays bounded
FIXED_WAIT_SECONDS = 0.1


class Grouping(Config):
    """How many events travel together. Without this block every event is sent on its own."""

    spellings: ClassVar = {"fixed_size": "fixed-size"}

    mode: Literal["fixed", "document", "timeout"] = "fixed"
    """`fixed`: send after fixed-size events or after the timeout. `document`: send at the end of each document of the
    input (an object, a response, a firing). `timeout`: send what has come in each interval of that length."""
    fixed_size: int = Field(default=1000, ge=1, le=1_000_000)
    """The most events of one group; with the other modes it has no meaning."""
    timeout: Duration | None = None
    """Send a group that is not full after this time. Left out: 100ms with `fixed`, no limit with `document`."""

    @model_validator(mode="after")
    def _has_an_end(self) -> Self:
        if self.mode == "timeout" and self.timeout is None:
            raise ValueError("mode: timeout needs a timeout")
        return self

    @property
    def wait_seconds(self) -> float | None:
        """How long a group may wait for more events."""
        if self.timeout is None and self.mode == "fixed":
            return FIXED_WAIT_SECONDS
        return self.timeout


class Batching(Grouping):
    """Events that travel together as lines or as one JSON array. Without this block every event is sent on its own."""

    header: str | None = None
    """A line before the events of each group."""
    footer: str | None = None
    """A line after the events of each group."""
    wrap_as_json: bool = False
    """Send a group as one JSON array instead of lines."""

    @model_validator(mode="after")
    def _one_frame(self) -> Self:
        if self.wrap_as_json and (self.header is not None or self.footer is not None):
            raise ValueError("a JSON array has no header and no footer")
        return self

    def join(self, datas: list[bytes]) -> bytes:
        """The content of one group: lines, each with its end, or one JSON array."""
        if self.wrap_as_json:
            return b"[" + b",".join(datas) + b"]"
        head = [] if self.header is None else [self.header.encode()]
        foot = [] if self.footer is None else [self.footer.encode()]
        return b"\n".join([*head, *datas, *foot, b""])


class Item(NamedTuple):
    """One event and what is to be sent for it."""

    event: Event
    data: bytes


Send = Callable[[list[list[Item]], Run], Awaitable[None]]


class Batcher:
    """Collects items into groups and settles each batch when the last of its items was sent.

    `send` gets groups in order and returns when they are safe; it raises when they cannot be sent.
    """

    def __init__(self, config: Grouping | None, send: Send) -> None:
        self._size = 1 if config is None else config.fixed_size if config.mode == "fixed" else None
        self._by_document = config is not None and config.mode == "document"
        self._timeout = config.wait_seconds if config is not None else None
        self._send = send
        self._held: list[Item] = []
        self._held_bytes = 0
        self._received = 0
        self._sent = 0
        self._settles: deque[tuple[int, Callable[[BaseException | None], None]]] = deque()
        self._lock = asyncio.Lock()
        self._timer: asyncio.TimerHandle | None = None
        self._timed: set[asyncio.Task[None]] = set()

    async def add(self, items: list[Item], batch: Batch, run: Run) -> None:
        """Take the items of one batch; it is settled here or later.

        Raises what `send` raises; then nothing is held any more, and the batches are settled with that.
        """
        async with self._lock:
            self._held += items
            self._held_bytes += sum(len(item.data) for item in items)
            self._received += len(items)
            self._settles.append((self._received, batch.settle))
            if self._size is not None:
                await self._send_groups(len(self._held) // self._size, self._size, run)
            if self._held and (self._held_bytes > MOST_HELD_BYTES or (self._by_document and batch.document_end)):
                await self._send_groups(1, len(self._held), run)
            self._settle()
            if self._held and self._timeout is not None and self._timer is None:
                loop = asyncio.get_running_loop()
                self._timer = loop.call_later(self._timeout, self._time_is_up, run)

    async def flush(self, run: Run) -> None:
        """Send what is held."""
        async with self._lock:
            if self._held:
                await self._send_groups(1, len(self._held), run)
            self._settle()

    async def close(self) -> None:
        self._stop_timer()
        for task in self._timed:
            task.cancel()
        if self._timed:
            await asyncio.wait(self._timed)

    async def _send_groups(self, count: int, size: int, run: Run) -> None:
        if not count:
            return
        taken = count * size
        groups = [self._held[at : at + size] for at in range(0, taken, size)]
        del self._held[:taken]
        self._held_bytes = sum(len(item.data) for item in self._held)
        self._stop_timer()
        try:
            await self._send(groups, run)
        except BaseException as error:
            # What follows would arrive without what failed: nothing of it is sent, the sources will read it again.
            # Batches of other runs wait for nothing any more, so they are told; who hears it twice hears it once.
            settles, self._settles = self._settles, deque()
            self._held.clear()
            self._sent = self._received
            fault = JobFailed("the run that was sending these events was ended")
            for _, settle in settles:
                settle(error if isinstance(error, Exception) else fault)
            raise
        self._sent += taken

    def _settle(self) -> None:
        while self._settles and self._settles[0][0] <= self._sent:
            self._settles.popleft()[1](None)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _time_is_up(self, run: Run) -> None:
        self._timer = None
        task = asyncio.get_running_loop().create_task(self._flush_late(run))
        self._timed.add(task)
        task.add_done_callback(self._timed.discard)

    async def _flush_late(self, run: Run) -> None:
        with contextlib.suppress(Exception):  # nobody awaits this task: the batches carry the error to the executor
            await self.flush(run)
