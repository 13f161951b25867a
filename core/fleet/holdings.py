"""What workers hold, asked of them, against what they were told: the drift that no report tells of."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import structlog

from core import errors
from core.bus.base import Bus
from core.fleet.connection import Worker

log = structlog.get_logger("core.fleet")


@dataclass(slots=True)
class Holdings:
    """Where workers and what they were told differ: workload id -> worker."""

    nothing: dict[str, str] = field(default_factory=dict)  # told, and not there
    another: dict[str, str] = field(default_factory=dict)  # there with another version or document
    stray: dict[str, str] = field(default_factory=dict)  # there, and never told


async def ask(workers: Iterable[Worker], bus: Bus, seconds: float) -> Holdings:
    """Ask the workers that are online, one after the other.

    Sound although workers are told things meanwhile: what a worker was told before the question it knows when it
    answers (one channel, in order), and only what it was told before and after alike is compared.
    """
    found = Holdings()
    for worker in workers:
        if not worker.online:
            continue
        before = dict(worker.sent)
        try:
            held = await bus.request(worker.name, "holdings", {}, seconds)
        except errors.TargetUnavailable as error:
            log.warning("worker_not_asked", worker=worker.name, reason=error.message)
            continue
        for id, told in worker.sent.items():
            if before.get(id) == told and held.get(id) != told:
                (found.another if id in held else found.nothing)[id] = worker.name
        found.stray |= {id: worker.name for id in held if id not in before and id not in worker.sent}
    return found
