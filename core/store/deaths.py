"""Ends of workers with the job that was at work, and what follows from them for its workloads."""

from __future__ import annotations

from sqlite_utils import Database

from core.model.states import WorkloadState
from core.store import audit
from core.store.audit import AuditRow

Death = tuple[int, str, str, str, str, str, str]  # at_ns, tenant, job, version, workload, worker, cause


def since(db: Database, at_ns: int) -> list[Death]:
    """Those after a moment, oldest first."""
    found = db.conn.execute(
        "SELECT at_ns, tenant, job, version, workload, worker, cause FROM worker_deaths WHERE at_ns > ? ORDER BY at_ns",
        (at_ns,),
    )
    return list(found)


def record(db: Database, death: Death, forget_before_ns: int, reason: str, audit_row: AuditRow | None) -> None:
    """Keep one, and forget the old ones; with an audit row, quarantine its job for that reason, too."""
    db.conn.execute("INSERT INTO worker_deaths VALUES (?, ?, ?, ?, ?, ?, ?)", death)
    db.conn.execute("DELETE FROM worker_deaths WHERE at_ns < ?", (forget_before_ns,))
    if audit_row is not None:
        at_ns, tenant, job, version, *_ = death
        db.conn.execute(
            "UPDATE workloads SET state = ?, reason = ?, updated_at_ns = ?"
            " WHERE tenant = ? AND job = ? AND version = ?",
            (WorkloadState.QUARANTINED.value, reason, at_ns, tenant, job, version),
        )
        audit.insert(db, audit_row)


def release(db: Database, tenant: str, jobs: list[str], at_ns: int, audit_row: AuditRow | None) -> None:
    """Let these jobs run again, with no death against them."""
    for job in jobs:
        db.conn.execute(
            "UPDATE workloads SET state = ?, reason = '', updated_at_ns = ? WHERE tenant = ? AND job = ? AND state = ?",
            (WorkloadState.ASSIGNED.value, at_ns, tenant, job, WorkloadState.QUARANTINED.value),
        )
        db.conn.execute("DELETE FROM worker_deaths WHERE tenant = ? AND job = ?", (tenant, job))
    if audit_row is not None:
        audit.insert(db, audit_row)
