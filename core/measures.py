"""What an engine counts of itself while it runs: how late its loop is, how long its writes take, how runs ended
and how long they took.

Who has it to tell adds to it (the store each commit, triggers each end of an invocation); `engine_metrics` tells it,
and nothing here outlives the process.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from operator import itemgetter

from core import clock
from core.model.measure import MOST_JOBS, OTHER, Histogram

LOOK_SECONDS = 0.5
MOST_TENANTS = 500


class Ends:
    """How invocations ended, by tenant."""

    def __init__(self) -> None:
        self.states: Counter[tuple[str, str]] = Counter()
        self.seconds: dict[str, Histogram] = {}

    def add(self, tenant: str, state: str, requested_at_ns: int, finished_at_ns: int | None) -> None:
        """One has come to a terminal state."""
        took = self.seconds.get(tenant)
        if took is None:
            if len(self.seconds) >= MOST_TENANTS:
                tenant = OTHER
            took = self.seconds.setdefault(tenant, Histogram())
        self.states[tenant, state] += 1
        if finished_at_ns is not None:
            took.observe(max(0, finished_at_ns - requested_at_ns) / clock.NANOSECONDS)


class RunTimes:
    """How long runs of jobs took, by tenant and job; of MOST_JOBS in all, and those of later ones together."""

    def __init__(self) -> None:
        self._seconds: dict[tuple[str, str], Histogram] = {}

    def add(self, tenant: str, job: str, started_ns: int, ended_ns: int) -> None:
        """A run has ended."""
        took = self._seconds.get((tenant, job))
        if took is None:
            key = (tenant, job) if len(self._seconds) < MOST_JOBS else (tenant, OTHER)
            took = self._seconds.setdefault(key, Histogram())
        took.observe(max(0, ended_ns - started_ns) / clock.NANOSECONDS)

    def of(self, tenant: str) -> list[tuple[str, Histogram]]:
        """Those of a tenant, by job."""
        return [
            (job, took) for (owner, job), took in sorted(self._seconds.items(), key=itemgetter(0)) if owner == tenant
        ]


class LoopLag:
    """How late the event loop comes to what is due; a step of `core.forever`."""

    def __init__(self) -> None:
        self.seconds = Histogram()

    async def measure(self) -> None:
        """Wait a moment, and note by how much longer it took."""
        due = clock.monotonic() + LOOK_SECONDS
        await asyncio.sleep(LOOK_SECONDS)
        self.seconds.observe(max(0.0, clock.monotonic() - due))
