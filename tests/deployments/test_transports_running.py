"""Every transport and every dispatch on two real workers, with counted events."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from core.engine import Engine
from tests import waiting
from tests.deployments.running import KEEP, LINES, TAIL, apply, arrived, numbers, once, plan, publish, write
from tests.engines import ADMIN, engine_on

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.filterwarnings("ignore::DeprecationWarning:(botocore|moto|werkzeug).*"),
]
ALL = range(500)


def step(id: str, what: str, path: Path, **more: str) -> str:
    rest = "".join(f", {key.rstrip('_')}: {value}" for key, value in more.items())
    return f'  - {{id: {id}, use: "blueprint:{what}@1.0.0", with: {{path: "{path}"}}{rest}}}'


async def workflow(engine: Engine, *body: str) -> str:
    await publish(engine, LINES, TAIL, KEEP)
    (source,) = await publish(engine, "\n".join(("kind: workflow", "slug: w", *body)))
    return source


async def test_fan_in_and_fan_out_over_a_worker_channel(tmp_path: Path) -> None:
    write(tmp_path / "a.in", range(250))
    write(tmp_path / "b.in", range(250, 500))
    async with engine_on(tmp_path / "home", workers=2) as engine:
        source = await workflow(
            engine,
            "steps:",
            step("a", "lines", tmp_path / "a.in", out="channel:c"),
            step("b", "lines", tmp_path / "b.in", out="channel:c"),
            step("x", "keep", tmp_path / "x.out", in_="channel:c"),
            step("y", "keep", tmp_path / "y.out", in_="channel:c"),
        )
        result = await apply(engine, source)
        assert len({one["worker"] for one in result["workloads"]}) == 1
        for name in ("x.out", "y.out"):
            assert await arrived(tmp_path / name, ALL) == once(ALL)


async def test_consumers_share_the_events_of_a_channel_with_the_standard_driver(tmp_path: Path) -> None:
    write(tmp_path / "a.in", ALL)
    async with engine_on(tmp_path / "home", workers=2) as engine:
        source = await workflow(
            engine,
            "channels: {c: {with: {driver: standard}}}",
            "steps:",
            step("a", "tail", tmp_path / "a.in", out="channel:c"),
            step("x", "keep", tmp_path / "one.out", in_="channel:c", replicas="2"),
            step("y", "keep", tmp_path / "one.out", in_="channel:c"),
        )
        await apply(engine, source)
        assert await arrived(tmp_path / "one.out", ALL) == once(ALL)


DISPATCHES: dict[str, tuple[str, range | list[int], range | list[int]]] = {
    "clone": ("mode: clone", ALL, ALL),
    "round-robin": ("mode: round-robin", ALL[::2], ALL[1::2]),
    "conditional": ("mode: conditional, field: odd, routes: {true: l}, default: r", ALL[1::2], ALL[::2]),
}


@pytest.mark.parametrize("transport", ["worker-channel", "file-store"])
@pytest.mark.parametrize("mode", DISPATCHES)
async def test_a_dispatch_sends_every_event_where_its_mode_says(tmp_path: Path, mode: str, transport: str) -> None:
    rule, left, right = DISPATCHES[mode]
    write(tmp_path / "a.in", ALL, odd=lambda n: n % 2 == 1)
    settings = f", with: {{path: {tmp_path}/spool, batch-timeout: 100ms, interval: 100ms}}"
    async with engine_on(tmp_path / "home", workers=2) as engine:
        source = await workflow(
            engine,
            f"channels: {{l: {{transport: {transport}{settings if transport == 'file-store' else ''}}}}}",
            "steps:",
            step("a", "lines", tmp_path / "a.in", out="{l: channel:l, r: channel:r}", dispatch=f"{{{rule}}}"),
            step("x", "keep", tmp_path / "l.out", in_="channel:l"),
            step("y", "keep", tmp_path / "r.out", in_="channel:r"),
        )
        await apply(engine, source)
        assert await arrived(tmp_path / "l.out", left) == once(left)
        assert await arrived(tmp_path / "r.out", right) == once(right)


def spool(tmp_path: Path, **more: Any) -> str:
    settings = {"path": f"{tmp_path}/spool", "batch-timeout": "50ms", "batch-size": 50, "interval": "100ms", **more}
    inner = ", ".join(f"{key}: {value}" for key, value in settings.items())
    return f"channels: {{c: {{transport: file-store, with: {{{inner}}}}}}}"


async def test_every_consumer_of_a_file_store_gets_all_events_and_what_all_have_read_is_deleted(tmp_path: Path) -> None:
    write(tmp_path / "a.in", ALL)
    async with engine_on(tmp_path / "home", workers=2) as engine:
        source = await workflow(
            engine,
            spool(tmp_path, retention="0s"),
            "steps:",
            step("a", "tail", tmp_path / "a.in", out="channel:c"),
            step("x", "keep", tmp_path / "x.out", in_="channel:c"),
            step("y", "keep", tmp_path / "y.out", in_="channel:c", replicas="2"),
        )
        made = await plan(engine, source)
        assert [warning["code"] for warning in made["warnings"]] == ["shared_reader"]
        await apply(engine, source)
        for name in ("x.out", "y.out"):
            assert await arrived(tmp_path / name, ALL) == once(ALL)
        objects = tmp_path / "spool" / "tenant-a" / "demo" / "c"
        await waiting.until(lambda: not list(objects.glob("*.json")))
        assert len(list((tmp_path / "spool").rglob("*-reader.json"))) == 2


async def test_a_killed_worker_in_the_middle_of_a_file_store_pipeline_loses_nothing(tmp_path: Path) -> None:
    wanted = range(20_000)
    async with engine_on(tmp_path / "home", workers=2) as engine:
        source = await workflow(
            engine,
            spool(tmp_path),
            "steps:",
            step("a", "tail", tmp_path / "*.in", out="channel:c"),
            step("x", "keep", tmp_path / "x.out", in_="channel:c"),
        )
        await apply(engine, source)
        for part in range(20):
            write(tmp_path / "a.in", wanted[part * 1000 : (part + 1) * 1000])
            if part in (5, 10, 15):
                await arrived(tmp_path / "x.out", wanted[:1000])
                worker = engine.fleet.workers[f"local-{1 + part // 5 % 2}"]
                if worker.pid is not None:
                    os.kill(worker.pid, signal.SIGKILL)
        await arrived(tmp_path / "x.out", wanted, 60)
        assert set(numbers(tmp_path / "x.out")) == set(wanted)


async def test_a_replay_reads_the_spool_once_more_and_only_once(tmp_path: Path) -> None:
    write(tmp_path / "a.in", ALL)
    async with engine_on(tmp_path / "home", workers=2) as engine:
        body = (
            spool(tmp_path, replay='"{{wizard.replay}}"'),
            "wizard: [{field: replay, default: beginning}]",
            "steps:",
            step("a", "tail", tmp_path / "a.in", out="channel:c"),
            step("x", "keep", tmp_path / "x.out", in_="channel:c"),
        )
        source = await workflow(engine, *body)
        await apply(engine, source)
        assert await arrived(tmp_path / "x.out", ALL) == once(ALL)
        made = await plan(engine, source, values={"replay": "2020-01-01"})
        assert [(c["action"], c["id"]) for c in made["changes"]] == [("update", "demo--x--c-reader")]
        await engine.call("deployment_apply", {"plan_id": made["plan_id"]}, ADMIN)
        await waiting.until(lambda: numbers(tmp_path / "x.out") == once([*ALL, *ALL]))
        write(tmp_path / "a.in", range(500, 510))
        await arrived(tmp_path / "x.out", range(500, 510))
        assert numbers(tmp_path / "x.out") == once([*ALL, *ALL, *range(500, 510)])


TELLER = """
kind: blueprint
slug: teller
version: 1.0.0
parameters:
  type: object
  properties: {path: {type: string}, says: {type: string, default: "${msg|job_event.n}"}}
  required: [path]
