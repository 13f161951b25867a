"""Workers of other machines over a real NATS server: they join, work, are lost, come back, and are refused."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import anyio
import psutil
import pytest

from core import errors
from core.engine import Engine
from core.external import nats
from core.external.identity import installation
from mcp_server.cli import codes
from tests import processes, waiting
from tests.engines import ADMIN, deploy, engine_on
from tests.external import rig, server

pytestmark = pytest.mark.anyio


@pytest.fixture
def bus() -> Iterator[server.Server]:
    with server.running() as started:
        yield started


@pytest.fixture
async def engine(tmp_path: Path, bus: server.Server) -> AsyncIterator[Engine]:
    async with engine_on(tmp_path / "engine", workers=0, nats=bus.url, **rig.FAST) as running:
        await rig.admit(running)
        yield running


@pytest.fixture
async def key(tmp_path: Path, engine: Engine) -> Path:
    return await rig.token(engine, tmp_path / "token")


def token_of(key: Path) -> str:
    return key.read_text()


def installation_of(key: Path) -> str:
    return installation(token_of(key).rpartition("_")[2])


async def test_a_worker_joins_and_runs_what_is_asked(
    engine: Engine, bus: server.Server, key: Path, tmp_path: Path
) -> None:
    with anyio.fail_after(60):
        async with rig.machine(tmp_path / "edge", bus.url, key) as edge:
            await edge.says("has joined, group default")
            await rig.online(engine)
            (row,) = engine.fleet.worker_rows()
            assert (row["name"], row["kind"], row["pid"], row["slots"]) == ("edge-1", "external", None, 64)
            opened = engine.fleet.workers["edge-1"].openings
            assert opened is not None and opened.nats and not opened.exec, "it says what it opens to jobs"
            await rig.publish(engine)
            records = await asyncio.gather(*(rig.invoke(engine) for _ in range(50)))
            assert {record["state"] for record in records} == {"succeeded"}
            shown = await engine.call("worker_get", {"name": "edge-1"}, ADMIN)
            assert shown["report"]["memory_bytes"] > 1_000_000, "requests reach it as well"
            edge.signal(signal.SIGTERM)
            assert await edge.ended() == 0
            assert "draining" in "".join(edge.said)
        await rig.lost(engine)
        assert engine.fleet.worker_rows()[0]["state"] == "offline", "it said that it ends: it is not lost"
        told = await engine.call("message_search", {"type": "worker-lost"}, ADMIN)
        assert told["items"] == []


async def test_the_death_of_its_process_is_a_further_attempt(
    engine: Engine, bus: server.Server, key: Path, tmp_path: Path
) -> None:
    with anyio.fail_after(60):
        async with rig.machine(tmp_path / "edge", bus.url, key) as edge:
            await rig.online(engine)
            await rig.publish(engine)
            (worker,) = processes.children("core.worker", of=edge.process.pid)
            worker.suspend()
            running = asyncio.create_task(rig.invoke(engine))
            await waiting.until(lambda: any(r.outstanding for r in engine.fleet.workers["edge-1"].replicas.values()))
            worker.kill()
            record = await running
    assert record["state"] == "succeeded"
    assert record["attempts"] == 2


@pytest.mark.parametrize("stopped", ["machine", "worker"])
async def test_a_machine_that_stands_still_loses_its_work_and_cannot_end_it_later(
    engine: Engine, bus: server.Server, key: Path, tmp_path: Path, stopped: str
) -> None:
    """The lease is the silence: nothing that was said for an ended session counts."""
    with anyio.fail_after(60):
        async with rig.machine(tmp_path / "edge", bus.url, key) as edge:
            await rig.online(engine)
            await rig.publish(engine)
            (worker,) = processes.children("core.worker", of=edge.process.pid)
            worker.suspend()
            if stopped == "machine":
                os.kill(edge.process.pid, signal.SIGSTOP)
            running = asyncio.create_task(rig.invoke(engine))
            await rig.lost(engine)
            worker.resume()  # it ends the run now, for a session that is over
            if stopped == "machine":
                os.kill(edge.process.pid, signal.SIGCONT)
            record = await running
    assert record["state"] == "succeeded"
    assert record["attempts"] >= 2
    types = [event["type"] for event in record["events"]]
    assert types.count("succeeded") == 1


async def test_what_is_accepted_while_nats_is_away_runs_when_it_is_back(
    engine: Engine, bus: server.Server, key: Path, tmp_path: Path
) -> None:
    with anyio.fail_after(90):
        async with rig.machine(tmp_path / "edge", bus.url, key):
            await rig.online(engine)
            await rig.publish(engine)
            for _ in range(3):
                bus.kill()
                records = [asyncio.create_task(rig.invoke(engine)) for _ in range(20)]
                await waiting.until(lambda: engine.broker is not None and not engine.broker.connected)
                bus.start()
                assert {(await record)["state"] for record in records} == {"succeeded"}
                await rig.online(engine)


async def test_a_new_engine_finds_its_workers_again_and_moves_nothing(tmp_path: Path, bus: server.Server) -> None:
    home = tmp_path / "engine"
    with anyio.fail_after(90):
        async with engine_on(home, workers=0, nats=bus.url, **rig.FAST) as engine:
            await rig.admit(engine)
            key = await rig.token(engine, tmp_path / "token")
        async with rig.machine(tmp_path / "edge", bus.url, key):
            for first in (True, False):
                async with engine_on(home, workers=0, nats=bus.url, **rig.FAST) as engine:
                    await rig.online(engine)
                    if first:
                        await rig.publish(engine)
                    assert (await rig.invoke(engine))["state"] == "succeeded"
    async with engine_on(home, workers=0, nats=bus.url, **rig.FAST) as engine:
        assert [(row["name"], row["state"]) for row in engine.fleet.worker_rows()] == [("edge-1", "offline")]
        listed = await engine.call("job_get", {"name": "smoke_trigger_handler"}, ADMIN)
        assert [workload["worker"] for workload in listed["workloads"]] == ["edge-1"]


async def test_a_worker_that_joins_while_the_server_does_not_answer_tries_again(
    engine: Engine, bus: server.Server, key: Path, tmp_path: Path
) -> None:
    with anyio.fail_after(60):
        async with rig.machine(tmp_path / "edge", bus.url, key) as edge:
            await rig.online(engine)
            assert bus.process is not None
            bus.process.send_signal(signal.SIGSTOP)
            await edge.says("The NATS server does not answer. It is tried again.")
            bus.process.send_signal(signal.SIGCONT)
            await rig.online(engine)
            await rig.publish(engine)
            assert (await rig.invoke(engine))["state"] == "succeeded"


async def test_an_engine_that_ends_while_a_worker_joins_leaves_no_socket(
    tmp_path: Path, bus: server.Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    joining = asyncio.Event()
    real = nats.Wire.listen

    async def slow(wire: nats.Wire, subject: str) -> nats.Inbox:
        if subject.endswith(".engine"):
            joining.set()
            await asyncio.Event().wait()
        return await real(wire, subject)

    monkeypatch.setattr(nats.Wire, "listen", slow)
    before = len(psutil.Process().net_connections("unix"))
    with anyio.fail_after(60):
        async with engine_on(tmp_path / "engine", workers=0, nats=bus.url, **rig.FAST) as engine:
            await rig.admit(engine)
            key = await rig.token(engine, tmp_path / "token")
            async with rig.machine(tmp_path / "edge", bus.url, key):
                await joining.wait()
    gc.collect()
    assert len(psutil.Process().net_connections("unix")) <= before


async def test_an_engine_that_ends_lets_no_worker_in(
    tmp_path: Path, bus: server.Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not while it waits for its own, and not one whose join was under way when it began to end."""
    joining, ending = asyncio.Event(), asyncio.Event()
    real = nats.Wire.listen

    async def slow(wire: nats.Wire, subject: str) -> nats.Inbox:
        if subject.endswith(".engine"):
            joining.set()
            await ending.wait()
        return await real(wire, subject)

    monkeypatch.setattr(nats.Wire, "listen", slow)
    with anyio.fail_after(60):
        async with engine_on(tmp_path / "engine", workers=0, nats=bus.url, **rig.FAST) as engine:
            await rig.admit(engine)
            key = await rig.token(engine, tmp_path / "token")
            async with rig.machine(tmp_path / "edge", bus.url, key) as edge:
                await joining.wait()
                await engine.fleet.stop()
                ending.set()
                await edge.says("This engine is ending.")
            assert engine.fleet.workers == {}


