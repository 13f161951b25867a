"""What jobs use: the KV store, contexts, variables, secrets, drafts."""

from __future__ import annotations

from sqlite_utils import Database

from core.store.migrations import first  # noqa: F401 - its steps come before these
from core.store.migrations.steps import STEPS, table


@STEPS()
def m0002_kv(db: Database) -> None:
    for statement in (
        "CREATE TABLE kv_entries (namespace TEXT NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL,"
        " revision INTEGER NOT NULL, expires_at_ms INTEGER, PRIMARY KEY (namespace, key)) STRICT, WITHOUT ROWID",
        "CREATE INDEX kv_entries_expiry ON kv_entries (expires_at_ms) WHERE expires_at_ms IS NOT NULL",
        "CREATE TABLE kv_members (namespace TEXT NOT NULL, key TEXT NOT NULL, member TEXT NOT NULL,"
        " expires_at_ms INTEGER, PRIMARY KEY (namespace, key, member)) STRICT, WITHOUT ROWID",
        "CREATE INDEX kv_members_expiry ON kv_members (expires_at_ms) WHERE expires_at_ms IS NOT NULL",
        # AUTOINCREMENT: an id is never used again, so the order of ids is the order of arrival.
        "CREATE TABLE kv_items (id INTEGER PRIMARY KEY AUTOINCREMENT, namespace TEXT NOT NULL, value TEXT NOT NULL,"
        " attempts INTEGER NOT NULL DEFAULT 0, lease TEXT, dead INTEGER NOT NULL DEFAULT 0) STRICT",
        "CREATE INDEX kv_items_ready ON kv_items (namespace, id) WHERE lease IS NULL AND dead = 0",
        "CREATE INDEX kv_items_leased ON kv_items (lease) WHERE lease IS NOT NULL",
        "CREATE INDEX kv_items_dead ON kv_items (namespace, id) WHERE dead = 1",
        "CREATE TABLE kv_leases (id TEXT PRIMARY KEY, namespace TEXT NOT NULL, expires_at_ms INTEGER NOT NULL,"
        " max_attempts INTEGER NOT NULL) STRICT, WITHOUT ROWID",
        "CREATE INDEX kv_leases_expiry ON kv_leases (namespace, expires_at_ms)",
        "CREATE TABLE kv_revision (last INTEGER NOT NULL) STRICT",
        "INSERT INTO kv_revision VALUES (0)",
    ):
        db.execute(statement)


@STEPS()
def m0003_contexts_variables_secrets(db: Database) -> None:
    table(
        db,
        "contexts",
        {
            "tenant": str,
            "level": str,
            "target": str,
            "key": str,
            "value": str,
            "updated_at_ns": int,
            "updated_by": str,
        },
        ("tenant", "level", "target", "key"),
    )
    table(
        db,
        "variables",
        {"tenant": str, "name": str, "value": str, "updated_at_ns": int, "updated_by": str},
        ("tenant", "name"),
    )
    table(
        db,
        "secrets",
        {
            "tenant": str,
            "scope": str,
            "name": str,
            "version": int,
            "key_id": str,
            "nonce": bytes,
            "ciphertext": bytes,
            "created_at_ns": int,
            "updated_at_ns": int,
            "updated_by": str,
        },
        ("tenant", "scope", "name"),
    )
    db.execute("ALTER TABLE jobs ADD COLUMN source TEXT NOT NULL DEFAULT ''")  # before {{}}, when there is one


@STEPS()
def m0004_job_drafts(db: Database) -> None:
    table(
        db,
        "job_drafts",
        {
            "tenant": str,
            "name": str,
            "revision": int,
            "document": str,
            "origin": str,
            "updated_at_ns": int,
            "updated_by": str,
        },
        ("tenant", "name"),
    )
