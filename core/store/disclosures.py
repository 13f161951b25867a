"""Which secrets workers of other machines were given, kept also when a worker is gone: to set anew after a theft."""

from __future__ import annotations

from typing import NamedTuple

from sqlite_utils import Database

from core.store.rows import insertion


class Disclosure(NamedTuple):
    """One secret that a worker was given, in its newest version."""

    worker: str
    tenant: str
    secret: str  # its full name
    version: int
    first_at_ns: int
    last_at_ns: int


_KEEP = (
    f"{insertion('worker_secrets', Disclosure)} ON CONFLICT (worker, tenant, secret) DO UPDATE SET"
    " version = max(version, excluded.version), last_at_ns = excluded.last_at_ns"
)
_SELECT = f"SELECT {', '.join(Disclosure._fields)} FROM worker_secrets"


def keep(db: Database, given: list[Disclosure]) -> None:
    """Note what a worker is given."""
    db.conn.executemany(_KEEP, given)


def of(db: Database, worker: str) -> list[Disclosure]:
    """What a worker was given, by tenant and name."""
    rows = db.conn.execute(f"{_SELECT} WHERE worker = ? ORDER BY tenant, secret", (worker,))
    return [Disclosure(*row) for row in rows]
