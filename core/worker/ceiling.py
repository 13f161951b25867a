"""The bound on the memory of a worker, kept by a thread of its own: code that eats memory does not come up for air."""

from __future__ import annotations

import os
import threading
import time

from core.witness import NOBODY, Witness
from core.worker.vitals import resident_bytes

LOOK_SECONDS = 0.1
FULL = 75  # the exit code of a worker that had more memory than it may


class Growth:
    """In whose turns the memory has grown. Pure: `note` is told each time what there is."""

    def __init__(self, bytes_now: int) -> None:
        self._before = bytes_now
        self._grown: dict[int, float] = {}

    def note(self, holder: int, bytes_now: int) -> int:
        """Note what has come since the last look for who has, or had, the turn; whose part is largest now, or NOBODY.

        What was given back is taken from all of them alike: nobody knows whose it was.
        """
        change, self._before = bytes_now - self._before, bytes_now
        if change > 0:
            self._grown[holder] = self._grown.get(holder, 0.0) + change
        elif change < 0:
            left = 1 + change / (bytes_now - change)
            self._grown = {number: grown * left for number, grown in self._grown.items()}
        return max(self._grown, key=self._grown.__getitem__, default=NOBODY)


def keep(most_bytes: int, witness: Witness) -> None:
    """End this process as soon as it has more memory than `most_bytes` (0: never), with a note whose it is."""
    if not most_bytes:
        return

    def watch() -> None:
        growth = Growth(resident_bytes())
        while True:
            time.sleep(LOOK_SECONDS)
            now = resident_bytes()
            witness.grew(growth.note(witness.last(), now))
            if now > most_bytes:
                witness.full()
                os._exit(FULL)

    threading.Thread(target=watch, name="memory-ceiling", daemon=True).start()
