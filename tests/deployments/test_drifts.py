"""Five hundred generated drifts: each is told, one pass mends what can be mended, and the second pass does nothing."""

from __future__ import annotations

import dataclasses
import random
from dataclasses import dataclass

import orjson

from core.deployments import edits, healing, placement, reconcile, rollout
from core.deployments.reconcile import DriftKind, Held, Presence, Seen, StepAction
from core.documents import canonical
from core.model.deployment import Job, Role, State, Worker
from core.model.deployment import workloads as wanted
from core.model.workload import WorkloadRow
from tests import cases

TENANT, NAME, PATIENCE = "t", "demo", 10.0


@dataclass
class World:
    """What a store and workers would hold, without either."""

    wish: State
    rows: dict[str, WorkloadRow]
    workers: dict[str, Presence]
    failing: set[str]  # workloads that never come up
    held: dict[str, Held]

    def seen(self) -> dict[str, Seen]:
        out = {}
        for id, row in self.rows.items():
            present = self.workers.get(row.worker)
            up = present is not None and present.worker.online and id not in self.failing
            state = "running" if up else "failed" if id in self.failing else "assigned"
            document = orjson.loads(row.document)
            held = self.held.get(id, Held.AS_TOLD)
            out[id] = Seen(id, row.worker, row.version, state, "", document, held)
        return out

    def decide(self, ignored: edits.Ignored = edits.NOTHING) -> reconcile.Decision:
        present = healing.workers_for(self.wish, self.workers, PATIENCE + 1, frozenset())
        return reconcile.decide(TENANT, self.wish, self.seen(), present, patience_seconds=PATIENCE, ignored=ignored)

    def mend(self, decided: reconcile.Decision, ignored: edits.Ignored = edits.NOTHING) -> None:
        self.wish = dataclasses.replace(self.wish, assignments=decided.assignments)
        muted = frozenset(one.id for one in decided.drift if one.muted)
        wanted_rows = rollout.workload_rows(TENANT, NAME, self.wish, 1)
        self.rows = {row.id: row for row in healing.left_alone(wanted_rows, self.rows, muted, ignored)}
        self.held = {id: held for id, held in self.held.items() if id in muted}


def job(name: str, group: str, replicas: int) -> Job:
    document = {"name": f"{NAME}--{name}", "input": {"echo": {"event": name}}, "output": {"print": "STDOUT"}}
    return Job(
        f"{NAME}--{name}", name, Role.STEP, "blueprint:x@1.0.0", group, replicas, document, canonical.digest(document)
    )


def world(chance: random.Random) -> World:
    workers = [
        Worker(f"w{n}", chance.choice(["default", "default", "edge"]), slots=chance.choice([3, 64]))
        for n in range(chance.randint(2, 6))
    ]
    workers += [Worker("w8", "default"), Worker("w9", "edge")]
    jobs = {
        one.name: one
        for one in (
            job(f"j{n}", chance.choice(["default", "edge"]), chance.randint(1, 3)) for n in range(chance.randint(1, 6))
        )
    }
    in_default = [name for name, one in jobs.items() if one.group == "default"]
    together = (tuple(in_default[:2]),) if len(in_default) > 1 and chance.random() < 0.5 else ()
    placed = placement.place(jobs, together, workers, {})
    wish = State(jobs=jobs, together=together, assignments=placed.assignments)
    rows = {row.id: row for row in rollout.workload_rows(TENANT, NAME, wish, 0)}
    return World(wish, rows, {one.name: Presence(one) for one in workers}, set(), {})


def disturb(there: World, chance: random.Random) -> None:
    """One drift of any kind."""
    ids = sorted(there.rows)
    names = sorted(there.workers)
    match chance.choice("delete add edit move version lost back regroup drain fail hold forget".split()):
        case "delete" if ids:
            del there.rows[chance.choice(ids)]
        case "add" if ids:
            row = there.rows[chance.choice(ids)]
            id = f"{TENANT}/{NAME}--extra#{chance.randint(0, 9)}"
            there.rows[id] = dataclasses.replace(row, id=id, job=f"{NAME}--extra")
        case "edit" if ids:
            row = there.rows[chance.choice(ids)]
            document = orjson.loads(row.document)
            document["input"]["echo"][chance.choice(["event", "json", "extra"])] = chance.randint(0, 9)
            there.rows[row.id] = dataclasses.replace(row, document=orjson.dumps(document).decode())
        case "move" if ids:
            id = chance.choice(ids)
            there.rows[id] = dataclasses.replace(there.rows[id], worker=chance.choice([*names, "w77"]))
        case "version" if ids:
            id = chance.choice(ids)
            there.rows[id] = dataclasses.replace(there.rows[id], version="old")
        case "lost":
            _worker(there, chance.choice(names), online=False, gone=chance.choice([1.0, 99.0]))
        case "back":
            _worker(there, chance.choice(names), online=True, gone=0.0)
        case "regroup":
            name = chance.choice(names)
            worker = dataclasses.replace(there.workers[name].worker, group=chance.choice(["default", "edge", "new"]))
            there.workers[name] = dataclasses.replace(there.workers[name], worker=worker)
        case "drain":
            name = chance.choice(names)
            worker = dataclasses.replace(there.workers[name].worker, drained=chance.random() < 0.7)
            there.workers[name] = dataclasses.replace(there.workers[name], worker=worker)
        case "fail" if ids:
            there.failing.add(chance.choice(ids))
        case "hold" if ids:
            there.held[chance.choice(ids)] = Held.ANOTHER
        case "forget" if ids:
            there.held[chance.choice(ids)] = Held.NOTHING


