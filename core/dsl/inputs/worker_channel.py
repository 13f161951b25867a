"""The worker-channel input: batches that another job of the same worker put into a named channel."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import ClassVar, Literal

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
    driver: Literal["standard", "clone"] = "standard"
    """`standard`: the jobs that read the channel share its batches. `clone`: each of them gets a copy of every batch,
    when one of them says so; senders wait until all of them are there. Replicas of a job always share."""

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
