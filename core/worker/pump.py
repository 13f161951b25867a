"""Moves batches from the actions to the output, in parts and turns; counts, and lets `emit` tell, what it accepted."""

from __future__ import annotations

from core import clock
from core.dsl.compile import CompiledJob
from core.dsl.component import Batch, Run, Sink
from core.dsl.emit import Emitters
from core.worker.flight import Flight, Parts, Settle
from core.worker.runs import Metrics
from core.worker.turns import LARGEST_PART, Pace, Turns


class Pump:
    """Of one open job."""

    def __init__(self, job: CompiledJob, sink: Sink, emitters: Emitters, metrics: Metrics, turns: Turns) -> None:
        self._process = job.process
        self._stages = job.stages
        self._sink = sink
        self._emitters = emitters
        self._metrics = metrics
        self._turns = turns
        self._pace = Pace()
        if job.stages is not None:
            self._pace.size = LARGEST_PART  # it waits for each part, and lets the worker hear its engine meanwhile

    async def move(self, batch: Batch, run: Run, flight: Flight) -> None:
        """Take a batch through; one that takes longer than a slice in parts, and it is settled when all of them are.

        Raises what a component raises, and the fault of an earlier batch.
        """
        events = batch.events
        if len(events) <= self._pace.size:
            await self._pass(batch, run, flight)
            return
        parts, at = Parts(flight.track(batch)), 0
        batch.events = []
        while at < len(events):
            end = at + self._pace.size
            last, first = end >= len(events), at == 0
            part = Batch(
                events[at:end], parts.part(), batch.document_end and last, batch.document, batch.begins and first
            )
            at = end
            await self._pass(part, run, flight)
        parts.close()

    async def _pass(self, batch: Batch, run: Run, flight: Flight) -> None:
        settle = flight.track(batch)
        await self._turns.next(flight)
        run.document, run.begins = batch.document, batch.begins
        if self._stages is None:
            started, count = clock.processor(), len(batch.events)
            events = self._process(batch.events, run)
            self._pace.took(count, clock.processor() - started)
        else:
            events = await self._stages.process(batch, run)
        if batch.document_end:
            run.documents += 1  # what comes next is another document, for actions that remember of one (csv)
        batch.events = []  # the batch lives until its output has accepted it, its events need not
        settle = self._counted(settle, run, flight, len(events), batch.document_end)
        await self._sink.write(Batch(events, settle, batch.document_end, batch.document, batch.begins), run)
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
