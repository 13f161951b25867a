"""Workers of other machines that have joined, so that a new engine waits for them before it moves what they run."""

from __future__ import annotations

from sqlite_utils import Database

from core.model.enrolment import EnrolmentState
from core.model.worker_group import External
from core.store import audit, enrolment
from core.store.audit import AuditRow


def known(db: Database) -> list[External]:
    granted = {one.name: one.grant for one in enrolment.credentials(db) if one.state is not EnrolmentState.REVOKED}
    rows = db.table("external_workers").rows_where(order_by="name")
    return [External(row["name"], row["group_name"], row["slots"], granted.get(row["name"])) for row in rows]


def keep(db: Database, worker: External, at_ns: int, audit_row: AuditRow) -> None:
    """Keep a worker that has joined, for the first time or otherwise than before."""
    row = {"name": worker.name, "group_name": worker.group, "slots": worker.slots, "joined_at_ns": at_ns}
    db.table("external_workers").upsert(row, pk="name")
    audit.insert(db, audit_row)


def forget(db: Database, name: str, audit_row: AuditRow) -> None:
    """Forget a worker, and what was said about it."""
    db.conn.execute("DELETE FROM external_workers WHERE name = ?", (name,))
    db.conn.execute("DELETE FROM workers WHERE name = ?", (name,))
    audit.insert(db, audit_row)
