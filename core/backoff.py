"""Back-off: pauses between tries that double, up to a longest one."""

from __future__ import annotations

import random

MOST_DOUBLINGS = 60  # beyond any longest pause, and far from what overflows


def pause(tries: int, first: float, longest: float, *, jitter: float = 0.0) -> float:
    """How long to wait after the `tries`-th try (from 1) that came to nothing, in the unit of `first` and `longest`.

    Chance takes up to the share `jitter` of it away, so that those who failed together do not come again together.
    """
    full = min(first * 2.0 ** min(tries - 1, MOST_DOUBLINGS), longest)
    return full * random.uniform(1.0 - jitter, 1.0) if jitter else full