async def test_a_second_worker_of_the_same_name_is_refused(
    engine: Engine, bus: server.Server, key: Path, tmp_path: Path
) -> None:
    with anyio.fail_after(60):
        async with rig.machine(tmp_path / "one", bus.url, key):
            await rig.online(engine)
            async with rig.machine(tmp_path / "two", bus.url, key) as second:
                assert await second.ended() == codes.REFUSED
            assert "There is a worker edge-1 already" in "".join(second.said)
            assert engine.fleet.workers["edge-1"].online


async def test_whoever_lacks_a_token_is_refused(engine: Engine, bus: server.Server, key: Path, tmp_path: Path) -> None:
    text, wrong = token_of(key), tmp_path / "wrong"
    with anyio.fail_after(60):
        rig.keep(wrong, text.replace(text.split("_")[2], "0" * 64))
        async with rig.machine(tmp_path / "edge", bus.url, wrong) as edge:
            assert await edge.ended() == codes.REFUSED
        assert "no token of this engine" in "".join(edge.said)
        rig.keep(wrong, text[:-32] + "0" * 32)
        async with rig.machine(tmp_path / "other", bus.url, wrong) as edge:
            await edge.says("The engine of this worker does not answer.")
    assert engine.fleet.worker_rows() == []


async def test_foreign_messages_on_the_subjects_are_dropped(
    engine: Engine, bus: server.Server, key: Path, tmp_path: Path
) -> None:
    installation = installation_of(key)
    with anyio.fail_after(60):
        async with rig.machine(tmp_path / "edge", bus.url, key):
            await rig.online(engine)
            await rig.publish(engine)
            stranger = await nats.connect(bus.url, "stranger")
            overheard = await stranger.listen(f"sluice.{installation}.>")
            running = asyncio.create_task(rig.invoke(engine))
            record = await overheard.take()
            for side in ("engine", "worker", "meet"):
                for noise in (b"", b"{}", bytes(100_000), record, record[:-1] + b"!"):
                    for name in ("meet", "join", f"*.{side}", "x.engine"):
                        if "*" not in name:
                            await stranger.send(f"sluice.{installation}.{name}", noise)
            assert (await running)["state"] == "succeeded"
            assert (await rig.invoke(engine))["state"] == "succeeded"
            await overheard.end()
            await stranger.close()


