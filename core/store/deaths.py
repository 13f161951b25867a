"""Ends of workers with the job that was at work, and what follows from them for its workloads."""

from __future__ import annotations

from typing import NamedTuple

from sqlite_utils import Database

from core.model.states import WorkloadState
from core.store import audit
from core.store.audit import AuditRow
from core.store.rows import fields_of, insertion


class DeathRow(NamedTuple):
    """The end of a worker while a job was at work."""

    at_ns: int
    tenant: str
    job: str
    version: str
    workload: str
    worker: str
    cause: str


_INSERT = insertion("worker_deaths", DeathRow)
_SELECT = f"SELECT {', '.join(fields_of(DeathRow))} FROM worker_deaths"


def since(db: Database, at_ns: int) -> list[DeathRow]:
    """Those after a moment, oldest first."""
    return [DeathRow(*row) for row in db.conn.execute(f"{_SELECT} WHERE at_ns > ? ORDER BY at_ns", (at_ns,))]


def record(db: Database, death: DeathRow, forget_before_ns: int, reason: str, audit_row: AuditRow | None) -> None:
    """Keep one, and forget the old ones; with an audit row, quarantine its job for that reason, too."""
    db.conn.execute(_INSERT, death)
    db.conn.execute("DELETE FROM worker_deaths WHERE at_ns < ?", (forget_before_ns,))
    if audit_row is not None:
        db.conn.execute(
            "UPDATE workloads SET state = ?, reason = ?, updated_at_ns = ?"
            " WHERE tenant = ? AND job = ? AND version = ?",
            (WorkloadState.QUARANTINED.value, reason, death.at_ns, death.tenant, death.job, death.version),
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
