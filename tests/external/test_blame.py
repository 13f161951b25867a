"""A job that ends its worker on another machine again and again loses its place there, and its neighbours go on."""

from __future__ import annotations

import signal
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import anyio
import psutil
import pytest

from core import clock
from core.engine import Engine
from core.fleet import inquest
from core.fleet.deaths import Cause
from core.model.principal import Caller, Principal, Role, Surface
from core.model.workload import WorkloadView
from core.witness import number
from tests import processes, waiting
from tests.attacks.test_quarantine import EATS, LOOPS
from tests.engines import ADMIN, deploy, engine_on
from tests.external import rig, server

pytestmark = pytest.mark.anyio

EVIL = Caller(Principal("mallory", Role.ADMIN, ("tenant-b",)), "tenant-b", Surface.INTERNAL)
FAST: dict[str, Any] = {**rig.FAST, "drain_seconds": 0.5, "reconcile_patience_seconds": 60.0}
SLOW = {**FAST, "heartbeat_seconds": 1.5}  # there is time to do something while a worker is held up
SECONDS = 180.0
MENDED = "name: evil\ninput: {echo: {event: x, trigger: {interval: 1s}}}\noutput: {discard: {}}"


@pytest.fixture
def bus() -> Iterator[server.Server]:
    with server.running() as started:
        yield started


@pytest.fixture
async def engine(tmp_path: Path, bus: server.Server, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Engine]:
    monkeypatch.setattr(inquest, "HOLD_SECONDS", 0.5)
    async with engine_on(tmp_path / "engine", workers=0, nats=bus.url, **FAST) as running:
        await rig.admit(running, ADMIN.tenant, EVIL.tenant)
        yield running


@pytest.fixture
async def key(tmp_path: Path, engine: Engine) -> Path:
    return await rig.token(engine, tmp_path / "token")


async def _poison(engine: Engine, document: str = LOOPS) -> None:
    await engine.call("job_put", {"document": document}, EVIL)
    await engine.call("job_deploy", {"name": "evil", "wait_seconds": 0}, EVIL)


def _evil(engine: Engine) -> WorkloadView:
    return engine.fleet.workload_views(tenant="tenant-b", job="evil")[0]


def _written(file: Path) -> int:
    """When a file, which is written at once, was written; 0 while it is not there."""
    try:
        return file.stat().st_mtime_ns
    except FileNotFoundError:
        return 0


def _deaths(engine: Engine) -> dict[str, int]:
    return dict(engine.fleet.inquest.deaths)


async def _at_work(engine: Engine, machine: rig.Machine) -> psutil.Process:
    """The worker process of a machine, as soon as a job holds it up."""
    worker = engine.fleet.workers["edge-1"]
    quiet = 2 * SLOW["heartbeat_seconds"]
    # It may not have said yet that the job runs: the first event can hold it up.
    await waiting.until(lambda: worker.online and clock.monotonic() - worker.last_seen > quiet)
    (process,) = processes.children("core.worker", of=machine.process.pid)
    return process


@pytest.mark.parametrize(
    "document, settings, cause, said",
    [
        (LOOPS, {}, "silent", "fell silent"),
        pytest.param(EATS, {"worker_memory_mb": "110"}, "memory", "ran out of memory", marks=pytest.mark.fresh),
    ],
    ids=["loops", "eats"],
)
async def test_who_ends_a_worker_of_another_machine_is_quarantined_and_its_neighbour_stays_up(
    engine: Engine,
    bus: server.Server,
    key: Path,
    tmp_path: Path,
    document: str,
    settings: dict[str, str],
    cause: str,
    said: str,
) -> None:
    with anyio.fail_after(2 * SECONDS):
        async with rig.machine(tmp_path / "edge", bus.url, key, **settings):
            await rig.online(engine)
            await rig.publish(engine)
            assert (await rig.invoke(engine))["state"] == "succeeded"
            await _poison(engine, document)
            assert await engine.fleet.wait(lambda: _evil(engine).state == "quarantined", SECONDS)
            assert _deaths(engine) == {cause: 3}
            await rig.online(engine)
            restarts = engine.fleet.workers["edge-1"].restarts
            for _ in range(5):
                started = time.monotonic()
                assert (await rig.invoke(engine))["state"] == "succeeded"
                assert time.monotonic() - started < 5
            assert engine.fleet.workers["edge-1"].restarts == restarts == 3
            told = await engine.call("explain", {"kind": "workload", "id": "evil"}, EVIL)
            assert told["state"] == "quarantined"
            assert any(said in one["what"] and "edge-1" in one["what"] for one in told["because"])
            audited = await engine.call("audit_list", {"operation": "job_quarantine"}, EVIL)
            assert [row["target"] for row in audited["items"]] == ["tenant-b/evil"]
            assert engine.fleet.inquest.unbelieved == 0
            await deploy(engine, MENDED, EVIL)
            assert _evil(engine).state == "running"


