"""The license in force: read at the start, each minute, and after an install; what it was read from is kept."""

from __future__ import annotations

import structlog

from core import clock, license
from core.settings import Settings
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
        self._look()

    def allows(self, feature: license.Feature) -> bool:
        return feature in self.current.features

    async def read(self) -> license.License:
        """The license in force, from the file as it is now.

        Raises StorageUnavailable when what was read cannot be kept.
        """
        self._look()
        await self.keep()
        return self.current

    async def keep(self) -> None:
        """Record what was read last, for a time at which the file cannot be read."""
        if self._document != self._kept:
            await self._database.write(table.keep, self._document)
            self._kept = self._document

    def _look(self) -> None:
        settings = self._settings
        found, self._document = license.read(
            settings.license_file, settings.edition, settings.license_keys, clock.now_ns(), self._document
        )
        if found.reason and found != self.current:
            log.warning("license", edition=found.edition, status=found.status.value, reason=found.reason)
        self.current = found
