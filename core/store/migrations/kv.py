"""How much each tenant keeps in the KV store; core.store.kv counts on from here with every write."""

from __future__ import annotations

from sqlite_utils import Database

from core.store.migrations import workers  # noqa: F401 - its steps come before these
from core.store.migrations.steps import STEPS


@STEPS()
def m0016_kv_usage(db: Database) -> None:
    db.execute("CREATE TABLE kv_usage (tenant TEXT PRIMARY KEY, bytes INTEGER NOT NULL) STRICT, WITHOUT ROWID")
    for table, texts in (("kv_entries", "key || value"), ("kv_members", "key || member"), ("kv_items", "value")):
        db.execute(
            "INSERT INTO kv_usage SELECT substr(namespace, 1, instr(namespace, ':') - 1),"
            f" sum(64 + length(CAST({texts} AS BLOB))) FROM {table} WHERE true GROUP BY 1"
            " ON CONFLICT DO UPDATE SET bytes = bytes + excluded.bytes"
        )
