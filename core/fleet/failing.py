"""Whether a workload that has failed is well again. Pure; workloads.py keeps what was told of each.

Being up is not enough: a job that fails, waits and is started again is up most of the time. So a failure stands until
the job has come through: until one of its runs succeeds or, when it was no run of a schedule that failed, until it has
been up for SETTLED_SECONDS, and twice as long as it was before it failed again, when that was within START_SECONDS: one
that takes its time to come to what it fails at (to join a group, say) would look well each time until then.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from core.model.states import WorkloadState

SETTLED_SECONDS = 10.0
START_SECONDS = 60.0
SCHEDULED = ("interval", "cron")  # triggers whose next run may be hours away: to be up meanwhile says nothing


@dataclass(frozen=True, slots=True)
class Failure:
    """The last failure of a workload. Times are seconds on the monotonic clock."""

    reason: str
    of_run: bool = False  # a run of its schedule failed, so only a run that succeeds makes up for it
    up_since: float | None = None  # None: it is not up now
    was_up: float = 0.0  # seconds, since the failure before it; 0: that says nothing

    @property
    def settled_seconds(self) -> float:
        """For how long it has to be up."""
        return max(SETTLED_SECONDS, 2 * self.was_up)

    def stands(self, now: float) -> bool:
        """Whether the workload has not come through since."""
        return self.of_run or self.up_since is None or now - self.up_since < self.settled_seconds


def after_state(before: Failure | None, state: str, reason: str, run_failed: bool, now: float) -> Failure | None:
    """What stands after a worker has told a state. `run_failed`: the last run of its schedule did not succeed."""
    if state == WorkloadState.FAILED:
        was_up = now - before.up_since if before is not None and before.up_since is not None else 0.0
        return Failure(reason, run_failed, was_up=was_up if was_up < START_SECONDS else 0.0)
    if before is None or state == WorkloadState.COMPLETED or not before.stands(now):
        return None
    if state != WorkloadState.RUNNING:
        return replace(before, up_since=None)
    return before if before.up_since is not None else replace(before, up_since=now)
