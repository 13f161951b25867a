"""Workers and their groups."""

from typing import Annotated, Literal, TypedDict

from core.model.enrolment import Ability, EnrolmentState
from core.model.results.basics import Row, Time
from core.model.results.workloads import JobWorkload
from core.model.states import WorkerState


class Worker(Row):
    """A worker in a list."""

    name: str
    group: str
    state: WorkerState
    kind: Annotated[str, Literal["local", "external"]]
    """external: of another machine."""
    pid: int | None
    slots: int
    """How many jobs it may hold."""
    jobs: int
    """How many it holds, of all tenants."""
    labels: list[str]
    drained: bool
    """It gets nothing new."""
    restarts: int
    sandbox: str
    """full, off, or partial with what is lacking; empty: it has not said so."""
    last_heartbeat_at: Time | None


class WorkerReport(TypedDict):
    """What a worker says of itself now."""

    memory_bytes: int
    memory_peak_bytes: int
    processor_seconds: float
    loop_lag_seconds: float
    channels: dict[str, int]
    """Name -> events in it."""


class WorkerShown(Worker):
    """A worker, with what it says of itself and what it runs."""

    report: WorkerReport | None
    """null: it does not answer."""
    unreachable: str
    """Why it does not answer."""
    workloads: list[JobWorkload]
    """Of this tenant."""


class Moved(TypedDict):
    """A workload that went to another worker."""

    id: str
    worker: str


class Stays(TypedDict):
    """A workload that has no other place."""

    id: str
    reason: str


class Leaving(TypedDict):
    """What has left a worker, and what has not."""

    moved: list[Moved]
    """Of this tenant."""
    stays: list[Stays]
    """Of this tenant."""
    moved_in_all: int
    """Of all tenants."""
    stays_in_all: int


class WorkerChanged(Worker, Leaving):
    """A worker, and what has moved away from it."""


class WorkerRemoved(Leaving):
    """A worker that is forgotten, and what has moved away from it."""

    name: str
    removed: bool


class WorkerGroup(Row):
    """A group of workers."""

    name: str
    labels: list[str]
    slots: int | None
    """How many jobs each of its workers may hold; null: as the worker was started."""
    tenants: list[str]
    """Whose jobs its workers may be given; * for every one."""
    workers: list[str]
    online: int
    capacity: int
    """Slots of the workers that are online."""
    jobs: int
    """How many they hold, of all tenants."""


class WorkerGroupShown(WorkerGroup):
    """A group of workers with what is placed in it."""

    worker_rows: list[Worker]
    deployments: list[str]
    """Of this tenant."""
    unmanaged_jobs: list[str]
    """Of this tenant."""


class WorkerGroupDeleted(TypedDict):
    """A group that is gone."""

    name: str
    deleted: bool


class WorkerToken(Row):
    """A token that lets workers in."""

    id: str
    group: str
    name: str
    """Of the worker that it is for; empty: whichever."""
    tenants: list[str]
    """Whose jobs the workers get; empty: all that the group admits."""
    can: list[Ability]
    slots: int
    ephemeral: bool
    uses: int
    used: int
    approval: Annotated[str, Literal["auto", "manual"]]
    usable: bool
    """Whether it still lets workers in."""
    created_at: Time
    created_by: str
    expires_at: Time
    revoked_at: Time | None


class WorkerTokenCreated(WorkerToken):
    """A token with its text, which is shown only now."""

    token: str


class WorkerCredential(Row):
    """What a worker of another machine joins with."""

    id: str
    name: str
    group: str
    state: EnrolmentState
    tenants: list[str]
    """Whose jobs it gets; empty: all that the group admits."""
    can: list[Ability]
    slots: int
    ephemeral: bool
    key: str
    """The fingerprint of its key, as the worker shows it."""
    generation: int
    """How many keys it has had."""
    token: str
    address: str
    """From where it was asked for; empty: over NATS."""
    created_at: Time
    decided_at: Time | None
    decided_by: str


class WorkerRevoked(WorkerCredential, Leaving):
    """A credential that has ended, and what moved away from its worker."""


class NatsConfig(Row):
    """The configuration of a NATS server."""

    config: str
    """To be included in the file of the server."""


class WorkerSecret(Row):
    """A secret that a worker of another machine was given."""

    tenant: str
    secret: str
    version: int
    """The newest that it was given."""
    changed: bool
    """Whether it was set anew since, or is gone."""
    first_given_at: Time
    last_given_at: Time
