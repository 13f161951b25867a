"""Why something is as it is, and what to do next."""

from typing import NotRequired, TypedDict

from core.model.condition import Outage
from core.model.results.basics import Call, Json, Time
from core.model.results.workloads import Condition, Standing


class Cause(TypedDict):
    """What happened."""

    at: Time | None
    """null: it is so now."""
    what: str


_Stretch = TypedDict("_Stretch", {"from": Time, "to": Time | None})


class Down(_Stretch):
    """Workloads that went down at one moment for one cause; `to` is null while some of them are down."""

    cause: Outage
    worker: str | None
    """null: all of them, with the engine."""
    seconds: float
    workloads: int
    names: list[str]
    """Some of them."""


class Responsible(TypedDict):
    """A value that failures come from; credentials are masked."""

    kind: str
    name: str
    value: Json
    sure: bool
    """It is named by a failure; else it is only likely."""
    jobs: list[str]
    at: str
    """Where it stands."""
    before: NotRequired[Json]
    """What it was before; missing: nothing else is known."""
    before_revision: NotRequired[int]
    since_revision: NotRequired[int]
    level: NotRequired[str]
    """Of a context value."""
    target: NotRequired[str]
    """Of a context value."""


class More(TypedDict):
    """What an explanation has of some kinds of things."""

    condition: NotRequired[Standing]
    """Of the thing, or of the workload of it that is worst off."""
    conditions: NotRequired[list[Condition]]
    """Those that warn."""
    outages: NotRequired[list[Down]]
    """The last ones, newest first."""
    responsible: NotRequired[list[Responsible]]
    """Of a deployment that fails."""
    group: NotRequired[str]
    """Of a worker, as what follows."""
    drained: NotRequired[bool]
    restarts: NotRequired[int]


class Explanation(More):
    """Why a thing is as it is."""

    kind: str
    id: str
    state: str
    summary: str
    because: list[Cause]
    """By time; what is so now comes last."""
    next: list[Call]
    """Calls that help."""