async def test_an_end_is_told_by_whoever_starts_the_worker_again_and_to_whichever_engine(
    tmp_path: Path, bus: server.Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The way is cut when the process crashes, and then its parent is killed, too."""
    monkeypatch.setattr(inquest, "HOLD_SECONDS", 0.5)
    kept = tmp_path / "edge" / "edge-1.end"
    with anyio.fail_after(2 * SECONDS):
        async with engine_on(tmp_path / "engine", workers=0, nats=bus.url, **SLOW) as engine:
            await rig.admit(engine, ADMIN.tenant, EVIL.tenant)
            key = await rig.token(engine, tmp_path / "token")
            async with rig.machine(tmp_path / "edge", bus.url, key) as edge:
                await rig.online(engine)
                await _poison(engine)
                worker = await _at_work(engine, edge)
                bus.kill()
                worker.send_signal(signal.SIGSEGV)
                await waiting.until(kept.exists)
            first = _written(kept)
            assert _deaths(engine) == {}
        bus.start()
        async with engine_on(tmp_path / "engine", workers=0, nats=bus.url, **SLOW) as engine:
            async with rig.machine(tmp_path / "edge", bus.url, key):
                assert await engine.fleet.wait(lambda: "of 3 times" in _evil(engine).reason, SECONDS)
                assert sum(_deaths(engine).values()) == 1
                await waiting.until(
                    lambda: _written(kept) != first, seconds=SECONDS
                )  # the next end replaces it at once


async def test_a_worker_that_is_killed_stopped_or_asked_to_end_blames_nobody(
    engine: Engine, bus: server.Server, key: Path, tmp_path: Path
) -> None:
    with anyio.fail_after(SECONDS):
        async with rig.machine(tmp_path / "edge", bus.url, key) as edge:
            await rig.online(engine)
            await rig.publish(engine)
            for end in (psutil.Process.kill, psutil.Process.suspend):
                (worker,) = processes.children("core.worker", of=edge.process.pid)
                end(worker)
                await rig.lost(engine)
                await rig.online(engine)
            assert (await rig.invoke(engine))["state"] == "succeeded"
            edge.signal(signal.SIGTERM)
            assert await edge.ended() == 0
            assert not (tmp_path / "edge" / "edge-1.end").exists()
        assert _deaths(engine) == {} and engine.fleet.inquest.unbelieved == 0


async def test_a_worker_is_believed_about_what_is_placed_on_it_alone(
    engine: Engine, bus: server.Server, key: Path, tmp_path: Path
) -> None:
    with anyio.fail_after(SECONDS):
        async with (
            rig.machine(tmp_path / "edge", bus.url, key),
            rig.machine(tmp_path / "other", bus.url, key, name="edge-2"),
        ):
            await rig.online(engine)
            await rig.online(engine, "edge-2")
            await deploy(engine, MENDED, EVIL)
            evil = _evil(engine)
            life, told = "0" * 32, engine.fleet.inquest.hear
            mine = number(life, evil.id, evil.version)
            here = engine.fleet.workers[evil.worker]
            (there,) = (one for one in engine.fleet.workers.values() if one is not here)
            now = time.time_ns()
            for worker, of_life, of_number in (
                (there, life, mine),
                (here, "1" * 32, mine),
                (here, life, mine ^ 1),
                (here, life, number(life, evil.id, "another")),
            ):
                await told(worker, of_life, Cause.SILENT, of_number, now)
            for tenant in ("tenant-c", EVIL.tenant):  # somebody edits the table: its group does not admit that one
                await engine.database.write(
                    lambda db, to=tenant: db.conn.execute("UPDATE workloads SET tenant = ?", (to,))
                )
                await engine.fleet.sync()
                if tenant != EVIL.tenant:
                    await told(here, life, Cause.SILENT, mine, now)
            assert engine.fleet.inquest.unbelieved == 5 and _deaths(engine) == {}
            for _ in range(3):
                await told(here, life, Cause.SILENT, mine, now)
            assert _evil(engine).state == "quarantined"
            status = await engine.call("engine_status", {}, ADMIN)
            assert (status["unbelieved"], status["worker_deaths"]) == (5, {"silent": 3})


@pytest.mark.parametrize("greeting", [b"{}", b"\xff" * 9, b'{"life":"' + b"g" * 32 + b'"}', b'[{"life":1}]'])
async def test_a_greeting_that_is_none_is_counted_and_not_heard(engine: Engine, greeting: bytes) -> None:
    assert engine.gateway._heard("edge-1", greeting) is None
    assert engine.fleet.inquest.unbelieved == 1
    assert engine.gateway._heard("edge-1", b"") is None, "an older worker says nothing"
    told = engine.gateway._heard("edge-1", b'{"life":"%b","later":[]}' % (b"0" * 32))
    assert told is not None and told.ended() is None, "a later one says more"
    assert engine.fleet.inquest.unbelieved == 1
