"""Plans: what an apply would change, what stands in its way, and what has become of it."""

from typing import Annotated, NotRequired, TypedDict

from core.model.results.basics import JsonObject, Row, Time
from core.model.results.deployments import Revision
from core.model.results.findings import Finding, PlannedChange
from core.model.states import PlanState


class Remnant(TypedDict):
    """What stays where it is when a job goes."""

    kind: str
    """files, state (offsets and fingerprints), stream, topic, bucket or container"""
    job: str
    where: str
    bytes: int | None
    """null: it cannot be measured from here."""


class UsedContext(TypedDict):
    """A context value that a plan uses."""

    key: str
    level: str
    target: str
    digest: str
    """Of the value."""


class Plan(TypedDict):
    """What an apply would do, and in a page of its own each change."""

    plan_id: str | None
    """null: it is not saved, and cannot be applied."""
    saved: bool
    name: str
    """The deployment."""
    source: str
    """KIND:SLUG@VERSION"""
    base_revision: int
    """Of the deployment that it was compared with; 0: a new one."""
    digest: str
    """Names the wish."""
    summary: dict[str, int]
    """How many changes of each action."""
    values: list[str]
    """What is asked for differently, a line for each value; credentials are masked."""
    changes: list[PlannedChange]
    changes_left_out: int
    """On the pages that follow."""
    next_cursor: str | None
    refused_until: list[str]
    """What an apply waits for: it is refused until then."""
    warnings: list[Finding]
    blockers: list[Finding]
    """These must be mended before it can be applied."""
    stays: list[Remnant]
    contexts: list[UsedContext]
    secrets: list[str]
    """Full names of those that it needs."""
    expires_at: Time | None
    text: str
    """All of it for people."""


class Rebalancing(TypedDict):
    """The plans that even out a worker group."""

    group: str
    plans: list[Plan]
    """One for each deployment of which something moves."""
    text: str
    """Those of the plans, as many as there is room for; of the others their names and ids."""


class PlanAsked(TypedDict):
    """What a plan was made for."""

    worker_group: str
    """For steps that name none."""
    values: JsonObject
    """Those that were left out are as they were applied; credentials are masked."""
    remove: bool
    """It is the removal of the deployment."""
    to_revision: int | None
    """It is the way back to this revision."""


class SavedPlan(Plan):
    """A saved plan, and what has become of it."""

    state: Annotated[str, PlanState]
    applied_as_revision: int | None
    by: str
    created_at: Time
    asked: PlanAsked
    moved: NotRequired[list[Revision]]
    """Of a stale one: what came after it was made, the newest first."""


class PlanItem(Row):
    """A saved plan in a list."""

    plan_id: str
    name: str
    """The deployment."""
    state: Annotated[str, PlanState]
    blockers: int
    """What stands in its way; with any it cannot be applied, and is open until it expires."""
    base_revision: int
    by: str
    created_at: Time
    expires_at: Time


class DiscardedPlan(TypedDict):
    """A plan that was to be withdrawn."""

    plan_id: str
    name: str
    """The deployment."""
    state: Annotated[str, PlanState]
    """One that was over stays as it was."""