jobs:
  - name: tell
    input: {echo: {event: '{"n": "{{says}}"}', json: true}}
    actions: [{convert: {conversions: [{field: n, conversion: num}]}}]
    output: {file: {path: "{{path}}"}}
"""


async def test_events_wake_a_step_which_sees_what_they_say(tmp_path: Path) -> None:
    write(tmp_path / "a.in", range(20), odd=lambda n: n % 2 == 1)
    async with engine_on(tmp_path / "home", workers=2) as engine:
        await publish(engine, TELLER)
        source = await workflow(
            engine,
            "messages: [{from: a, to: t, tag: seen}, {from: x, to: u, tag: kept}]",
            "steps:",
            step(
                "a",
                "lines",
                tmp_path / "a.in",
                out="{l: channel:l, r: channel:r}",
                dispatch="{mode: conditional, field: odd, routes: {true: l}, default: r}",
            ),
            step("x", "keep", tmp_path / "x.out", in_="channel:l"),
            step("y", "keep", tmp_path / "y.out", in_="channel:r"),
            step("t", "teller", tmp_path / "t.out"),
            f'  - {{id: u, use: "blueprint:teller@1.0.0", with: {{path: "{tmp_path}/u.out", says: "1"}}}}',
        )
        await apply(engine, source)
        assert await arrived(tmp_path / "t.out", range(20)) == once(range(20))
        assert await arrived(tmp_path / "x.out", range(1, 20, 2)) == once(range(1, 20, 2))
        assert await arrived(tmp_path / "y.out", range(0, 20, 2)) == once(range(0, 20, 2))
        assert await arrived(tmp_path / "u.out", [1])  # told by the job itself, whose events leave through no channel


async def test_a_new_object_wakes_the_reader_that_waits_for_it(tmp_path: Path) -> None:
    write(tmp_path / "a.in", range(100))
    async with engine_on(tmp_path / "home", workers=2) as engine:
        source = await workflow(
            engine,
            spool(tmp_path),
            "messages: [{from: a, to: x, tag: spooled}]",
            "steps:",
            step("a", "tail", tmp_path / "a.in", out="channel:c"),
            step("x", "keep", tmp_path / "x.out", in_="channel:c"),
        )
        await apply(engine, source)
        await arrived(tmp_path / "x.out", range(100))
        write(tmp_path / "a.in", range(100, 200))
        assert await arrived(tmp_path / "x.out", range(200)) == once(range(200))


async def test_an_object_store_is_a_spool_in_a_bucket(tmp_path: Path) -> None:
    pytest.importorskip("obstore")
    boto3, moto = pytest.importorskip("boto3"), pytest.importorskip("moto.server")
    running = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    running.start()
    try:
        host, port = running.get_host_and_port()
        endpoint = f"http://{host}:{port}"
        keys = {"aws_access_key_id": "id", "aws_secret_access_key": "s", "region_name": "us-east-1"}
        client = boto3.client("s3", endpoint_url=endpoint, **keys)
        client.create_bucket(Bucket="spool")
        write(tmp_path / "a.in", ALL)
        settings = {
            "bucket-name": "spool",
            "endpoint": endpoint,
            "path": "deep/down",
            "access-key": "id",
            "secret-key": '"${secret|s3/key}"',
            "region": "us-east-1",
            "batch-size": 100,
            "batch-timeout": "50ms",
            "interval": "200ms",
            "gzip": "true",
            "retention": "0s",
        }
        inner = ", ".join(f"{key}: {value}" for key, value in settings.items())
        async with engine_on(tmp_path / "home", workers=2, egress_allow=("127.0.0.1/32",)) as engine:
            await engine.call("secret_set", {"name": "s3/key", "value": "s"}, ADMIN)
            source = await workflow(
                engine,
                f"channels: {{c: {{transport: object-store, with: {{{inner}}}}}}}",
                "steps:",
                step("a", "lines", tmp_path / "a.in", out="channel:c"),
                step("x", "keep", tmp_path / "x.out", in_="channel:c"),
                step("y", "keep", tmp_path / "y.out", in_="channel:c"),
            )
            await apply(engine, source)
            for name in ("x.out", "y.out"):
                assert await arrived(tmp_path / name, ALL) == once(ALL)

            def left() -> list[str]:
                return [one["Key"] for one in client.list_objects_v2(Bucket="spool").get("Contents", [])]

            await waiting.until(lambda: all(".taken/" in name for name in left()))
            assert sorted(left()) == [
                f"deep/down/tenant-a/demo/c.taken/demo--{step}--c-reader.json" for step in ("x", "y")
            ]
    finally:
        running.stop()


async def test_every_job_tells_where_it_comes_from(tmp_path: Path) -> None:
    write(tmp_path / "a.in", range(1))
    async with engine_on(tmp_path / "home", workers=2) as engine:
        source = await workflow(
            engine,
            spool(tmp_path),
            "wizard: [{field: out}]",
            "steps:",
            step("a", "tail", tmp_path / "a.in", out="channel:c"),
            '  - {id: x, use: "blueprint:keep@1.0.0", with: {path: "{{wizard.out}}"}, in: channel:c}',
        )
        await apply(engine, source, values={"out": str(tmp_path / "1.out")})
        await apply(engine, source, values={"out": str(tmp_path / "2.out")})

        async def origin(job: str) -> dict[str, Any]:
            shown = await engine.call("job_get", {"name": job}, ADMIN)
            assert shown["origin"].pop("digest").startswith(shown["version"])
            return shown["origin"]  # type: ignore[no-any-return]

        common = {"deployment": "demo", "step": "x"}
        module = "blueprint:keep@1.0.0"
        assert await origin("demo--x") == {**common, "module": module, "role": "step", "revision": 2}
        assert await origin("demo--x--c-reader") == {**common, "module": "channel c", "role": "reader", "revision": 1}
        await engine.call(
            "job_put", {"document": "{name: mine, input: {echo: {event: x}}, output: {discard: {}}}"}, ADMIN
        )
        assert (await engine.call("job_get", {"name": "mine"}, ADMIN))["origin"] is None


async def test_a_killed_worker_under_a_fan_out_loses_nothing(tmp_path: Path) -> None:
    wanted = range(6000)
    async with engine_on(tmp_path / "home", workers=1) as engine:
        source = await workflow(
            engine,
            "steps:",
            step("a", "tail", tmp_path / "*.in", out="{l: channel:l, r: channel:r}", dispatch="{mode: clone}"),
            step("x", "keep", tmp_path / "x.out", in_="channel:l"),
            step("y", "keep", tmp_path / "y.out", in_="channel:l"),
            step("z", "keep", tmp_path / "z.out", in_="channel:r"),
        )
        await apply(engine, source)
        worker = engine.fleet.workers["local-1"]
        for part in range(6):
            write(tmp_path / "a.in", wanted[part * 1000 : (part + 1) * 1000])
            if part in (2, 4):
                await arrived(tmp_path / "z.out", wanted[:1000])
                if worker.pid is not None:
                    os.kill(worker.pid, signal.SIGKILL)
        for name in ("x.out", "y.out", "z.out"):
            assert set(await arrived(tmp_path / name, wanted, 40)) == set(wanted)


async def test_a_consumer_that_comes_and_goes_takes_no_events_from_the_others(tmp_path: Path) -> None:
    async with engine_on(tmp_path / "home", workers=2) as engine:
        base = (
            "steps:",
            step("a", "tail", tmp_path / "*.in", out="channel:c"),
            step("x", "keep", tmp_path / "x.out", in_="channel:c"),
        )
        one = await workflow(engine, *base)
        await apply(engine, one)
        write(tmp_path / "a.in", range(100))
        await arrived(tmp_path / "x.out", range(100))
        two = await workflow(engine, *base, step("y", "keep", tmp_path / "y.out", in_="channel:c"))
        write(tmp_path / "a.in", range(100, 200))
        await apply(engine, two)
        write(tmp_path / "a.in", range(200, 300))
        await arrived(tmp_path / "y.out", range(200, 300))
        await apply(engine, one)
        write(tmp_path / "a.in", range(300, 400))
        assert set(await arrived(tmp_path / "x.out", range(400))) == set(range(400))


async def test_a_consumer_that_fails_gets_what_it_missed_when_it_is_well_again(tmp_path: Path) -> None:
    write(tmp_path / "a.in", range(300))
    (tmp_path / "sub").write_text("not a directory")
    async with engine_on(tmp_path / "home", workers=2) as engine:
        source = await workflow(
            engine,
            "steps:",
            step("a", "tail", tmp_path / "a.in", out="channel:c"),
            step("x", "keep", tmp_path / "x.out", in_="channel:c"),
            step("y", "keep", tmp_path / "sub" / "y.out", in_="channel:c"),
        )
        made = await plan(engine, source)
        await engine.call("deployment_apply", {"plan_id": made["plan_id"], "wait_seconds": 1}, ADMIN)

        def failed() -> bool:
            return any(one.restarts for one in engine.fleet.workload_views(tenant=ADMIN.tenant, job="demo--y"))

        await waiting.until(failed)
        (tmp_path / "sub").unlink()
        (tmp_path / "sub").mkdir()
        for path in (tmp_path / "x.out", tmp_path / "sub" / "y.out"):
            assert set(await arrived(path, range(300), 40)) == set(range(300))
