"""A tenant whose jobs end the workers of others again and again gets nothing new onto them for a while.

Quarantine is of a job and its version, and a new name makes another job. So ends are counted by tenant as well: after
MOST_OF_TENANT of them within the window, what ran well goes on, and what is new or changed waits, for longer each time.
Workers that have jobs of that tenant alone take it all the same: nobody else is harmed there.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from core import backoff, clock
from core.fleet import quarantine
from core.model.workload import WorkloadRow

MOST_OF_TENANT = 5
FIRST_SECONDS = 600
LONGEST_SECONDS = 86_400

Key = tuple[str, str, str]  # tenant, job, version


@dataclass(slots=True)
class _Held:
    until: float  # monotonic
    until_ns: int  # the same on the wall clock, to tell it
    proven: frozenset[Key]


def seconds(times: int) -> int:
    """How long the `times`-th probation of a tenant lasts, counted from its first within a day."""
    return int(backoff.pause(times, FIRST_SECONDS, LONGEST_SECONDS))


class Probation:
    """One for a fleet; of this engine's life, which reads the ends of the window at its start."""

    def __init__(self) -> None:
        self._deaths: dict[str, list[int]] = {}  # by tenant, wall clock
        self._held: dict[str, _Held] = {}
        self._times: dict[str, list[float]] = {}  # when probations began, monotonic

    def count(self, tenant: str, at_ns: int, rows: Iterable[WorkloadRow], blamed: Iterable[Key]) -> float:
        """An end for which a job of this tenant is to blame; the seconds of the probation that it begins, else 0.

        Of the `rows` of its workloads, those that were up and are not `blamed` have proven themselves.
        """
        held = self._held.get(tenant)
        if held is not None:  # who ends a worker meanwhile has lost what it had proven
            held.proven -= frozenset(blamed)
        deaths = self._deaths.setdefault(tenant, [])
        deaths.append(at_ns)
        if quarantine.recent(deaths, at_ns) < MOST_OF_TENANT:
            return 0.0
        self._deaths[tenant] = []  # the next one takes as many again
        now = clock.monotonic()
        begun = [at for at in self._times.get(tenant, ()) if now - at < LONGEST_SECONDS]
        self._times[tenant] = [*begun, now]
        lasts = seconds(len(begun) + 1)
        up = {(row.tenant, row.job, row.version) for row in rows if row.state in ("running", "completed")}
        proven = frozenset(up - set(blamed))
        self._held[tenant] = _Held(now + lasts, clock.now_ns() + lasts * clock.NANOSECONDS, proven)
        return float(lasts)

    def withholds(self, row: WorkloadRow) -> str:
        """Why a workload must not go to workers that others use; empty when it may."""
        held = self._held.get(row.tenant)
        if held is None:
            return ""
        if held.until <= clock.monotonic():
            del self._held[row.tenant]
            return ""
        if (row.tenant, row.job, row.version) in held.proven:
            return ""
        return (
            f"jobs of tenant {row.tenant} ended workers {MOST_OF_TENANT} times within"
            f" {quarantine.WINDOW_SECONDS // 60} minutes; what is new waits until {clock.iso(held.until_ns)},"
            " or runs on workers of its own: a group that admits this tenant alone"
        )

    def tenants(self) -> dict[str, str]:
        """The tenants on probation, and until when."""
        now = clock.monotonic()
        return {tenant: clock.iso(held.until_ns) for tenant, held in self._held.items() if held.until > now}
