"""The jetstream output: events into a stream of the NATS server of this worker."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from pydantic import Field

from core import clock
from core.dsl.component import REGISTRY, Batch, Env, Output, Run
from core.dsl.connections import streams
from core.dsl.connections.retry import Retry, attempt
from core.dsl.outputs import batching, content
from core.model.letter import Code


@REGISTRY.register("jetstream")
class JetstreamOutput(Output):
    """Write events to a stream of NATS JetStream, which keeps them for the jobs that read it.

    The server is the one of the setting `nats` of this worker, and streams belong to their tenant; one that is not
    there is made. A message holds one event, or with `batch` several, one a line. Events count as delivered when the
    server has answered that it keeps their message. A message that is tried again within two minutes because the
    answer was lost is kept once; after a crash events may come twice. An event that is too large for a message of the
    server is counted as an error and left out. Needs the extra `nats`.
    """

    scalar = "stream"
    needs: ClassVar = ("nats",)
    connects_to: ClassVar[str] = "NATS server"
    example: ClassVar[str] = """
name: to-stream
input: {echo: {event: '{"hello": "world"}', json: true}}
output:
  jetstream: {stream: orders, batch: {fixed-size: 500}, retry: {retries: 5, timeout: 60s}}
"""

    stream: str = Field(pattern=streams.NAME_PATTERN)
    """The name of the stream: letters, digits, `_` and `-`."""
    batch: batching.Grouping | None = None
    """Put several events into one message; as many as fit into one."""
    retry: Retry | None = None
    """Try again when the server cannot be reached or takes nothing; left out: the job fails and is restarted."""

    def open(self, env: Env) -> JetstreamSink:
        return JetstreamSink(self, env)


class JetstreamSink:
    """One message at a time, in order."""

    def __init__(self, config: JetstreamOutput, env: Env) -> None:
        self._config = config
        self._env = env
        self._encode = content.pairs(None, env, "jetstream")
        self._stream: streams.Stream | None = None
        self._batcher = batching.Batcher(config.batch, self._send)

    async def write(self, batch: Batch, run: Run) -> None:
        stream = await self._connected()
        items = []
        for event, data in self._encode(batch.events, run):
            if len(data) <= stream.most_bytes:
                items.append(batching.Item({}, data))
            else:
                why = (
                    f"jetstream: an event of {len(data)} bytes was left out: the NATS server takes {stream.most_bytes}"
                )
                run.leave_out(self._env, Code.TOO_LARGE, why, event)
        await self._batcher.add(items, batch, run)

    async def _connected(self) -> streams.Stream:
        if self._stream is None:
            self._stream = await attempt(
                self._config.retry, self._env, "jetstream", lambda: streams.connect(self._env, self._config.stream)
            )
        return self._stream

    async def _send(self, groups: list[list[batching.Item]], run: Run) -> None:
        stream = await self._connected()
        for group in groups:
            for data in messages([item.data for item in group], stream.most_bytes):
                await self._publish(stream, data)
                run.bytes_out += len(data)

    async def _publish(self, stream: streams.Stream, data: bytes) -> None:
        id = clock.encode(clock.now_ns()) + clock.token(13)  # the same at each try: the server keeps it once
        await attempt(self._config.retry, self._env, "jetstream", lambda: stream.publish(data, id))

    async def flush(self, run: Run) -> None:
        await self._batcher.flush(run)

    async def close(self) -> None:
        await self._batcher.close()
        if self._stream is not None:
            await self._stream.close()


def messages(datas: list[bytes], most_bytes: int) -> Iterator[bytes]:
    """The events of a group, one a line, in as few messages as hold them in their order; none is larger alone."""
    held: list[bytes] = []
    size = -1
    for data in datas:
        if held and size + 1 + len(data) > most_bytes:
            yield b"\n".join(held)
            held, size = [], -1
        held.append(data)
        size += 1 + len(data)
    if held:
        yield b"\n".join(held)
