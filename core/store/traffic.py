"""What workers sent during one tick of the loop, absorbed in one transaction: messages, ends of runs, settlements."""

from __future__ import annotations

from dataclasses import dataclass, field

from sqlite_utils import Database

from core.store import invocations, messages, variables
from core.store.messages import DispatchRow, MessageRow
from core.store.variables import VariableRow


@dataclass(frozen=True, slots=True)
class Finish:
    """A wish to end an invocation; the store decides whether it is the first one."""

    id: int
    state: str
    at_ns: int
    result: str
    event: str
    attempts: int


@dataclass(slots=True)
class Absorbed:
    """One transaction's worth of traffic."""

    messages: list[MessageRow] = field(default_factory=list)
    dispatches: list[DispatchRow] = field(default_factory=list)
    finishes: list[Finish] = field(default_factory=list)
    events: list[tuple[int, str]] = field(default_factory=list)  # (invocation id, event as JSON text)
    settled: list[tuple[int]] = field(default_factory=list)  # delivery ids
    variables: list[VariableRow] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.messages or self.finishes or self.events or self.settled or self.variables)


def absorb(db: Database, traffic: Absorbed) -> list[bool]:
    """Write it all; returns, for each finish in order, whether it was the one that ended its invocation."""
    if traffic.messages:
        messages.insert(db, traffic.messages, traffic.dispatches)
    won = [invocations.finish(db, f.id, f.state, f.at_ns, f.result, f.event, f.attempts) for f in traffic.finishes]
    for id, event in traffic.events:
        invocations.append_event(db, id, event)
    if traffic.variables:
        variables.put_many(db, traffic.variables)
    if traffic.settled:
        messages.settle(db, traffic.settled)
    return won
