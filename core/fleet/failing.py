"""Whether a workload that has failed is well again. Pure; workloads.py keeps what was told of each.

Being up is not enough: a job that fails, waits and is started again is up most of the time. So a failure stands until
the job has come through: until one of its runs succeeds or, when it was no run of a schedule that failed, until it has
been up for SETTLED_SECONDS.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from core.model.states import WorkloadState

SETTLED_SECONDS = 10.0
SCHEDULED = ("interval", "cron")  # triggers whose next run may be hours away: to be up meanwhile says nothing


@dataclass(frozen=True, slots=True)
class Failure:
    """The last failure of a workload. Times are seconds on the monotonic clock."""

    reason: str
    of_run: bool = False  # a run of its schedule failed, so only a run that succeeds makes up for it
    up_since: float | None = None  # None: it is not up now

    def stands(self, now: float) -> bool:
        """Whether the workload has not come through since."""
        return self.of_run or self.up_since is None or now - self.up_since < SETTLED_SECONDS


def after_state(before: Failure | None, state: str, reason: str, run_failed: bool, now: float) -> Failure | None:
    """What stands after a worker has told a state. `run_failed`: the last run of its schedule did not succeed."""
    if state == WorkloadState.FAILED:
        return Failure(reason, run_failed)
    if before is None or state == WorkloadState.COMPLETED or not before.stands(now):
        return None
    if state != WorkloadState.RUNNING:
        return replace(before, up_since=None)
    return before if before.up_since is not None else replace(before, up_since=now)
