"""Workflows whose channels are streams of a real NATS server, while workers and the server itself are killed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import anyio
import pytest

from core import natsclient
from core.engine import Engine
from tests import processes, waiting
from tests.deployments.running import KEEP, TAIL, apply, arrived, numbers, once, plan, publish, write
from tests.engines import ADMIN, engine_on
from tests.external import rig, server

pytestmark = pytest.mark.anyio

PART = 1000
PARTS = 12


@pytest.fixture
def bus(tmp_path: Path) -> Iterator[server.Server]:
    with server.running("-js", "-sd", str(tmp_path / "streams")) as started:
        yield started


def step(id: str, what: str, path: Path, **more: str) -> str:
    rest = "".join(f", {key.rstrip('_')}: {value}" for key, value in more.items())
    return f'  - {{id: {id}, use: "blueprint:{what}@1.0.0", with: {{path: "{path}"}}{rest}}}'


async def workflow(engine: Engine, *body: str, settings: str = "batch-size: 50") -> str:
    await publish(engine, TAIL, KEEP)
    channel = f"channels: {{c: {{transport: jetstream, with: {{{settings}}}}}}}"
    (source,) = await publish(engine, "\n".join(("kind: workflow", "slug: w", channel, *body)))
    return source


@asynccontextmanager
async def admitted(engine: Engine) -> AsyncIterator[None]:
    await rig.admit(engine)
    yield


@asynccontextmanager
async def machines(
    engine: Engine, tmp_path: Path, url: str, *names: str, **settings: str
) -> AsyncIterator[dict[str, rig.Machine]]:
    async with AsyncExitStack() as stack:
        key = await rig.token(engine, tmp_path / "token", can=["files"])
        yield {
            name: await stack.enter_async_context(rig.machine(tmp_path / name, url, key, name, **settings))
            for name in names
        }


async def test_a_worker_that_is_killed_on_either_side_of_a_stream_loses_nothing(
    tmp_path: Path, bus: server.Server
) -> None:
    """On two machines, which find the server in their own settings."""
    wanted, place = range(PART * PARTS), tmp_path / "files"
    place.mkdir()
    with anyio.fail_after(150):
        async with (
            engine_on(tmp_path / "engine", workers=0, nats=bus.url, **rig.FAST) as engine,
            admitted(engine),
            machines(engine, tmp_path, bus.url, "edge-1", "edge-2", file_roots=str(place)) as there,
        ):
            for name in there:
                await rig.online(engine, name)
            source = await workflow(
                engine,
                "steps:",
                step("a", "tail", place / "*.in", out="channel:c"),
                step("x", "keep", place / "x.out", in_="channel:c"),
            )
            made = await apply(engine, source)
            where = {one["job"]: one["worker"] for one in made["workloads"]}
            assert where["demo--a"] == where["demo--a--c-writer"] != where["demo--x"] == where["demo--x--c-reader"]
            for part in range(PARTS):
                write(place / "a.in", wanted[part * PART : (part + 1) * PART])
                if part in (4, 8):
                    await arrived(place / "x.out", wanted[:PART])
                    victim = where["demo--x" if part == 4 else "demo--a"]
                    for child in processes.children("core.worker", of=there[victim].process.pid):
                        child.kill()
            await arrived(place / "x.out", wanted, 100)
            assert set(numbers(place / "x.out")) == set(wanted)


async def test_a_server_that_is_killed_and_starts_again_with_its_store_loses_nothing(
    tmp_path: Path, bus: server.Server
) -> None:
    wanted = range(PART * PARTS)
    with anyio.fail_after(120):
        async with engine_on(tmp_path / "engine", workers=2, nats=bus.url) as engine:
            source = await workflow(
                engine,
                "steps:",
                step("a", "tail", tmp_path / "*.in", out="channel:c"),
                step("x", "keep", tmp_path / "x.out", in_="channel:c"),
                step("y", "keep", tmp_path / "y.out", in_="channel:c", replicas="2"),
                settings="batch-size: 50, retention: 0s",
            )
            await apply(engine, source)
            for part in range(PARTS):
                write(tmp_path / "a.in", wanted[part * PART : (part + 1) * PART])
                if part in (4, 8):
                    await arrived(tmp_path / "x.out", wanted[:PART])
                    bus.kill()
                    bus.start()
            for name in ("x.out", "y.out"):
                await arrived(tmp_path / name, wanted, 60)
                assert set(numbers(tmp_path / name)) == set(wanted)


async def leader_of(url: str, stream: str) -> str:
    """Which server of a cluster leads a stream."""
    client = await natsclient.connect(url, "test", on_fault=print, on_away=lambda: None, on_back=lambda: None)
    try:
        info = await client.jetstream().stream_info(stream)
    finally:
        await client.close()
    assert info.cluster is not None and info.config.num_replicas == 3
    return info.cluster.leader or ""


async def test_three_servers_lose_nothing_when_the_one_that_leads_a_stream_is_killed(tmp_path: Path) -> None:
    wanted = range(PART * PARTS)
    with server.cluster(tmp_path / "streams") as servers, anyio.fail_after(150):
        url = ",".join(one.url for one in servers.values())
        async with engine_on(tmp_path / "engine", workers=2, nats=url, jetstream_replicas=3) as engine:
            source = await workflow(
                engine,
                "steps:",
                step("a", "tail", tmp_path / "*.in", out="channel:c"),
                step("x", "keep", tmp_path / "x.out", in_="channel:c"),
                settings="batch-size: 50, retention: 0s",
            )
            await apply(engine, source)
            for part in range(PARTS):
                write(tmp_path / "a.in", wanted[part * PART : (part + 1) * PART])
                if part == 4:
                    await arrived(tmp_path / "x.out", wanted[:PART], 60)
                    servers[await leader_of(url, "sluice+tenant-a+demo--c")].kill()
            await arrived(tmp_path / "x.out", wanted, 100)
            assert set(numbers(tmp_path / "x.out")) == set(wanted)


async def test_a_replay_of_a_stream_is_a_plan_and_a_new_deployment_of_the_name_goes_on(
    tmp_path: Path, bus: server.Server
) -> None:
    first = range(200)
    write(tmp_path / "a.in", first)
    with anyio.fail_after(90):
        async with engine_on(tmp_path / "engine", workers=2, nats=bus.url) as engine:
            source = await workflow(
                engine,
                "wizard: [{field: replay, default: beginning}]",
                "steps:",
                step("a", "tail", tmp_path / "a.in", out="channel:c"),
                step("x", "keep", tmp_path / "x.out", in_="channel:c"),
                settings='replay: "{{wizard.replay}}"',
            )
            await apply(engine, source)
            assert await arrived(tmp_path / "x.out", first) == once(first)
            made = await plan(engine, source, values={"replay": "2020-01-01"})
            assert [(c["action"], c["id"]) for c in made["changes"]] == [("update", "demo--x--c-reader")]
            await engine.call("deployment_apply", {"plan_id": made["plan_id"]}, ADMIN)
            await waiting.until(lambda: numbers(tmp_path / "x.out") == once([*first, *first]))
            gone = await plan(engine, "", remove=True)
            await engine.call("deployment_apply", {"plan_id": gone["plan_id"]}, ADMIN)
            write(tmp_path / "a.in", range(200, 210))
            await apply(engine, source, values={"replay": "2020-01-01"})
            seen = await arrived(tmp_path / "x.out", range(200, 210))
            assert {seen[n] for n in range(200, 210)} == {1}


async def test_without_a_server_the_plan_says_which_setting_is_missing(tmp_path: Path) -> None:
    async with engine_on(tmp_path / "engine", workers=1) as engine:
        source = await workflow(
            engine,
            "steps:",
            step("a", "tail", tmp_path / "a.in", out="channel:c"),
            step("x", "keep", tmp_path / "x.out", in_="channel:c"),
        )
        made = await engine.call("deployment_plan", {"name": "demo", "source": source}, ADMIN)
        assert [(one["code"], one["pointer"]) for one in made["blockers"]] == [
            ("transport_unavailable", "/channels/c/transport")
        ]


@pytest.mark.fresh
async def test_the_address_with_its_password_is_seen_by_nobody(tmp_path: Path) -> None:
    with server.running("-js", "-sd", str(tmp_path / "streams"), "--user", "me", "--pass", "canary-4711") as bus:
        url = bus.url.replace("://", "://me:canary-4711@")
        write(tmp_path / "a.in", range(10))
        async with engine_on(tmp_path / "engine", workers=1, nats=url) as engine:
            source = await workflow(
                engine,
                "steps:",
                step("a", "tail", tmp_path / "a.in", out="channel:c"),
                step("x", "keep", tmp_path / "x.out", in_="channel:c"),
            )
            await apply(engine, source)
            await arrived(tmp_path / "x.out", range(10))
            workers = [" ".join(child.cmdline()) for child in processes.children("core.worker")]
            assert workers
            assert not any("canary-4711" in line for line in workers)
            for job in ("demo--a--c-writer", "demo--x--c-reader"):
                assert "canary-4711" not in str(await engine.call("job_get", {"name": job}, ADMIN))
    kept = [path for path in (tmp_path / "engine").rglob("*") if path.is_file()]
    assert not [path for path in kept if b"canary-4711" in path.read_bytes()]
