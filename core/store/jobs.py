"""Unmanaged jobs: immutable versions of documents that people stage themselves."""

from __future__ import annotations

from typing import Any

from sqlite_utils import Database

from core.store import audit
from core.store.audit import AuditRow


def put(db: Database, row: dict[str, Any], audit_row: AuditRow) -> tuple[int, bool]:
    """Stage a document as the next version of its job, unless the newest version is the same.

    Returns (version, changed).
    """
    last = newest(db, row["tenant"], row["name"])
    if last is not None and last["digest"] == row["digest"]:
        return last["version"], False
    version = last["version"] + 1 if last else 1
    db.table("jobs").insert({**row, "version": version})
    audit.insert(db, audit_row)
    return version, True


def newest(db: Database, tenant: str, name: str) -> dict[str, Any] | None:
    rows = db.table("jobs").rows_where("tenant = ? AND name = ?", [tenant, name], order_by="version desc", limit=1)
    return next(iter(rows), None)


def get(db: Database, tenant: str, name: str, version: int) -> dict[str, Any] | None:
    where = "tenant = ? AND name = ? AND version = ?"
    return next(iter(db.table("jobs").rows_where(where, [tenant, name, version])), None)


def names(db: Database) -> set[tuple[str, str]]:
    """(tenant, name) of every job, staged or only a draft."""
    found = db.conn.execute(
        "SELECT tenant, name FROM jobs UNION SELECT tenant, name FROM job_drafts WHERE document != ''"
    )
    return set(found.fetchall())


def versions(db: Database, tenant: str, name: str, limit: int = 50) -> list[dict[str, Any]]:
    """The versions of a job without their documents, newest first."""
    rows = db.query(
        "SELECT version, digest, created_at_ns, created_by FROM jobs WHERE tenant = ? AND name = ?"
        " ORDER BY version DESC LIMIT ?",
        [tenant, name, limit],
    )
    return list(rows)


def delete(db: Database, tenant: str, name: str) -> int:
    """Forget every version of a job; returns how many there were."""
    return db.conn.execute("DELETE FROM jobs WHERE tenant = ? AND name = ?", (tenant, name)).rowcount


def newest_of_all(db: Database, tenant: str) -> list[dict[str, Any]]:
    """The newest version of every job of a tenant, by name."""
    rows = db.query(
        "SELECT j.* FROM jobs j JOIN (SELECT name, max(version) AS version FROM jobs WHERE tenant = ? GROUP BY name) m"
        " USING (name, version) WHERE j.tenant = ? ORDER BY name",
        [tenant, tenant],
    )
    return list(rows)
