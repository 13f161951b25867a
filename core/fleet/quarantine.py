"""When a job must not come back, because workers ended while it was at work (deaths). Pure.

A worker has the jobs of many tenants. One that ends it makes all of them lose seconds, so it is held back for a while
after each death, and after MOST_DEATHS within WINDOW_SECONDS it is quarantined: it does not run until somebody says
that it may, or another version of it is applied.
"""

from __future__ import annotations

from collections.abc import Iterable

from core import clock

MOST_DEATHS = 3
WINDOW_SECONDS = 600
HOLD_SECONDS = 5.0  # for each death within the window: the others work meanwhile


def recent(deaths: Iterable[int], now_ns: int) -> int:
    """How many of these moments (wall clock) are within the window."""
    return sum(now_ns - at_ns < WINDOW_SECONDS * clock.NANOSECONDS for at_ns in deaths)


def decide(deaths: Iterable[int], now_ns: int) -> bool:
    """Whether a job with these deaths is quarantined."""
    return recent(deaths, now_ns) >= MOST_DEATHS
