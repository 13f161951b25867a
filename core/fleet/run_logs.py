"""The log of one run, or of one invocation: which lines of which workload, and between which times they can be.

Lines name their run and their invocation themselves. What is on record of it says where to look, so that a search need
not go through all that is kept, and lines of others are not taken for its own: what a run is called is chosen by its
worker, and another worker may choose the same.
"""

from __future__ import annotations

from dataclasses import replace

from core import clock, errors
from core.fleet.runs import Runs
from core.model import invocation, run
from core.model.states import RunState
from core.model.workload import parse
from core.store import job_runs
from core.store.database import Database
from core.store.log_rows import Range

BESIDE_NS = 60 * clock.NANOSECONDS  # around a run: clocks are set, and why it failed is told behind its end
SET_BACK_NS = 3600 * clock.NANOSECONDS  # that the clock of the engine may have been set back by


async def narrow(database: Database, runs: Runs, within: Range, run_id: str | None, invocation_id: str | None) -> Range:
    """Only the lines of a run, of an invocation, or of both. Raises NotFound."""
    if run_id:
        within = await of_run(database, runs, within, run_id)
    return of_invocation(within, invocation_id) if invocation_id else within


async def of_run(database: Database, runs: Runs, within: Range, run_id: str) -> Range:
    """Only the lines of a run, given by its id or by what its worker calls it.

    An item that stands for several runs does not have their names: it is every line of its workload in their time.
    """
    id = run.parse_id(run_id)
    if id is None:
        found = await database.read(job_runs.named, within.tenant, run_id)
        if found is None:  # it came to a good end, of which there is no item, or is kept no more: lines may still be
            return replace(within, run=run_id)
    elif (found := await database.read(job_runs.get, within.tenant, id)) is None:
        past = runs.past(within.tenant, id)
        if past is None:
            raise errors.NotFound(
                f"There is no run {errors.shorten(run_id, 40)} in tenant {within.tenant}.",
                hint="run_list shows those that are kept.",
            )
        return _between(within, past.workload, past.name, past.started_ns, past.ended_ns)
    found = runs.counted(found)
    if found.state in (RunState.SKIPPED, RunState.MISSED):
        return replace(within, job=found.job, run=found.text_id)  # nothing ran, so nothing was written
    name = run_id if id is None else found.name if found.count == 1 else ""
    return _between(within, found.workload, name, found.started_ns, found.ended_ns)


def _between(within: Range, workload: str, name: str, started_ns: int, ended_ns: int) -> Range:
    """The lines of a workload that can be of a run; without a name, all of that time."""
    of = parse(workload)
    beside = BESIDE_NS if name else clock.NANOSECONDS // 1000
    until = ended_ns + beside if ended_ns else 0
    return replace(
        within,
        of=within.of or of.name,
        job=of.job,
        run=name,
        since_ns=max(within.since_ns, started_ns - beside),
        until_ns=min(filter(None, (within.until_ns, until)), default=0),
    )


def of_invocation(within: Range, invocation_id: str) -> Range:
    """Only the lines of runs that an invocation has started. Raises NotFound for what is no id of one."""
    parsed = invocation.parse_id(invocation_id)
    if parsed is None:
        raise errors.NotFound(
            f"There is no invocation {errors.shorten(invocation_id, 64)}.",
            hint="trigger_invocation_list shows the recent ones.",
        )
    return replace(within, invocation=invocation_id, after=max(within.after, parsed[0] - SET_BACK_NS, 0))
