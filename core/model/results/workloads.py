"""Workloads: one replica of a job each, and how it is."""

from typing import Annotated, NotRequired, TypedDict

from core.model import typed_condition
from core.model.condition import Health
from core.model.results.basics import Row, Time
from core.model.results.schemas import Called
from core.model.states import WorkloadState

ConditionType = Annotated[typed_condition.Type, Called("ConditionType")]
ConditionStatus = Annotated[typed_condition.Status, Called("ConditionStatus")]


class Condition(TypedDict):
    """What is so of one thing by type; `true` is good."""

    type: ConditionType
    status: ConditionStatus
    reason: str
    """A code."""
    message: str
    """The same for people."""
    since: Time
    """When it came to this status."""
    observed_revision: int
    """Of the deployment; of a single job, its version."""


class Standing(TypedDict):
    """How a thing is, since when, and how often it has failed."""

    health: Health
    since: Time
    failures: NotRequired[int]
    """Since it was well last; missing when there is none."""
    first_failed_at: NotRequired[Time]
    last_failed_at: NotRequired[Time]


class Figures(TypedDict):
    """Totals of a workload since its worker was told to run it; empty: it has not told any."""

    events_in: NotRequired[int]
    """That the input has read, and those of dead letters that were replayed."""
    events_out: NotRequired[int]
    bytes_in: NotRequired[int]
    bytes_out: NotRequired[int]
    errors: NotRequired[int]
    runs: NotRequired[int]
    runs_failed: NotRequired[int]
    last_event_at: NotRequired[Time]
    last_event_at_ns: NotRequired[int]
    """0: there was none."""
    lag_seconds: NotRequired[float]
    """For how long a run of its schedule is overdue."""
    refused_by_input: NotRequired[int]
    refused_by_actions: NotRequired[int]
    refused_by_output: NotRequired[int]
    letters_dropped: NotRequired[int]
    """Refused events of which no letter was kept, for there was no room."""
    conditions_failed: NotRequired[int]
    """Events for which a condition could not be worked out, so that it did not hold."""
    calls: NotRequired[int]
    """Requests that its actions have sent, each try."""
    calls_failed: NotRequired[int]
    """Calls of its actions that gave no usable answer, after all their tries."""
    cache_hits: NotRequired[int]
    cache_misses: NotRequired[int]
    prompt_tokens: NotRequired[int]
    """That models have read for it."""
    completion_tokens: NotRequired[int]
    """That models have written for it."""
    cost_millionths: NotRequired[int]
    """By the prices of its document, in millionths of their unit."""
    waiting: NotRequired[int]
    """Messages that no replica has taken; missing: there are none."""


class ScheduleBrief(TypedDict):
    """When a job runs by its timer, for answers about something else; times are in the zone of its schedule."""

    next: Time | None
    """null: paused, or over."""
    last: Time | None
    paused: bool


class Letters(TypedDict):
    """The dead letters of a job, or of several together."""

    waiting: int
    dropped: int
    """That came while there was no room."""
    oldest_at: NotRequired[Time]
    """Of those that wait."""
    dropped_at: NotRequired[Time]
    """When the last one was."""


class _Replica(TypedDict):
    job: str
    replica: int
    state: Annotated[str, WorkloadState]
    reason: str
    restarts: int
    version: str
    health: NotRequired[Health]
    """Missing: nothing was seen of it yet."""
    since: NotRequired[Time]
    failures: NotRequired[int]
    first_failed_at: NotRequired[Time]
    last_failed_at: NotRequired[Time]


class Workload(_Replica, Row):
    """A replica of a job in the list of all."""

    workload: str
    """JOB#REPLICA"""
    deployment: str | None
    """null: of a single job."""
    step: str | None
    worker: str | None
    """null: none can take it."""
    group: str
    conditions: NotRequired[list[Condition]]
    """With detail=detailed."""


class DeployedWorkload(_Replica):
    """A replica as its deployment shows it."""

    id: str
    """TENANT/JOB#REPLICA"""
    step: str
    worker: str
    """Empty: none can take it."""
    group: NotRequired[str]
    """This and what follows with detail=detailed."""
    metrics: NotRequired[Figures]
    conditions: NotRequired[list[Condition]]
    """Those that are false."""
    schedule: NotRequired[ScheduleBrief]


class JobWorkload(_Replica):
    """A replica as its job and its worker show it."""

    id: str
    """TENANT/JOB#REPLICA"""
    deployment: str
    """Empty: of a single job."""
    step: str
    worker: str
    """Empty: none can take it."""
    group: str
    failing: str
    """Why it failed last, when it is up again and has not come through since."""
    metrics: Figures
    conditions: NotRequired[list[Condition]]
    """Those that are false."""
