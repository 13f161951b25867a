"""The first schema: messages, invocations, jobs, deployments, tokens."""

from __future__ import annotations

from sqlite_utils import Database

from core.store.migrations.steps import STEPS, table


@STEPS()
def m0001_first_schema(db: Database) -> None:
    table(
        db,
        "audit",
        {
            "id": int,
            "tenant": str,
            "username": str,
            "role": str,
            "surface": str,
            "operation": str,
            "decision": str,
            "target": str,
        },
        "id",
    )
    table(
        db,
        "messages",
        {
            "id": int,
            "tenant": str,
            "kind": str,
            "source": str,
            "type": str,
            "tag": str,
            "job": str,
            "worker": str,
            "body": bytes,
        },
        "id",
    )
    table(
        db,
        "dispatches",
        {"id": int, "message_id": int, "tenant": str, "job": str, "invocation_id": int, "attempt": int},
        "id",
        nullable="invocation_id",
    )
    table(
        db,
        "triggers",
        {
            "id": int,
            "tenant": str,
            "slug": str,
            "revision": int,
            "active": int,
            "definition": str,
            "created_at_ns": int,
            "created_by": str,
        },
        "id",
    )
    db.table("triggers").create_index(["tenant", "slug", "revision"], unique=True)
    table(
        db,
        "invocations",
        {
            "id": int,
            "nonce": str,
            "tenant": str,
            "slug": str,
            "revision": int,
            "state": str,
            "surface": str,
            "username": str,
            "role": str,
            "params": str,
            "idempotency_key": str,
            "requested_at_ns": int,
            "deadline_ns": int,
            "finished_at_ns": int,
            "proxy_recorded_at_ns": int,
            "attempts": int,
            "result": str,
            "events": str,
        },
        "id",
        nullable="idempotency_key deadline_ns finished_at_ns proxy_recorded_at_ns",
    )
    db.table("invocations").create_index(["tenant", "slug"])
    db.execute("CREATE INDEX invocations_open ON invocations (id) WHERE finished_at_ns IS NULL")
    db.execute(
        "CREATE TABLE idempotency (key BLOB PRIMARY KEY, invocation_id INTEGER NOT NULL, params_digest BLOB NOT NULL,"
        " created_at_ns INTEGER NOT NULL) STRICT, WITHOUT ROWID"
    )
    table(
        db,
        "jobs",
        {
            "tenant": str,
            "name": str,
            "version": int,
            "document": str,
            "digest": str,
            "created_at_ns": int,
            "created_by": str,
        },
        ("tenant", "name", "version"),
    )
    table(
        db,
        "workloads",
        {
            "id": str,
            "tenant": str,
            "deployment": str,
            "step": str,
            "job": str,
            "version": str,
            "replica": int,
            "group_name": str,
            "worker": str,
            "document": str,
            "state": str,
            "reason": str,
            "restarts": int,
            "updated_at_ns": int,
        },
        "id",
    )
    db.table("workloads").create_index(["tenant", "deployment"])
    table(
        db,
        "deployments",
        {
            "tenant": str,
            "name": str,
            "revision": int,
            "state": str,
            "reason": str,
            "source": str,
            "desired": str,
            "updated_at_ns": int,
            "updated_by": str,
        },
        ("tenant", "name"),
    )
    table(
        db,
        "deployment_history",
        {
            "id": int,
            "tenant": str,
            "name": str,
            "revision": int,
            "action": str,
            "source": str,
            "plan_id": str,
            "username": str,
            "surface": str,
            "summary": str,
            "desired": str,
        },
        "id",
    )
    db.table("deployment_history").create_index(["tenant", "name", "revision"])
    table(
        db,
        "plans",
        {
            "id": str,
            "tenant": str,
            "name": str,
            "state": str,
            "base_revision": int,
            "digest": str,
            "username": str,
            "created_at_ns": int,
            "expires_at_ns": int,
            "body": str,
        },
        "id",
    )
    table(
        db,
        "tokens",
        {
            "id": str,
            "name": str,
            "hash": str,
            "username": str,
            "role": str,
            "tenants": str,
            "platform": int,
            "created_at_ns": int,
            "expires_at_ns": int,
            "revoked_at_ns": int,
        },
        "id",
        nullable="expires_at_ns revoked_at_ns",
    )
