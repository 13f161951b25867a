"""The runs that one tick of the loop has accepted are recorded together: one statement for all rows of a table."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from core.store import run_commits
from core.store.database import Database
from core.store.run_commits import Accepted, Holder

Recorded = Callable[[Holder | None, BaseException | None], None]
"""Hears, after the commit, who has the key of a run that was not recorded for it, or why it was not."""


class Recorder:
    """Use from the engine's loop."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._accepted: list[Accepted] = []
        self._recorded: list[Recorded] = []

    def add(self, accepted: Accepted, recorded: Recorded) -> None:
        """Record a run at the end of this tick."""
        if not self._accepted:
            asyncio.get_running_loop().call_soon(self._submit)
        self._accepted.append(accepted)
        self._recorded.append(recorded)

    def _submit(self) -> None:
        accepted, self._accepted = self._accepted, []
        waiting, self._recorded = self._recorded, []

        def done(holders: list[Holder | None] | None, error: BaseException | None) -> None:
            for recorded, holder in zip(waiting, holders or [None] * len(waiting), strict=True):
                recorded(holder, error)

        self._database.submit(done, run_commits.record, accepted)