async def test_secrets_and_params_are_not_readable_on_the_wire(
    engine: Engine, bus: server.Server, key: Path, tmp_path: Path
) -> None:
    installation = installation_of(key)
    with anyio.fail_after(60):
        async with rig.machine(tmp_path / "edge", bus.url, key):
            await rig.online(engine)
            stranger = await nats.connect(bus.url, "stranger")
            overheard = await stranger.listen(f"sluice.{installation}.>")
            await rig.publish(engine)
            assert (await rig.invoke(engine, params={"env": "canary-4711"}))["state"] == "succeeded"
            seen = b""
            with anyio.move_on_after(0.5):
                while True:
                    seen += await overheard.take()
            await stranger.close()
    assert len(seen) > 500
    assert b"canary-4711" not in seen
    assert b"smoke" not in seen


async def test_a_license_without_external_workers_refuses_the_join_in_plain_words(
    tmp_path: Path, bus: server.Server
) -> None:
    with anyio.fail_after(60):
        async with engine_on(tmp_path / "engine", workers=0, nats=bus.url, edition="community", **rig.FAST) as engine:
            await rig.admit(engine)
            key = await rig.token(engine, tmp_path / "token")
            async with rig.machine(tmp_path / "edge", bus.url, key) as edge:
                assert await edge.ended() == codes.REFUSED
    said = "".join(edge.said)
    assert "not_licensed" in said
    assert "external-workers" in said


