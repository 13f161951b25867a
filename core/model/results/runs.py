"""Runs of jobs, and the schedules that start them."""

from typing import Annotated, Literal, NotRequired, TypedDict

from core.model.results.basics import Call, JsonObject, Listing, Row, Time
from core.model.states import RunState


class RunItem(TypedDict):
    """A run among others of its job."""

    run_id: str
    state: Annotated[str, RunState]
    cause: str
    """schedule, manual, backfill, catch-up, once, retry or message"""
    scheduled_for: Time | None
    started_at: Time
    ended_at: Time | None
    """null: it is under way."""
    count: NotRequired[int]
    """How many runs in a row this stands for, all alike; missing: it is one."""
    last_started_at: NotRequired[Time]
    reason: str


class Run(Row):
    """A run of a job."""

    run_id: str
    name: str | None
    """What its worker calls it."""
    job: str
    deployment: str | None
    version: str
    workload: str
    """TENANT/JOB#REPLICA"""
    worker: str
    cause: str
    """schedule, manual, backfill, catch-up, once, retry or message"""
    scheduled_for: Time | None
    state: Annotated[str, RunState]
    started_at: Time
    ended_at: Time | None
    """null: it is under way."""
    count: NotRequired[int]
    """How many runs in a row this stands for, all alike, with the sums of them; missing: it is one."""
    last_started_at: NotRequired[Time]
    events_in: int | None
    """null, like those that follow: its worker has not told it."""
    events_out: int | None
    refused: int | None
    """Events, files, objects and lines that were refused."""
    reason: str
    by: str | None
    """Who asked for it, or canceled it."""
    confirmed: NotRequired[bool]
    """Of a canceled one: whether its worker has said that it stopped."""
    late: NotRequired[str]
    """What its worker said after the end."""


class RunShown(Run):
    """A run, and where to read what its job wrote meanwhile."""

    next: list[Call]


class Minute(TypedDict):
    """What runs did that messages started, in one minute."""

    at: Time
    runs: int
    failed: int
    events_in: int
    events_out: int
    refused: int


class RunList(Listing[Run]):
    """Runs of jobs, newest first."""

    per_minute: NotRequired[list[Minute]]
    """With a job and `minutes`."""


class LastRun(TypedDict):
    """How the last run of a schedule ended."""

    ended_at: Time
    ok: bool


class Pause(TypedDict):
    """Who paused a schedule."""

    by: str
    at: Time
    reason: str
    until: Time | None
    """When it resumes by itself."""


class Schedule(Row):
    """A job that runs by the clock; times of firings are in the zone of its schedule."""

    name: str
    """The job."""
    deployment: str | None
    state: Literal["active", "paused", "over", "not_deployed"]
    schedule: str
    """Its interval or cron in words."""
    next: list[Time]
    last_scheduled: Time | None
    last_run: LastRun | None
    last_success_at: Time | None
    failures: int
    """Runs in a row that failed."""
    missed: int
    """Firings that nothing could run."""
    skipped: int
    """Firings that were left out because a run was under way."""
    on_time: bool | None
    """null: it is paused, or not deployed."""
    reason: str
    """Why it is not on time."""
    waiting: int
    """Runs that somebody asked for and that have not begun."""
    paused: Pause | None


class ScheduleShown(Schedule):
    """A schedule with its settings and last runs."""

    time_zone: NotRequired[str]
    """This and what follows only of a job that is deployed."""
    settings: NotRequired[JsonObject]
    """The keys of its timer."""
    replicas: NotRequired[int]
    runs: list[RunItem]


class ScheduleResumed(Schedule):
    """A schedule that goes on."""

    caught_up: int
    """Firings of the pause that run now."""
    left_out: int
    """Firings of the pause that do not run."""


class RunEnded(TypedDict):
    """The end of a run that was waited for."""

    ok: bool
    reason: str
    started_at: Time
    ended_at: Time
    events_in: int
    events_out: int


class RunAsked(TypedDict):
    """A run that somebody asked for."""

    name: str
    """The job."""
    cause: str
    asked_at: Time
    ended: RunEnded | None
    """null: it has not ended in time."""


class Backfill(TypedDict):
    """The times for which a job is run."""

    name: str
    """The job."""
    dry_run: bool
    count: int
    times: list[Time]
