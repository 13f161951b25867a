"""Drifts of every kind, by random means, of a real engine with real workers: each is told with its kind and mended, the
second pass writes nothing, and nothing is touched but what had drifted."""

from __future__ import annotations

import dataclasses
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio
import orjson
import psutil
import pytest

from core.deployments.reconcile import DriftKind
from core.deployments.status import up
from core.documents import canonical
from core.engine import Engine
from core.fleet import failing
from core.fleet.connection import Worker
from core.model import frames
from core.model.deployment import fingerprint
from core.model.message import Kind, Type
from core.model.workload import WorkloadRow
from core.store import workloads as workload_table
from tests.engines import ADMIN, engine_on

pytestmark = pytest.mark.anyio

LISTEN = """
kind: blueprint
slug: {slug}
version: 1.0.0
title: Wait for messages
jobs:
  - name: job
    input: {{internal-messages: {{filter-tag: {slug}}}}}
    output: {output}
"""
STEADY, FRAGILE, OTHER = "steady", "fragile", "other"
LOOKS = 5
REPLICAS = {STEADY: 6, FRAGILE: 1, OTHER: 3}
SIZES = [pytest.param(22, id="ci"), pytest.param(500, id="soak", marks=pytest.mark.soak)]
Rows = dict[str, WorkloadRow]


class World:
    """An engine with three deployments on three workers; `told` is what workers were told, by workload."""

    def __init__(self, engine: Engine, blocked: Path, chance: random.Random) -> None:
        self.engine = engine
        self.blocked = blocked  # the file of the fragile job, which cannot write while it is a directory
        self.chance = chance
        self.told: set[str] = set()
        self.waits = False  # whether the drift mends itself, and reconcile leaves it alone
        self.after: list[Callable[[], Awaitable[None]]] = []  # what ends the cause of a drift

    async def call(self, operation: str, **arguments: Any) -> dict[str, Any]:
        return await self.engine.call(operation, arguments, ADMIN)

    async def rows(self) -> Rows:
        return {row.id: row for row in await self.engine.database.read(workload_table.all_rows)}

    async def write(self, sql: str, *values: Any) -> None:
        await self.engine.database.write(lambda db: db.conn.execute(sql, values) and None)

    async def wait(self, true: Callable[[], bool]) -> None:
        with anyio.fail_after(30):
            assert await self.engine.fleet.wait(true, 30)

    def worker(self, name: str) -> Worker:
        return self.engine.fleet.workers[name]

    def elsewhere(self, name: str) -> str:
        return self.chance.choice(sorted(set(self.engine.fleet.workers) - {name}))

    def settled(self) -> bool:
        there = self.engine.fleet.workload_views(tenant=ADMIN.tenant)
        return self.engine.fleet.settled([one.id for one in there]) and all(map(up, there))


async def _deployed(engine: Engine, name: str, output: str) -> None:
    await engine.call("workflow_save_draft", {"document": LISTEN.format(slug=name, output=output)}, ADMIN)
    await engine.call("workflow_publish", {"slug": name, "type": "blueprint"}, ADMIN)
    wanted = {"name": name, "source": f"blueprint:{name}@1.0.0", "replicas": {name: REPLICAS[name]}}
    made = await engine.call("deployment_plan", wanted, ADMIN)
    result = await engine.call("deployment_apply", {"plan_id": made["plan_id"]}, ADMIN)
    assert result["state"] == "running", result


# -- one way to disturb a workload each: what is expected of it, as its id and the kind of its drift ------------------

Expected = dict[str, str]


async def _known(world: World) -> None:
    """Half of the time what somebody did to the store is done on the workers as well, as after another apply."""
    if world.chance.random() < 0.5:
        await world.engine.fleet.sync()


async def deleted(world: World, row: WorkloadRow) -> Expected:
    await world.write("DELETE FROM workloads WHERE id = ?", row.id)
    await _known(world)
    return {row.id: "missing"}


