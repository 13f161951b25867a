"""The actions of a job of which some have to wait: functions over a batch, with the waits between them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from core.dsl.action import Settled, Waiter
from core.dsl.component import Batch, Event, Run

Numbers = Iterable[int]
Stage = Callable[[list[Event], Run, Numbers], tuple[list[Event], Numbers]]
Holds = Callable[[list[Event], Run, Numbers], list[bool]]


@dataclass(frozen=True, slots=True)
class Wait:
    """One action that waits, and the test for which events it is done (None: for all)."""

    waiter: Waiter
    holds: Holds | None


class Stages:
    """Takes batches through all actions of one job, in order; the order of the events is kept.

    Every event keeps its number (its place in the run, which `count()` tells) on the way.
    """

    def __init__(self, parts: Sequence[Stage | Wait]) -> None:
        self._parts = parts

    async def process(self, batch: Batch, run: Run) -> list[Event]:
        """What the output gets of a batch; the contract of `CompiledJob.process` in all else.

        An action may put itself in front of `batch.settle`.
        """
        events = batch.events
        numbers: Numbers = range(run.events_in + 1, run.events_in + 1 + len(events))
        run.events_in += len(events)
        for part in self._parts:
            if not isinstance(part, Wait):
                events, numbers = part(events, run, numbers)
            elif events:
                events, numbers = await _wait(part, events, run, numbers, batch)
        return events

    async def close(self) -> None:
        """Let every waiting action finish what it has begun. Safe to call twice."""
        for part in self._parts:
            if isinstance(part, Wait):
                await part.waiter.close()


async def _wait(
    part: Wait, events: list[Event], run: Run, numbers: Numbers, batch: Batch
) -> tuple[list[Event], Numbers]:
    def on_settled(told: Settled) -> None:
        settle = batch.settle

        def both(error: BaseException | None) -> None:
            settle(error)
            told(error)

        batch.settle = both

    if part.holds is None:
        done = await part.waiter.work(events, run, on_settled)
    else:
        numbers = list(numbers)
        holds = part.holds(events, run, numbers)
        chosen = [event for event, held in zip(events, holds, strict=True) if held]
        answers = iter(await part.waiter.work(chosen, run, on_settled) if chosen else ())
        done = [next(answers) if held else event for event, held in zip(events, holds, strict=True)]
    kept = [(event, number) for event, number in zip(done, numbers, strict=True) if event is not None]
    return [event for event, _ in kept], [number for _, number in kept]
