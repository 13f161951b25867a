"""Deployments as they are now and as they were."""

from typing import Annotated, Literal, NotRequired, TypedDict

from core.model.condition import Health
from core.model.drift import DriftKind, StepAction
from core.model.principal import Surface
from core.model.results.basics import JsonObject, Listing, Row, Time
from core.model.results.findings import Finding, PlannedChange
from core.model.results.workloads import Condition, DeployedWorkload, Letters
from core.model.states import DeploymentState, WorkloadState

Keeping = Annotated[str, Literal["auto", "manual"]]
"""auto heals drift by itself."""


class DeploymentBrief(Row):
    name: str
    state: DeploymentState
    reason: str
    """Why it is so; empty where there is nothing to say."""
    health: Health
    since: Time
    """When it came to this health."""
    revision: int
    source: str
    """KIND:SLUG@VERSION"""


class DeploymentItem(DeploymentBrief):
    """A deployment in a list."""

    workloads: str
    """How many are up, of how many: 2/3."""
    drift: int
    """How many things are not as applied, without muted ones."""
    reconcile: Keeping
    updated_at: Time
    updated_by: str


class Drift(TypedDict):
    """One thing that is not as it was applied."""

    kind: DriftKind
    id: str
    """The workload."""
    expected: str
    observed: str
    fields: NotRequired[list[str]]
    """The places that differ."""
    muted: NotRequired[bool]
    """It is left alone."""


class Step(TypedDict):
    """What mends a drift."""

    action: StepAction
    id: str
    """The workload."""
    worker: str
    """Where it is done."""
    reason: str


class Reconcile(TypedDict):
    """How a deployment is kept as it was applied."""

    mode: Keeping
    interval_seconds: float
    ignore: list[str]
    """Drift that is left alone."""


class Channel(TypedDict):
    """What joins steps."""

    name: str
    transport: str
    options: JsonObject
    producers: list[str]
    consumers: list[str]


class Revision(Row):
    """An entry of the history of a deployment."""

    history_id: str
    revision: int
    action: Annotated[str, Literal["apply", "remove", "reconcile", "rollback"]]
    to_revision: int | None
    """Of a rollback: whose wish it brought back."""
    source: str
    """KIND:SLUG@VERSION"""
    by: str
    surface: Annotated[str, Surface]
    at: Time
    plan_id: str | None
    summary: dict[str, int]
    """How many changes of each action."""
    changed: list[str]
    """What was asked for differently than at the revision before, a line for each value."""
    reason: str
    """Of who did it."""


class Deployment(DeploymentBrief):
    """A deployment as it is now."""

    workloads_up: str
    """How many are up, of how many: 2/3."""
    conditions: list[Condition]
    """Those that are false; all of them with detail=detailed."""
    worker_group: str
    """For steps that name none."""
    values: JsonObject
    """What was asked for; credentials are masked."""
    defaults: JsonObject
    """What holds for each field that was left out."""
    workloads: list[DeployedWorkload]
    """Of a large deployment those that need attention come first."""
    drift: list[Drift]
    reconcile: Reconcile
    last_applied: Revision | None
    letters: NotRequired[Letters]
    """Missing: there are none."""
    placement: NotRequired[dict[str, list[str]]]
    """Job -> the worker of each replica; this and what follows with detail=detailed."""
    channels: NotRequired[list[Channel]]
    data_directory: NotRequired[str]
    """Where relative paths of its jobs start; empty: it has none."""


class DeploymentHistory(Listing[Revision]):
    """What was applied to a deployment, newest first; with `compare` the two revisions and what differs."""

    summary: NotRequired[dict[str, int]]
    """How many changes of each action; this and what follows with `compare`."""
    values: NotRequired[list[str]]
    changes: NotRequired[list[PlannedChange]]
    changes_left_out: NotRequired[int]
    text: NotRequired[str]
    """All of it for people."""


class UnwellBefore(TypedDict):
    """A workload that was not up before an apply which left it as it was."""

    workload: str
    job: str
    worker: str
    state: Annotated[str, WorkloadState]
    reason: str


class Applied(TypedDict):
    """What an apply has come to by now."""

    deployment: str
    revision: int
    """Of the deployment by now: a later one when it was rolled back."""
    state: DeploymentState
    reason: str
    came_up: bool | None
    """Of what this apply touches; null: it is not judged yet."""
    rolled_back: bool
    unwell_before: list[UnwellBefore]
    workloads: list[DeployedWorkload]
    history_id: str


class Reconciled(TypedDict):
    """What was not as applied, and what was done about it."""

    drift: list[Drift]
    steps: list[Step]
    warnings: list[Finding]
    state: DeploymentState
    reason: str
    revision: int


class DeploymentKept(TypedDict):
    """How a deployment is kept from now on."""

    name: str
    reconcile: Keeping
    interval_seconds: float
    ignore: list[str]
    changed: bool
