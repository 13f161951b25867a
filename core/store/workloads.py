"""Workloads: the job instances that the engine wants on workers, and how far each one is.

A row is desired state. What a worker reports is written back as `state` and `reason`, so that a run-once job that
completed is not started again by a new owner.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from operator import attrgetter
from typing import NamedTuple

from sqlite_utils import Database

from core import errors
from core.model.states import WorkloadState
from core.model.workload import WorkloadRow
from core.store import audit, worker_groups
from core.store.audit import AuditRow
from core.store.rows import fields_of, upsertion

_COLUMNS = fields_of(WorkloadRow)
_SELECT = f"SELECT {', '.join(_COLUMNS)} FROM workloads"
_PUT = upsertion("workloads", _COLUMNS, ("id",))
_values = attrgetter(*_COLUMNS)


def all_rows(db: Database) -> list[WorkloadRow]:
    return [WorkloadRow(*row) for row in db.conn.execute(f"{_SELECT} ORDER BY id")]


def replace(db: Database, tenant: str, deployment: str, job: str | None, rows: Sequence[WorkloadRow]) -> None:
    """Make `rows` the wish for one deployment, or (deployment "", with a job) for one unmanaged job.

    A row whose worker, version and document are as before keeps its state and the revision that brought it; every
    other one starts anew, whatever state it says, unless this version of it is quarantined. Raises TargetUnavailable
    when a worker group has gone meanwhile.
    """
    for group in {row.group_name for row in rows}:
        if not worker_groups.exists(db, group):
            raise errors.TargetUnavailable(
                f"There is no worker group {errors.shorten(group, 64)} any more.", hint="Place it in another group."
            )
    where, values = "tenant = ? AND deployment = ?", [tenant, deployment]
    if job is not None:
        where, values = where + " AND job = ?", [*values, job]
    before = {found[0]: WorkloadRow(*found) for found in db.conn.execute(f"{_SELECT} WHERE {where}", values)}
    kept = {(row.job, row.version): row.reason for row in before.values() if row.state == WorkloadState.QUARANTINED}
    for row in rows:
        old = before.pop(row.id, None)
        if old is None or not row.runs_like(old):
            reason = kept.get((row.job, row.version))
            state = WorkloadState.ASSIGNED if reason is None else WorkloadState.QUARANTINED
            anew = dataclasses.replace(row, state=state.value, reason=reason or "")
            db.conn.execute(_PUT, _values(anew))
        elif old.origin != row.origin:  # another module makes the same job
            db.conn.execute("UPDATE workloads SET origin = ? WHERE id = ?", (row.origin, row.id))
    db.conn.executemany("DELETE FROM workloads WHERE id = ?", [(id,) for id in before])


def owned_by_others(db: Database, tenant: str, deployment: str, jobs: set[str]) -> dict[str, str]:
    """Of these jobs the ones that something else runs: job -> its deployment, or "" for an unmanaged one."""
    rows = db.conn.execute(
        "SELECT DISTINCT job, deployment FROM workloads WHERE tenant = ? AND deployment != ?", (tenant, deployment)
    )
    return {job: owner for job, owner in rows if job in jobs}


def replace_unmanaged(db: Database, tenant: str, job: str, rows: Sequence[WorkloadRow], audit_row: AuditRow) -> None:
    """Make `rows` the wish for one unmanaged job."""
    replace(db, tenant, "", job, rows)
    audit.insert(db, audit_row)


class Report(NamedTuple):
    """What a worker said of a version of a workload."""

    state: str
    reason: str
    restarts: int
    at_ns: int
    id: str
    version: str


def report(db: Database, reports: list[Report]) -> None:
    """Write what workers said. What is quarantined stays so: what they said before may be written after it."""
    db.conn.executemany(
        "UPDATE workloads SET state = ?, reason = ?, restarts = ?, updated_at_ns = ? WHERE id = ? AND version = ?"
        f" AND state != '{WorkloadState.QUARANTINED}'",
        reports,
    )
