"""What plans and deployments are told of: single changes, warnings and blockers."""

from typing import Annotated, NotRequired, TypedDict

from core.model import plan
from core.model.results.schemas import Called

ChangeAction = Annotated[plan.Action, Called("ChangeAction")]
ChangeKind = Annotated[plan.Kind, Called("ChangeKind")]


class PlannedChange(TypedDict):
    """One line of a plan."""

    action: ChangeAction
    kind: ChangeKind
    id: str
    """The job or channel."""
    where: str
    """A group with workers, workers, or the two ends of a channel."""
    reason: str
    values: list[str]
    """What an update changes, a line for each value; credentials are masked."""
    diff: str
    """Unified; of an update, and with detail=detailed of each change."""


class Finding(TypedDict):
    """A warning, or a blocker: what keeps a plan from being applied."""

    code: str
    message: str
    hint: str
    pointer: NotRequired[str]
    """JSON Pointer into the source document."""
    until: NotRequired[str]
    """What an apply waits for."""
