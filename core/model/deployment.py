"""What a deployment wishes for: concrete jobs, the channels between them, and the workers they are placed on."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from core.model.workload import id_of

if TYPE_CHECKING:
    from core.model.results import deployments


class Role(StrEnum):
    """Why a job is there."""

    STEP = "step"  # a step of the workflow asks for it
    WRITER = "writer"  # a durable channel needs it behind its producer
    READER = "reader"  # a durable channel needs it before its consumer
    RELAY = "relay"  # a message edge needs it to tell that there are new data


@dataclass(frozen=True, slots=True)
class Job:
    """One concrete job of a deployment. `document` is what a worker runs; `digest` is that of the document."""

    name: str
    step: str
    role: Role
    origin: str  # "blueprint:SLUG@VERSION", or "channel NAME" for an adapter
    group: str
    replicas: int
    document: dict[str, Any]
    digest: str  # of the document and the variants
    variants: Mapping[str, dict[str, Any]] = field(default_factory=dict)  # worker -> what it runs instead

    @property
    def version(self) -> str:
        """What a worker is told to run, short enough to read."""
        return self.digest[:12]

    def to_dict(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "step": self.step,
            "role": self.role.value,
            "origin": self.origin,
            "group": self.group,
            "replicas": self.replicas,
            "document": self.document,
            "digest": self.digest,
            **({"variants": dict(self.variants)} if self.variants else {}),
        }

    def document_on(self, worker: str) -> dict[str, Any]:
        """What a worker runs; only a worker with context values of its own may run something else than the others."""
        return self.variants.get(worker, self.document)

    @staticmethod
    def from_dict(data: Mapping[str, Any]) -> Job:
        return Job(
            data["name"],
            data["step"],
            Role(data["role"]),
            data["origin"],
            data["group"],
            data["replicas"],
            data["document"],
            data["digest"],
            data.get("variants", {}),
        )


@dataclass(frozen=True, slots=True)
class Channel:
    """One channel edge: which steps it joins and how events move along it."""

    name: str
    transport: str
    options: Mapping[str, Any]
    producers: tuple[str, ...]
    consumers: tuple[str, ...]

    def to_dict(self) -> deployments.Channel:
        return {
            "name": self.name,
            "transport": self.transport,
            "options": dict(self.options),
            "producers": list(self.producers),
            "consumers": list(self.consumers),
        }

    @staticmethod
    def from_dict(data: Mapping[str, Any]) -> Channel:
        return Channel(
            data["name"], data["transport"], data["options"], tuple(data["producers"]), tuple(data["consumers"])
        )


@dataclass(frozen=True, slots=True)
class Reset:
    """From where a job was told to read, which takes the place of the `replay` of its own document as long as that is
    the same as then."""

    to: str  # beginning, end, or a time in ISO 8601
    marker: str  # when somebody asked for it, which tells one reset from another
    over: Any = None  # the `replay` of its own document

    def __str__(self) -> str:
        return f"{self.to}, asked for at {self.marker}"

    def to_dict(self) -> dict[str, Any]:
        return {"to": self.to, "marker": self.marker, "over": self.over}

    @staticmethod
    def from_dict(data: Mapping[str, Any]) -> Reset:
        return Reset(data["to"], data["marker"], data["over"])


Assignments = Mapping[str, tuple[str, ...]]
"""Job name -> the worker of each replica; "" for a replica that no worker can take."""


@dataclass(frozen=True, slots=True)
class State:
    """The whole wish for one deployment, as a value: what a plan compares and an apply records."""

    source: str = ""
    group: str = "default"  # for steps that name none
    values: Mapping[str, Any] = field(default_factory=dict)
    placement: Mapping[str, str] = field(default_factory=dict)  # step -> group, as the caller wished
    replicas: Mapping[str, int] = field(default_factory=dict)  # step -> copies, as the caller wished
    jobs: Mapping[str, Job] = field(default_factory=dict)
    channels: Mapping[str, Channel] = field(default_factory=dict)
    together: tuple[tuple[str, ...], ...] = ()  # sets of jobs that share a worker
    assignments: Assignments = field(default_factory=dict)
    environment: str = ""  # whose context values it sees
    resets: Mapping[str, Reset] = field(default_factory=dict)  # job -> from where it was told to read

    def to_dict(self) -> dict[str, Any]:
        return {
            "source": self.source,
            "group": self.group,
            "values": dict(self.values),
            "placement": dict(self.placement),
            "replicas": dict(self.replicas),
            "jobs": [job.to_dict() for job in self.jobs.values()],
            "channels": [channel.to_dict() for channel in self.channels.values()],
            "together": [list(members) for members in self.together],
            "assignments": {name: list(workers) for name, workers in self.assignments.items()},
            "environment": self.environment,
            "resets": {name: reset.to_dict() for name, reset in self.resets.items()},
        }

    @staticmethod
    def from_dict(data: Mapping[str, Any]) -> State:
        return State(
            data["source"],
            data["group"],
            data["values"],
            data["placement"],
            data["replicas"],
            {job["name"]: Job.from_dict(job) for job in data["jobs"]},
            {channel["name"]: Channel.from_dict(channel) for channel in data["channels"]},
            tuple(tuple(members) for members in data["together"]),
            {name: tuple(workers) for name, workers in data["assignments"].items()},
            data.get("environment", ""),
            {name: Reset.from_dict(reset) for name, reset in data.get("resets", {}).items()},
        )


EMPTY = State()


@dataclass(frozen=True, slots=True)
class DeploymentRow:
    """A deployment as it is stored: the wish at its present revision, and how it is kept."""

    tenant: str
    name: str
    revision: int
    state: str
    reason: str
    source: str
    desired: dict[str, Any]
    """The wish, as `State.to_dict` gives it; JSON in the table."""
    updated_at_ns: int
    updated_by: str
    gate: str = ""
    """JSON, while an apply is watched."""
    reconcile: str = "auto"
    reconcile_interval_seconds: int | None = None
    """None: as the engine is set to."""
    ignored: list[str] = field(default_factory=list)
    """The drift that is left alone; JSON in the table."""


@dataclass(frozen=True, slots=True)
class HistoryEntry:
    """What was done to a deployment, and by whom; `id` is when, in nanoseconds since the epoch."""

    id: int
    tenant: str
    name: str
    revision: int
    action: str
    source: str
    plan_id: str
    username: str
    surface: str
    summary: dict[str, int]
    """What changed how often; JSON in the table."""
    reason: str = ""
    to_revision: int | None = None
    """Whose wish it brought back."""


@dataclass(frozen=True, slots=True)
class Worker:
    """A worker as placement sees it. `load` counts the jobs of others that it holds.

    A drained worker gets nothing new, and what it holds moves when there is room elsewhere in its group.
    """

    name: str
    group: str
    online: bool = True
    slots: int = 64
    load: int = 0
    drained: bool = False


@dataclass(frozen=True, slots=True)
class Workload:
    """One replica of one job on one worker; `version` names the document that it should run."""

    id: str
    job: str
    step: str
    replica: int
    worker: str
    version: str


def fingerprint(version: str, document: str) -> str:
    """Names what a worker is told to run under an id, so that both sides can compare."""
    return hashlib.blake2b(f"{version}\0{document}".encode(), digest_size=12).hexdigest()


def workloads(tenant: str, state: State) -> list[Workload]:
    """Every replica that the wish asks for, in the order of the jobs."""
    return [
        Workload(id_of(tenant, job.name, replica), job.name, job.step, replica, worker, job.version)
        for job in state.jobs.values()
        for replica, worker in enumerate(state.assignments.get(job.name, ("",) * job.replicas))
    ]