def _worker(there: World, name: str, *, online: bool, gone: float) -> None:
    there.workers[name] = Presence(dataclasses.replace(there.workers[name].worker, online=online), gone)


@cases.table("decade", range(10))
def test_generated_drifts_converge_and_the_second_pass_does_nothing(decade: int) -> None:
    for seed in range(decade * 50, decade * 50 + 50):
        chance = random.Random(seed)
        there = world(chance)
        assert there.decide().drift == (), seed
        for _ in range(chance.randint(1, 4)):
            disturb(there, chance)
        before = there.wish
        decided = there.decide()
        if decided.acts:
            there.mend(decided)
        again = there.decide()
        assert not again.acts, (seed, again.steps)
        # What is left mends itself, or has no place to go to: it waits, and every drift is told.
        assert {step.action for step in again.steps} <= {StepAction.WAIT}
        assert {one.id for one in again.drift} == {step.id for step in again.steps}, seed
        for one in again.drift:
            kinds = (DriftKind.NOT_RUNNING, DriftKind.WORKER_OFFLINE, DriftKind.MOVED, DriftKind.MISSING)
            assert one.kind in kinds, (seed, one)
        _nothing_moved_without_need(there, before, seed)
        _neighbours_share_a_worker(there, seed)


def _nothing_moved_without_need(there: World, before: State, seed: int) -> None:
    """A replica leaves a worker only when it is gone for long, drained, or of another group; or with its neighbours."""
    neighbours = {name for members in there.wish.together for name in members}
    for name, chosen in there.wish.assignments.items():
        for old, new in zip(before.assignments[name], chosen, strict=True):
            if old == new or not old:
                continue
            present = there.workers[old]
            left = present.gone_seconds >= PATIENCE or present.worker.drained
            assert left or present.worker.group != there.wish.jobs[name].group or name in neighbours, (seed, name)
            target = there.workers[new].worker
            assert target.online and not target.drained and target.group == there.wish.jobs[name].group, (seed, name)


def _neighbours_share_a_worker(there: World, seed: int) -> None:
    for members in there.wish.together:
        seats = min(there.wish.jobs[name].replicas for name in members)
        for seat in range(seats):
            assert len({there.wish.assignments[name][seat] for name in members}) == 1, seed


@cases.table("seed", range(60))
def test_muted_drift_is_shown_and_left_exactly_as_it_is(seed: int) -> None:
    chance = random.Random(seed)
    there = world(chance)
    ignored = edits.Ignored(["job:*"])
    for _ in range(3):
        disturb(there, chance)
    before = dict(there.rows)
    decided = there.decide(ignored)
    assert all(one.muted for one in decided.drift)
    drifted = {one.id for one in decided.drift}
    there.mend(decided, ignored)
    for id in drifted:
        assert there.rows.get(id) == before.get(id)


def test_an_ignored_edit_stays_while_the_rest_of_the_document_is_mended() -> None:
    there = world(random.Random(1))
    id = next(iter(there.rows))
    row = there.rows[id]
    document = orjson.loads(row.document)
    edited = {**document, "input": {"echo": {"event": "mine"}}, "output": {"discard": {}}}
    there.rows[id] = dataclasses.replace(row, document=orjson.dumps(edited).decode())
    ignored = edits.Ignored([f"job:{row.job}/document/input/echo/event"])
    (one,) = there.decide(ignored).drift
    assert (one.kind, one.muted, one.fields) == (
        DriftKind.MODIFIED,
        False,
        ("document/output/print", "document/output/discard"),
    )
    there.mend(there.decide(ignored), ignored)
    assert orjson.loads(there.rows[id].document) == {**document, "input": {"echo": {"event": "mine"}}}
    (left,) = there.decide(ignored).drift
    assert left.muted and left.fields == ("document/input/echo/event",)
    assert not there.decide(ignored).acts


def test_every_wanted_replica_has_a_row_after_a_pass_unless_nobody_can_take_it() -> None:
    for seed in range(100):
        there = world(random.Random(seed))
        there.rows.clear()
        there.mend(there.decide())
        assert set(there.rows) == {one.id for one in wanted(TENANT, there.wish) if one.worker}
