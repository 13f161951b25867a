"""Whoever owns the machine of a worker gets what is meant for it alone; a worker that stood still is over."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, TypeVar, get_args

import anyio
import psutil
import pytest

from core import channel, errors
from core.engine import Engine
from core.external.tunnel import Tunnel
from core.external.ways import ByCredential, OverNats
from core.model import frames
from core.model.principal import Caller, Principal, Role, Surface
from core.model.states import WorkloadState
from tests import processes, waiting
from tests.engines import ADMIN, engine_on
from tests.external import rig, server

pytestmark = pytest.mark.anyio

EVIL = Caller(Principal("mallory", Role.ADMIN, ("evil",)), "evil", Surface.HTTP)
LISTENER = """
name: listens
input: {echo: {trigger: {message: {filter-kind: user, filter-type: [user-generated], filter-tag: go}}, json: true,
  event: "{}"}}
actions: [{add: {output-fields: {key: "${secret|token}"}}}]
output: {message: {input-field: key, tag: told}}
"""


@pytest.fixture
def bus() -> Iterator[server.Server]:
    with server.running() as started:
        yield started


@pytest.fixture
async def engine(tmp_path: Path, bus: server.Server) -> AsyncIterator[Engine]:
    async with engine_on(tmp_path / "engine", workers=1, nats=bus.url, **rig.FAST) as running:
        yield running


T = TypeVar("T", bound=frames.Frame)


class Thief:
    """Somebody who owns the machine of a worker, and runs a program of their own in its place."""

    def __init__(self, token: Path, url: str) -> None:
        self.heard: list[frames.Frame] = []
        self.link: channel.Channel
        self.over = asyncio.Event()
        held = token.with_name("thief.credential")
        self.way = ByCredential(
            OverNats(url), held, token=token.read_text(), name="thief", host="thief", slots=64, told=print
        )

    async def join(self) -> None:
        """Raises what the engine refuses with."""
        session = await self.way.join()
        near, far = socket.socketpair()
        line = session.line
        tunnel = Tunnel(far, session.records, line.send, line.take, beat_seconds=0.2, chunk_bytes=line.chunk_bytes)
        self.running = asyncio.create_task(tunnel.run())
        self.link = await channel.over_socket(
            near, codec=frames.OF_ENGINE, on_frame=self.heard.append, on_close=lambda _: self.over.set()
        )
        self.say(frames.Hello("thief"))

    def say(self, frame: frames.Frame) -> None:
        self.link.send(frames.encode(frame))

    async def leave(self) -> None:
        self.link.abort()
        self.running.cancel()
        await asyncio.gather(self.running, return_exceptions=True)
        await self.way.close()

    def told(self, kind: type[T]) -> list[T]:
        return [frame for frame in self.heard if isinstance(frame, kind)]


async def _thief(engine: Engine, bus: server.Server, place: Path, group: str = "edge") -> Thief:
    return Thief(await rig.token(engine, place / "token", group=group), bus.url)


async def test_a_token_opens_no_group_that_does_not_name_its_tenants(
    engine: Engine, bus: server.Server, tmp_path: Path
) -> None:
    with pytest.raises(errors.InvalidParams, match="admits every tenant"):
        await _thief(engine, bus, tmp_path, "default")
    with pytest.raises(errors.NotFound, match="There is no worker group"):
        await _thief(engine, bus, tmp_path, "nowhere")
    await engine.call("worker_group_create", {"name": "edge", "tenants": ["evil"]}, ADMIN)
    thief = await _thief(engine, bus, tmp_path)
    await engine.call("worker_group_update", {"name": "edge", "tenants": ["*"]}, ADMIN)  # opened meanwhile
    with pytest.raises(errors.Forbidden, match="admits every tenant"):
        await thief.join()
    await thief.way.close()


async def test_a_foreign_worker_is_given_nothing_of_tenants_that_its_group_does_not_admit(
    engine: Engine, bus: server.Server, tmp_path: Path
) -> None:
    with anyio.fail_after(60):
        await engine.call("worker_group_create", {"name": "edge", "tenants": ["evil"]}, ADMIN)
        await engine.call("variable_set", {"name": "mine", "value": "canary-variable"}, ADMIN)
        await engine.call("secret_set", {"name": "token", "value": "canary-secret"}, ADMIN)
        await engine.call("job_put", {"document": LISTENER}, ADMIN)
        with pytest.raises(errors.TargetUnavailable, match="has no worker"):
            await engine.call("job_deploy", {"name": "listens", "worker_group": "edge"}, ADMIN)
        await engine.call("job_deploy", {"name": "listens"}, ADMIN)
        await engine.call("secret_set", {"name": "token", "value": "evils-own"}, EVIL)
        await engine.call("job_put", {"document": LISTENER}, EVIL)
        thief = await _thief(engine, bus, tmp_path)
        await thief.join()
        await rig.online(engine, "thief")
        await engine.call("job_deploy", {"name": "listens", "worker_group": "edge", "wait_seconds": 0}, EVIL)
        await waiting.until(lambda: bool(thief.told(frames.Assign)))
        # Somebody who edits the table cannot place a job there either.
        await engine.database.write(lambda db: db.conn.execute("UPDATE workloads SET worker = 'thief'"))
        await engine.fleet.sync()
        (one,) = engine.fleet.workload_views(tenant=ADMIN.tenant, job="listens")
        assert one.reason == "worker group edge does not admit tenant tenant-a"
        await engine.call("variable_set", {"name": "mine", "value": "canary-variable-2"}, ADMIN)
        await engine.call("variable_set", {"name": "own", "value": "evils"}, EVIL)
        await waiting.until(lambda: frames.Variable("evil", "own", "evils") in thief.told(frames.Variable))
        assert {told.tenant for told in thief.told(frames.Assign)} == {"evil"}
        assert not any(b"canary" in frames.encode(frame) for frame in thief.heard)
        names = {row["name"] for row in (await engine.call("worker_list", {}, EVIL))["items"]}
        assert "thief" in names
        outsider = Caller(Principal("olga", Role.ADMIN, ("other",)), "other", Surface.HTTP)
        listed = await engine.call("worker_list", {}, outsider)
        groups = await engine.call("worker_group_list", {}, outsider)
        assert "thief" not in json.dumps(listed) and "edge" not in json.dumps(groups)
        for operation in ("worker_get", "worker_group_get"):
            with pytest.raises(errors.NotFound):
                await engine.call(operation, {"name": "thief" if operation == "worker_get" else "edge"}, outsider)
        await thief.leave()


WRITES = """
name: writes
input: {echo: {trigger: {message: {filter-kind: user, filter-type: [user-generated], filter-tag: write.it}}, json: true,
  event: '{"id": "${msg|job_event.invocation_id}"}'}}
