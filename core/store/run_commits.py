"""The transactions of runs: what a tick has accepted, and what workers sent in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace

from sqlite_utils import Database

from core import clock
from core.model import message
from core.model.invocation import Invocation
from core.store import audit, callbacks, dispatches, invocations, job_runs, messages, variables
from core.store.audit import AuditRow
from core.store.callbacks import DeliveryRow, TargetRow
from core.store.dispatches import DispatchRow
from core.store.invocations import Capture, Finish, Late, Note
from core.store.messages import MessageRow
from core.store.variables import VariableRow


@dataclass(frozen=True, slots=True)
class Key:
    """An idempotency key: digests of tenant, slug, user and key, and of the parameters."""

    key: bytes
    params: bytes


@dataclass(slots=True)
class Accepted:
    """A run with all that is recorded with it."""

    run: Invocation
    audit: AuditRow
    key: Key | None = None
    message: MessageRow | None = None
    dispatch: DispatchRow | None = None
    target: TargetRow | None = None
    update: DeliveryRow | None = None

    def renumber(self, ids: clock.Ids) -> None:
        """Give its message the next id: ids have the order of the commits, and what it was to go with has failed."""
        if self.message is not None:
            id = ids.next()
            self.message = self.message._replace(id=id)
            self.run.message_id = id
            if self.dispatch is not None:
                self.dispatch = self.dispatch._replace(id=id, message_id=id)


@dataclass(frozen=True, slots=True)
class Holder:
    """The run that has an idempotency key, and the digest of its parameters."""

    id: int
    params: bytes


def record(db: Database, accepted: Sequence[Accepted]) -> list[Holder | None]:
    """Write the runs of one tick, each with its audit entry, its message and what it owes.

    A run whose key is taken is not written, and its holder returned in its place.
    """
    holders = [None if one.key is None else _hold(db, one.key, one.run.id) for one in accepted]
    new = [one for one, holder in zip(accepted, holders, strict=True) if holder is None]
    invocations.insert(db, [one.run for one in new])
    audit.insert(db, *[one.audit for one in new])
    messages.insert(db, [one.message for one in new if one.message is not None])
    dispatches.insert(db, [one.dispatch for one in new if one.dispatch is not None])
    for one in new:
        if one.target is not None and one.update is not None:
            callbacks.keep_target(db, one.target)
            callbacks.insert(db, one.update)
    return holders


def _hold(db: Database, key: Key, id: int) -> Holder | None:
    taken = holder(db, key.key)
    if taken is None:
        invocations.hold(db, key.key, id, key.params)
    return taken


def request_cancel(db: Database, id: int, event: str, note: AuditRow) -> bool:
    """Note that somebody wants the end of a run, and who; false, and nothing is noted, when it has ended."""
    asked = db.conn.execute(
        "UPDATE invocations SET events = json_insert(events, '$[#]', json(?)) WHERE id = ? AND finished_at_ns IS NULL",
        (event, id),
    )
    if asked.rowcount:
        audit.insert(db, note)
    return asked.rowcount == 1


def holder(db: Database, key: bytes) -> Holder | None:
    """Who has an idempotency key."""
    found = invocations.holder(db, key)
    return None if found is None else Holder(*found)


@dataclass(slots=True)
class Absorbed:
    """What workers sent during one tick."""

    messages: list[MessageRow] = field(default_factory=list)
    dispatches: list[DispatchRow] = field(default_factory=list)
    captures: list[Capture] = field(default_factory=list)
    finishes: list[Finish] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)
    late: list[Late] = field(default_factory=list)
    settled: list[int] = field(default_factory=list)  # delivery ids
    settled_runs: list[int] = field(default_factory=list)  # ids of runs that go on
    variables: list[VariableRow] = field(default_factory=list)
    job_runs: list[job_runs.Change] = field(default_factory=list)

    def __bool__(self) -> bool:
        return any(getattr(self, part) for part in _PARTS)

    def renumbered(self, ids: clock.Ids) -> Absorbed:
        """The same with new ids of its messages: ids have the order of the commits, and the one of this has failed."""
        new = {message.id: ids.next() for message in self.messages}
        return replace(
            self,
            messages=[
                row._replace(id=new[row.id], body=message.renumbered(row.body, new[row.id])) for row in self.messages
            ],
            dispatches=[row._replace(message_id=new.get(row.message_id, row.message_id)) for row in self.dispatches],
            finishes=[
                one if one.message_id is None else replace(one, message_id=new.get(one.message_id, one.message_id))
                for one in self.finishes
            ],
        )

    def then(self, later: Absorbed) -> Absorbed:
        """What came first, and what came later, as one."""
        return Absorbed(*(getattr(self, part) + getattr(later, part) for part in _PARTS))


_PARTS = tuple(part.name for part in fields(Absorbed))


@dataclass(frozen=True, slots=True)
class Decided:
    """For each finish and each capture of a tick, in order: whether it was in time for its run."""

    finishes: list[bool]
    captures: list[bool]


def absorb(db: Database, traffic: Absorbed) -> Decided:
    """Write it all.

    Finishes come after notes and captures: what came before the response of its tick is part of the record that the
    response ends. A message that has ended a run says what the record says, and is kept without its body.
    """
    for note in traffic.notes:
        invocations.append_event(db, note.id, note.event)
    captures = [invocations.capture(db, capture) for capture in traffic.captures]
    finishes = invocations.finish(db, traffic.finishes) if traffic.finishes else []
    for late in traffic.late:
        invocations.append_late(db, late)
    if traffic.messages:
        ended = {wish.message_id: wish.id for wish, won in zip(traffic.finishes, finishes, strict=True) if won}
        messages.insert(db, [one.within(ended.get(one.id)) for one in traffic.messages])
        dispatches.insert(db, traffic.dispatches)
    if traffic.variables:
        variables.put_many(db, traffic.variables)
    if traffic.job_runs:
        job_runs.record(db, traffic.job_runs)
    if traffic.settled:
        dispatches.settle(db, traffic.settled)
    if traffic.settled_runs:
        invocations.settled(db, traffic.settled_runs, clock.now_ns())
    return Decided(finishes, captures)
