"""A plan: the ordered changes between what is and what is wished for, with what stands in the way."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from core.model.deployment import State


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
    """A warning or a blocker: what is wrong, what to do about it, and where in the source document."""

    code: str
    message: str
    hint: str = ""
    pointer: str = ""

    def to_dict(self) -> dict[str, str]:
        out = {"code": self.code, "message": self.message, "hint": self.hint}
        if self.pointer:
            out["pointer"] = self.pointer
        return out


@dataclass(frozen=True, slots=True)
class Plan:
    """What an apply would do. `digest` names the wish; `text` is for people."""

    deployment: str
    source: str
    desired: State
    changes: tuple[Change, ...]
    summary: Mapping[str, int]
    warnings: tuple[Finding, ...]
    blockers: tuple[Finding, ...]
    digest: str
    text: str
    remove: bool = False
    contexts: tuple[Mapping[str, str], ...] = ()  # the context values it uses: {key, level, target, digest}
    secrets: tuple[str, ...] = ()  # full names of the secrets that it needs

    @property
    def empty(self) -> bool:
        """Whether nothing would change."""
        return self.summary["unchanged"] == sum(self.summary.values())
