"""A causal chain as values, and how it is cut to an answer that is always short."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import orjson

from core import clock
from core.errors import shorten

if TYPE_CHECKING:
    from core.model.results import basics, explaining

MOST_CAUSES = 14
MOST_CALLS = 4
CAUSE_CHARACTERS = 400
ANSWER_BYTES = 3_400  # below 2,000 tokens, also where it is sent as values and as text
LOG_LINES = 3


@dataclass(frozen=True, slots=True)
class Cause:
    """What happened, and when (0: it is so now)."""

    what: str
    at_ns: int = 0

    def to_dict(self) -> explaining.Cause:
        return {"at": clock.iso(self.at_ns) if self.at_ns else None, "what": shorten(self.what, CAUSE_CHARACTERS)}


@dataclass(frozen=True, slots=True)
class Call:
    """A call that helps now. The arguments are complete: it can be made as it stands."""

    operation: str
    arguments: Mapping[str, Any]
    why: str
    command: str = ""  # what a person types, where only people can make the call: the arguments lack what they know

    def to_dict(self) -> basics.Call:
        said: basics.Call = {"call": self.operation, "arguments": dict(self.arguments), "why": self.why}
        return {**said, "command": self.command} if self.command else said


def _nothing() -> explaining.More:
    return {}


@dataclass(frozen=True, slots=True)
class Explanation:
    """The state of one thing with its causes."""

    kind: str
    id: str
    state: str
    summary: str
    because: Sequence[Cause] = field(default_factory=tuple)
    next: Sequence[Call] = field(default_factory=tuple)
    more: explaining.More = field(default_factory=_nothing)  # what its kind has besides; it comes before the causes

    def to_dict(self) -> explaining.Explanation:
        """Causes by time, what is so now last; the middle of a long chain is left out, for its start and its end are
        what explains."""
        causes = sorted(self.because, key=lambda cause: (cause.at_ns == 0, cause.at_ns))
        causes = [cause for n, cause in enumerate(causes) if n == 0 or cause != causes[n - 1]]
        kept = MOST_CAUSES
        while True:
            shown = [cause.to_dict() for cause in _ends(causes, kept)]
            out: explaining.Explanation = {
                "kind": self.kind,
                "id": self.id,
                "state": self.state,
                "summary": shorten(self.summary, 2 * CAUSE_CHARACTERS),
                **self.more,
                "because": shown,
                "next": [call.to_dict() for call in self.next[:MOST_CALLS]],
            }
            if kept <= 2 or len(orjson.dumps(out)) <= ANSWER_BYTES:
                return out
            kept -= 1


def _ends(causes: Sequence[Cause], most: int) -> list[Cause]:
    if len(causes) <= most:
        return list(causes)
    first = min(2, most - 1)
    left_out = len(causes) - most + 1
    return [
        *causes[:first],
        Cause(f"({left_out} more in between)", causes[first].at_ns),
        *causes[-(most - first - 1) :],
    ]


def log(workload: str, lines: Iterable[Mapping[str, Any]]) -> list[Cause]:
    """The last lines that a job wrote, {at_ns, level, text} each, as causes."""
    return [
        Cause(f"{workload} wrote ({line['level']}): {line['text']}", line["at_ns"]) for line in list(lines)[-LOG_LINES:]
    ]


def counted(summary: Mapping[str, int]) -> str:
    """What changes, for people: "2 to update, 1 to create"."""
    told = [f"{n} to {what}" for what, n in summary.items() if n and what != "unchanged"]
    return ", ".join(told) or "nothing changed"
