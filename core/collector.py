"""When Python looks for cycles of garbage: seldom, since a call makes hundreds of objects and hardly a cycle.

At the default pace a start spends a seventh of its time looking through modules that are all kept, and a long list two
thirds (docs/performance.md).
"""

from __future__ import annotations

import gc


def settle() -> None:
    """When all is imported: look once, never again at what is there now, and at the rest after 50,000 new objects
    instead of 2,000."""
    gc.set_threshold(50_000, 20, 50)
    gc.collect()
    gc.freeze()
