"""How slow this machine is, for budgets of processor time: they hold for one that does some work in a given time."""

from __future__ import annotations

import time

REFERENCE_SECONDS = 0.036
_KEYS = [str(number) for number in range(2_000)]


def factor() -> float:
    """By how much this machine is slower now than the one of the budgets; at least 1."""
    return max(1.0, min(_work() for _ in range(5)) / REFERENCE_SECONDS)


def _work() -> float:
    started = time.thread_time()
    for _ in range(100):
        found = {key: len(key) for key in _KEYS}
        sum(found[key] for key in _KEYS)
    return time.thread_time() - started
