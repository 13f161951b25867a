"""The runs that one tick of the loop has accepted are recorded together: one statement for all rows of a table."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from core import clock, errors
from core.store import run_commits
from core.store.database import Database
from core.store.run_commits import Accepted, Holder

Recorded = Callable[[Holder | None, BaseException | None], None]
"""Hears, after the commit, who has the key of a run that was not recorded for it, or why it was not."""


class Recorder:
    """Use from the engine's loop."""

    def __init__(self, database: Database, ids: clock.Ids) -> None:
        self._database = database
        self._ids = ids
        database.collectors.append(self._submit)
        self._accepted: list[Accepted] = []
        self._recorded: list[Recorded] = []

    def add(self, accepted: Accepted, recorded: Recorded) -> None:
        """Record a run at the end of this tick."""
        if not self._accepted:
            asyncio.get_running_loop().call_soon(self._submit)
        self._accepted.append(accepted)
        self._recorded.append(recorded)

    def _submit(self) -> None:
        if not self._accepted:
            return
        accepted, self._accepted = self._accepted, []
        recorded, self._recorded = self._recorded, []
        self._record(accepted, recorded)

    def _record(self, accepted: list[Accepted], recorded: list[Recorded]) -> None:
        def done(holders: list[Holder | None] | None, error: BaseException | None) -> None:
            if len(accepted) > 1 and error is not None and not isinstance(error, errors.SluiceError):
                for one, hears in zip(accepted, recorded, strict=True):  # one is at fault, and must be refused alone
                    one.renumber(self._ids)
                    self._record([one], [hears])
                return
            for hears, holder in zip(recorded, holders or [None] * len(recorded), strict=True):
                try:
                    hears(holder, error)
                except Exception as fault:  # a boundary between callers: reported, and the next one is told
                    asyncio.get_running_loop().call_exception_handler(
                        {"message": "the callback of a recorded run failed", "exception": fault}
                    )

        self._database.submit(done, run_commits.record, accepted)
