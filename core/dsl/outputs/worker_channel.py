"""The worker-channel output: batches for another job of the same worker."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from core.dsl.component import REGISTRY, Batch, Channel, Env, Output, Run


@REGISTRY.register("worker-channel")
class WorkerChannelOutput(Output):
    """Put the events into a channel of this worker; waits while it is full: the slowest job sets the pace."""

    scalar = "channel"
    example: ClassVar[str] = """
name: to-channel
input: {echo: {event: hello}}
output: {worker-channel: {channel: lines}}
"""

    channel: str = Field(min_length=1, max_length=256)
    """The name of the channel."""

    def open(self, env: Env) -> ChannelSink:
        return ChannelSink(env.channel(self.channel))


class ChannelSink:
    """The consumer settles the batch."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    async def write(self, batch: Batch, run: Run) -> None:
        await self._channel.put(batch)

    async def flush(self, run: Run) -> None:
        pass

    async def close(self) -> None:
        pass
