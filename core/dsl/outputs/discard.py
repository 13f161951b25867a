"""The discard output: takes everything and keeps nothing."""

from __future__ import annotations

from typing import ClassVar

from core.dsl.component import REGISTRY, Batch, Env, Event, Output, Run


@REGISTRY.register("discard")
class Discard(Output):
    """Throw the events away; for load tests, and for jobs whose actions do the work."""

    example: ClassVar[str] = """
name: nothing
input: {echo: {event: hello}}
output: {discard: {}}
"""

    def open(self, env: Env) -> DiscardSink:
        return DiscardSink()


class DiscardSink:
    """Settles at once."""

    def write_now(self, events: list[Event], run: Run) -> None:
        pass

    async def write(self, batch: Batch, run: Run) -> None:
        batch.settle(None)

    async def flush(self, run: Run) -> None:
        pass

    async def close(self) -> None:
        pass