output: {file-store: {path: "{{place}}", object-name: "${id}.json"}}
"""
DISPATCH = {
    "slug": "write-it",
    "display_name": "Write it",
    "description": "Write an object.",
    "parameter_schema": {"type": "object"},
    "target_job_name": "writes",
    "target_message_tag": "write.it",
}


def _context(worker: str, place: str) -> dict[str, Any]:
    return {"worker": worker, "values": {"place": place}}


async def _run(engine: Engine) -> str:
    record = await engine.call("trigger_invoke", {"slug": "write-it"}, ADMIN)
    return str(record["invocation_id"])


OF_OTHERS = "tenant-a/smoke_trigger_handler#0"
FORGED = frames.Json(b'"forged\\n"')
FORGED_OUTAGE = frames.TargetOutage("forged", "forged", 1, 1, "forged")
SPEECHES: list[frames.Frame] = [
    frames.Publish(1, OF_OTHERS, "user", "user-generated", "x", frames.Json(b'{"a":1}')),
    frames.Logs(1, [frames.Lines(OF_OTHERS, 1, frames.Json(b'[["error"],[0],[1],[7],[0]]'), FORGED)]),
    frames.Run(OF_OTHERS, 1, "once", 1, 2, 0, 0, 0, ok=True, reason=""),
    frames.Status(OF_OTHERS, "1", WorkloadState.FAILED, "forged", 0),
    frames.Fired(OF_OTHERS, "schedule", 1, 0),
    frames.Missed(OF_OTHERS, 1, 1, 2, 0),
    frames.Began(OF_OTHERS, "forged-1", "once", 1),
    frames.Beat({OF_OTHERS: frames.Figures(9, 0, 0, 0, 0, 0, 0, 0, 0.0, output_outage=FORGED_OUTAGE)}),
]
OF_ITSELF = {frames.Hello, frames.Bye, frames.Unconfined, frames.Refused}
SETTLES = {frames.Settle}  # which is checked against who holds the delivery, below


def test_every_frame_of_a_worker_is_tried() -> None:
    assert set(get_args(frames.FromWorker)) == {type(one) for one in SPEECHES} | OF_ITSELF | SETTLES


@pytest.mark.parametrize("what", SPEECHES, ids=lambda frame: type(frame).__name__)
async def test_a_worker_that_speaks_for_a_workload_of_others_is_not_heard(
    engine: Engine, bus: server.Server, tmp_path: Path, what: frames.Frame
) -> None:
    with anyio.fail_after(60):
        await engine.call("worker_group_create", {"name": "edge", "tenants": ["evil"]}, ADMIN)
        await rig.publish(engine)
        thief = await _thief(engine, bus, tmp_path)
        await thief.join()
        await rig.online(engine, "thief")
        thief.say(what)
        await waiting.until(lambda: engine.fleet.hearing.overreached == 1)
        if isinstance(what, frames.ACTS):
            await thief.over.wait()
        (workload,) = engine.fleet.workload_views(tenant=ADMIN.tenant, job="smoke_trigger_handler")
        assert (workload.state, workload.reason) == ("running", "")
        assert "forged" not in str(engine.fleet.logs.of(workload.id))
        found = await engine.call("message_search", {}, ADMIN)
        assert [one for one in found["items"] if one.get("worker_id") == "thief"] == []
        assert (await rig.invoke(engine))["state"] == "succeeded"
        await thief.leave()


async def test_a_worker_reaches_no_keys_and_no_deliveries_of_others(
    engine: Engine, bus: server.Server, tmp_path: Path
) -> None:
    with anyio.fail_after(60):
        await engine.call("worker_group_create", {"name": "edge", "tenants": ["evil"]}, ADMIN)
        await rig.publish(engine)
        thief = await _thief(engine, bus, tmp_path)
        await thief.join()
        await rig.online(engine, "thief")
        (local,) = (worker for worker in engine.fleet.workers.values() if worker.pid)
        psutil.Process(local.pid).suspend()
        running = asyncio.create_task(rig.invoke(engine))
        await waiting.until(lambda: any(r.outstanding for r in local.replicas.values()))
        for replica in local.replicas.values():
            for id in replica.outstanding:
                thief.say(frames.Settle(id, "forged"))
        with pytest.raises((errors.Forbidden, channel.ChannelClosed)):
            await thief.link.call("kv", ["tenant-a/smoke_trigger_handler#0", "list", "tenant-a:x", ["", "", 10]])
        psutil.Process(local.pid).resume()
        assert (await running)["state"] == "succeeded"
        await thief.leave()


async def test_a_machine_that_stood_still_runs_nothing_of_its_backlog(
    engine: Engine, bus: server.Server, tmp_path: Path
) -> None:
    """Whoever wakes up after its lease finds what it had given to another worker, which has run it."""
    places = {name: tmp_path / name / "objects" for name in ("edge-1", "edge-2")}
    with anyio.fail_after(90):
        await engine.call("worker_group_create", {"name": "edge", "tenants": [ADMIN.tenant]}, ADMIN)
        key = await rig.token(engine, tmp_path / "token", group="edge", can=["files"])
        for name, place in places.items():
            place.mkdir(parents=True)
            await engine.call("context_set", _context(name, str(place)), ADMIN)
        async with (
            rig.machine(tmp_path / "one", bus.url, key, "edge-1", "edge", file_roots=str(places["edge-1"])) as edge,
            rig.machine(tmp_path / "two", bus.url, key, "edge-2", "edge", file_roots=str(places["edge-2"])),
        ):
            await rig.online(engine, "edge-1")
            await rig.online(engine, "edge-2")
            await engine.call("trigger_publish", DISPATCH, ADMIN)
            await engine.call("job_put", {"document": WRITES}, ADMIN)
            await engine.call("job_deploy", {"name": "writes", "worker_group": "edge", "replicas": 2}, ADMIN)
            (worker,) = processes.children("core.worker", of=edge.process.pid)
            worker.suspend()  # what is sent to it now waits in its socket
            ids = await asyncio.gather(*(_run(engine) for _ in range(40)))
            stopped = engine.fleet.workers["edge-1"]
            assert sum(len(replica.outstanding) for replica in stopped.replicas.values()) > 10
            await rig.lost(engine, "edge-1")
            await waiting.until(lambda: len(list(places["edge-2"].iterdir())) == len(ids))
            worker.resume()
            await edge.says("is cut off")
            await rig.online(engine, "edge-1")
            assert processes.ended(worker.pid)
            assert list(places["edge-1"].iterdir()) == [], "nothing ran twice"
