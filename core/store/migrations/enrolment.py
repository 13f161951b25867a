"""Workers of other machines join with a token, and then with a credential of their own."""

from __future__ import annotations

from sqlite_utils import Database

from core.store.migrations import idle_tokens  # noqa: F401 - its step comes before this one
from core.store.migrations.steps import STEPS


@STEPS()
def m0036_enrolment(db: Database) -> None:
    db.execute(
        """
        CREATE TABLE worker_tokens (
            id TEXT PRIMARY KEY,
            secret_hash TEXT NOT NULL,
            name TEXT NOT NULL,
            group_name TEXT NOT NULL,
            tenants TEXT NOT NULL,
            can TEXT NOT NULL,
            most_slots INTEGER NOT NULL,
            ephemeral INTEGER NOT NULL,
            uses INTEGER NOT NULL,
            used INTEGER NOT NULL,
            approval INTEGER NOT NULL,
            created_at_ns INTEGER NOT NULL,
            created_by TEXT NOT NULL,
            expires_at_ns INTEGER NOT NULL,
            revoked_at_ns INTEGER
        ) STRICT
        """
    )
    db.execute(
        """
        CREATE TABLE worker_credentials (
            id TEXT PRIMARY KEY,
            name TEXT NOT NULL,
            group_name TEXT NOT NULL,
            tenants TEXT NOT NULL,
            can TEXT NOT NULL,
            most_slots INTEGER NOT NULL,
            ephemeral INTEGER NOT NULL,
            token TEXT NOT NULL,
            public_key TEXT NOT NULL,
            previous_key TEXT NOT NULL,
            generation INTEGER NOT NULL,
            state TEXT NOT NULL,
            address TEXT NOT NULL,
            created_at_ns INTEGER NOT NULL,
            decided_at_ns INTEGER,
            decided_by TEXT NOT NULL
        ) STRICT
        """
    )
    db.execute("CREATE UNIQUE INDEX worker_credentials_name ON worker_credentials (name) WHERE state != 'revoked'")
    db.execute("CREATE UNIQUE INDEX worker_credentials_key ON worker_credentials (public_key)")
    db.execute(
        """
        CREATE TABLE worker_secrets (
            worker TEXT NOT NULL,
            tenant TEXT NOT NULL,
            secret TEXT NOT NULL,
            version INTEGER NOT NULL,
            first_at_ns INTEGER NOT NULL,
            last_at_ns INTEGER NOT NULL,
            PRIMARY KEY (worker, tenant, secret)
        ) STRICT
        """
    )
