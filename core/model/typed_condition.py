"""Typed conditions: what is so of a workload or a deployment, each with why and since when. Pure.

All are put so that `true` is good. What nobody has seen is `unknown`, or left out: none is true for want of news.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple

from core import clock

if TYPE_CHECKING:
    from core.model.results import workloads

MOST_MESSAGE = 300  # characters that are kept


class Type(StrEnum):
    """What a condition is about, in the order in which they are told."""

    PLACED = "Placed"  # it has a worker that is there and may have it
    RUNNING = "Running"  # it is up, and over its last failure
    INPUT_CONNECTED = "InputConnected"  # its input reads what it was pointed at
    OUTPUT_ACCEPTING = "OutputAccepting"  # its output takes what comes
    EVENTS_ACCEPTED = "EventsAccepted"  # events come through
    ON_SCHEDULE = "OnSchedule"  # its schedule missed no firing
    KEEPING_UP = "KeepingUp"  # what it is given does not wait for long
    ROOM_FOR_LETTERS = "RoomForLetters"  # what is refused can be kept


HARD = (Type.PLACED, Type.RUNNING)
"""Those whose `false` is told by the state already; of the others it makes a warning."""


class Status(StrEnum):
    """Whether it is so."""

    TRUE = "true"
    FALSE = "false"
    UNKNOWN = "unknown"


class Finding(NamedTuple):
    """What was decided of one type now: `reason` is a code, `message` says it to people."""

    status: Status
    reason: str
    message: str = ""


@dataclass(frozen=True, slots=True)
class TypedCondition:
    """What is so of one type. `since_ns` changes with `status` and never with the reason."""

    type: Type
    status: Status
    reason: str
    message: str
    since_ns: int
    observed_revision: int
    """Of the deployment; of a single job, its version."""

    def to_dict(self) -> workloads.Condition:
        return {
            "type": self.type,
            "status": self.status,
            "reason": self.reason,
            "message": self.message,
            "since": clock.iso(self.since_ns),
            "observed_revision": self.observed_revision,
        }


Typed = tuple[TypedCondition, ...]
"""What is known of one thing, in the order of the types."""


def after(before: Typed, findings: Mapping[Type, Finding | None], now_ns: int, revision: int) -> Typed:
    """What holds after something was decided. A type without a finding is not there; None leaves it as it was."""
    known = {one.type: one for one in before}
    out = []
    for type in Type:
        if type not in findings:
            continue
        old, found = known.get(type), findings[type]
        if found is None:
            if old is not None:
                out.append(replace(old, observed_revision=revision))
            continue
        same = old is not None and old.status is found.status
        since_ns = old.since_ns if same and old is not None else max(now_ns, old.since_ns if old is not None else 0)
        message = found.message[:MOST_MESSAGE]
        out.append(TypedCondition(type, found.status, found.reason, message, since_ns, revision))
    return tuple(out)


def of_another_version(typed: Typed) -> Typed:
    """What goes on when a workload gets another version: where it is and whether it runs, and nothing of its events."""
    return tuple(one for one in typed if one.type in HARD)


def wrong_since(typed: Iterable[TypedCondition]) -> int | None:
    """Since when a type is false that no state tells, over restarts; None: none is."""
    return min((one.since_ns for one in _wrong(typed)), default=None)


def warning(typed: Iterable[TypedCondition]) -> str:
    """Why something that is up needs a look: its first type that is false and that no state tells; else empty."""
    bad = _wrong(typed)
    if not bad:
        return ""
    more = f" (and {', '.join(one.type.value for one in bad[1:])})" if len(bad) > 1 else ""
    return f"{bad[0].type.value}: {bad[0].message or bad[0].reason}{more}"


def _wrong(typed: Iterable[TypedCondition]) -> list[TypedCondition]:
    return [one for one in typed if one.type not in HARD and one.status is Status.FALSE]


def of_all(members: Iterable[tuple[str, Typed]]) -> dict[Type, Finding]:
    """What is so of a deployment, by what is so of its workloads, which are given with their names: false when it is
    of one of them, unknown when it is of one that has that type, else true."""
    found: dict[Type, list[tuple[str, TypedCondition]]] = {}
    for name, typed in members:
        for one in typed:
            found.setdefault(one.type, []).append((name, one))
    return {type: _worst(found[type]) for type in Type if type in found}


def _worst(of: list[tuple[str, TypedCondition]]) -> Finding:
    for status in (Status.FALSE, Status.UNKNOWN):
        there = [(name, one) for name, one in of if one.status is status]
        if there:
            name, first = min(there, key=lambda pair: (pair[1].since_ns, pair[0]))
            more = f" (and {len(there) - 1} more)" if len(there) > 1 else ""
            return Finding(status, first.reason, f"{name}: {first.message or first.reason}{more}")
    return Finding(Status.TRUE, of[0][1].reason if len({one.reason for _, one in of}) == 1 else "AllTrue")


def to_row(typed: Typed) -> list[list[Any]]:
    """What is kept, for JSON."""
    return [
        [one.type.value, one.status.value, one.reason, one.message, one.since_ns, one.observed_revision]
        for one in typed
    ]


def from_row(row: Iterable[list[Any]]) -> Typed:
    """What was kept; a type that a newer Sluice knows is passed over."""
    known = {type.value for type in Type}
    return tuple(
        TypedCondition(Type(type), Status(status), reason, message, since_ns, revision)
        for type, status, reason, message, since_ns, revision in row
        if type in known
    )
