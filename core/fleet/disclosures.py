"""Notes which secrets go to workers of other machines; those of this machine keep theirs within the user's own."""

from __future__ import annotations

from typing import Any

import structlog

from core import clock
from core.fleet.connection import EXTERNAL, Stamp, Worker
from core.store import disclosures as table
from core.store.database import Database
from core.store.disclosures import Disclosure

log = structlog.get_logger("core.fleet")


class Disclosures:
    """Use from the engine's loop."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.unrecorded = 0  # that went out while the store took nothing

    def given(self, worker: Worker, tenant: str, stamp: Stamp) -> None:
        """A worker is given these secrets."""
        if worker.kind != EXTERNAL or not stamp:
            return
        now = clock.now_ns()
        rows = [Disclosure(worker.name, tenant, secret, version, now, now) for secret, version, _ in stamp]

        def done(_: Any, error: BaseException | None) -> None:
            if error is not None:
                self.unrecorded += len(rows)
                log.error("secrets_given_unrecorded", worker=worker.name, tenant=tenant, secrets=len(rows))

        self._database.submit(done, table.keep, rows)

    async def of(self, worker: str) -> list[Disclosure]:
        """What a worker was ever given."""
        return await self._database.read(table.of, worker)
