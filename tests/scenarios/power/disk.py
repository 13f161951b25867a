"""A rebuilt disk, opened by the real code: what it lacks of what callers were told, and what of it is not whole."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import orjson
from sqlite_utils import Database as Table

from core import errors
from core.deployments import rollout
from core.model import invocation
from core.model.deployment import State
from core.model.states import DeploymentState, PlanState
from core.model.workload import WorkloadRow
from core.store import deployments, migrations, workloads
from core.store.database import open_database
from tests.scenarios.power.replay import Event

FILES = ("sluice.db", "sluice.db-wal", "sluice.db-journal")  # the last one while the database is made
Told = list[list[str]]


def answers(events: Iterable[Event]) -> list[tuple[int, list[str]]]:
    """What callers were told, and by which event: an answer counts when it was written, synced or not."""
    return [
        (at, event.data.decode().split())
        for at, event in enumerate(events, 1)
        if event.kind == "W" and event.name == "answers"
    ]


def write(folder: Path, files: Mapping[str, bytes]) -> None:
    folder.mkdir(parents=True)
    for name in FILES:
        if name in files:
            (folder / name).write_bytes(files[name])


async def faults(folder: Path, files: Mapping[str, bytes], told: Told) -> list[str]:
    """What is wrong with a rebuilt disk; one entry when the database cannot be read, or is not whole."""
    write(folder, files)
    try:
        database = open_database(folder / FILES[0])
        try:
            return await database.read(_faults, told)
        finally:
            await database.close()
    except errors.StorageUnavailable as error:
        return [f"cannot be read: {error.message}"]
    finally:
        shutil.rmtree(folder)


def _faults(db: Table, told: Told) -> list[str]:
    fault = db.execute("PRAGMA integrity_check").fetchone()[0]
    if fault != "ok":
        return [f"not whole: {fault}"]
    return [*_lost(db, told), *_half_migrated(db), *_half_applied(db)]


def _lost(db: Table, told: Told) -> list[str]:
    runs = {
        invocation.text_id(id, nonce): state
        for id, nonce, state in db.execute("SELECT id, nonce, state FROM invocations")
    }
    plans = dict(db.execute("SELECT id, state FROM plans"))
    applied = {(name, revision): plan for name, revision, plan in _history(db)}
    variables = dict(db.execute("SELECT name, value FROM variables"))
    lost = []
    latest: dict[str, int] = {}
    for what, *words in told:
        match what, words:
            case "run", [id, state]:
                if runs.get(id) != state:
                    lost.append(f"run {id} was told as {state}, is {runs.get(id)}")
            case "plan", [id, _]:
                if id not in plans:
                    lost.append(f"plan {id} is not there")
            case "apply", [name, revision, plan]:
                if applied.get((name, int(revision))) != plan or plans.get(plan) != PlanState.APPLIED:
                    lost.append(f"{name} was told to be at {revision} by {plan}, which is {plans.get(plan)}")
            case "variable", [name, value]:
                latest[name] = int(value)
    for name, value in latest.items():  # each counts down; a later one, of which nobody was told, may be there
        if name not in variables or int(variables[name]) > value:
            lost.append(f"{name} was told as {value}, is {variables.get(name)}")
    return lost


def _history(db: Table) -> list[tuple[str, int, str]]:
    return list(db.execute("SELECT name, revision, plan_id FROM deployment_history ORDER BY id"))


def schema(db: Table) -> list[tuple[str, str]]:
    """Every table and index. The database has to be migrated."""
    return sorted(db.execute("SELECT name, ifnull(sql, '') FROM sqlite_schema"))


def _reference() -> list[tuple[str, str]]:
    with closing(sqlite3.connect(":memory:")) as connection:
        db = Table(connection)
        migrations.migrate(db)
        return schema(db)


_WHOLE = _reference()


def _half_migrated(db: Table) -> list[str]:
    """Whether the schema is another one than that of a new database, or what a step counted is not what is there."""
    found = [f"schema: {what[0]}" for what in {*_WHOLE} ^ {*schema(db)}]
    counted = dict(db.execute("SELECT tenant, bytes FROM kv_usage"))
    there: dict[str, int] = {}
    for namespace, key, value in db.execute("SELECT namespace, key, value FROM kv_entries"):
        tenant = namespace.partition(":")[0]
        there[tenant] = there.get(tenant, 0) + 64 + len(f"{key}{value}".encode())
    return found if counted == there else [*found, f"kv: {counted} is counted, and {there} is there"]


def _half_applied(db: Table) -> list[str]:
    """Whether an apply is there in part: its revision, plan, history and workloads belong together."""
    found = []
    rows = [row for row in deployments.all_rows(db, "tenant-a") if row.state != DeploymentState.REMOVED]
    by_plan = {plan: revision for _, revision, plan in _history(db)}
    for id, state in db.execute("SELECT id, state FROM plans"):
        if (state == PlanState.APPLIED) != (id in by_plan):
            found.append(f"plan {id} is {state}, and its revision is {by_plan.get(id)}")
    kept = [row for row in workloads.all_rows(db) if row.deployment]
    for row in rows:
        revisions = [revision for name, revision, _ in _history(db) if name == row.name]
        if revisions != list(range(1, row.revision + 1)):
            found.append(f"{row.name} is at {row.revision}, its history: {revisions}")
        if deployments.wish(db, "tenant-a", row.name, row.revision) != row.desired:
            found.append(f"{row.name}: its wish is not that of its revision")
        wanted = rollout.workload_rows("tenant-a", row.name, State.from_dict(row.desired), 0)
        if _told(wanted) != _told([one for one in kept if one.deployment == row.name]):
            found.append(f"{row.name}: its workloads are not those of its wish")
    if stray := {row.deployment for row in kept} - {row.name for row in rows}:
        found.append(f"workloads of {stray}, which are not there")
    return found


def _told(rows: list[WorkloadRow]) -> list[Any]:
    """What workers are told of workloads, in an order."""
    return sorted((row.id, row.worker, row.version, _text(row.document)) for row in rows)


def _text(document: str) -> str:
    return orjson.dumps(orjson.loads(document), option=orjson.OPT_SORT_KEYS).decode()
