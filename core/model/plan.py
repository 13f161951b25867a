"""A plan: the ordered changes between what is and what is wished for, with what stands in the way."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from core.model.deployment import EMPTY, State

if TYPE_CHECKING:
    from core.model.results import findings, plans

QUOTED = " " * 6
"""How the lines of a plan's text begin that repeat documents and values, which are data of others."""


class Action(StrEnum):
    """What happens to one thing."""

    CREATE = "create"
    UPDATE = "update"
    REMOVE = "remove"
    MOVE = "move"
    UNCHANGED = "unchanged"


class Kind(StrEnum):
    """What sort of thing changes."""

    JOB = "job"  # a job that a step asks for
    CHANNEL = "channel"  # a link between steps
    TRANSPORT = "transport"  # an adapter job that a durable channel needs
    PLACEMENT = "placement"  # on which workers a job's replicas run


@dataclass(frozen=True, slots=True)
class Change:
    """One line of a plan. `where` is a group with workers, workers, or the two ends of a channel.

    An update carries both sides; `core.deployments.changes.diff` makes a text of them.
    """

    action: Action
    kind: Kind
    id: str
    where: str
    reason: str
    before: Mapping[str, Any] | None = None
    after: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """A warning or a blocker: what is wrong, what to do about it, and where in the source document.

    `until` is what an apply waits for: it is refused until then, though the plan is sound.
    """

    code: str
    message: str
    hint: str = ""
    pointer: str = ""
    until: str = ""

    def to_dict(self) -> findings.Finding:
        out: findings.Finding = {"code": self.code, "message": self.message, "hint": self.hint}
        if self.pointer:
            out["pointer"] = self.pointer
        if self.until:
            out["until"] = self.until
        return out

    @staticmethod
    def from_dict(data: Mapping[str, str]) -> Finding:
        return Finding(data["code"], data["message"], data["hint"], data.get("pointer", ""), data.get("until", ""))


@dataclass(frozen=True, slots=True)
class Remnant:
    """What stays where it is when a job goes. `bytes` is None where the engine cannot measure it."""

    kind: str  # files, state (offsets and fingerprints), stream, topic, bucket, container
    job: str
    where: str
    bytes: int | None = None

    def to_dict(self) -> plans.Remnant:
        return {"kind": self.kind, "job": self.job, "where": self.where, "bytes": self.bytes}


@dataclass(frozen=True, slots=True)
class Plan:
    """What an apply would do. `base` is the wish that it was compared with; `digest` names the new one."""

    deployment: str
    source: str
    desired: State
    changes: tuple[Change, ...]
    summary: Mapping[str, int]
    warnings: tuple[Finding, ...]
    blockers: tuple[Finding, ...]
    digest: str
    base: State = EMPTY
    remove: bool = False
    to_revision: int | None = None  # whose wish it brings back
    contexts: tuple[plans.UsedContext, ...] = ()  # the context values it uses
    secrets: tuple[str, ...] = ()  # full names of the secrets that it needs
    stays: tuple[Remnant, ...] = ()  # what the jobs that go leave behind

    @property
    def refused_until(self) -> list[str]:
        """What an apply waits for: it is refused until then."""
        return [one.until for one in self.warnings if one.until]

    @property
    def empty(self) -> bool:
        """Whether nothing would change."""
        return self.summary["unchanged"] == sum(self.summary.values())


@dataclass(frozen=True, slots=True)
class PlanBody:
    """What is saved of a plan: its wish, of which the changes follow, and what was found."""

    desired: Mapping[str, Any]  # as `State.to_dict` gives it
    remove: bool
    contexts: tuple[plans.UsedContext, ...]
    secrets: tuple[str, ...]
    summary: Mapping[str, int]
    warnings: tuple[Finding, ...]
    blockers: tuple[Finding, ...]
    stays: tuple[Remnant, ...] = ()
    to_revision: int | None = None

    def to_dict(self) -> dict[str, Any]:
        return {
            "desired": self.desired,
            "remove": self.remove,
            "contexts": list(self.contexts),
            "secrets": list(self.secrets),
            "summary": dict(self.summary),
            "warnings": [finding.to_dict() for finding in self.warnings],
            "blockers": [finding.to_dict() for finding in self.blockers],
            "stays": [remnant.to_dict() for remnant in self.stays],
            "to_revision": self.to_revision,
        }

    @staticmethod
    def from_dict(data: Mapping[str, Any]) -> PlanBody:
        return PlanBody(
            data["desired"],
            data["remove"],
            tuple(data.get("contexts", ())),
            tuple(data.get("secrets", ())),
            data["summary"],
            tuple(map(Finding.from_dict, data["warnings"])),
            tuple(map(Finding.from_dict, data["blockers"])),
            tuple(Remnant(**one) for one in data.get("stays", ())),
            data.get("to_revision"),
        )


@dataclass(frozen=True, slots=True)
class PlanRow:
    """A plan as it is stored; times are nanoseconds since the epoch."""

    id: str
    tenant: str
    name: str
    """Of the deployment."""
    state: str
    base_revision: int
    digest: str
    username: str
    created_at_ns: int
    expires_at_ns: int
    body: PlanBody
    """JSON in the table."""


@dataclass(frozen=True, slots=True)
class SavedPlan(PlanRow):
    """A stored plan as it stands now: its state, or stale or expired when it can no longer be applied."""

    standing: str
    applied_as: int | None
    """The revision that it became."""
