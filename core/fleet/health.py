"""How a workload is, read off what was told of it. Pure; conditions.py keeps it, with the time since when."""

from __future__ import annotations

from core.model.condition import Condition, Health
from core.model.states import WorkloadState

UP = (WorkloadState.RUNNING, WorkloadState.COMPLETED)


def of_workload(
    before: Condition | None, version: str, state: str, reason: str, failing: str | None, worker: str
) -> tuple[Health, str]:
    """The health of a workload and why, after it had the condition `before`.

    `failing` is the failure that stands (None: none does). What does not run has not come through: it keeps being
    failing, or down, until it is up. Down is what is held back by something that has a name, or has no worker.
    """
    if state == WorkloadState.QUARANTINED:
        return Health.QUARANTINED, reason
    if failing is not None or state == WorkloadState.FAILED:
        return Health.FAILING, failing or reason
    if state in UP:
        return Health.HEALTHY, ""
    if before is not None and before.health is Health.FAILING and before.version == version:
        return Health.FAILING, before.reason
    if state == WorkloadState.ASSIGNED and (reason or not worker):
        return Health.DOWN, reason or "no worker can take it"
    if before is not None and before.health is Health.DOWN:
        return Health.DOWN, reason or before.reason
    return Health.PROGRESSING, reason
