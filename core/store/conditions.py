"""Conditions: since when each workload, deployment and worker is as it is, what it was before, and outages.

Written when something changes, never for a run. What is gone is forgotten: a workload that nothing wants, a deployment
that was removed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from sqlite_utils import Database

from core.model.condition import Condition, Health, Kind, Subject
from core.model.states import DeploymentState
from core.store.rows import fields_of, upsertion

MOST_TRANSITIONS = 50  # of one thing
MOST_OUTAGES = 20  # of one workload
SHOWN_OUTAGES = 500
MOST_WAITING = 10_000  # transitions that a disk which is full keeps waiting


class ConditionRow(NamedTuple):
    """The condition of one thing. Of what is no workload, deployment, job and step are empty."""

    kind: str
    tenant: str
    name: str
    deployment: str
    """Of a workload; empty for one of a single job."""
    job: str
    step: str
    replica: int
    version: str
    health: str
    since_ns: int
    reason: str
    failures: int
    first_failed_at_ns: int
    last_failed_at_ns: int
    of_run: int
    """1: what failed was a run of a schedule, so only a run that succeeds makes up for it."""
    typed: str = ""
    """What is so by type, as JSON (core.model.typed_condition); empty: nothing is known."""

    @property
    def subject(self) -> Subject:
        return Subject(Kind(self.kind), self.tenant, self.name)

    @property
    def condition(self) -> Condition:
        return Condition(
            Health(self.health),
            self.since_ns,
            self.reason,
            self.version,
            self.failures,
            self.first_failed_at_ns,
            self.last_failed_at_ns,
        )


class TransitionRow(NamedTuple):
    """A thing had one health before and another one after."""

    kind: str
    tenant: str
    name: str
    at_ns: int
    before: str
    after: str
    reason: str


class OutageRow(NamedTuple):
    """A workload was down because its worker, or the engine, was not there."""

    tenant: str
    workload: str
    """JOB#REPLICA"""
    began_at_ns: int
    deployment: str
    worker: str
    """On which it ran, or should have."""
    cause: str
    ended_at_ns: int = 0
    """0: it is down now."""


@dataclass(slots=True)
class Changes:
    """What is written together."""

    conditions: dict[Subject, ConditionRow] = field(default_factory=dict)
    transitions: list[TransitionRow] = field(default_factory=list)
    outages: dict[tuple[str, str, int], OutageRow] = field(default_factory=dict)
    forgotten: set[Subject] = field(default_factory=set)

    def then(self, later: Changes) -> Changes:
        """What could not be written, and what came later, as one."""
        kept = {subject: row for subject, row in self.conditions.items() if subject not in later.forgotten}
        return Changes(
            {**kept, **later.conditions},
            [*self.transitions, *later.transitions][-MOST_WAITING:],
            {**self.outages, **later.outages},
            self.forgotten | later.forgotten,
        )

    def __bool__(self) -> bool:
        return bool(self.conditions or self.transitions or self.outages or self.forgotten)


_COLUMNS = fields_of(ConditionRow)
_PUT = upsertion("conditions", _COLUMNS, ("kind", "tenant", "name"))
_MOVED = upsertion("transitions", fields_of(TransitionRow), ("kind", "tenant", "name", "at_ns"))
_OUTAGE = upsertion("outages", fields_of(OutageRow), ("tenant", "workload", "began_at_ns"))
_OUTAGES = f"SELECT {', '.join(fields_of(OutageRow))} FROM outages"
_OF_SUBJECTS = ("conditions", "transitions")
_THERE = {
    # SQL of what is wanted
    Kind.WORKLOAD: "SELECT 1 FROM workloads AS w WHERE w.id = {table}.tenant || '/' || {table}.name",
    Kind.DEPLOYMENT: "SELECT 1 FROM deployments AS d WHERE d.tenant = {table}.tenant AND d.name = {table}.name"
    f" AND d.state <> '{DeploymentState.REMOVED}'",
}


def all_rows(db: Database) -> list[ConditionRow]:
    return [ConditionRow(*row) for row in db.conn.execute(f"SELECT {', '.join(_COLUMNS)} FROM conditions")]


def transitions(db: Database, subject: Subject, limit: int = MOST_TRANSITIONS) -> list[TransitionRow]:
    """The last changes of one thing, newest first."""
    rows = db.conn.execute(
        f"SELECT {', '.join(fields_of(TransitionRow))} FROM transitions"
        " WHERE kind = ? AND tenant = ? AND name = ? ORDER BY at_ns DESC LIMIT ?",
        (*subject, limit),
    )
    return [TransitionRow(*row) for row in rows]


def open_outages(db: Database) -> list[OutageRow]:
    """Those of every tenant that last."""
    return [OutageRow(*row) for row in db.conn.execute(f"{_OUTAGES} WHERE ended_at_ns = 0")]


