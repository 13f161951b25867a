"""How much each tenant keeps in the KV store, and how long what has an end was to last."""

from __future__ import annotations

from sqlite_utils import Database

from core import clock
from core.store.migrations import workers  # noqa: F401 - its steps come before these
from core.store.migrations.steps import STEPS


@STEPS()
def m0016_kv_usage(db: Database) -> None:
    """core.store.kv counts on from here with every write."""
    db.execute("CREATE TABLE kv_usage (tenant TEXT PRIMARY KEY, bytes INTEGER NOT NULL) STRICT, WITHOUT ROWID")
    for table, texts in (("kv_entries", "key || value"), ("kv_members", "key || member"), ("kv_items", "value")):
        db.execute(
            "INSERT INTO kv_usage SELECT substr(namespace, 1, instr(namespace, ':') - 1),"
            f" sum(64 + length(CAST({texts} AS BLOB))) FROM {table} WHERE true GROUP BY 1"
            " ON CONFLICT DO UPDATE SET bytes = bytes + excluded.bytes"
        )


@STEPS()
def m0017_kv_lengths(db: Database) -> None:
    """What was written before this step is taken to last as long as is left of it by the wall clock, which made it."""
    left = f"max(1, expires_at_ms - {clock.now_ns() // 1_000_000})"
    for table in ("kv_entries", "kv_members"):
        db.execute(f"ALTER TABLE {table} ADD COLUMN ttl_ms INTEGER")
        db.execute(f"UPDATE {table} SET ttl_ms = {left} WHERE expires_at_ms IS NOT NULL")
        db.execute(f"DROP INDEX {table}_expiry")
        # With the length, so that the look for what lasts too long reads no values.
        db.execute(f"CREATE INDEX {table}_expiry ON {table} (expires_at_ms, ttl_ms) WHERE expires_at_ms IS NOT NULL")
    db.execute("ALTER TABLE kv_leases ADD COLUMN lease_ms INTEGER NOT NULL DEFAULT 1")
    db.execute(f"UPDATE kv_leases SET lease_ms = {left}")
    db.execute(
        "CREATE TABLE kv_clock (boot_id TEXT NOT NULL, boot_ms INTEGER NOT NULL, ahead_of_boot_ms INTEGER NOT NULL,"
        " ahead_of_wall_ms INTEGER NOT NULL) STRICT"
    )
