"""When Python looks for cycles of garbage: seldom, since a call makes hundreds of objects and hardly a cycle.

At the default pace a start spends a seventh of its time looking through modules that are all kept, and a long list two
thirds (docs/performance.md).
"""

from __future__ import annotations

import gc


def rarely() -> None:
    """Look after 50,000 new objects instead of 2,000; for the start of a process, before it imports much."""
    gc.set_threshold(50_000, 20, 50)


def settle() -> None:
    """Look once, then never again at what is there now; when all is imported."""
    rarely()
    gc.collect()
    gc.freeze()
