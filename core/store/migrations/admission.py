"""Which tenants a worker group admits."""

from __future__ import annotations

import orjson
from sqlite_utils import Database

from core.store.migrations import kv  # noqa: F401 - its step comes before this one
from core.store.migrations.steps import STEPS


@STEPS()
def m0018_admitted_tenants(db: Database) -> None:
    """Groups admit everybody, as before; one with workers of other machines those who have something on it."""
    db.execute("""ALTER TABLE worker_groups ADD COLUMN tenants TEXT NOT NULL DEFAULT '["*"]'""")
    external = (
        "SELECT coalesce(w.group_name, e.group_name) FROM external_workers e LEFT JOIN workers w ON w.name = e.name"
    )
    for (name,) in db.execute(external).fetchall():
        found = db.execute("SELECT DISTINCT tenant FROM workloads WHERE group_name = ? ORDER BY 1", [name]).fetchall()
        tenants = orjson.dumps([tenant for (tenant,) in found]).decode()
        db.execute("UPDATE worker_groups SET tenants = ? WHERE name = ?", [tenants, name])