async def test_only_a_worker_that_has_gone_can_be_removed(
    engine: Engine, bus: server.Server, key: Path, tmp_path: Path
) -> None:
    with anyio.fail_after(60):
        async with rig.machine(tmp_path / "edge", bus.url, key) as edge:
            await rig.online(engine)
            with pytest.raises(errors.Busy, match="is connected"):
                await engine.call("worker_remove", {"name": "edge-1"}, ADMIN)
            edge.process.kill()
            await rig.lost(engine)
        await engine.call("worker_remove", {"name": "edge-1"}, ADMIN)
        assert engine.fleet.worker_rows() == []
        with pytest.raises(errors.NotFound):
            await engine.call("worker_remove", {"name": "edge-1"}, ADMIN)


async def test_a_job_on_a_machine_uses_the_limits_of_that_machine(
    engine: Engine, bus: server.Server, key: Path, tmp_path: Path
) -> None:
    document = "name: hello\ninput: {exec: {command: echo hi}}\noutput: {print: {}}\n"
    with anyio.fail_after(60):
        async with rig.machine(tmp_path / "edge", bus.url, key):
            await rig.online(engine)
            await engine.call("job_put", {"document": document}, ADMIN)
            refused = await engine.call("job_deploy", {"name": "hello"}, ADMIN)
            assert refused["workloads"][0]["state"] == "failed"
            assert "exec" in refused["workloads"][0]["reason"]
        await rig.lost(engine)
        await engine.call("worker_remove", {"name": "edge-1"}, ADMIN)
        free = await rig.token(engine, tmp_path / "free-token", can=["exec"])
        async with rig.machine(tmp_path / "free", bus.url, free, "edge-2", allow_exec="true"):
            await rig.online(engine, "edge-2")
            await engine.call("job_undeploy", {"name": "hello"}, ADMIN)
            await deploy(engine, document)


async def test_an_engine_works_with_its_own_workers_while_nats_is_away(tmp_path: Path, bus: server.Server) -> None:
    bus.kill()
    with anyio.fail_after(60):
        async with engine_on(tmp_path / "engine", workers=1, nats=bus.url) as engine:
            await rig.publish(engine)
            assert (await rig.invoke(engine))["state"] == "succeeded"


WAITS = "name: {name}\ninput: {{echo: {{event: x, trigger: {{interval: 1h}}}}}}\noutput: {{discard: {{}}}}\n"


async def placed(engine: Engine, *jobs: str) -> dict[str, str]:
    """Where single jobs are."""
    found = {one: await engine.call("job_get", {"name": one}, ADMIN) for one in jobs}
    return {one: answer["workloads"][0]["worker"] for one, answer in found.items()}


