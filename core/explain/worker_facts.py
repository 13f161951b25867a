"""What is known of a worker: reads its condition, its ends and what was down with it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from core import clock
from core.explain import conditions, workers
from core.explain.chain import Cause
from core.fleet.connection import EXTERNAL
from core.fleet.fleet import Fleet
from core.model.condition import Kind, Subject
from core.model.principal import Caller
from core.store import audit, deaths, enrolment
from core.store import conditions as table
from core.store.database import Database


async def find(database: Database, fleet: Fleet, caller: Caller, row: Mapping[str, Any]) -> workers.Facts:
    """The facts of a worker that the caller may see, given by its row of worker_list."""
    name, now_ns = row["name"], clock.now_ns()
    since_ns = now_ns - conditions.LOOKED_BACK_NS
    subject = Subject(Kind.WORKER, "", name)
    ends = [
        one for one in await database.read(deaths.since, since_ns) if (one.tenant, one.worker) == (caller.tenant, name)
    ]
    deeds = await database.read(audit.about, caller.tenant, name, 1) if row["drained"] else []
    outages = await database.read(lambda db: table.outages(db, caller.tenant, since_ns, worker=name))
    credential = await database.read(enrolment.newest, name) if row["kind"] == EXTERNAL else None
    return workers.Facts(
        row,
        fleet.conditions.of(subject),
        await database.read(table.transitions, subject, workers.SHOWN_MOVES),
        fleet.workload_views(tenant=caller.tenant, worker=name),
        conditions.outages(outages),
        ends,
        [Cause(f"{one.username} called {one.operation} through {one.surface}", one.id) for one in deeds],
        caller.allow_write and caller.administers_all,
        now_ns,
        None if credential is None else credential.state,
    )
