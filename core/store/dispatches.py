"""The durable queue of deliveries that are not yet acknowledged.

The message of a run that waits for its response is not in it: the open record of the run is what owes that one
(core.store.invocations), and there is nothing to delete when the response comes.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from sqlite_utils import Database

from core.store.rows import insertion


class DispatchRow(NamedTuple):
    """A message that is owed to the replicas of a job."""

    id: int
    message_id: int
    tenant: str
    job: str
    invocation_id: int | None
    """The run whose message it is, if it is one."""
    attempt: int


_INSERT = insertion("dispatches", DispatchRow)
_COLUMNS = ", ".join(DispatchRow._fields)


def insert(db: Database, rows: Iterable[DispatchRow]) -> None:
    db.conn.executemany(_INSERT, rows)


def settle(db: Database, ids: Iterable[int]) -> None:
    """Forget deliveries that were acknowledged or given up."""
    db.conn.executemany("DELETE FROM dispatches WHERE id = ?", [(id,) for id in ids])


def attempted(db: Database, id: int, attempt: int) -> None:
    """Note that a delivery goes out again."""
    db.conn.execute("UPDATE dispatches SET attempt = ? WHERE id = ?", (attempt, id))


def owed(db: Database) -> list[DispatchRow]:
    """Every delivery of the queue, oldest first."""
    return [DispatchRow(*row) for row in db.conn.execute(f"SELECT {_COLUMNS} FROM dispatches ORDER BY id")]
