"""Writes what timetables do, a little later and together: a run must not cost a commit."""

from __future__ import annotations

import asyncio
from typing import Any

import structlog

from core import errors
from core.fleet.scheduled import Key
from core.model.schedule import Schedule
from core.store import schedules as table
from core.store.database import Database

log = structlog.get_logger("core.fleet")

FOLD_SECONDS = 1.0  # between two writes of what runs change
LAZY_SECONDS = 30.0  # the same where a restart needs none of it to tell what was missed


class ScheduleRecord:
    """Of one engine. Nothing is written until it is begun, nor after its end."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._progress = table.Progress()
        self._timer: asyncio.TimerHandle | None = None
        self._recording = False

    def begin(self) -> None:
        self._recording = True
        if self._progress:
            self._write_within(0.0)

    async def end(self) -> None:
        """Write what is not written."""
        if self._timer is not None:
            self._timer.cancel()
        self._recording, recorded = False, self._recording
        if self._progress and recorded:
            try:
                await self._database.write(table.record, self._progress.copied())
            except errors.SluiceError as error:  # the next engine counts from what was written before
                log.warning("schedules_not_recorded", error=error.message, count=len(self._progress.schedules))

    def keep(self, schedule: Schedule, seconds: float) -> None:
        """A schedule is another one; it is written within that time, with what it is then."""
        self._progress.gone.discard(schedule.key)
        self._progress.schedules[schedule.key] = schedule
        self._write_within(seconds)

    def forget(self, key: Key) -> None:
        self._progress.schedules.pop(key, None)
        self._progress.gone.add(key)
        self._write_within(0.0)

    def order_ended(self, order: int) -> None:
        self._progress.orders_done.append(order)
        self._write_within(0.0)

    def _write_within(self, seconds: float) -> None:
        if not self._recording:
            return
        loop = asyncio.get_running_loop()
        if self._timer is not None:
            if self._timer.when() <= loop.time() + seconds:
                return
            self._timer.cancel()
        self._timer = loop.call_later(seconds, self._write)

    def _write(self) -> None:
        self._timer = None
        written, self._progress = self._progress, table.Progress()

        def done(result: Any, error: BaseException | None) -> None:
            if error is not None:
                log.error("schedules_not_recorded", error=str(error), count=len(written.schedules))
                self._progress = written.then(self._progress)
                self._write_within(FOLD_SECONDS)

        self._database.submit(done, table.record, written.copied())
