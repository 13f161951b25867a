"""Callbacks: where updates of an invocation are posted to, and every delivery with the log of its tries."""

from __future__ import annotations

from typing import Any, NamedTuple

from sqlite_utils import Database

from core.store import audit
from core.store.audit import AuditRow
from core.store.rows import insertion

PENDING, DELIVERED, DEAD = "pending", "delivered", "dead"
MOST_LOGGED = 25  # tries of one delivery, with those that someone asked for


class DeliveryRow(NamedTuple):
    """An update of a run that is owed to its receiver, or was."""

    id: int
    invocation_id: int
    tenant: str
    receiver: str
    state: str
    """Of the run, which this tells of."""
    outcome: str
    """pending, delivered or dead"""
    attempts: int
    due_at_ns: int
    finished_at_ns: int | None
    log: str
    """Its tries, as JSON."""
    body: bytes


class Delivery(NamedTuple):
    """A delivery as it is found again: without its body, and with what the id of its run needs."""

    row: DeliveryRow
    nonce: str
    """Of the run."""


class TargetRow(NamedTuple):
    """Where the updates of a run are posted to."""

    invocation_id: int
    sealed: bytes


_INSERT = insertion("callback_deliveries", DeliveryRow)
_INSERT_TARGET = insertion("callback_targets", TargetRow)
_SELECT = (
    f"SELECT {', '.join('d.' + column for column in DeliveryRow._fields if column != 'body')}, x'' AS body, i.nonce"
    " FROM callback_deliveries d JOIN invocations i ON i.id = d.invocation_id"
)


def insert(db: Database, row: DeliveryRow) -> None:
    """Owe a delivery; in the transaction that changes the state it tells of."""
    db.conn.execute(_INSERT, row)


def keep_target(db: Database, row: TargetRow) -> None:
    db.conn.execute(_INSERT_TARGET, row)


def resume(db: Database, latest_due_ns: int) -> list[tuple[int, str, str, int]]:
    """What is still owed, oldest first: (id, tenant, receiver, when it is due).

    A time of the next try that lies beyond `latest_due_ns` was made by a clock that has jumped back, and is set to it.
    """
    db.conn.execute(
        "UPDATE callback_deliveries SET due_at_ns = ? WHERE outcome = 'pending' AND due_at_ns > ?",
        (latest_due_ns, latest_due_ns),
    )
    rows = db.conn.execute(
        "SELECT id, tenant, receiver, due_at_ns FROM callback_deliveries WHERE outcome = 'pending' ORDER BY id"
    )
    return rows.fetchall()


def to_send(db: Database, id: int) -> tuple[str, int, bytes, bytes | None] | None:
    """(tenant, tries so far, body, sealed target) of a delivery that is still owed."""
    row = db.conn.execute(
        "SELECT d.tenant, d.attempts, d.body, t.sealed FROM callback_deliveries d"
        " LEFT JOIN callback_targets t USING (invocation_id) WHERE d.id = ? AND d.outcome = 'pending'",
        (id,),
    ).fetchone()
    return None if row is None else tuple(row)


def tried(db: Database, id: int, outcome: str, at_ns: int, due_at_ns: int, entry: str) -> None:
    """Write down a try: how it ended, and when the next one is due if there is one."""
    db.conn.execute(
        "UPDATE callback_deliveries SET outcome = ?, attempts = attempts + 1, due_at_ns = ?, finished_at_ns = ?,"
        " log = CASE WHEN json_array_length(log) < ? THEN json_insert(log, '$[#]', json(?)) ELSE log END"
        " WHERE id = ?",
        (outcome, due_at_ns, None if outcome == PENDING else at_ns, MOST_LOGGED, entry, id),
    )


def again(db: Database, id: int, due_at_ns: int, audit_row: AuditRow) -> bool:
    """Owe a delivery that has ended once more, with all its tries; false when it has not ended."""
    changed = db.conn.execute(
        "UPDATE callback_deliveries SET outcome = 'pending', attempts = 0, due_at_ns = ?, finished_at_ns = NULL"
        " WHERE id = ? AND outcome != 'pending'",
        (due_at_ns, id),
    ).rowcount
    if changed:
        audit.insert(db, audit_row)
    return changed == 1


def get(db: Database, tenant: str, id: int) -> Delivery | None:
    row = db.conn.execute(f"{_SELECT} WHERE d.id = ? AND d.tenant = ?", (id, tenant)).fetchone()
    return _delivery(row) if row else None


def of_invocation(db: Database, invocation_id: int) -> list[Delivery]:
    """The deliveries of an invocation, in the order of the updates."""
    rows = db.conn.execute(f"{_SELECT} WHERE d.invocation_id = ? ORDER BY d.id", (invocation_id,))
    return [_delivery(row) for row in rows]


def search(
    db: Database,
    tenant: str,
    *,
    invocation_id: int | None = None,
    outcome: str = "",
    before: int | None = None,
    limit: int,
) -> tuple[list[Delivery], int]:
    """Deliveries of a tenant, newest first, and how many there are whatever the page."""
    where, values = ["d.tenant = ?"], list[Any]([tenant])
    if invocation_id is not None:
        where.append("d.invocation_id = ?")
        values.append(invocation_id)
    if outcome:
        where.append("d.outcome = ?")
        values.append(outcome)
    condition = " AND ".join(where)
    total = db.conn.execute(f"SELECT count(*) FROM callback_deliveries d WHERE {condition}", values).fetchone()[0]
    if before is not None:
        condition += " AND d.id < ?"
        values.append(before)
    rows = db.conn.execute(f"{_SELECT} WHERE {condition} ORDER BY d.id DESC LIMIT ?", [*values, limit])
    return [_delivery(row) for row in rows], int(total)


def prune(db: Database, at_most: int = 5_000) -> None:
    """Forget what belonged to invocations that are kept no longer."""
    for table in ("callback_deliveries", "callback_targets"):
        db.conn.execute(
            f"DELETE FROM {table} WHERE rowid IN (SELECT c.rowid FROM {table} c LEFT JOIN invocations i"
            " ON i.id = c.invocation_id WHERE i.id IS NULL LIMIT ?)",
            (at_most,),
        )


def _delivery(row: tuple[Any, ...]) -> Delivery:
    *columns, nonce = row
    return Delivery(DeliveryRow._make(columns), nonce)