async def edited(world: World, row: WorkloadRow) -> Expected:
    document = orjson.loads(row.document)
    match world.chance.randrange(4):
        case 0:
            document["output"] = {"discard": {}}
        case 1:
            document["input"]["internal-messages"]["filter-tag"] = f"t{world.chance.random()}"
        case 2:
            document["name"] = f"n{world.chance.random()}"
        case _:
            document[f"k{world.chance.random()}"] = {"a": [1, 2]}  # no worker can run that
    await world.write("UPDATE workloads SET document = ? WHERE id = ?", orjson.dumps(document).decode(), row.id)
    await _known(world)
    return {row.id: "modified"}


async def garbled(world: World, row: WorkloadRow) -> Expected:
    text = world.chance.choice(["{not json", "[]", "7", '{"input": 7}', "null", ""])
    await world.write("UPDATE workloads SET document = ? WHERE id = ?", text, row.id)
    await _known(world)
    return {row.id: "modified" if text.startswith('{"') else "missing"}  # what is no object is not there


async def of_another_version(world: World, row: WorkloadRow) -> Expected:
    await world.write("UPDATE workloads SET version = ? WHERE id = ?", f"v{world.chance.random()}", row.id)
    await _known(world)
    return {row.id: "out-of-sync"}


async def moved(world: World, row: WorkloadRow) -> Expected:
    await world.write("UPDATE workloads SET worker = ? WHERE id = ?", world.elsewhere(row.worker), row.id)
    await _known(world)
    return {row.id: "moved"}


async def added(world: World, row: WorkloadRow) -> Expected:
    job = f"{STEADY}--more{world.chance.randrange(10**9)}"
    extra = dataclasses.replace(row, id=f"{ADMIN.tenant}/{job}#0", job=job)
    await world.engine.database.write(lambda db: db.table("workloads").insert(dataclasses.asdict(extra)) and None)
    await _known(world)
    return {extra.id: "extra"}


def _tell(world: World, row: WorkloadRow, frame: frames.Frame) -> None:
    link = world.worker(row.worker).channel
    assert link is not None
    link.send(frames.encode(frame))


def _assignment(row: WorkloadRow, **other: Any) -> frames.Assign:
    told = {key: getattr(row, key) for key in ("tenant", "job", "version", "replica", "document")}
    return frames.Assign(**{"workload": row.id, **told, **other})


async def stopped_on_its_worker(world: World, row: WorkloadRow) -> Expected:
    _tell(world, row, frames.Unassign(row.id))
    return {row.id: "out-of-sync"}


async def changed_on_its_worker(world: World, row: WorkloadRow) -> Expected:
    document = {**orjson.loads(row.document), "output": {"discard": {}}}
    _tell(world, row, _assignment(row, document=orjson.dumps(document).decode()))
    return {row.id: "modified"}


async def foreign_on_a_worker(world: World, row: WorkloadRow) -> Expected:
    job = f"{STEADY}--stray{world.chance.randrange(10**9)}"
    id = f"{ADMIN.tenant}/{job}#0"
    _tell(world, row, _assignment(row, workload=id, job=job))
    return {id: "extra"}


ALONE = (  # of one workload
    deleted, edited, garbled, of_another_version, moved, added,
    stopped_on_its_worker, changed_on_its_worker, foreign_on_a_worker,
)  # fmt: skip


async def _all_on(world: World, worker: str, kind: str) -> Expected:
    return {id: kind for id, row in (await world.rows()).items() if row.worker == worker}


async def worker_in_another_group(world: World, row: WorkloadRow) -> Expected:
    name = row.worker

    async def put(group: str) -> None:
        sql = "INSERT OR REPLACE INTO workers (name, group_name, labels, drained, updated_at_ns, updated_by)"
        await world.write(f"{sql} VALUES (?, ?, '[]', 0, 0, 'somebody')", name, group)
        await world.engine.fleet.groups.load(world.engine.fleet.workers.values())

    await put("edge")
    world.after.append(lambda: put("default"))
    return await _all_on(world, name, "moved")


def _never(*_: Any) -> Any:
    raise OSError("no more processes")


async def worker_away(world: World, row: WorkloadRow) -> Expected:
    """It stays away until what it ran has moved."""
    return await _without(world, world.worker(row.worker))


