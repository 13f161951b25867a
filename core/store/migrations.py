"""The schema, as numbered forward-only steps; each runs with its own record in one transaction.

A step is never edited once it has landed. An older Sluice refuses a database that a newer one has migrated.
"""

from __future__ import annotations

from sqlite_utils import Database, Migrations

from core import errors

STEPS = Migrations("sluice")


def migrate(db: Database) -> None:
    """Apply the steps that are missing.

    Raises StorageUnavailable, without a write, when the database knows steps that this Sluice does not.
    """
    known = {step.name for step in STEPS._migrations}
    unknown = sorted(step.name for step in STEPS.applied(db) if step.name not in known)
    if unknown:
        raise errors.StorageUnavailable(
            f"This database was made by a newer Sluice (it has {', '.join(unknown)}).",
            hint="Upgrade sluice-mcp, or use another home directory.",
        )
    STEPS.apply(db)


def _table(db: Database, name: str, columns: dict[str, type], pk: str | tuple[str, ...], nullable: str = "") -> None:
    optional = set(nullable.split())
    keys = {pk} if isinstance(pk, str) else set(pk)
    db.table(name).create(columns, pk=pk, not_null=set(columns) - optional - keys, strict=True)


@STEPS()
def m0001_first_schema(db: Database) -> None:
    _table(
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
    _table(
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
    _table(
        db,
        "dispatches",
        {"id": int, "message_id": int, "tenant": str, "job": str, "invocation_id": int, "attempt": int},
        "id",
        nullable="invocation_id",
    )
    _table(
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
    _table(
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
    _table(
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
    _table(
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
    _table(
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
    _table(
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
    _table(
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
    _table(
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
    _table(
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
    _table(
        db,
        "variables",
        {"tenant": str, "name": str, "value": str, "updated_at_ns": int, "updated_by": str},
        ("tenant", "name"),
    )
    _table(
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
    _table(
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


@STEPS()
def m0005_workflows(db: Database) -> None:
    _table(
        db,
        "documents",
        {
            "tenant": str,
            "kind": str,
            "slug": str,
            "version": str,
            "state": str,
            "revision": int,
            "title": str,
            "text": str,
            "document": str,
            "digest": str,
            "derived_from": str,
            "updated_at_ns": int,
            "updated_by": str,
            "published_at_ns": int,
        },
        ("tenant", "kind", "slug", "version"),
    )


@STEPS()
def m0012_rollouts(db: Database) -> None:
    db.execute("ALTER TABLE deployments ADD COLUMN gate TEXT NOT NULL DEFAULT ''")  # JSON while an apply is watched
    db.execute("ALTER TABLE deployment_history ADD COLUMN reason TEXT NOT NULL DEFAULT ''")


@STEPS()
def m0007_groups_and_reconcile(db: Database) -> None:
    _table(
        db,
        "worker_groups",
        {"name": str, "slots": int, "labels": str, "updated_at_ns": int, "updated_by": str},
        "name",
        nullable="slots",
    )
    db.table("worker_groups").insert(
        {"name": "default", "slots": None, "labels": "[]", "updated_at_ns": 0, "updated_by": "sluice"}
    )
    _table(
        db,
        "workers",  # only those of which somebody said something; the others are as the settings say
        {"name": str, "group_name": str, "labels": str, "drained": int, "updated_at_ns": int, "updated_by": str},
        "name",
        nullable="group_name",
    )
    db.execute("ALTER TABLE deployments ADD COLUMN reconcile TEXT NOT NULL DEFAULT 'auto'")
    db.execute("ALTER TABLE deployments ADD COLUMN reconcile_interval_seconds INTEGER")
    db.execute("ALTER TABLE deployments ADD COLUMN ignored TEXT NOT NULL DEFAULT '[]'")


@STEPS()
def m0008_gitops(db: Database) -> None:
    _table(
        db,
        "gitops_runs",
        {
            "id": str,
            "tenant": str,
            "environment": str,
            "manifest": str,
            "action": str,
            "state": str,
            "commit_sha": str,
            "source": str,
            "approval": str,
            "username": str,
            "surface": str,
            "started_at_ns": int,
            "finished_at_ns": int,
            "summary": str,
            "reason": str,
            "body": bytes,
        },
        "id",
        nullable="finished_at_ns",
    )
    db.table("gitops_runs").create_index(["tenant", "environment", "started_at_ns"])
    _table(
        db,
        "gitops_events",
        {
            "run_id": str,
            "seq": int,
            "at_ns": int,
            "action": str,
            "kind": str,
            "name": str,
            "state": str,
            "message": str,
        },
        ("run_id", "seq"),
    )
    _table(
        db,
        "gitops_items",
        {
            "tenant": str,
            "environment": str,
            "manifest": str,
            "kind": str,
            "name": str,
            "created": int,
            "run_id": str,
        },
        ("tenant", "environment", "manifest", "kind", "name"),
    )


@STEPS()
def m0006_catalog(db: Database) -> None:
    _table(
        db,
        "installed_items",
        {
            "tenant": str,
            "type": str,
            "slug": str,
            "version": str,
            "portal": str,
            "location": str,
            "author": str,
            "sha256": str,
            "text": str,
            "document": str,
            "installed_at_ns": int,
            "installed_by": str,
        },
        ("tenant", "type", "slug", "version"),
    )
    _table(
        db,
        "portal_indexes",
        {"name": str, "location": str, "etag": str, "fetched_at_ns": int, "body": bytes},
        "name",
    )


@STEPS()
def m0009_callbacks(db: Database) -> None:
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
def m0013_origins(db: Database) -> None:
    db.execute("ALTER TABLE workloads ADD COLUMN revision INTEGER NOT NULL DEFAULT 0")  # that brought it
    db.execute("ALTER TABLE workloads ADD COLUMN origin TEXT NOT NULL DEFAULT ''")  # JSON: module, role, digest


@STEPS()
def m0014_mcp_activity(db: Database) -> None:
    _table(
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
def m0011_http_idempotency(db: Database) -> None:
    db.execute(
        "CREATE TABLE replays (tenant TEXT NOT NULL, username TEXT NOT NULL, operation TEXT NOT NULL, key TEXT NOT NULL,"
        " digest BLOB NOT NULL, life INTEGER NOT NULL, started_at_ns INTEGER NOT NULL, status INTEGER, answer BLOB,"
        " PRIMARY KEY (tenant, username, operation, key)) STRICT, WITHOUT ROWID"
    )
    db.execute("CREATE INDEX replays_age ON replays (started_at_ns)")


@STEPS()
def m0010_identity(db: Database) -> None:
    db.execute("ALTER TABLE tokens ADD COLUMN scopes TEXT NOT NULL DEFAULT '[]'")  # JSON: what the key is limited to
    db.execute("ALTER TABLE tokens ADD COLUMN last_used_at_ns INTEGER")
    db.execute("CREATE UNIQUE INDEX tokens_hash ON tokens (hash)")
