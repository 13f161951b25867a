"""Whether what the input or output of a workload connects to is there, by what its worker tells of its tries. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from core import clock, errors
from core.model import frames

# With the pauses of `retry`, which begin at 0.2 s and double, six tries have failed by then: it is no moment in which a
# connection broke. And it is less than the 15 s for which a strict apply looks for warnings.
OUTAGE_SECONDS = 10.0
WORDED_SECONDS = 60.0  # an outage that goes on is put in words again after this time
MOST_REASON = 100  # characters, so that all that is said of it is kept (core.model.typed_condition.MOST_MESSAGE)
MOST_NAME = 20


@dataclass(slots=True)
class Target:
    """Of one side of a workload. Times are seconds on the monotonic clock of the engine: a worker's may differ."""

    outage: frames.TargetOutage | None = None  # as told last
    heard_at: float = 0.0  # of this outage for the first time
    stands: bool = False  # it lasts for too long; until something comes through
    how: str = ""  # in words; empty of one that an earlier engine saw
    worded_at: float = 0.0

    @property
    def lasts(self) -> bool:
        """Whether the last try that was told of has failed."""
        return self.outage is not None and not self.outage.ended_ns

    @property
    def back(self) -> bool:
        """Whether it was reached after an outage."""
        return self.outage is not None and self.outage.ended_ns > 0

    def tell(self, outage: frames.TargetOutage | None, passed: bool, now: float) -> None:
        """What a worker says of its tries, and whether events have `passed` since it did so last.

        A worker that began anew has not tried yet, and then the outage stands.
        """
        before, lasted = self.outage, self.lasts
        self.outage = outage
        if self.lasts:
            same = lasted and before is not None and outage is not None and before.since_ns == outage.since_ns
            self.heard_at = self.heard_at if same else now
        elif passed or self.back:
            self.stands, self.how = False, ""

    def age(self, now: float) -> None:
        """Let time pass."""
        if self.outage is None or not self.lasts or now - self.heard_at < OUTAGE_SECONDS:
            return
        if not self.how or now - self.worded_at >= WORDED_SECONDS:
            self.stands, self.how, self.worded_at = True, _in_words(self.outage), now


def _in_words(outage: frames.TargetOutage) -> str:
    component = errors.shorten(outage.component, MOST_NAME)
    target = errors.shorten(outage.target, MOST_NAME) or "target"
    tried = f"{outage.tries} {'try' if outage.tries == 1 else 'tries'} since {clock.iso(outage.since_ns)[:19]}Z"
    reason = errors.shorten(outage.reason, MOST_REASON)
    return f"{component} does not get through to its {target} ({tried}): {reason}"
