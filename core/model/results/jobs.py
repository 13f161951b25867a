"""Jobs: what there is of them, what they do, and their logs."""

from typing import Annotated, NotRequired, TypedDict

from core.model.condition import Health
from core.model.results.basics import Call, Fault, Json, JsonObject, Row, Time
from core.model.results.findings import Finding
from core.model.results.workloads import Figures, JobWorkload, Letters, ScheduleBrief
from core.model.states import WorkloadState


class JobReplica(TypedDict):
    """Where a replica of a job runs, in the list of jobs."""

    worker: str
    state: Annotated[str, WorkloadState]
    reason: str
    health: NotRequired[Health]
    since: NotRequired[Time]
    failures: NotRequired[int]
    first_failed_at: NotRequired[Time]
    last_failed_at: NotRequired[Time]


class JobItem(Row):
    """A job in a list."""

    name: str
    version: int | str | None
    """The newest staged one, or the digest of what a deployment runs; null: there is only a draft."""
    draft: int | None
    """Its revision."""
    managed_by: str | None
    """The deployment that it belongs to."""
    workloads: list[JobReplica]
    schedule: NotRequired[ScheduleBrief]


class JobMaking(TypedDict):
    """What a deployment made a job of; empty where an earlier Sluice has not kept it."""

    module: NotRequired[str]
    """KIND:SLUG@VERSION, or the channel whose adapter it is."""
    role: NotRequired[str]
    digest: NotRequired[str]
    """Of its document."""


class JobOrigin(JobMaking):
    """What of its deployment made a managed job."""

    deployment: str
    step: str
    revision: int
    """Of the deployment that brought it in its present form."""


class JobDraft(TypedDict):
    """The open draft of a job."""

    revision: int
    document: str
    """YAML or JSON."""
    origin: str
    """What it was copied from; empty: of nothing."""
    updated_at: Time
    updated_by: str


class JobVersion(TypedDict):
    """A staged version of a job."""

    version: int
    digest: str
    created_at: Time
    created_by: str


class JobFailure(TypedDict):
    """The last time that a job could not go on."""

    at: Time
    workload: str
    reason: str


class LogLine(TypedDict):
    """A line of the log of a job."""

    workload: str
    """TENANT/JOB#REPLICA"""
    at: Time
    level: str
    """print, debug, info, warning or error"""
    text: str
    fields: NotRequired[JsonObject]
    run: NotRequired[str]
    """In which it was written."""
    invocation: NotRequired[str]
    """Of the trigger that started that run."""
    after: NotRequired[str]
    """The place after it, in an answer to `after`."""


class Job(TypedDict):
    """A job: its document, and how it does."""

    name: str
    version: int | str | None
    """Of the document; of a managed job its digest."""
    managed_by: str | None
    """The deployment that it belongs to."""
    origin: JobOrigin | None
    document: JsonObject | None
    """null: there is only a draft."""
    written: NotRequired[JsonObject]
    """The document as it was written; missing: it has no placeholders, and `document` is it."""
    draft: JobDraft | None
    versions: list[JobVersion]
    workloads: list[JobWorkload]
    schedule: ScheduleBrief | None
    """null: it has no timer."""
    last_failure: JobFailure | None
    log: list[LogLine]
    """The newest lines, oldest first."""
    letters: NotRequired[Letters]
    """Missing: there are none."""
    diff: NotRequired[str]
    """Unified, with `compare`."""


class JobChecked(TypedDict):
    """What is wrong with a document of a job."""

    valid: bool
    name: str | None
    """null: it cannot be read."""
    message: str
    hint: str
    errors: list[Fault]


class JobStaged(TypedDict):
    """A version of a job."""

    name: str
    version: int
    changed: bool
    """Whether it is a new one."""
    next: NotRequired[list[Call]]


class JobDraftSaved(TypedDict):
    """A draft of a job, faults and all."""

    name: str
    version: int | None
    """The newest staged one."""
    revision: int
    """Of the draft."""
    changed: bool
    valid: bool
    errors: list[Fault]


class CloneSource(TypedDict):
    """What a copy of a job was made of."""

    name: str
    managed_by: str | None
    source: str
    """In words."""


class JobCloned(TypedDict):
    """The draft that is a copy of a job."""

    name: str
    revision: int
    cloned_from: CloneSource
    document: str
    """YAML."""
    warnings: list[str]
    """What both would share."""


class JobDeleted(TypedDict):
    """What of a job is gone."""

    name: str
    deleted_versions: int
    deleted_draft: bool


class JobDeployed(TypedDict):
    """A job on workers."""

    name: str
    version: int
    workloads: list[JobWorkload]
    warnings: list[Finding]
    """What of it is closed on its workers."""


class JobUndeployed(TypedDict):
    """A job that is on no worker any more."""

    name: str
    workloads: list[JobWorkload]
    """None."""


class ScheduleFigures(TypedDict):
    """What is measured of the schedule of a job."""

    next: float
    """Seconds since the epoch; 0: it does not run again."""
    last_success: float
    """Seconds since the epoch; 0: there was none."""
    missed: int
    """Firings that nothing could run."""
    paused: int
    """1 or 0"""


class JobMetrics(Row):
    """The figures of a replica of a job."""

    job: str
    replica: int
    worker: str
    state: Annotated[str, WorkloadState]
    restarts: int
    metrics: Figures
    letters: Letters
    """Of the job."""
    schedule: NotRequired[ScheduleFigures]
    """Of the first replica of a scheduled job."""


class JobLog(TypedDict):
    """Lines of the log of a job, oldest first."""

    name: str
    deployed: bool
    cursor: str
    """Pass it as `after` to go on."""
    truncated: bool
    """There are more lines."""
    reset: NotRequired[bool]
    """Lines before these are kept no more."""
    unreachable: list[str]
    """Workers of the job that are not there now."""
    items: list[LogLine]


class FoundLines(TypedDict):
    """Lines of logs: newest first, or with `after` what came since, oldest first."""

    complete: bool
    """Everything was looked at; else go on with `next_cursor`, or with `after`."""
    searched_until: NotRequired[Time | None]
    """Only what is younger was looked at; of a search without `after`."""
    next_cursor: NotRequired[str | None]
    """Of a search without `after`."""
    reset: NotRequired[bool]
    """With `after`: lines between are kept no more."""
    after: str
    """Pass it as `after` to hear what comes."""
    items: list[LogLine]


class TraceFault(TypedDict):
    """What an event was refused for."""

    step: int | str
    """The number of the action, or input, output, emit."""
    event: int | None
    """Its place among those before the step; null: of all."""
    message: str


class TraceStep(TypedDict):
    """What an action did."""

    index: int
    action: str
    description: str
    before: list[Json]
    after: list[Json]
    dropped: int
    warnings: list[str]
    events_in: int
    """How many there were before; `before` may be cut."""
    events_out: int
    """How many there were after; `after` may be cut."""


class Trace(TypedDict):
    """What a job does to some events, without an effect."""

    job: str
    events_in: list[Json]
    aborted: str | None
    """Why the job would end there."""
    input_warnings: list[str]
    steps: list[TraceStep]
    events_out: list[Json]
    would_emit: list[JsonObject]
    """What its output and messages would have sent."""
    errors: list[TraceFault]
    counts: dict[str, int]
    """How many there were of each list before they were cut."""
    truncated: NotRequired[list[str]]
    """What was cut."""
