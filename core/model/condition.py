"""The condition of a thing that runs: how it is, since when and why, and how often it has failed. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from core import clock

if TYPE_CHECKING:
    from core.model.results import workloads

MOST_REASON = 400  # characters that are kept


class Kind(StrEnum):
    """What has a condition."""

    WORKLOAD = "workload"
    DEPLOYMENT = "deployment"
    WORKER = "worker"


class Subject(NamedTuple):
    """One thing that has a condition. A workload is named JOB#REPLICA, and a worker belongs to no tenant."""

    kind: Kind
    tenant: str
    name: str


class Health(StrEnum):
    """How a thing is, in one word."""

    HEALTHY = "healthy"  # as it should be
    PROGRESSING = "progressing"  # on its way up, and it has not failed
    WARNING = "warning"  # it is up, and one of its typed conditions is false: somebody should look
    DEGRADED = "degraded"  # of a deployment: something of it is not as it was applied
    FAILING = "failing"  # it has failed, and has not come through since
    DOWN = "down"  # it does not run, through no fault of its own: its worker or the engine is not there
    QUARANTINED = "quarantined"  # kept from all workers
    GONE = "gone"  # removed


UP = (Health.HEALTHY, Health.WARNING)
"""Of what runs, and has come through."""


class Outage(StrEnum):
    """What took a workload down."""

    WORKER_LOST = "worker-lost"  # its worker fell silent or died
    WORKER_STOPPED = "worker-stopped"  # its worker said good-bye, or was shut out
    ENGINE_LOST = "engine-lost"  # the engine was killed, or its machine went down
    ENGINE_STOPPED = "engine-stopped"


@dataclass(frozen=True, slots=True)
class Condition:
    """How a thing is. `since_ns` changes with `health` and never with the reason.

    `failures` counts those since the thing was well last, or of its last bad time when it is well now; they came
    between `first_failed_at_ns` and `last_failed_at_ns` (0: none has).
    """

    health: Health
    since_ns: int
    reason: str = ""
    version: str = ""
    failures: int = 0
    first_failed_at_ns: int = 0
    last_failed_at_ns: int = 0

    def to_dict(self) -> workloads.Standing:
        """How it is since when; of what has failed, also how often and when."""
        out: workloads.Standing = {"health": self.health, "since": clock.iso(self.since_ns)}
        if self.failures:
            out["failures"] = self.failures
            out["first_failed_at"] = clock.iso(self.first_failed_at_ns)
            out["last_failed_at"] = clock.iso(self.last_failed_at_ns)
        return out


def after(
    before: Condition | None, health: Health, reason: str, now_ns: int, *, version: str = "", failed: bool = False
) -> Condition:
    """The condition after something was seen; `failed` says that it is a failure which was not told before.

    A healthy time ends a series of failures, and so does another version. A clock that went back moves nothing back.
    """
    reason = reason[:MOST_REASON]
    if before is None:
        found = Condition(health, now_ns, reason, version)
    elif before.health is health:
        found = replace(before, reason=reason, version=version)
    else:
        found = replace(before, health=health, since_ns=max(now_ns, before.since_ns), reason=reason, version=version)
    if before is not None and (before.version != version or (before.health in UP and health not in UP)):
        found = replace(found, failures=0, first_failed_at_ns=0, last_failed_at_ns=0)
    if not failed:
        return found
    at_ns = max(now_ns, found.last_failed_at_ns)
    first_ns = found.first_failed_at_ns or at_ns
    return replace(found, failures=found.failures + 1, first_failed_at_ns=first_ns, last_failed_at_ns=at_ns)
