"""The engine itself: how it is, what it measures, what it keeps, what it would do."""

from typing import Literal, NotRequired, TypedDict

from core.model.operation import Effect
from core.model.results.basics import Json, JsonObject, Refusal, Time


class Loop(TypedDict):
    """A loop that lasts as long as the engine."""

    name: str
    failures: int
    """Steps that failed."""
    failing: bool
    """The last one did."""
    reason: str


class Backups(TypedDict):
    """What the engine knows of the backups that it takes by itself."""

    wanted: bool
    """The setting backup_to names a place for them."""
    running: bool
    """One is being made."""
    last_at: Time | None
    """When the last one was made; null: never."""
    archive: str
    """Its name."""
    bytes: int
    left_out: list[str]
    """What belongs to the home and is not in it."""
    taken: int
    failures: int
    trouble: str
    """Why there is none as there should be; empty when there is."""


class EngineStatus(TypedDict):
    """How the engine itself is."""

    started_at: Time
    loops: list[Loop]
    worker_deaths: dict[str, int]
    """Cause -> ends of workers for which a job was to blame."""
    overreached: int
    """How often a worker spoke for a workload that it was not told to run; nobody heard it."""
    unbelieved: int
    """How often a worker told of an end of its own that is of nothing placed there."""
    log_lines_dropped: dict[str, int]
    """Reason -> lines of job logs that were not kept."""
    letters_lost: int
    """Dead letters that were lost because their file could not be written."""
    probation: dict[str, Time]
    """Tenant -> until when nothing new of it runs."""
    quarantined: list[str]
    """TENANT/JOB"""
    backups: Backups


class Setting(TypedDict):
    """One setting of the engine."""

    name: str
    """serve.NAME for those of `sluice serve` alone, group.GROUP.NAME for what the workers of one group have instead."""
    value: Json
    source: Literal["flag", "environment", "file", "default"]
    where: str
    """The variable, or file:line."""
    overrules: NotRequired[list[str]]
    """file:line of each thing that the file says about it, for all or for a group, which does not count."""
    after_restart: NotRequired[Json]
    """What it will be; of a group, null: as for all."""
    says: NotRequired[str]
    """file:line of that, or the default."""


class SettingsTold(TypedDict):
    """The settings of the engine, and what its file says now."""

    items: list[Setting]
    running: bool
    """Whether an engine runs; else they are those of the home."""
    file: str
    restart: list[str]
    """Names of those that a restart would change."""
    fault: Refusal | None
    """Why the file cannot be used now."""
    unknown_groups: list[str]
    """Those with a table in the file that the running engine does not have: their tables apply to nobody."""


class Histogram(TypedDict):
    """How often a value was at most so large."""

    bounds: list[float]
    counts: list[int]
    """Of each bucket alone; the last one has no bound."""
    sum: float


class Sample(TypedDict):
    """One value of a family."""

    labels: dict[str, str]
    value: float | Histogram


class Family(TypedDict):
    """Samples that differ in their labels, as in the Prometheus text format."""

    name: str
    """Without the `sluice_` in front."""
    type: Literal["counter", "gauge", "histogram"]
    help: str
    samples: list[Sample]


class Measures(TypedDict):
    """Families of samples."""

    families: list[Family]


class Usage(TypedDict):
    """How much of one thing is kept."""

    what: str
    records: int | None
    """null: it is not counted in records."""
    bytes: int
    most_bytes: int
    setting: str
    """That says how much it may be."""


class UsageList(TypedDict):
    """What a tenant keeps, and may keep."""

    items: list[Usage]
    refused: int
    """Runs that this engine refused for want of room, of all tenants."""


class Rates(TypedDict):
    """What was done by the second in each slot, oldest first; null: nothing is known."""

    events_in: list[float | None]
    events_out: list[float | None]
    bytes_in: list[float | None]
    bytes_out: list[float | None]
    errors: list[float | None]
    runs: list[float | None]
    runs_failed: list[float | None]
    lag_seconds: list[float | None]
    """The largest of the slot."""


class Series(TypedDict):
    """What workloads did over time."""

    of: str | None
    """A deployment, job or workload; null: all of the tenant."""
    step_seconds: int
    """How long a slot is."""
    since: Time
    until: Time
    left_out: int
    """Subjects that were too many to be kept."""
    rates: Rates


class LossTold(TypedDict):
    """What a user is asked before a call that takes something away."""

    question: str
    text: str
    """What goes."""
    where: str
    """The operation that shows all of it."""
    yes: str
    """What the user says who wants it."""
    pinned: JsonObject
    """Arguments that hold the call to what was shown."""


class Loss(LossTold):
    """What a user is asked before a call that takes something away."""

    mark: str
    """The same only for the same loss."""


class CallPreview(TypedDict):
    """What a call would do."""

    effect: Effect | None
    """Of this call with these arguments; null: it is refused before that is known."""
    refused: Refusal | None
    """What the call would end with, if that is known."""
    loss: Loss | None
    """null: nothing goes."""


class CalledOnce(TypedDict):
    """What a write was answered; one of `result` and `error` is there."""

    replayed: bool
    """It was done before."""
    result: NotRequired[JsonObject]
    error: NotRequired[Refusal]
