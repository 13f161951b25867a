"""The license in force: read at the start, each minute, and after an install; what it was read from is kept."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import anyio.to_thread
import structlog

from core import clock, errors, license
from core.model.principal import Caller
from core.settings import Settings
from core.store import audit, jobs
from core.store import license as table
from core.store.database import Database

log = structlog.get_logger("core.license")


class Licensing:
    """Of one engine. `current` is the license in force."""

    def __init__(self, settings: Settings, database: Database, kept: bytes | None) -> None:
        """`kept`: what the license file held when it was last read; None when it was not there."""
        self.current = license.EVERYTHING
        self._settings = settings
        self._database = database
        self._kept = kept
        self._document = kept
        self._reread()

    def allows(self, feature: license.Feature) -> bool:
        return feature in self.current.features

    async def require_job_room(self, tenant: str, name: str) -> None:
        """Raises NotLicensed when `name` would be a job more than the license allows; one that exists may be edited."""
        if self.current.limits.jobs is None:
            return
        names = await self._database.read(jobs.names)
        if (tenant, name) not in names:
            self.current.require_room(len(names))

    async def install(self, id: int, caller: Caller, text: str) -> license.License:
        """Keep a license in the home, so that it is in force: what is in force then. `id` is that of the audit row.

        Raises InvalidDocument for one that is not trusted, or over; nothing changes then.
        """
        raw = text.encode()
        decided = license.decide(license.verify(raw, self._settings.license_keys), clock.now_ns())
        if decided.status is license.Status.EXPIRED:
            raise errors.InvalidDocument(f"This license is of no use: {decided.reason}.", hint="Ask for a new file.")
        await self._database.write(audit.insert, audit.row(id, caller, "license_install", decided.id))
        await anyio.to_thread.run_sync(_replace, self._settings.license_file, raw)
        return await self.read()

    async def read(self) -> license.License:
        """The license in force, from the file as it is now.

        Raises StorageUnavailable when what was read cannot be kept.
        """
        self._reread()
        await self.keep()
        return self.current

    async def keep(self) -> None:
        """Record what was read last, for a time at which the file cannot be read."""
        if self._document != self._kept:
            await self._database.write(table.keep, self._document)
            self._kept = self._document

    def _reread(self) -> None:
        settings = self._settings
        found, self._document = license.read(
            settings.license_file, settings.edition, settings.license_keys, clock.now_ns(), self._document
        )
        if found.reason and found != self.current:
            log.warning("license", edition=found.edition, status=found.status.value, reason=found.reason)
        self.current = found


def _replace(path: Path, raw: bytes) -> None:
    """Put the file in its place whole or not at all."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".license-")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(raw)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
