"""Where a batch of writes is committed: on the loop while the disk answers quickly, else in the writer's thread.

To hand a batch to a thread and to hear of it again costs more than a quick commit takes, and while it works, thread and
loop contend for one interpreter. But whoever commits on the loop holds up everybody else for as long as the disk does.
So it is done for short writes alone, and as long as they have been quick: a slow one counts at once, quick ones only by
and by, and what is behind a lock is left to the thread (docs/decisions/0027). Pure.
"""

from __future__ import annotations

SYNC_SECONDS = 0.002  # of a commit on the loop at most: what a disk takes that writes into memory of its own
BATCH_SECONDS = 0.008  # of a whole batch on the loop, with its statements
FORGIVEN = 0.2  # how much less slow than the last one the disk is taken for after each quick commit


class Pace:
    """Of one database; told of every commit, wherever it was."""

    def __init__(self) -> None:
        self._sync: float | None = None  # seconds; unknown until the first commit
        self._batch = 0.0

    def took(self, batch: float, sync: float) -> None:
        """A batch of short writes took so many seconds, its commit alone so many of them."""
        self._sync = _slower(self._sync or sync, sync)
        self._batch = _slower(self._batch, batch)

    def failed(self) -> None:
        """A commit on the loop came to nothing: nothing is known of the disk until the thread has committed."""
        self._sync = None

    @property
    def quick(self) -> bool:
        """Whether the next batch of short writes may be committed on the loop."""
        return self._sync is not None and self._sync < SYNC_SECONDS and self._batch < BATCH_SECONDS


def _slower(known: float, took: float) -> float:
    return max(took, known + (took - known) * FORGIVEN)
