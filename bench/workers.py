"""Workers of other machines beside those of this one: the same invocations and the same events, over each wire, with
one, two, four and eight."""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from statistics import median
from typing import Any

import orjson

from bench import data, engines, wire
from bench.invoke import WIDTH, middle_of, side
from bench.measure import SMALLEST, Scale, in_flight, take_turns
from bench.report import Row
from core import clock
from core.engine import Engine
from mcp_server.http import serving, sockets

NUMBERS = (1, 2, 4, 8)
TARGET = 0.8
LOCAL = "default"
JOIN_SECONDS = 30.0
NATS_SERVER = Path(sys.executable).with_name("nats-server")


async def measure(scale: Scale, folder: Path) -> list[Row]:
    rows: list[Row] = []
    for number in NUMBERS[:1] if scale is SMALLEST else NUMBERS:
        place = folder / str(number)
        place.mkdir()
        rows += await _beside(scale, place, number)
    return rows


async def _beside(scale: Scale, folder: Path, number: int) -> list[Row]:
    """So many workers of this machine, over a WebSocket and over NATS, on one engine."""
    files = folder / "files"
    files.mkdir()
    source = files / "events.jsonl"
    data.write_events(source, scale.events)
    async with AsyncExitStack() as stack:
        broker = await stack.enter_async_context(_nats())
        running = await stack.enter_async_context(
            engines.engine(folder / "home", number, nats=broker, file_roots=(str(files),))
        )
        address = await stack.enter_async_context(door(running, folder / "home"))
        groups = {LOCAL: "", "websocket": address, "nats": broker}
        sides, flows = {}, {}
        for group, url in groups.items():
            if url:
                await _join(stack, running, folder, group, url, number, files)
            slug = await _publish(running, group, number)
            call = _call(running, slug)
            await in_flight(call, scale.sequential, 16)
            sides[group] = side(call, call, scale)
            flows[group] = _flow(running, group, source, number, scale.events)
        rates = {name: median(rounds) for name, rounds in (await take_turns(flows, scale.rounds)).items()}
        found = {name: middle_of(rounds) for name, rounds in (await take_turns(sides, scale.rounds)).items()}
    local, rows = found.pop(LOCAL), []
    floor = "the same number of workers of this machine"
    for name, one in found.items():
        what = f"{number} over {name}"
        rows += [
            Row(f"invocation, {what}, p50", "ms", one.latency.p50, local.latency.p50, note=f"floor: {floor}"),
            Row(
                f"invocations, {what}, {WIDTH} in flight",
                "1/s",
                one.rates[WIDTH],
                local.rates[WIDTH],
                TARGET,
                more_is_better=True,
                note=f"floor: {floor}",
            ),
            Row(f"events, {what}", "1/s", rates[name], rates[LOCAL], more_is_better=True, note=f"floor: {floor}"),
        ]
    return rows


def _flow(running: Engine, group: str, source: Path, number: int, events: int) -> Callable[[], Awaitable[float]]:
    """Events per second of a group, each of whose workers takes all events of a file at the same time."""
    targets = [source.with_name(f"{group}-{n}.jsonl") for n in range(number)]

    async def flow() -> float:
        started, ended = await data.run_jobs(running, data.JOB, [source] * number, targets, group)
        return number * events / (ended - started) * clock.NANOSECONDS

    return flow


@asynccontextmanager
async def _nats() -> AsyncIterator[str]:
    """The address of a NATS server of our own."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = await asyncio.create_subprocess_exec(
        str(NATS_SERVER), "-a", "127.0.0.1", "-p", str(port), stderr=asyncio.subprocess.DEVNULL
    )
    try:
        yield f"nats://127.0.0.1:{port}"
    finally:
        process.terminate()
        await process.wait()


@asynccontextmanager
async def door(running: Engine, home: Path) -> AsyncIterator[str]:
    """The address of a server that has the WebSocket of the workers, and nothing else."""
    workers = sockets.Workers(running.gateway.meet)
    listener = serving.bind("127.0.0.1", 0)

    async def app(
        scope: MutableMapping[str, Any], receive: Callable[[], Awaitable[Any]], send: Callable[[Any], Awaitable[None]]
    ) -> None:
        if scope["type"] == "lifespan":
            for kind in ("startup", "shutdown"):
                await receive()
                await send({"type": f"lifespan.{kind}.complete"})
            return
        await workers(scope, receive, send)

    async with serving.running(app, [listener], serving.room(running.settings), drain_seconds=1.0):
        try:
            yield serving.url(listener)
        finally:
            await running.gateway.dismiss(5.0)


async def _join(
    stack: AsyncExitStack, running: Engine, folder: Path, group: str, url: str, number: int, files: Path
) -> None:
    """Start workers that join a group by an address, and wait until they have; their jobs may use `files`."""
    file = await token(running, folder, group, number)
    names = [f"{group}-{n}" for n in range(number)]
    for name in names:
        flags = ("--url", url, "--token-file", str(file), "--name", name, "--home", str(folder / name))
        command = wire.python("-c", engines.MAIN, "worker", *flags, "--file-root", f"{engines.TENANT}={files}")
        await stack.enter_async_context(wire.process(*command, stderr=asyncio.subprocess.DEVNULL))
    there = running.fleet.workers
    if not await running.fleet.wait(lambda: all(name in there and there[name].online for name in names), JOIN_SECONDS):
        raise RuntimeError(f"the workers of group {group} did not join")


async def token(running: Engine, folder: Path, group: str, number: int) -> Path:
    """The file of a token that lets so many workers into a new group."""
    await running.call("worker_group_create", {"name": group, "tenants": [engines.TENANT]}, engines.CALLER)
    wanted = {"group": group, "uses": number, "approval": "auto", "can": ["files"]}
    made = await running.call("worker_token_create", wanted, engines.CALLER)
    file = folder / f"{group}.token"
    file.touch(mode=0o600)
    file.write_text(made["token"])
    return file


async def _publish(running: Engine, group: str, number: int) -> str:
    """A trigger whose job runs on every worker of a group; its slug."""
    definition = orjson.loads((engines.EXAMPLES / "smoke_trigger.json").read_bytes())
    document = (engines.EXAMPLES / "smoke_trigger_handler.yaml").read_text()
    slug, job, tag = f"smoke_{group}", f"handler_{group}", f"{group}.invoke"
    definition |= {"slug": slug, "target_job_name": job, "target_message_tag": tag}
    await running.call("trigger_publish", definition, engines.CALLER)
    document = document.replace("smoke_trigger_handler", job).replace("smoke.invoke", tag)
    ids = await engines.deploy(running, document, worker_group=group, replicas=number)
    if not await running.fleet.wait(lambda: running.fleet.settled(ids), JOIN_SECONDS):
        raise RuntimeError(f"the handler of group {group} did not start")
    return slug


def _call(running: Engine, slug: str) -> Callable[[], Awaitable[None]]:
    async def call() -> None:
        arguments = {"slug": slug, "params": engines.PARAMS}
        engines.check(await running.call("trigger_invoke", arguments, engines.CALLER))

    return call
