"""What workloads do, looked at every ten seconds and kept as series.

figures of workers (totals since a workload was told to run) -> differences, pure (`Totals.since_last`) -> store/series,
in a thread. Nothing else waits for it: what cannot be written is lost, counted, and told by the loop that failed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core import clock
from core.store import series
from core.store.series import Amounts, Subject

if TYPE_CHECKING:
    from core.model.results import engine

STEP_SECONDS = series.RINGS[0].step
LONGEST_SECONDS = 2 * STEP_SECONDS  # what a machine slept through is a gap
FORGET_STEPS = 360  # an hour


class Totals:
    """What was last known of each workload."""

    def __init__(self) -> None:
        self._last: dict[tuple[str, str], Amounts] = {}
        self.left_out = 0
        """Workloads that are too many."""

    def since_last(self, figures: Iterable[tuple[Subject, Mapping[str, Any]]]) -> dict[Subject, tuple[Amounts, float]]:
        """What each workload has done since the last look, and its lag now; and each tenant, all of it together.

        One that was not known begins with nothing, and one whose totals are smaller has begun anew.
        """
        known, self._last = self._last, {}
        self.left_out = 0
        done: dict[Subject, tuple[Amounts, float]] = {}
        for subject, told in figures:
            key = (subject.tenant, subject.workload)
            if len(self._last) >= series.MOST_WORKLOADS:
                self.left_out += 1
                continue
            now = self._last[key] = Amounts(*(int(told.get(field, 0)) for field in Amounts._fields))
            before = known.get(key)
            amounts = Amounts() if before is None else _difference(before, now)
            lag = float(told.get("lag_seconds", 0.0))
            done[subject] = (amounts, lag)
            sums, most = done.get(Subject(subject.tenant), (Amounts(), 0.0))
            done[Subject(subject.tenant)] = (Amounts(*map(sum, zip(sums, amounts, strict=True))), max(most, lag))
        return done


def _difference(before: Amounts, now: Amounts) -> Amounts:
    anew = any(after < earlier for earlier, after in zip(before, now, strict=True))
    return now if anew else Amounts(*(after - earlier for earlier, after in zip(before, now, strict=True)))


class Sampler:
    """Looks and writes down. Whoever opens it closes it."""

    def __init__(self, path: Path, figures: Callable[[], Iterable[tuple[Subject, Mapping[str, Any]]]]) -> None:
        """`figures`: the totals of every workload."""
        self.totals = Totals()
        self._figures = figures
        self._file = series.SeriesFile(path)
        self._last = clock.monotonic()
        self._steps = 0

    async def keep(self) -> None:
        """Wait for the end of a slot, and note what was done in it; a step of core.forever."""
        now = clock.now_ns() / clock.NANOSECONDS
        await asyncio.sleep(STEP_SECONDS - now % STEP_SECONDS)
        await self.sample(round(clock.now_ns() / clock.NANOSECONDS))

    async def sample(self, at: int) -> None:
        """Note what was done since the last look, which is told as the seconds before `at`."""
        covered, self._last = clock.monotonic() - self._last, clock.monotonic()
        done = self.totals.since_last(self._figures())
        self._steps += 1
        if covered <= LONGEST_SECONDS:
            await self._file.do(series.add, at, covered, done)
        if self._steps % FORGET_STEPS == 0:
            await self._file.do(series.forget, at - series.KEPT_SECONDS)

    async def read(self, tenant: str, of: str, ring: int, since: int, until: int) -> list[series.Slot] | None:
        """The slots of what a name means; None when nothing has it."""
        return await self._file.do(series.of_name, tenant, of, ring, since, until)

    def close(self) -> None:
        self._file.close()


def rates(slots: Iterable[series.Slot], step: int, since: int, until: int) -> engine.Rates:
    """Each amount by the second, and the lag, from one time to another in steps; None where nothing is known.

    A step takes together all slots that begin in it.
    """
    by_start: dict[int, series.Slot] = {}
    for one in slots:
        start = one.start - (one.start - since) % step
        by_start[start] = by_start[start].plus(one) if start in by_start else one
    found = [by_start.get(start) for start in range(since, until, step)]
    return {
        "events_in": [_rate(slot, slot.amounts.events_in) if slot else None for slot in found],
        "events_out": [_rate(slot, slot.amounts.events_out) if slot else None for slot in found],
        "bytes_in": [_rate(slot, slot.amounts.bytes_in) if slot else None for slot in found],
        "bytes_out": [_rate(slot, slot.amounts.bytes_out) if slot else None for slot in found],
        "errors": [_rate(slot, slot.amounts.errors) if slot else None for slot in found],
        "runs": [_rate(slot, slot.amounts.runs) if slot else None for slot in found],
        "runs_failed": [_rate(slot, slot.amounts.runs_failed) if slot else None for slot in found],
        "lag_seconds": [None if slot is None else round(slot.lag_seconds, 3) for slot in found],
    }


def _rate(slot: series.Slot, amount: int) -> float | None:
    return round(amount / slot.covered, 3) if slot.covered else None
