"""How many records a reader hands on together. Pure."""

from __future__ import annotations

FIRST = 64
MOST_SECONDS = 2.0


class Pace:
    """As many as the job works off within a moment, up to `most`.

    What is handed on together is accepted together: of a job that takes long for each event (a call, a model) nothing
    would be committed for minutes, and all of it would come again after a crash.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self.size = min(FIRST, most)

    def took(self, records: int, seconds: float) -> None:
        """The job has taken so many records, and so long until it asked for more.

        It is tried again and again whether more take no longer, as of an action that sends many with one call.
        """
        if seconds > MOST_SECONDS:
            self.size = max(1, min(self.size, int(records * MOST_SECONDS / seconds)))
        elif records >= self.size:
            self.size = min(self._most, self.size + self.size // 2 + 1)