async def worker_back(world: World, row: WorkloadRow) -> Expected:
    """It is away for less than the patience: nothing moves."""
    world.waits = True
    patient = world.engine.settings.model_copy(update={"reconcile_patience_seconds": 60.0})
    before, world.engine.settings = world.engine.settings, patient

    async def impatient() -> None:
        world.engine.settings = before

    world.after.append(impatient)
    return await _without(world, world.worker(row.worker))


async def _without(world: World, lost: Worker) -> Expected:
    """Kill a worker; it is started again behind the reconcile."""
    processes = world.engine.fleet.processes
    spawn, processes.spawn = processes.spawn, _never

    async def back() -> None:
        processes.spawn = spawn
        await world.wait(lambda: lost.online)

    world.after.append(back)
    assert lost.pid is not None
    psutil.Process(lost.pid).kill()
    await world.wait(lambda: not lost.online)
    return await _all_on(world, lost.name, "worker-offline")


async def failing_job(world: World, row: WorkloadRow) -> Expected:
    """Reconcile leaves it alone: it would fail elsewhere as well."""
    world.waits = True
    world.blocked.unlink(missing_ok=True)
    world.blocked.mkdir()
    traffic = world.engine.traffic
    traffic.message(ADMIN.tenant, kind=Kind.USER, type=Type.USER_GENERATED, tag=FRAGILE, data={"job_event": 1})
    traffic.flush()
    fragile = f"{ADMIN.tenant}/{FRAGILE}--{FRAGILE}#0"
    shown = world.engine.fleet.workload_views
    await world.wait(lambda: any(one.id == fragile and not up(one) for one in shown(tenant=ADMIN.tenant)))

    async def mend() -> None:
        world.blocked.rmdir()
        await world.wait(world.settled)

    world.after.append(mend)
    return {fragile: "not-running"}


WIDE = (worker_in_another_group, worker_away, worker_back, failing_job)  # of all on a worker, or of a job that fails


async def _disturb(world: World, bag: list[Any], most: int) -> tuple[Expected, str]:
    """One to three drifts at once, of different workloads; or one that is of a whole worker."""
    rows = [row for row in (await world.rows()).values() if row.deployment == STEADY]
    world.chance.shuffle(rows)
    if bag[-1] in WIDE:
        means = bag.pop()
        return await means(world, rows[0]), means.__name__
    expected: Expected = {}
    names = []
    for row in rows[: min(most, world.chance.choice((1, 1, 2, 3)))]:
        if not bag or bag[-1] in WIDE:
            break
        means = bag.pop()
        expected |= await means(world, row)
        names.append(means.__name__)
    return expected, ", ".join(names)


def _documents(rows: Rows) -> str:
    return canonical.digest({id: [row.version, row.document] for id, row in sorted(rows.items())})


def _kept(rows: Rows, but: Expected) -> Any:
    """What of the rows nobody may touch, apart from what workers report."""
    return {
        id: dataclasses.replace(row, state="", reason="", restarts=0, updated_at_ns=0)
        for id, row in rows.items()
        if id not in but
    }


async def _drift(world: World, **options: Any) -> tuple[Expected, set[str]]:
    """The drift of all deployments, and the actions of the steps that were taken about it."""
    found: Expected = {}
    actions = set()
    for name in REPLICAS:
        answer = await world.call("deployment_reconcile", name=name, **options)
        found |= {one["id"]: one["kind"] for one in answer["drift"]}
        actions |= {step["action"] for step in answer["steps"]}
    return found, actions


async def _written(world: World) -> int:
    """How many rows were changed so far."""
    changes: int = await world.engine.database.write(lambda db: db.conn.total_changes)
    return changes


