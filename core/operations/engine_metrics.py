"""The measures of the engine itself, for whoever watches it from outside."""

from __future__ import annotations

import importlib.metadata
import platform
from collections import Counter
from collections.abc import Iterator

from core import clock
from core.engine import Engine
from core.model import results
from core.model.measure import Family, Sample, by_label, single
from core.model.operation import Params
from core.model.principal import Caller, Role
from core.operations.registry import operation


class EngineMetrics(Params):
    pass


@operation(
    summary="The measures of the engine: loop, store, workers, invocations of all tenants.",
    http="GET /api/engine/metrics",
    toolset="administration",
    tool=False,
    offline=False,
    role=Role.ADMIN,
    platform=True,
)
async def engine_metrics(engine: Engine, caller: Caller, params: EngineMetrics) -> results.engine.Measures:
    """Families of samples as in the Prometheus text format, which `/metrics` is made of: counters since the start of
    the engine, values of now, and histograms {bounds, counts of each bucket alone, sum}."""
    return {"families": [family.to_dict() for family in (*_itself(engine), *_jobs(engine), *_invocations(engine))]}


def _itself(engine: Engine) -> Iterator[Family]:
    build = {"version": importlib.metadata.version("sluice-mcp"), "python": platform.python_version()}
    yield Family("build_info", "gauge", "Always 1; the labels say what runs.", [Sample(1, build)])
    yield single("loop_lag_seconds", "histogram", "How late the event loop comes to what is due.", engine.lag.seconds)
    took = engine.database.commit_seconds
    yield single("store_commit_seconds", "histogram", "How long commits take, with their statements.", took)
    failed = engine.database.failures
    yield single("store_write_failures_total", "counter", "Writes that the disk refused.", failed)
    files = (engine.settings.database, engine.logbook.path, engine.letterbox.path)
    sizes = [(path.name, path.stat().st_size) for path in files if path.exists()]
    yield by_label("store_bytes", "gauge", "Size of the files of the store.", "file", sizes)
    known = engine.backups.known
    help = "When the last backup was made that the engine takes by itself; 0: never."
    yield single("backup_last_timestamp_seconds", "gauge", help, known.succeeded_at_ns / clock.NANOSECONDS)
    yield single("backup_bytes", "gauge", "Size of that backup.", known.bytes)
    yield single("backup_failures_total", "counter", "Backups that came to nothing.", known.failures)
    help = "1: there is no backup as there should be; `sluice status` says why."
    yield single("backup_trouble", "gauge", help, int(bool(engine.backups.trouble())))
    workers = Counter(worker.state.value for worker in engine.fleet.workers.values())
    yield by_label("workers", "gauge", "Workers by state.", "state", sorted(workers.items()))


def _jobs(engine: Engine) -> Iterator[Family]:
    inquest, fleet = engine.fleet.inquest, engine.fleet
    failures = [(loop.name, loop.failures) for loop in engine.loops]
    help = "Failed steps of a loop that keeps the engine going."
    yield by_label("loop_failures_total", "counter", help, "loop", failures)
    help = "Ends of workers for which a job was to blame."
    yield by_label("worker_deaths_total", "counter", help, "cause", sorted(inquest.deaths.items()))
    help = "Jobs that do not run because their workers ended again and again."
    yield single("jobs_quarantined", "gauge", help, len(fleet.quarantined()))
    help = "Tenants of which nothing new runs because their jobs ended workers."
    yield single("tenants_on_probation", "gauge", help, len(inquest.probation.tenants()))
    help = "What workers said of workloads that they were not told to run."
    yield single("workers_overreached_total", "counter", help, fleet.hearing.overreached)
    help = "Ends that workers told and that are of nothing placed on them."
    yield single("worker_ends_unbelieved_total", "counter", help, inquest.unbelieved)
    help = "Lines of job logs that were not kept, by reason."
    yield by_label("log_lines_dropped_total", "counter", help, "reason", sorted(engine.logbook.dropped.items()))
    help = "Dead letters that were lost because their file could not be written."
    yield single("dead_letters_lost_total", "counter", help, engine.letterbox.lost)
    help = "Spans that were not sent: nobody took them, or they were too many."
    yield single("spans_lost_total", "counter", help, 0 if engine.spans is None else engine.spans.lost)


def _invocations(engine: Engine) -> Iterator[Family]:
    states = [
        Sample(number, {"tenant": tenant, "state": state})
        for (tenant, state), number in sorted(engine.ends.states.items())
    ]
    yield Family("invocations_total", "counter", "Invocations that ended, by state.", states)
    took = sorted(engine.ends.seconds.items())
    yield by_label("invocation_duration_seconds", "histogram", "From the call to the end.", "tenant", took)
    owed = engine.pending.owed()
    yield single("invocations_open", "gauge", "Invocations that have not ended.", len(owed))
    if owed:
        oldest = min(owed) / clock.NANOSECONDS
        yield single("invocation_oldest_timestamp_seconds", "gauge", "When the oldest of them was asked for.", oldest)
