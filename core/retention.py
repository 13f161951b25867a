"""What is kept, and for how long: one pass at a time, a bounded piece of each table, and a share for each tenant.

A tenant with more than its share makes room with what is its own, before the oldest of all tenants goes.
"""

from __future__ import annotations

from collections.abc import Mapping

import structlog

from core import clock, errors
from core.model.message import Class
from core.settings import Settings
from core.store import audit, callbacks, enrolment, forgetting, messages, replays
from core.store.database import Database
from core.triggers.quota import MIB, Quota

log = structlog.get_logger("core.retention")

HOUR_NS = 3600 * clock.NANOSECONDS
KEYS_HOURS = 24  # idempotency keys
ENROLMENT_HOURS = 90 * 24  # worker tokens and credentials, after their end
AUDIT_COUNT_SECONDS = 3600.0  # to count the audit log is to read the whole of it: two million rows take about a second
GROWTH_BYTES = 64 * MIB  # of the database, after which the messages are measured again


class Retention:
    """Use from the engine's loop."""

    def __init__(self, settings: Settings, database: Database, quota: Quota) -> None:
        self._settings = settings
        self._database = database
        self._quota = quota
        self._measured = 0  # size of the database when the messages were measured
        self._audit_beyond: Mapping[str, int] = {}  # the youngest audit rows that were too many when last counted
        self._audit_counted: float | None = None

    async def prune(self, now_ns: int, last_id: int) -> int:
        """One pass; returns how many rows went. `last_id` is younger than every record so far."""
        gone = 0
        try:
            gone += await self._messages(now_ns)
            gone += await self._invocations(now_ns)
            await self._database.write(callbacks.prune)
            await self._database.write(replays.prune, now_ns - KEYS_HOURS * HOUR_NS)
            gone += await self._database.write(enrolment.prune, now_ns, ENROLMENT_HOURS * HOUR_NS)
            gone += await self._audit(now_ns)
            await self._quota.write_down(self._database, last_id)
        except errors.SluiceError as error:  # the next pass tries again
            log.error("retention_failed", error=str(error))
        return gone

    async def end(self, last_id: int) -> None:
        """The engine ends: keep the count, so that the next one need not look at the records."""
        try:
            await self._quota.write_down(self._database, last_id)
        except errors.StorageUnavailable as error:  # the next engine counts on from the last time
            log.warning("usage_not_recorded", error=str(error))

    async def _messages(self, now_ns: int) -> int:
        settings = self._settings
        gone = 0
        for kept, hours, count in (
            (Class.CONTROL, settings.control_message_retention_hours, settings.control_message_retention_count),
            (Class.USER, settings.message_retention_hours, settings.message_retention_count),
            (Class.RUN, settings.message_retention_hours, settings.run_message_retention_count),
        ):
            beyond = await self._database.read(messages.beyond, count, kept)
            gone += await self._database.write(messages.prune, kept, now_ns - hours * HOUR_NS, beyond)
        size = _size(settings)
        if size > self._measured + GROWTH_BYTES:
            most = settings.message_tenant_mb * MIB
            over = [(who, kept - most) for who, kept in await self._database.read(messages.by_tenant) if kept > most]
            for tenant, excess in over:
                gone += await self._database.write(messages.prune_tenant, tenant, excess)
            self._measured = 0 if over else size  # there may be more to take from them
        return gone

    async def _invocations(self, now_ns: int) -> int:
        settings, pieces = self._settings, []
        for tenant, excess in list(self._quota.beyond(settings.invocation_tenant_count)):
            pieces.append(await self._database.write(forgetting.prune_tenant, tenant, excess))
        pieces.append(
            await self._database.write(
                forgetting.prune,
                settings.invocation_retention_count,
                now_ns - settings.invocation_retention_hours * HOUR_NS,
                now_ns - KEYS_HOURS * HOUR_NS,
            )
        )
        for piece in pieces:
            self._quota.count(piece, -1)
        return sum(one.records for piece in pieces for one in piece)

    async def _audit(self, now_ns: int) -> int:
        now, keep = clock.monotonic(), self._settings.audit_retention_count
        if self._audit_counted is None or now - self._audit_counted >= AUDIT_COUNT_SECONDS:
            self._audit_beyond, self._audit_counted = await self._database.read(audit.beyond, keep), now
        oldest = now_ns - self._settings.audit_retention_hours * HOUR_NS
        gone = await self._database.write(audit.prune, oldest, self._audit_beyond)
        if gone:
            log.info("audit_pruned", rows=gone)
        return gone


def _size(settings: Settings) -> int:
    """Bytes of the database and of what waits beside it to be written into it."""
    names = (settings.database, settings.database.with_name(settings.database.name + "-wal"))
    return sum(name.stat().st_size for name in names if name.exists())
