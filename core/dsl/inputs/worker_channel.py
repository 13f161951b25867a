"""The worker-channel input: batches that another job of the same worker put into a named channel."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import ClassVar

from pydantic import Field

from core.dsl.component import REGISTRY, Batch, Channel, Env, Input, Run


@REGISTRY.register("worker-channel")
class WorkerChannelInput(Input):
    """Read a channel of this worker. A batch counts as delivered for its sender when this job's output accepted it."""

    scalar = "channel"
    example: ClassVar[str] = """
name: from-channel
input: {worker-channel: {channel: lines}}
output: {print: STDOUT}
"""

    channel: str = Field(min_length=1, max_length=256)
    """The name of the channel."""

    @property
    def continuous(self) -> bool:
        return True

    def open(self, env: Env) -> ChannelSource:
        return ChannelSource(env.channel(self.channel))


class ChannelSource:
    """Passes batches on as they are, so that their settling reaches the sender."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    async def batches(self, run: Run) -> AsyncIterator[Batch]:
        while True:
            yield await self._channel.get()

    async def close(self) -> None:
        pass
