"""Since when each thing is as it is, what it was before, and which workloads were down (core.store.conditions)."""

from __future__ import annotations

from sqlite_utils import Database

from core.store.migrations import context_changes  # noqa: F401 - its step comes before this one
from core.store.migrations.steps import STEPS


@STEPS()
def m0029_conditions(db: Database) -> None:
    """What was there before is as its worker told last, since then; its engine was there at its last message."""
    db.execute(
        "CREATE TABLE conditions (kind TEXT NOT NULL, tenant TEXT NOT NULL, name TEXT NOT NULL,"
        " deployment TEXT NOT NULL, job TEXT NOT NULL, step TEXT NOT NULL, replica INTEGER NOT NULL,"
        " version TEXT NOT NULL, health TEXT NOT NULL, since_ns INTEGER NOT NULL, reason TEXT NOT NULL,"
        " failures INTEGER NOT NULL, first_failed_at_ns INTEGER NOT NULL, last_failed_at_ns INTEGER NOT NULL,"
        " of_run INTEGER NOT NULL, PRIMARY KEY (kind, tenant, name)) STRICT, WITHOUT ROWID"
    )
    db.execute(
        "CREATE TABLE transitions (kind TEXT NOT NULL, tenant TEXT NOT NULL, name TEXT NOT NULL,"
        " at_ns INTEGER NOT NULL, before TEXT NOT NULL, after TEXT NOT NULL, reason TEXT NOT NULL,"
        " PRIMARY KEY (kind, tenant, name, at_ns)) STRICT, WITHOUT ROWID"
    )
    db.execute(
        "CREATE TABLE outages (tenant TEXT NOT NULL, workload TEXT NOT NULL, began_at_ns INTEGER NOT NULL,"
        " deployment TEXT NOT NULL, worker TEXT NOT NULL, cause TEXT NOT NULL, ended_at_ns INTEGER NOT NULL,"
        " PRIMARY KEY (tenant, workload, began_at_ns)) STRICT, WITHOUT ROWID"
    )
    db.execute("CREATE TABLE engine_signs (at_ns INTEGER NOT NULL, ended INTEGER NOT NULL) STRICT")
    db.execute(
        "INSERT INTO conditions (kind, tenant, name, deployment, job, step, replica, version, health, since_ns, reason,"
        " failures, first_failed_at_ns, last_failed_at_ns, of_run)"
        " SELECT 'workload', tenant, job || '#' || replica, deployment, job, step, replica,"
        " version, CASE state WHEN 'failed' THEN 'failing' WHEN 'quarantined' THEN 'quarantined'"
        " WHEN 'running' THEN 'healthy' WHEN 'completed' THEN 'healthy' ELSE 'progressing' END,"
        " updated_at_ns, CASE WHEN state IN ('failed', 'quarantined') THEN substr(reason, 1, 400) ELSE '' END,"
        " state = 'failed', CASE state WHEN 'failed' THEN updated_at_ns ELSE 0 END,"
        " CASE state WHEN 'failed' THEN updated_at_ns ELSE 0 END, 0 FROM workloads"
    )
    db.execute("INSERT INTO engine_signs (at_ns, ended) SELECT max(id), 1 FROM messages HAVING max(id) IS NOT NULL")
