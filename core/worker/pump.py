"""Moves batches from the actions to the output, in slices and turns; counts, and lets `emit` tell, what it accepted."""

from __future__ import annotations

from core import clock
from core.dsl.component import Batch, Run, Sink
from core.dsl.language.action import Settled
from core.dsl.language.course import Legs, Passage, waits
from core.dsl.language.emit import Emitters
from core.worker.flight import Flight, Parts, Settle
from core.worker.letters import Outbox
from core.worker.runs import Metrics
from core.worker.turns import SLICE_SECONDS, Turns


class Pump:
    """Of one open job."""

    def __init__(
        self,
        legs: Legs,
        sink: Sink,
        emitters: Emitters,
        metrics: Metrics,
        turns: Turns,
        outbox: Outbox | None = None,
    ) -> None:
        self._legs = legs
        self._waits = waits(legs)
        self._sink = sink
        self._emitters = emitters
        self._metrics = metrics
        self._turns = turns
        self._outbox = outbox

    async def move(self, batch: Batch, run: Run, flight: Flight) -> None:
        """Take a batch through. What takes longer than a slice, or becomes too much, reaches the output in parts.

        It is settled when all of them are. Raises what a component raises, and the fault of an earlier batch.
        """
        whole = flight.track(batch)
        told: list[Settled] = []  # by the actions that wait
        if self._waits:
            batch.settle = _telling(batch.settle, told)
        run.document, run.begins = batch.document, batch.begins
        await self._turns.next(flight)
        passage = Passage(self._legs, batch.events, run)
        batch.events = []  # the batch lives until its output has accepted it, its events need not
        parts, begins = None, batch.begins
        while True:
            events = passage.work(clock.monotonic() + SLICE_SECONDS)
            done = passage.done
            if done and batch.document_end:
                run.documents += 1  # what comes next is another document, for actions that remember of one (csv)
            if done and parts is None:
                await self._send(Batch(events, whole, batch.document_end, batch.document, begins), run, flight)
                return
            if done or events:
                parts = parts or Parts(whole)
                accepted = flight.track(Batch([], parts.part()))
                part = Batch(events, accepted, done and batch.document_end, batch.document, begins)
                begins = False
                if done:
                    parts.close()
                await self._send(part, run, flight)
                if done:
                    return
            else:
                flight.count(run, self._metrics)  # a batch of which nothing is left may take long, too
            if passage.due is not None:
                await passage.wait(told.append)
            await self._turns.next(flight)

    async def _send(self, batch: Batch, run: Run, flight: Flight) -> None:
        batch.settle = self._counted(batch.settle, run, flight, len(batch.events), batch.document_end)
        await self._sink.write(batch, run)
        if self._outbox is not None and self._outbox.crowded:
            await self._outbox.room()
        flight.count(run, self._metrics)
        if flight.fault is not None:
            raise flight.fault

    def _counted(self, settle: Settle, run: Run, flight: Flight, sent: int, document_end: bool) -> Settle:
        """Count a batch when it is accepted, and let `emit` tell of it, just before its source hears of it."""

        def counted(error: BaseException | None) -> None:
            if error is None:
                flight.accept(run, sent)
                flight.count(run, self._metrics)
                if self._emitters.batches:
                    self._emitters.batch(run, document_end)
            settle(error)

        return counted


def _telling(settle: Settle, told: list[Settled]) -> Settle:
    """A settle that also tells those in the list, which grows until it is called."""

    def settled(error: BaseException | None) -> None:
        settle(error)
        for tell in told:
            tell(error)

    return settled
