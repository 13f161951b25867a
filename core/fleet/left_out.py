"""Firings that were not made, and what kept each: a run under way, or a worker that could run nothing. Pure."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from core import clock
from core.model.states import RunState

STOOD_STILL_NS = clock.NANOSECONDS  # a worker that is that late was kept from working; less is other work of its own

RUN_UNDER_WAY = "a run was under way when its time came"
OTHER_WORK = "its worker was at other work when its time came"
STOOD_STILL = "its worker stood still when its time came"
NOTHING_RUNS_IT = "nothing could run it when its time came"


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Firings of one schedule, in a row, with what kept them; times in ns since the epoch."""

    state: RunState
    """SKIPPED or MISSED"""
    reason: str
    count: int
    first_ns: int
    last_ns: int


def of_firing(times: Sequence[int], busy_until_ns: int, begun_ns: int) -> list[LeftOut]:
    """Those that came due before a firing that was made, at `begun_ns` at the latest, by a worker that is there.

    `times` ascend; a run of the schedule was under way until `busy_until_ns`.
    """
    during = bisect_right(times, busy_until_ns)
    late = during < len(times) and begun_ns - times[during] >= STOOD_STILL_NS
    state, why = (RunState.MISSED, STOOD_STILL) if late else (RunState.SKIPPED, OTHER_WORK)
    return [*_row(RunState.SKIPPED, RUN_UNDER_WAY, times[:during]), *_row(state, why, times[during:])]


def of_outage(times: Sequence[int], busy_until_ns: int) -> list[LeftOut]:
    """Those that came due before its worker, or an instance on it, began anew."""
    during = bisect_right(times, busy_until_ns)
    skipped = _row(RunState.SKIPPED, RUN_UNDER_WAY, times[:during])
    return [*skipped, *_row(RunState.MISSED, NOTHING_RUNS_IT, times[during:])]


def of_run(times: Sequence[int]) -> list[LeftOut]:
    """Those that came due during a run that has ended now, and that nothing makes up for."""
    return _row(RunState.SKIPPED, RUN_UNDER_WAY, times)


def _row(state: RunState, reason: str, times: Sequence[int]) -> list[LeftOut]:
    return [LeftOut(state, reason, len(times), times[0], times[-1])] if times else []
