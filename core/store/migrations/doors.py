"""Callbacks of triggers, origins of workloads, and what the doors remember."""

from __future__ import annotations

from sqlite_utils import Database

from core.store.migrations import deployments  # noqa: F401 - its steps come before these
from core.store.migrations.steps import STEPS, table


@STEPS()
def m0010_callbacks(db: Database) -> None:
    for statement in (
        "ALTER TABLE invocations ADD COLUMN proxy_nonce TEXT",  # what a trigger_proxy_response has to bring back
        "ALTER TABLE invocations ADD COLUMN callback TEXT",  # where updates go, as far as it may be shown
        "ALTER TABLE invocations ADD COLUMN rerun_of TEXT",  # the invocation that this one repeats
        # The whole address and the headers, encrypted: they are credentials of whoever called.
        "CREATE TABLE callback_targets (invocation_id INTEGER PRIMARY KEY, sealed BLOB NOT NULL) STRICT",
        "CREATE TABLE callback_deliveries (id INTEGER PRIMARY KEY, invocation_id INTEGER NOT NULL,"
        " tenant TEXT NOT NULL, receiver TEXT NOT NULL, state TEXT NOT NULL, outcome TEXT NOT NULL,"
        " attempts INTEGER NOT NULL, due_at_ns INTEGER NOT NULL, finished_at_ns INTEGER, log TEXT NOT NULL,"
        " body BLOB NOT NULL) STRICT",
        "CREATE INDEX callback_deliveries_invocation ON callback_deliveries (invocation_id)",
        # Lists walk a tenant's runs from the newest one, and look at these columns before they touch a record.
        "DROP INDEX idx_invocations_tenant_slug",
        "CREATE INDEX invocations_list ON invocations (tenant, id, slug, username, surface)",
        "CREATE INDEX invocations_bad ON invocations (tenant, id) WHERE state IN ('failed', 'timed_out')",
        "CREATE INDEX callback_deliveries_pending ON callback_deliveries (id) WHERE outcome = 'pending'",
    ):
        db.execute(statement)


@STEPS()
def m0011_origins(db: Database) -> None:
    db.execute("ALTER TABLE workloads ADD COLUMN revision INTEGER NOT NULL DEFAULT 0")  # that brought it
    db.execute("ALTER TABLE workloads ADD COLUMN origin TEXT NOT NULL DEFAULT ''")  # JSON: module, role, digest


@STEPS()
def m0012_mcp_activity(db: Database) -> None:
    table(
        db,
        "mcp_activity",
        {
            "id": int,
            "tenant": str,
            "username": str,
            "role": str,
            "label": str,
            "transport": str,
            "protocol": str,
            "tool": str,
            "outcome": str,
            "duration_ms": int,
            "at_ns": int,
        },
        "id",
    )
    db.execute("CREATE INDEX mcp_activity_tenant ON mcp_activity (tenant, id)")


@STEPS()
def m0013_http_idempotency(db: Database) -> None:
    db.execute(
        "CREATE TABLE replays (tenant TEXT NOT NULL, username TEXT NOT NULL, operation TEXT NOT NULL,"
        " key TEXT NOT NULL, digest BLOB NOT NULL, life INTEGER NOT NULL, started_at_ns INTEGER NOT NULL,"
        " status INTEGER, answer BLOB,"
        " PRIMARY KEY (tenant, username, operation, key)) STRICT, WITHOUT ROWID"
    )
    db.execute("CREATE INDEX replays_age ON replays (started_at_ns)")


@STEPS()
def m0014_identity(db: Database) -> None:
    db.execute("ALTER TABLE tokens ADD COLUMN scopes TEXT NOT NULL DEFAULT '[]'")  # JSON: what the key is limited to
    db.execute("ALTER TABLE tokens ADD COLUMN last_used_at_ns INTEGER")
    db.execute("CREATE UNIQUE INDEX tokens_hash ON tokens (hash)")
