"""Schedules: where the timetable of each job stands, its pause, and the runs that somebody asked for.

What a timetable does and what people say of it are written apart, so that neither overwrites the other.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from operator import attrgetter

from sqlite_utils import Database

from core.model.schedule import Order, Schedule
from core.store import audit
from core.store.audit import AuditRow
from core.store.rows import fields_of, insertion, upsertion

_COLUMNS = fields_of(Schedule)
_KEY = ("tenant", "job")
_PAUSE = ("paused_at_ns", "paused_by", "pause_reason", "paused_until_ns")
_PROGRESS = tuple(column for column in _COLUMNS if column not in _PAUSE)
_values = attrgetter(*_COLUMNS)


def _put(columns: Sequence[str]) -> str:
    """The statement that adds a row, or gives these columns of the one that is there other values."""
    new = ", ".join(f"{column} = excluded.{column}" for column in columns if column not in _KEY)
    head, _, _ = upsertion("schedules", _COLUMNS, _KEY).partition(" DO UPDATE")
    return f"{head} DO UPDATE SET {new}"


_PUT_PROGRESS = _put(_PROGRESS)
_PUT_PAUSE = _put((*_PAUSE, "settled_ns", "failures"))
_ORDER = insertion("schedule_orders", Order)


@dataclass(slots=True)
class Progress:
    """What timetables did, to be written together."""

    schedules: dict[tuple[str, str], Schedule] = field(default_factory=dict)
    gone: set[tuple[str, str]] = field(default_factory=set)
    orders_done: list[int] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.schedules or self.gone or self.orders_done)

    def copied(self) -> Progress:
        """As it is now: what is written may change before it is."""
        kept = {key: dataclasses.replace(one) for key, one in self.schedules.items()}
        return Progress(kept, set(self.gone), list(self.orders_done))

    def then(self, later: Progress) -> Progress:
        """What could not be written, and what came later, as one."""
        kept = {key: one for key, one in self.schedules.items() if key not in later.gone}
        gone = {key for key in self.gone if key not in later.schedules} | later.gone
        return Progress({**kept, **later.schedules}, gone, [*self.orders_done, *later.orders_done])


def all_rows(db: Database) -> list[Schedule]:
    return [Schedule(*row) for row in db.conn.execute(f"SELECT {', '.join(_COLUMNS)} FROM schedules")]


def orders(db: Database) -> list[Order]:
    """The runs that somebody asked for and that have not ended, the oldest first."""
    found = db.conn.execute(f"SELECT {', '.join(Order._fields)} FROM schedule_orders ORDER BY id")
    return [Order(*row) for row in found]


def record(db: Database, progress: Progress) -> None:
    for key in progress.gone:
        db.conn.execute("DELETE FROM schedules WHERE tenant = ? AND job = ?", key)
        db.conn.execute("DELETE FROM schedule_orders WHERE tenant = ? AND job = ?", key)
    db.conn.executemany(_PUT_PROGRESS, map(_values, progress.schedules.values()))
    db.conn.executemany("DELETE FROM schedule_orders WHERE id = ?", [(id,) for id in progress.orders_done])


def pause(db: Database, schedule: Schedule, ordered: Sequence[Order] = (), note: AuditRow | None = None) -> None:
    """Record that a schedule is paused, or is so no longer, with what its end makes up for."""
    db.conn.execute(_PUT_PAUSE, _values(schedule))
    order(db, ordered, note)


def order(db: Database, ordered: Sequence[Order], note: AuditRow | None = None) -> None:
    """Record runs that somebody asks for."""
    db.conn.executemany(_ORDER, ordered)
    if note is not None:
        audit.insert(db, note)
