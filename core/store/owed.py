"""What is still owed to jobs, as an engine finds it when it starts."""

from __future__ import annotations

from sqlite_utils import Database

from core.model.invocation import Invocation
from core.store import bodies, dispatches, invocations, messages
from core.store.dispatches import DispatchRow


def deliveries(db: Database) -> list[tuple[DispatchRow, bytes]]:
    """The deliveries of the queue, oldest first, with the events of their messages."""
    return [
        (row, bodies.of(db, message))
        for row in dispatches.owed(db)
        if (message := messages.get(db, row.message_id)) is not None
    ]


def open_runs(db: Database) -> list[tuple[Invocation, bytes]]:
    """The runs that have not ended, oldest first, with the event that each of them owes to its job, if it does."""
    return [(run, _owed_by(db, run)) for run in invocations.open_ones(db)]


def _owed_by(db: Database, run: Invocation) -> bytes:
    if run.settled_at_ns is not None or run.message_id is None:
        return b""
    message = messages.get(db, run.message_id)
    return b"" if message is None else bodies.of(db, message)
