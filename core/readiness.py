"""Whether an engine can take work now: what a load balancer and a service manager ask before they send anybody.

Liveness (`Engine.trouble`) says whether somebody has to do something; readiness also whether there is anybody who runs
jobs. An engine that is alive and not ready is left alone: it becomes ready by itself.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

READY, NOT_READY = "ready", "not_ready"
STORE, WORKERS, DRAINING, ENGINE = "store", "workers", "draining", "engine"


@dataclass(frozen=True, slots=True)
class Readiness:
    """How many workers take jobs, of how many that the engine starts; and what is lacking, by its cause."""

    workers_up: int = 0
    workers_wanted: int = 0
    lacking: dict[str, str] = field(default_factory=dict)

    @property
    def ready(self) -> bool:
        return not self.lacking

    def but(self, cause: str, why: str) -> Readiness:
        """The same, with one more thing that is lacking; the first word on a cause stands."""
        return Readiness(self.workers_up, self.workers_wanted, {cause: why, **self.lacking})

    def to_dict(self) -> dict[str, Any]:
        """As it is told."""
        return {
            "status": READY if self.ready else NOT_READY,
            "workers": {"up": self.workers_up, "wanted": self.workers_wanted},
            "lacking": [{"what": what, "why": why} for what, why in self.lacking.items()],
        }

    @staticmethod
    def from_dict(said: dict[str, Any]) -> Readiness:
        """What an engine of another process has told."""
        workers = said.get("workers", {})
        lacking = {str(one["what"]): str(one["why"]) for one in said.get("lacking", ())}
        return Readiness(int(workers.get("up", 0)), int(workers.get("wanted", 0)), lacking)


def judge(trouble: str, taking: Iterable[bool], wanted: int) -> Readiness:
    """`taking` tells of each worker, of this machine and of others, whether it takes jobs; `wanted` is how many the
    engine starts itself.

    One that takes jobs is enough: while another one is started again, work is accepted and done. An engine that starts
    none waits for nobody: when its workers join from elsewhere is no matter of its own.
    """
    up = sum(taking)
    lacking = {STORE: trouble} if trouble else {}
    if wanted and not up:
        lacking[WORKERS] = f"None of {wanted} workers takes jobs: they start, are drained, or have ended."
    return Readiness(up, wanted, lacking)
