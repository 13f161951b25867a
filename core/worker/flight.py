"""The batches of one run between their source and their output, and the parts that a large one travels in."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from core import clock
from core.dsl.component import Batch, Run
from core.errors import SluiceError
from core.worker.runs import Metrics

Settle = Callable[[BaseException | None], None]
Counted = tuple[int, int, int, int, int, int, int, int, int]
NOTHING: Counted = (0, 0, 0, 0, 0, 0, 0, 0, 0)


class Owing(Protocol):
    """What owes letters (core.worker.letters)."""

    @property
    def owed(self) -> bool:
        """Whether a letter is not answered yet."""

    def when_answered(self, then: Callable[[], None]) -> None:
        """Call when all that is owed now is answered; not at all when the worker ends before."""


class Flight:
    """The batches of one run that the output has not settled yet, and the count of what it has accepted."""

    def __init__(self, interrupt: Callable[[], None], letters: Owing | None = None) -> None:
        """`letters`: what is accepted is settled when the letters are answered that are owed by then."""
        self._letters = letters
        self.fault: BaseException | None = None
        self._left_out = 0  # events that the output left out and that `accept` has taken off
        self._interrupt = interrupt  # called when a batch failed
        self._unsettled: dict[Settle, float] = {}  # since when, on the monotonic clock; the oldest first
        self._empty: asyncio.Event | None = None
        self._counted = NOTHING

    def track(self, batch: Batch) -> Settle:
        """A settle to be called once, by whoever takes the batch over; calling it again does nothing."""

        def settle(error: BaseException | None) -> None:
            if error is None and self._letters is not None and self._letters.owed:
                self._letters.when_answered(lambda: land(None))
            else:
                land(error)

        def land(error: BaseException | None) -> None:
            if self._unsettled.pop(settle, None) is None:
                return
            try:
                batch.settle(error)  # asked now: an action that waits may have put its own in between
            except (OSError, SluiceError) as memory_error:  # the source could not remember its place
                error = error or memory_error
            if error is not None and self.fault is None:
                self.fault = error
                self._interrupt()
            if not self._unsettled and self._empty is not None:
                self._empty.set()

        self._unsettled[settle] = clock.monotonic()
        return settle

    def accept(self, run: Run, sent: int) -> None:
        """The output accepted a batch of that many events: they count as out, without those that it left out.

        What it left out may belong to a batch that it accepts later; it is taken off once, so that the count never
        falls, and is exact when all batches are settled.
        """
        less = min(sent, run.left_out - self._left_out)
        self._left_out += less
        run.events_out += sent - less

    async def landed(self) -> None:
        """Wait until every batch is settled, then raise what went wrong."""
        if self._unsettled:
            self._empty = asyncio.Event()
            await self._empty.wait()
        if self.fault is not None:
            raise self.fault

    def abandon(self, error: BaseException) -> None:
        """Tell every sender that its batch will not be delivered by this run."""
        for settle in list(self._unsettled):
            settle(error)

    def oldest(self) -> float | None:
        """When the oldest batch that is not settled was taken, on the monotonic clock; None when there is none."""
        return next(iter(self._unsettled.values()), None)

    def count(self, run: Run, metrics: Metrics) -> None:
        """Add what the run did since the last call to the totals of the instance."""
        before = self._counted
        self._counted = (
            *(run.events_in, run.events_out, run.bytes_in, run.bytes_out),
            *(run.errors, run.skipped, run.failed, run.left_out, run.conditions_failed),
        )
        add(metrics, run, before)


def add(metrics: Metrics, run: Run, before: Counted = NOTHING) -> None:
    """Add to the totals what a run did beyond `before`."""
    events_in, events_out, bytes_in, bytes_out, errors, skipped, failed, left_out, unjudged = before
    metrics.events_in += run.events_in - events_in
    metrics.events_out += run.events_out - events_out
    metrics.bytes_in += run.bytes_in - bytes_in
    metrics.bytes_out += run.bytes_out - bytes_out
    metrics.conditions_failed += run.conditions_failed - unjudged
    if run.errors != errors:
        metrics.errors += run.errors - errors
        metrics.refused_by_input += run.skipped - skipped
        metrics.refused_by_actions += run.failed - failed
        metrics.refused_by_output += run.left_out - left_out
    if run.events_in > events_in:
        metrics.last_event_at = clock.now_ns()


class Parts:
    """Settles a batch when all the parts that it was cut into are settled, with the first error there was."""

    def __init__(self, settle: Settle) -> None:
        self._settle = settle
        self._left = 1  # one more than there are open parts, until `close`
        self._fault: BaseException | None = None

    def part(self) -> Settle:
        """The settle of one more part."""
        self._left += 1
        return self._one

    def close(self) -> None:
        """There are no more parts."""
        self._one(None)

    def _one(self, error: BaseException | None) -> None:
        self._left -= 1
        self._fault = self._fault or error
        if not self._left:
            self._settle(self._fault)
