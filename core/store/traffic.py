"""What workers sent during one tick of the loop, absorbed in one transaction: messages, ends of runs, settlements."""

from __future__ import annotations

from dataclasses import dataclass, field

from sqlite_utils import Database

from core.store import invocations, messages, variables
from core.store.invocations import Capture, Finish, Late
from core.store.messages import DispatchRow, MessageRow
from core.store.variables import VariableRow


@dataclass(slots=True)
class Absorbed:
    """One transaction's worth of traffic."""

    messages: list[MessageRow] = field(default_factory=list)
    dispatches: list[DispatchRow] = field(default_factory=list)
    captures: list[Capture] = field(default_factory=list)
    finishes: list[Finish] = field(default_factory=list)
    events: list[tuple[int, str]] = field(default_factory=list)  # (invocation id, event as JSON text)
    late: list[Late] = field(default_factory=list)
    settled: list[tuple[int]] = field(default_factory=list)  # delivery ids
    variables: list[VariableRow] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.messages or self.finishes or self.events or self.settled or self.variables)


def absorb(db: Database, traffic: Absorbed) -> tuple[list[bool], list[bool]]:
    """Write it all; returns, for each finish and each capture in order, whether it was in time for its invocation.

    Finishes go last: what came before the response of its tick is part of the record that the response ends.
    """
    if traffic.messages:
        messages.insert(db, traffic.messages, traffic.dispatches)
    for id, event in traffic.events:
        invocations.append_event(db, id, event)
    captured = [invocations.capture(db, capture) for capture in traffic.captures]
    won = [invocations.finish(db, finish) for finish in traffic.finishes]
    for late in traffic.late:
        invocations.append_late(db, late)
    if traffic.variables:
        variables.put_many(db, traffic.variables)
    if traffic.settled:
        messages.settle(db, traffic.settled)
    return won, captured