async def test_what_a_worker_that_is_shut_out_ran_moves_and_what_has_no_room_is_named(
    engine: Engine, bus: server.Server, key: Path, tmp_path: Path
) -> None:
    with anyio.fail_after(90):
        small = await rig.token(engine, tmp_path / "small", name="edge-2", uses=1, slots=1)
        async with (
            rig.machine(tmp_path / "one", bus.url, key) as first,
            rig.machine(tmp_path / "two", bus.url, small, "edge-2"),
        ):
            for name in ("edge-1", "edge-2"):
                await rig.online(engine, name)
            for job in ("a", "b"):
                await engine.call("job_put", {"document": WAITS.format(name=job)}, ADMIN)
                await engine.call("job_deploy", {"name": job}, ADMIN)
            assert set((await placed(engine, "a", "b")).values()) == {"edge-1"}, "it has more room"
            ended = await engine.call("worker_revoke", {"name": "edge-1"}, ADMIN)
            assert await first.ended() == codes.REFUSED
            assert [one["worker"] for one in ended["moved"]] == ["edge-2"]
            (stays,) = ended["stays"]
            why, _, later = stays["reason"].partition(": ")
            assert why == "no other worker of its group has room"
            waits = stays["id"].partition("/")[2].partition("#")[0]
            assert later == f"when one has room, it waits until it is deployed again (job_deploy {waits})"
            answer = await engine.call("explain", {"kind": "job", "id": waits}, ADMIN)
            told = [cause["what"] for cause in answer["because"]]
            assert "worker edge-1 is shut out: its credential was revoked" in told
            assert any(cause.startswith("worker edge-1 ended, as it was asked to:") for cause in told)
            assert not any("was lost" in cause for cause in told), "it was ended on purpose"
            assert "job_deploy" in {call["call"] for call in answer["next"]}
            last = await engine.call("worker_revoke", {"name": "edge-2"}, ADMIN)
            assert last["moved"] == []
            assert last["stays"][0]["reason"].startswith("its group has no other worker that is online: ")
            where = await placed(engine, "a", "b")
            assert where[ended["moved"][0]["id"].partition("/")[2].partition("#")[0]] == "edge-2"


async def test_a_single_job_goes_to_a_worker_that_is_there(
    engine: Engine, bus: server.Server, key: Path, tmp_path: Path
) -> None:
    with anyio.fail_after(60):
        async with rig.machine(tmp_path / "one", bus.url, key) as first:
            await rig.online(engine)
            await engine.call("job_put", {"document": WAITS.format(name="a")}, ADMIN)
            await engine.call("job_deploy", {"name": "a"}, ADMIN)
            first.signal(signal.SIGTERM)
            assert await first.ended() == 0
            await rig.lost(engine)
        async with rig.machine(tmp_path / "two", bus.url, key, "edge-2"):
            await rig.online(engine, "edge-2")
            await engine.call("job_deploy", {"name": "a"}, ADMIN)
            assert await placed(engine, "a") == {"a": "edge-2"}
            await engine.call("job_put", {"document": WAITS.format(name="b")}, ADMIN)
            await engine.call("job_deploy", {"name": "b"}, ADMIN)
            assert await placed(engine, "b") == {"b": "edge-2"}, "although edge-1 has nothing at all"
            removed = await engine.call("worker_remove", {"name": "edge-1"}, ADMIN)
            assert (removed["moved"], removed["stays"]) == ([], [])


async def test_a_credential_that_is_used_in_two_places_is_suspended(
    engine: Engine, bus: server.Server, key: Path, tmp_path: Path
) -> None:
    with anyio.fail_after(60):
        async with rig.machine(tmp_path / "one", bus.url, key) as first:
            await rig.online(engine)
            copied = tmp_path / "two"
            copied.mkdir()
            credential = (tmp_path / "one" / "worker.credential").read_text()
            rig.keep(copied / "worker.credential", credential)
            async with rig.machine(copied, bus.url, key) as second:
                await second.says("has joined")
                await first.says("is cut off")
                await first.says("is used in two places")
                await second.says("is suspended")
            (row,) = (await engine.call("worker_credential_list", {}, ADMIN))["items"]
            assert row["state"] == "suspended"
            told = await engine.call("explain", {"kind": "worker", "id": "edge-1"}, ADMIN)
            assert "Its credential is suspended" in told["summary"]
            assert "worker_approve" in [call["call"] for call in told["next"]]
            await engine.call("worker_approve", {"name": "edge-1"}, ADMIN)
            await rig.online(engine)
        async with rig.machine(tmp_path / "one", bus.url, key):
            await rig.online(engine)  # a program that is started anew is no second place
