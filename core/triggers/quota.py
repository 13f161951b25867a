"""How much of the store the runs of one tenant, and of one user in it, may take; beyond it, new runs are refused.

A refusal is told before anything is recorded, so nothing that was accepted is ever dropped for it. The retention makes
room again. The count is the engine's, in memory (`core.store.usage` keeps it over restarts); records that a crash ended
in the middle are counted when the next engine starts.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from core import errors
from core.store import usage
from core.store.database import Database
from core.store.usage import Kept

MIB = 1024 * 1024


@dataclass(slots=True)
class Taken:
    """What is kept of somebody."""

    records: int = 0
    bytes: int = 0


@dataclass(slots=True)
class Quota:
    """Use from the engine's loop. Limits are in bytes."""

    tenant_bytes: int
    user_bytes: int
    refused: int = 0
    _tenants: dict[str, Taken] = field(default_factory=lambda: defaultdict(Taken))
    _users: dict[tuple[str, str], Taken] = field(default_factory=lambda: defaultdict(Taken))
    _changed: set[tuple[str, str]] = field(default_factory=set)  # since it was written down

    async def load(self, database: Database) -> None:
        """Go on from what the store knows."""
        self.count(await database.read(usage.load))

    def take(self, tenant: str, username: str, size: int) -> None:
        """Count a run whose parameters and message take `size` bytes. Raises QuotaExceeded, and counts nothing then."""
        size += usage.ROW_BYTES
        key = tenant, username
        of_tenant, of_user = self._tenants[tenant], self._users[key]
        if of_tenant.bytes + size > self.tenant_bytes:
            raise self._refusal(of_tenant, self.tenant_bytes, f"tenant {tenant}", "invocation_tenant_mb")
        if of_user.bytes + size > self.user_bytes:
            raise self._refusal(of_user, self.user_bytes, f"{username} in {tenant}", "invocation_user_mb")
        of_tenant.records += 1
        of_tenant.bytes += size
        of_user.records += 1
        of_user.bytes += size
        self._changed.add(key)

    def give_back(self, tenant: str, username: str, size: int) -> None:
        """A run that was counted is not recorded after all."""
        self._grow(tenant, username, -1, -size - usage.ROW_BYTES)

    def ended(self, tenant: str, username: str, size: int) -> None:
        """A run has a result of `size` bytes; what was accepted may always end."""
        self._grow(tenant, username, 0, size)

    def count(self, kept: Iterable[Kept], sign: int = 1) -> None:
        """Add what is there, or (with -1) take off what went."""
        for tenant, username, records, size in kept:
            self._grow(tenant, username, sign * records, sign * size)

    async def write_down(self, database: Database, last_id: int) -> None:
        """Keep the count; `last_id` is younger than every record so far. Raises StorageUnavailable."""
        changed = [Kept(*key, self._users[key].records, self._users[key].bytes) for key in self._changed]
        self._changed.clear()
        if changed:
            await database.write(usage.write_down, changed, last_id)

    def beyond(self, records: int) -> Iterator[tuple[str, int]]:
        """Tenants with more than so many records, and how many are too many."""
        for tenant, taken in self._tenants.items():
            if taken.records > records:
                yield tenant, taken.records - records

    def of(self, tenant: str, username: str | None = None) -> Taken:
        """What is kept of a tenant, or of one user in it."""
        return self._tenants[tenant] if username is None else self._users[tenant, username]

    def _grow(self, tenant: str, username: str, records: int, size: int) -> None:
        key = tenant, username
        of_tenant, of_user = self._tenants[tenant], self._users[key]
        of_tenant.records += records
        of_tenant.bytes += size
        of_user.records += records
        of_user.bytes += size
        if of_user.records <= 0 and of_user.bytes != 0:  # nothing is kept of this user: a miscount ends here
            of_tenant.bytes -= of_user.bytes
            of_user.bytes = 0
        self._changed.add(key)

    def _refusal(self, taken: Taken, most: int, whose: str, setting: str) -> errors.QuotaExceeded:
        self.refused += 1
        return errors.QuotaExceeded(
            f"The runs of {errors.shorten(whose, 120)} take {taken.bytes // MIB:,} MiB, and may take"
            f" {most // MIB:,} MiB.",
            hint=f"Older runs leave with the retention; smaller parameters take less. Setting: {setting}.",
            details={"setting": setting, "bytes": taken.bytes, "most_bytes": most},
        )