def outages(db: Database, tenant: str, since_ns: int, **of: str) -> list[OutageRow]:
    """Those of a tenant that lasted at a moment or came after it, newest first; of a deployment, worker or workload."""
    where = "".join(f" AND {column} = ?" for column in of)
    rows = db.conn.execute(
        f"{_OUTAGES} WHERE tenant = ? AND (ended_at_ns = 0 OR ended_at_ns >= ?){where}"
        " ORDER BY began_at_ns DESC, workload LIMIT ?",
        (tenant, since_ns, *of.values(), SHOWN_OUTAGES),
    )
    return [OutageRow(*row) for row in rows]


def outages_of_job(db: Database, tenant: str, job: str, since_ns: int) -> list[OutageRow]:
    """The same of all replicas of a job."""
    rows = db.conn.execute(
        f"{_OUTAGES} WHERE tenant = ? AND workload >= ? AND workload < ? AND (ended_at_ns = 0 OR ended_at_ns >= ?)"
        " ORDER BY began_at_ns DESC LIMIT ?",
        (tenant, f"{job}#", f"{job}$", since_ns, SHOWN_OUTAGES),  # $ is what comes after #
    )
    return [OutageRow(*row) for row in rows]


def record(db: Database, changes: Changes) -> None:
    """Write them, and forget the oldest of what has too many."""
    for subject in changes.forgotten:
        for table in _OF_SUBJECTS:
            db.conn.execute(f"DELETE FROM {table} WHERE kind = ? AND tenant = ? AND name = ?", subject)
        if subject.kind is Kind.WORKLOAD:
            db.conn.execute("DELETE FROM outages WHERE tenant = ? AND workload = ?", subject[1:])
    db.conn.executemany(_PUT, changes.conditions.values())
    db.conn.executemany(_MOVED, changes.transitions)
    db.conn.executemany(_OUTAGE, changes.outages.values())
    db.conn.executemany(
        "DELETE FROM transitions WHERE kind = ?1 AND tenant = ?2 AND name = ?3 AND at_ns <= (SELECT at_ns FROM"
        " transitions WHERE kind = ?1 AND tenant = ?2 AND name = ?3 ORDER BY at_ns DESC LIMIT 1 OFFSET ?4)",
        {(*row[:3], MOST_TRANSITIONS) for row in changes.transitions},
    )
    db.conn.executemany(
        "DELETE FROM outages WHERE tenant = ?1 AND workload = ?2 AND began_at_ns <= (SELECT began_at_ns FROM outages"
        " WHERE tenant = ?1 AND workload = ?2 ORDER BY began_at_ns DESC LIMIT 1 OFFSET ?3)",
        {(row.tenant, row.workload, MOST_OUTAGES) for row in changes.outages.values()},
    )


def resume(db: Database, changes: Changes, at_ns: int) -> None:
    """An engine begins: what was found at its start, without what nothing wants any more."""
    for kind, there in _THERE.items():
        for table in _OF_SUBJECTS:
            gone = f"NOT EXISTS ({there.format(table=table)})"
            db.conn.execute(f"DELETE FROM {table} WHERE kind = ? AND {gone}", (kind.value,))
    db.conn.execute(
        "DELETE FROM outages WHERE NOT EXISTS"
        " (SELECT 1 FROM workloads AS w WHERE w.id = outages.tenant || '/' || outages.workload)"
    )
    record(db, changes)
    sign(db, at_ns, ended=False)


_ENDED, _GONE = 1, 2  # in order; not so, and the time is all that is known (0: it runs, or is gone since)


class Sign(NamedTuple):
    """The last that is known of an engine: when it was there, and whether it ended in order."""

    at_ns: int
    ended: bool


def sign(db: Database, at_ns: int, *, ended: bool) -> None:
    """An engine is there, or ends now."""
    db.conn.execute("DELETE FROM engine_signs")
    db.conn.execute("INSERT INTO engine_signs (at_ns, ended) VALUES (?, ?)", (at_ns, int(ended)))


def settle_sign(db: Database) -> None:
    """Somebody writes without an engine: what the store holds from now on tells nothing of the last one."""
    found = last_sign(db)
    if found is not None and not found.ended:
        db.conn.execute("UPDATE engine_signs SET at_ns = ?, ended = ?", (found.at_ns, _GONE))


def last_sign(db: Database) -> Sign | None:
    """That of the engine before; None when none has left one. As long as nobody has written without an engine, the
    newest message is one, too: their ids are times."""
    found = db.conn.execute("SELECT at_ns, ended FROM engine_signs").fetchone()
    if found is None:
        return None
    at_ns, ended = found
    if not ended:
        at_ns = max(at_ns, int(db.conn.execute("SELECT coalesce(max(id), 0) FROM messages").fetchone()[0]))
    return Sign(at_ns, ended == _ENDED)
