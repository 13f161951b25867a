"""How the state of a deployment is read off its workloads and their drift. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from core.deployments.reconcile import SETTLED, Drift, DriftKind
from core.model.condition import Health
from core.model.states import DeploymentState, WorkloadState
from core.model.workload import WorkloadView

COMING_UP_SECONDS = 30.0  # for so long after an apply, a workload that is not there yet is no reason to worry


def live_state(
    stored: DeploymentState,
    drift: Sequence[Drift],
    seconds_since_apply: float,
    coming_up_seconds: float = COMING_UP_SECONDS,
) -> tuple[DeploymentState, str]:
    """The state of a deployment as its workloads show it, and the reason when it is not well."""
    match stored:
        case DeploymentState.REMOVED | DeploymentState.REMOVING:
            return DeploymentState.REMOVED, ""
        case DeploymentState.FAILED:
            return stored, "the last apply did not come to its end"
    if not drift:
        return DeploymentState.RUNNING, ""
    first = drift[0]
    more = f" (and {len(drift) - 1} more)" if len(drift) > 1 else ""
    reason = f"{first.kind.value}: {first.id} should be {first.expected}, is {first.observed}{more}"
    coming = (WorkloadState.ASSIGNED.value, WorkloadState.STARTING.value)
    if (
        stored is DeploymentState.APPLYING
        and seconds_since_apply < coming_up_seconds
        and all(d.kind is DriftKind.NOT_RUNNING and d.observed.startswith(coming) for d in drift)
    ):
        return DeploymentState.APPLYING, reason
    return DeploymentState.DEGRADED, reason


def health(state: DeploymentState) -> Health:
    """One word for people: healthy, progressing, degraded or gone."""
    match state:
        case DeploymentState.RUNNING:
            return Health.HEALTHY
        case DeploymentState.APPLYING:
            return Health.PROGRESSING
        case DeploymentState.REMOVED | DeploymentState.REMOVING:
            return Health.GONE
        case _:
            return Health.DEGRADED


def well(workload: WorkloadView) -> bool:
    """Whether there is nothing to say of a workload: it is up, and nothing about it is a warning."""
    return up(workload) and (workload.condition is None or workload.condition.health is not Health.WARNING)


def up(workload: WorkloadView) -> bool:
    """Whether a workload is as it should be: up, and over its last failure."""
    return workload.state in SETTLED and not workload.failing
