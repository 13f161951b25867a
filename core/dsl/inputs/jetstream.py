"""The jetstream input: the events of a stream of the NATS server of this worker, as long as the job runs."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Callable
from typing import Annotated, ClassVar

from pydantic import Field

from core import clock
from core.dsl.component import REGISTRY, Batch, Config, Env, Input, Run
from core.dsl.connections import streams
from core.dsl.connections.retry import Temporary
from core.dsl.inputs import lines
from core.dsl.inputs.rewind import Replay
from core.dsl.language.duration import Duration

WAIT_SECONDS = 5.0  # of one question for a message; a server that is away for longer fails the job
SOONEST_TRIM_SECONDS, LATEST_TRIM_SECONDS = 1.0, 60.0


class Retention(Config):
    """Delete messages that have been read, when a bound says so; without a bound nothing is deleted."""

    age: Duration | None = None
    """Delete messages that were written longer ago; `0s` deletes what was read."""
    max_bytes: int | None = Field(default=None, ge=1)
    """Delete the oldest while the stream is larger."""
    readers: tuple[str, ...] = Field(default=(), max_length=1000)
    """The jobs that must have read a message before it may be deleted; left out: only this one."""


@REGISTRY.register("jetstream")
class JetstreamInput(Input):
    """Read a stream of NATS JetStream as long as the job runs: one event for each line of a message.

    The server is the one of the setting `nats` of this worker, and streams belong to their tenant; one that is not
    there is made. The server remembers under the name of the job what the output has accepted, so the job goes on where
    it was, on whatever worker; its replicas share the messages. What was not accepted comes again: at once when the
    job failed, after `ack-wait` when its worker died. A line that is not a JSON object stays text in `_raw` and is
    counted as an error. When the server is away for some seconds, the job fails and is restarted. Needs the extra
    `nats`.
    """

    scalar = "stream"
    needs: ClassVar = ("nats",)
    example: ClassVar[str] = """
name: from-stream
input: {jetstream: {stream: orders, replay: beginning, retention: {age: 7d}}}
output: {print: STDOUT}
"""

    stream: str = Field(pattern=streams.NAME_PATTERN)
    """The name of the stream: letters, digits, `_` and `-`."""
    replay: Replay | None = None
    """Where reading begins, and what is read once more when this changes; left out: at the beginning."""
    retention: Retention | None = None
    """What is deleted once it was read; left out: nothing."""
    ack_wait: Annotated[Duration, Field(ge=1, le=3600)] = 10.0
    """A message that is not accepted comes again after this time without a sign of life of its reader."""

    @property
    def continuous(self) -> bool:
        return True

    def open(self, env: Env) -> JetstreamSource:
        return JetstreamSource(self, env)


class JetstreamSource:
    """Takes one message at a time; a task of its own tells the server what became of them."""

    def __init__(self, config: JetstreamInput, env: Env) -> None:
        self._config = config
        self._env = env
        self._stream: streams.Stream | None = None
        self._answers: list[tuple[str, bytes]] = []  # (where to, what), to be told
        self._held: set[str] = set()  # where to answer for what is not settled
        self._to_tell = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._behind: float | None = None

    async def batches(self, run: Run) -> AsyncIterator[Batch]:
        config, replay = self._config, self._config.replay or Replay()
        stream = self._stream = await streams.connect(self._env, config.stream)
        name = replay.name if config.replay is not None else ""
        source = await stream.consume(self._env.job, name, replay.since(math.inf), config.ack_wait)
        self._tasks.append(asyncio.create_task(self._answering(stream)))
        if config.retention is not None:
            self._tasks.append(asyncio.create_task(self._trimming(stream, config.retention)))
        while True:
            message = await source.next(WAIT_SECONDS)
            self._note(message.pending if message is not None else 0)
            if message is None:
                continue
            run.bytes_in += len(message.data)
            self._held.add(message.reply)
            events = lines.from_lines(lines.split(message.data), True, self._env, run, "jetstream")
            yield Batch(events, self._settler(message.reply), document_end=True)

    def _settler(self, reply: str) -> Callable[[BaseException | None], None]:
        def settle(error: BaseException | None) -> None:
            self._held.discard(reply)
            self._answers.append((reply, streams.ACCEPTED if error is None else streams.REFUSED))
            self._to_tell.set()

        return settle

    def _note(self, pending: int) -> None:
        self._behind = None if not pending else clock.monotonic() if self._behind is None else self._behind

    def behind_since(self) -> float | None:
        return self._behind

    async def _answering(self, stream: streams.Stream) -> None:
        """Tell at once what is settled, and of what is not in time that it is being worked on."""
        every = self._config.ack_wait / 3
        due = clock.monotonic() + every
        while True:
            try:
                async with asyncio.timeout(max(0.0, due - clock.monotonic())):
                    await self._to_tell.wait()
            except TimeoutError:
                due = clock.monotonic() + every
                self._answers += [(reply, streams.WORKING) for reply in self._held]
            await self._tell(stream)

    async def _tell(self, stream: streams.Stream) -> None:
        self._to_tell.clear()
        answers, self._answers = self._answers, []
        try:
            for reply, what in answers:
                await stream.answer(reply, what)
        except Temporary as fault:
            self._env.log("warning", f"{fault.message}; what it does not hear of, it sends again")

    async def _trimming(self, stream: streams.Stream, retention: Retention) -> None:
        readers = retention.readers or (self._env.job,)
        seconds = LATEST_TRIM_SECONDS if retention.age is None else retention.age / 10
        if retention.max_bytes is not None:
            seconds = min(seconds, 10.0)
        while True:
            await asyncio.sleep(min(max(seconds, SOONEST_TRIM_SECONDS), LATEST_TRIM_SECONDS))
            since = None if retention.age is None else clock.now_ns() / clock.NANOSECONDS - retention.age
            try:
                await stream.trim(readers, since, retention.max_bytes)
            except Temporary as fault:
                self._env.log("warning", f"{fault.message}; nothing was deleted")

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()
        if self._stream is not None:
            await self._tell(self._stream)
            await self._stream.close()
