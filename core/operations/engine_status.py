"""How the engine itself is: the loops that keep it going, and the ends of workers."""

from __future__ import annotations

from core import clock
from core.engine import Engine
from core.model import results
from core.model.operation import Params
from core.model.principal import Caller, Role
from core.operations.registry import operation


class EngineStatus(Params):
    pass


@operation(
    summary="Show how the engine itself is: its loops, ends of workers, quarantined jobs.",
    http="GET /api/engine",
    toolset="administration",
    tool=False,
    role=Role.ADMIN,
    platform=True,
)
async def engine_status(engine: Engine, caller: Caller, params: EngineStatus) -> results.engine.EngineStatus:
    """The loops that last as long as the engine with how often a step of them failed (`failing` while they
    do), the ends of workers for which a job was to blame by cause, the quarantined jobs of all tenants, the tenants
    of which nothing new runs for a while (`probation`: until when), and how often
    a worker spoke for a workload that it was not told to run (`overreached`; nobody heard it) or told of an end of its
    own that is of nothing placed there (`unbelieved`), how many lines of job logs were not kept, by reason, and
    how many dead letters, because their file could not be written (`letters_lost`); and the backups that it takes by
    itself (`backups`: when the last one was, and the `trouble` when there is none as there should be)."""
    known = engine.backups.known
    loops: list[results.engine.Loop] = [
        {"name": loop.name, "failures": loop.failures, "failing": loop.failing, "reason": loop.reason}
        for loop in engine.loops
    ]
    return {
        "started_at": clock.iso(engine.started_at_ns),
        "loops": loops,
        "worker_deaths": dict(engine.fleet.inquest.deaths),
        "overreached": engine.fleet.hearing.overreached,
        "unbelieved": engine.fleet.inquest.unbelieved,
        "log_lines_dropped": dict(engine.logbook.dropped),
        "letters_lost": engine.letterbox.lost,
        "probation": engine.fleet.inquest.probation.tenants(),
        "quarantined": [f"{tenant}/{job}" for tenant, job in engine.fleet.quarantined()],
        "backups": {
            "wanted": engine.backups.wanted,
            "running": engine.backups.running,
            "last_at": clock.iso(known.succeeded_at_ns) if known.succeeded_at_ns else None,
            "archive": known.archive,
            "bytes": known.bytes,
            "left_out": list(known.left_out),
            "taken": known.taken,
            "failures": known.failures,
            "trouble": engine.backups.trouble(),
        },
    }
