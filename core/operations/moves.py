"""What several verbs answer of workloads that have left a worker."""

from __future__ import annotations

from core.deployments.draining import Given
from core.engine import Engine
from core.model import results
from core.model.principal import Caller


async def moves(engine: Engine, caller: Caller, given: Given, wait_seconds: float) -> results.workers.Leaving:
    """What moved and what stays, of the tenant of the caller by id and of all in number, once that has settled."""
    if given.moved:
        await engine.fleet.wait(lambda: engine.fleet.settled(given.moved), wait_seconds)
    mine = f"{caller.tenant}/"
    return {
        "moved": [{"id": id, "worker": to} for id, to in given.moved.items() if id.startswith(mine)],
        "stays": [{"id": id, "reason": why} for id, why in given.stays.items() if id.startswith(mine)],
        "moved_in_all": len(given.moved),
        "stays_in_all": len(given.stays),
    }
