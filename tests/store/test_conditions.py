"""The step m0030, and what is kept of conditions: bounded, and forgotten with what it is about."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

import pytest

from core.model.condition import Kind, Subject
from core.model.states import WorkloadState
from core.store import conditions, workloads
from core.store.conditions import Changes, ConditionRow, OutageRow, TransitionRow
from core.store.workloads import Report
from tests.engines import ADMIN, deploy, engine_on

pytestmark = pytest.mark.anyio
JOB = "name: {name}\ninput: {{echo: {{event: x, trigger: {{interval: 1h}}}}}}\noutput: {{discard: {{}}}}"
SUBJECT = Subject(Kind.WORKLOAD, "tenant-a", "kept#0")
OLD_NS = 1_700_000_000_000_000_000


async def test_a_database_from_before_begins_with_what_its_workers_told_last(tmp_path: Path) -> None:
    home = tmp_path / "home"
    async with engine_on(home) as engine:
        for name in ("kept", "broken", "barred"):
            put = await deploy(engine, JOB.format(name=name))
            assert put
        states = {"broken": WorkloadState.FAILED, "barred": WorkloadState.QUARANTINED, "kept": WorkloadState.RUNNING}
        versions = {row.job: row.version for row in await engine.database.read(workloads.all_rows)}
        reports = [Report(state, "why", 2, OLD_NS, f"tenant-a/{job}#0", versions[job]) for job, state in states.items()]
        await engine.database.write(workloads.report, reports)
    with contextlib.closing(sqlite3.connect(home / "sluice.db")) as older, older:
        for table in ("conditions", "transitions", "outages", "engine_signs"):
            older.execute(f"DROP TABLE {table}")
        older.execute("DELETE FROM _sqlite_migrations WHERE name IN ('m0029_conditions', 'm0030_typed_conditions')")
    older.close()
    async with engine_on(home, workers=0) as engine:
        rows = {row.name: row for row in await engine.database.read(conditions.all_rows) if row.kind == Kind.WORKLOAD}
        kept = rows.pop("kept#0")
        assert (kept.health, kept.reason) == ("down", "the engine was stopped") and kept.since_ns > OLD_NS
        moves = await engine.database.read(conditions.transitions, SUBJECT)
        assert [(one.before, one.after) for one in moves] == [("healthy", "down")]
        assert {name: (row.health, row.since_ns, row.reason, row.failures) for name, row in rows.items()} == {
            "broken#0": ("failing", OLD_NS, "why", 1),
            "barred#0": ("quarantined", OLD_NS, "why", 0),
        }
        shown = await engine.call("job_get", {"name": "broken"}, ADMIN)
        (workload,) = shown["workloads"]
        assert (workload["health"], workload["since"]) == ("failing", "2023-11-14T22:13:20.000Z")


async def test_it_is_bounded_and_goes_with_the_workload(tmp_path: Path) -> None:
    async with engine_on(tmp_path / "home") as engine:
        await deploy(engine, JOB.format(name="kept"))
        for at_ns in range(1, 4 * conditions.MOST_TRANSITIONS):
            moved = TransitionRow(*SUBJECT, at_ns, "healthy", "down", "")
            outage = OutageRow("tenant-a", "kept#0", at_ns, "", "local-1", "worker-lost", at_ns + 1)
            await engine.database.write(conditions.record, Changes(transitions=[moved], outages={outage[:3]: outage}))
        kept = await engine.database.read(conditions.transitions, SUBJECT, 1000)
        assert len(kept) == conditions.MOST_TRANSITIONS
        assert len(await engine.database.read(conditions.outages, "tenant-a", 0)) == conditions.MOST_OUTAGES
        await engine.call("job_undeploy", {"name": "kept"}, ADMIN)
        await engine.database.write(lambda db: None)  # what this tick has brought is written
        assert [row for row in await engine.database.read(conditions.all_rows) if row.subject == SUBJECT] == []
        assert await engine.database.read(conditions.transitions, SUBJECT) == []
        assert await engine.database.read(conditions.outages, "tenant-a", 0) == []


async def test_what_nothing_wants_is_forgotten_at_the_next_start(tmp_path: Path) -> None:
    async with engine_on(tmp_path / "home", workers=0) as engine:
        row = ConditionRow(*SUBJECT, "", "kept", "", 0, "1", "healthy", 1, "", 0, 0, 0, 0)
        place = row._replace(kind="deployment", name="gone")
        changes = Changes({one.subject: one for one in (row, place)})
        await engine.database.write(conditions.record, changes)
    async with engine_on(tmp_path / "home", workers=0) as engine:
        assert [row for row in await engine.database.read(conditions.all_rows) if row.tenant] == []