async def _reconciled(world: World, expected: Expected, applied: Rows, where: str) -> None:
    before = await world.rows()
    revisions = await _revisions(world)
    kinds, waits, world.waits = set(expected.values()), world.waits, False
    found, _ = await _drift(world, dry_run=True)
    assert found == expected, where
    assert await _revisions(world) == revisions, where
    world.told.clear()
    found, actions = await _drift(world, wait_seconds=0 if waits else 2 if "worker-offline" in kinds else 20)
    assert found == expected, where
    while world.after:
        await world.after.pop()()
    await world.wait(world.settled)
    acted = await _revisions(world)
    if waits:
        assert actions == {"wait"} and acted == revisions, where
    else:
        assert all(revision in (old, old + 1) for revision, old in zip(acted, revisions, strict=True)), where
        assert acted != revisions, where
    after = await world.rows()
    assert _documents(after) == _documents(applied), where
    if waits or kinds <= {"missing", "modified", "out-of-sync", "extra"}:
        assert {id: row.worker for id, row in after.items()} == {id: row.worker for id, row in applied.items()}
    assert _kept(after, expected) == _kept(before, expected), f"{where}: something else was touched"
    assert world.told <= set(expected), f"{where}: something else was told to a worker"
    await _nothing_left(world, after, where)
    applied.update(after)  # where each replica is now


async def _revisions(world: World) -> list[int]:
    return [int((await world.call("deployment_get", name=name))["revision"]) for name in REPLICAS]


async def _nothing_left(world: World, rows: Rows, where: str) -> None:
    """What runs is what was applied, and a second pass finds nothing and writes nothing."""
    for name in REPLICAS:
        await world.engine.rollouts.reached(ADMIN.tenant, name, 20)
    held = await world.engine.fleet.holdings()
    assert not (held.nothing or held.another or held.stray), (where, held)
    for id, row in rows.items():
        assert world.worker(row.worker).sent[id] == fingerprint(row.version, row.document), where
    for _ in range(LOOKS):  # what jobs did is written by itself meanwhile, now and then
        before = await _written(world)
        commits = world.engine.database.commits
        assert await _drift(world) == ({}, set()), where
        if world.engine.database.commits == commits and await _written(world) == before:
            break
    else:
        pytest.fail(f"{where}: a look writes")
    for name in REPLICAS:
        shown = await world.call("deployment_get", name=name)
        up_all = f"{REPLICAS[name]}/{REPLICAS[name]}"
        assert (shown["state"], shown["workloads_up"], shown["drift"]) == ("running", up_all, []), where


@pytest.mark.parametrize("count", SIZES)
async def test_drifts_of_every_kind_are_told_and_mended_and_nothing_else_is_touched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    monkeypatch.setattr(failing, "SETTLED_SECONDS", 0.3)
    chance = random.Random(count)
    settings = {"workers": 3, "reconcile_interval_seconds": 3600.0, "reconcile_patience_seconds": 0.5}
    done: Counter[str] = Counter()
    kinds: Counter[str] = Counter()
    bag: list[Any] = []
    async with engine_on(tmp_path / "home", **settings) as engine:
        world = World(engine, tmp_path / "blocked", chance)
        for name in REPLICAS:
            output = (
                f"{{file: {{path: {world.blocked}, file-per-event: true}}}}" if name == FRAGILE else "{print: STDOUT}"
            )
            await _deployed(engine, name, output)
        await world.call("worker_group_create", name="edge")
        await world.wait(world.settled)
        _listen(world, monkeypatch)
        applied = await world.rows()
        assert len(applied) == sum(REPLICAS.values())
        while (so_far := done.total()) < count:
            if not bag:
                bag = [*ALONE, *ALONE, *WIDE]
                chance.shuffle(bag)
            expected, names = await _disturb(world, bag, count - so_far)
            await _reconciled(world, expected, applied, f"drift {so_far}: {names}")
            done.update(names.split(", "))
            kinds.update(expected.values())
    assert done.total() == count
    assert set(kinds) == {kind.value for kind in DriftKind}, kinds
    print(dict(done), dict(kinds))


def _listen(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Note which workloads workers are told of."""
    encode = frames.encode

    def noted(frame: frames.Frame) -> bytes:
        if isinstance(frame, frames.Assign | frames.Unassign):
            world.told.add(frame.workload)
        return encode(frame)

    monkeypatch.setattr(frames, "encode", noted)
