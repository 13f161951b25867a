"""A workload, which is one replica of a job on a worker: its id, its row in the store, and what is seen of it.

The id is `TENANT/JOB#REPLICA`. It is written and read here alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from core.model.condition import Condition
from core.model.states import WorkloadState
from core.model.typed_condition import Status, Typed

if TYPE_CHECKING:
    from core.model.results import workloads


class WorkloadId(NamedTuple):
    """What an id says. A name of a tenant has no `/`, a name of a job no `#`."""

    tenant: str
    job: str
    replica: str

    @property
    def group(self) -> tuple[str, str]:
        """The tenant and the job: what all replicas have in common, under which the bus delivers to them."""
        return self.tenant, self.job

    @property
    def reader(self) -> str:
        """Under which name its job reads channels."""
        return f"{self.tenant}/{self.job}"

    @property
    def name(self) -> str:
        """The id as its tenant writes it."""
        return f"{self.job}#{self.replica}"


def id_of(tenant: str, job: str, replica: int) -> str:
    return f"{tenant}/{job}#{replica}"


def directory_name(id: str) -> str:
    """What the directory of a workload's state is called, in `state` of its worker's home."""
    return id.replace("/", "~")


@lru_cache(maxsize=4096)  # it is asked with each frame of a worker
def parse(id: str) -> WorkloadId:
    """The parts of an id; those that it lacks are empty."""
    tenant, _, rest = id.partition("/")
    job, _, replica = rest.rpartition("#")
    return WorkloadId(tenant, job, replica)


@dataclass(slots=True)
class WorkloadRow:
    """A workload that is wanted on a worker, as it is stored."""

    id: str
    tenant: str
    deployment: str
    """Empty for one of a single job."""
    step: str
    job: str
    version: str
    replica: int
    group_name: str
    worker: str
    document: str
    """JSON."""
    updated_at_ns: int
    state: str = WorkloadState.ASSIGNED.value
    """As its worker reported it last."""
    reason: str = ""
    restarts: int = 0
    revision: int = 0
    """Of the deployment that brought it in its present form."""
    origin: str = ""
    """JSON: the module, role and digest that a deployment made it of; empty for one of a single job."""

    def runs_like(self, other: WorkloadRow) -> bool:
        """Whether both run the same in the same place."""
        return self.worker == other.worker and self.version == other.version and self.document == other.document


@dataclass(slots=True)
class WorkloadView:
    """A wanted workload with what was observed of it, as answers show it."""

    id: str
    deployment: str
    step: str
    job: str
    version: str
    replica: int
    group: str
    worker: str
    state: str
    reason: str
    failing: str
    """Why it failed last, when it is up again and has not come through since (core.fleet.failing)."""
    restarts: int
    metrics: workloads.Figures
    condition: Condition | None = None
    typed: Typed = ()

    def to_dict(self) -> workloads.JobWorkload:
        """Its fields, and those of its condition."""
        shown: workloads.JobWorkload = {
            "id": self.id,
            "deployment": self.deployment,
            "step": self.step,
            "job": self.job,
            "version": self.version,
            "replica": self.replica,
            "group": self.group,
            "worker": self.worker,
            "state": self.state,
            "reason": self.reason,
            "failing": self.failing,
            "restarts": self.restarts,
            "metrics": self.metrics,
        }
        return shown if self.condition is None else {**shown, **self.condition.to_dict()}

    def to_detail(self) -> workloads.JobWorkload:
        """The same with what is wrong by type, if anything is."""
        shown, false = self.to_dict(), self.false()
        return {**shown, "conditions": false} if false else shown

    def false(self) -> list[workloads.Condition]:
        """What is wrong, by type."""
        return [one.to_dict() for one in self.typed if one.status is Status.FALSE]
