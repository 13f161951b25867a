"""Messages about health: a deployment, or a job on its own, is in another way than was told last.

What is on its way up is no news: an apply that comes up well tells nothing beside `deployment-applied`, nor does a
restart of the engine after which all is as it was.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from core import clock
from core.model.condition import Condition, Health, Kind, Subject
from core.model.typed_condition import Status, Typed
from core.model.workload import parse

Tell = Callable[[Subject, dict[str, Any]], None]


class HealthChanges:
    """Of one engine."""

    def __init__(self, tell: Tell) -> None:
        self._tell = tell
        self._told: dict[Subject, Health] = {}

    def begin(self, subject: Subject, health: Health) -> None:
        """So it was when an earlier engine told of it."""
        self._told[subject] = health

    def forget(self, subject: Subject) -> None:
        self._told.pop(subject, None)

    def moved(self, subject: Subject, deployment: str, found: Condition, typed: Typed) -> None:
        """A thing is in another way. Of the workloads of a deployment, that deployment tells."""
        before = self._told.get(subject, Health.HEALTHY)
        if subject.kind is Kind.WORKER or deployment or found.health in (Health.PROGRESSING, before):
            return
        self._told[subject] = found.health
        false = [one.to_dict() for one in typed if one.status is Status.FALSE]
        self._tell(
            subject,
            {
                "kind": "deployment" if subject.kind is Kind.DEPLOYMENT else "job",
                "name": subject.name,
                "before": before.value,
                "health": found.health.value,
                "reason": found.reason,
                "since": clock.iso(found.since_ns),
                "conditions": false,
            },
        )


def job_of(subject: Subject) -> str:
    """The job of a workload; empty for a deployment."""
    return parse(f"{subject.tenant}/{subject.name}").job if subject.kind is Kind.WORKLOAD else ""
