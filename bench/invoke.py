"""The main job: a durable invocation, from the call to the terminal record, through every door."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import orjson

from bench import engines, wire
from bench.floors.store import Store
from bench.measure import Call, Latency, Scale, in_flight, middle, sequential, take_turns
from bench.report import Row

WIDTH = 64
WIDE = 256
CHANNEL_ALLOWANCE_MS = 0.15
Side = Callable[[], Awaitable["Figures"]]


@dataclass(frozen=True, slots=True)
class Figures:
    """What one side reached: times of single calls, and calls per second by how many were in flight."""

    latency: Latency
    rates: dict[int, float]


def side(call: Call, many: Call, scale: Scale, widths: tuple[int, ...] = (WIDTH,)) -> Side:
    """A side that measures `call` one at a time, and `many` with many in flight."""

    async def take() -> Figures:
        latency = await sequential(call, scale.sequential)
        return Figures(latency, {width: await in_flight(many, max(scale.in_flight, width), width) for width in widths})

    return take


def middle_of(rounds: list[Figures]) -> Figures:
    rates = {width: median(one.rates[width] for one in rounds) for width in rounds[0].rates}
    return Figures(middle([one.latency for one in rounds]), rates)


async def measure(scale: Scale, folder: Path) -> list[Row]:
    home = folder / "home"
    found = await _engine_and_attached(scale, folder, home)
    found |= await _http(scale, home)
    found |= await _stdio(scale, home)
    return [*_rows(found), *await _history(scale, folder)]


async def _engine_and_attached(scale: Scale, folder: Path, home: Path) -> dict[str, Figures]:
    async with AsyncExitStack() as stack:
        running = await stack.enter_async_context(engines.engine(home))
        await engines.prepare(running)
        store = Store(folder / "floor.db")
        stack.callback(store.close)
        echo = await stack.enter_async_context(_echo(folder / "echo.sock"))
        sizes = (scale.sequential, scale.in_flight, WIDTH)
        command = wire.python("-m", "bench.attached", str(home), *map(str, sizes))
        other = await stack.enter_async_context(wire.process(*command))
        await other.line()

        async def call() -> None:
            await engines.invoke(running)

        async def attached() -> Figures:
            told = orjson.loads(await other.ask(b"\n"))
            return Figures(Latency(told["p50"], told["p99"]), {WIDTH: told["per_second"]})

        widths = (WIDTH, WIDE)
        await _warm(call, store.invoke, echo, scale=scale)
        rounds = await take_turns(
            {
                "store": side(store.invoke, store.invoke, scale, widths),
                "engine": side(call, call, scale, widths),
                "channel": side(echo, echo, scale),
                "attached": attached,
            },
            scale.rounds,
        )
    return {name: middle_of(figures) for name, figures in rounds.items()}


async def _warm(*calls: Call, scale: Scale) -> None:
    for call in calls:
        await in_flight(call, scale.sequential, 16)


@asynccontextmanager
async def _echo(path: Path) -> AsyncIterator[Call]:
    """The channel floor as a call, with its server in a process of its own."""
    async with wire.process(*wire.python("-m", "bench.floors.echo_channel", str(path))) as server:
        await server.line()
        _, lines = await asyncio.get_running_loop().create_unix_connection(wire.Lines, str(path))
        args = {"operation": "trigger_invoke", "arguments": {"slug": engines.SLUG, "params": engines.PARAMS}}
        yield lambda: lines.call(args)
        lines.transport.close()


async def _http(scale: Scale, home: Path) -> dict[str, Figures]:
    async with AsyncExitStack() as stack:
        echo = await stack.enter_async_context(wire.process(*wire.python("-m", "bench.floors.echo_http")))
        echo_port = int(await echo.line())
        served = await stack.enter_async_context(engines.served(home))
        headers = {"authorization": f"Bearer {served.token}", "x-sluice-tenant": engines.TENANT}
        body = orjson.dumps({"params": engines.PARAMS})
        request = wire.post(f"/api/triggers/{engines.SLUG}/invoke", body, headers)

        def over(port: int, check: bool) -> Side:
            async def take() -> Figures:
                """Over connections of its own: while another side is measured, a server closes those that are idle."""
                connections = [await wire.connect(port) for _ in range(WIDTH)]
                free = asyncio.Queue[wire.Http]()
                for connection in connections:
                    free.put_nowait(connection)

                async def call() -> None:
                    connection = free.get_nowait()
                    answer = await connection.request(request)
                    free.put_nowait(connection)
                    if check:
                        engines.check(orjson.loads(answer))

                try:
                    await in_flight(call, scale.sequential, 16)
                    return await side(call, call, scale)()
                finally:
                    for connection in connections:
                        connection.transport.close()

            return take

        sides = {"echo_http": over(echo_port, check=False), "http": over(served.port, check=True)}
        rounds = await take_turns(sides, scale.rounds)
    return {name: middle_of(figures) for name, figures in rounds.items()}


async def _stdio(scale: Scale, home: Path) -> dict[str, Figures]:
    async with AsyncExitStack() as stack:
        floor = await stack.enter_async_context(wire.process(*wire.python("-m", "bench.floors.mcp_stdio")))
        ours = await stack.enter_async_context(wire.process(*engines.mcp_command(home)))

        async def over(pipes: wire.Pipes, name: str, check: bool) -> Side:
            raw = engines.rpc("tools/call", name=name, arguments=engines.PARAMS)

            async def one() -> None:
                line = await pipes.ask(raw)
                if check:
                    engines.check(engines.answered(line)["structuredContent"])

            async def many() -> None:
                line = await pipes.ask_in_flight(raw)
                if check:
                    engines.check(engines.answered(line)["structuredContent"])

            await in_flight(one, scale.sequential, 1)
            measured = side(one, many, scale)

            async def take() -> Figures:
                figures = await measured()
                await pipes.rest()
                return figures

            return take

        rounds = await take_turns(
            {
                "mcp_stdio": await over(floor, "echo", check=False),
                "stdio": await over(ours, f"trigger_invoke_{engines.SLUG}", check=True),
            },
            scale.rounds,
        )
    return {name: middle_of(figures) for name, figures in rounds.items()}


def _rows(found: dict[str, Figures]) -> list[Row]:
    store, ours = found["store"], found["engine"]
    rows = [
        Row("Engine.call p50", "ms", ours.latency.p50, store.latency.p50, 1.6, note="floor: three durable states"),
        Row("Engine.call p99", "ms", ours.latency.p99, store.latency.p99),
        Row("Engine.call, 64 in flight", "1/s", ours.rates[WIDTH], store.rates[WIDTH], 0.4, more_is_better=True),
        Row("Engine.call, 256 in flight", "1/s", ours.rates[WIDE], store.rates[WIDE], more_is_better=True),
    ]
    channel, attached = found["channel"], found["attached"]
    floor = ours.latency.p50 + channel.latency.p50
    rows += [
        Row(
            "attached process p50",
            "ms",
            attached.latency.p50,
            floor,
            (floor + CHANNEL_ALLOWANCE_MS) / floor,
            note=f"floor: Engine.call + channel {channel.latency.p50:.3f}",
        ),
        Row("attached process p99", "ms", attached.latency.p99),
        Row(
            "attached process, 64 in flight",
            "1/s",
            attached.rates[WIDTH],
            _chained(ours.rates[WIDTH], channel.rates[WIDTH]),
            0.5,
            more_is_better=True,
            note="floor: both, one after the other",
        ),
    ]
    for what, door, echo, name in (
        ("HTTP", found["http"], found["echo_http"], "echo"),
        ("MCP stdio", found["stdio"], found["mcp_stdio"], "trivial tool"),
    ):
        rows += [
            Row(
                f"{what} p50",
                "ms",
                door.latency.p50,
                echo.latency.p50 + store.latency.p50,
                2.0,
                note=f"floor: {name} {echo.latency.p50:.3f} + three durable states",
            ),
            Row(f"{what} p99", "ms", door.latency.p99),
            Row(
                f"{what}, 64 in flight",
                "1/s",
                door.rates[WIDTH],
                _chained(store.rates[WIDTH], echo.rates[WIDTH]),
                0.5,
                more_is_better=True,
                note=f"{name} alone: {echo.rates[WIDTH]:,.0f}",
            ),
        ]
    return rows


def _chained(*rates: float) -> float:
    """The rate of work that costs what each of these costs, one after the other."""
    return 1 / sum(1 / rate for rate in rates)


async def _history(scale: Scale, folder: Path) -> list[Row]:
    """The same call on an empty history and on a long one."""
    async with AsyncExitStack() as stack:
        sides: dict[str, Callable[[], Awaitable[Latency]]] = {}
        for name, length in (("empty", 0), ("full", scale.history)):
            running = await stack.enter_async_context(engines.engine(folder / name))
            await engines.prepare(running)
            if length:
                await running.database.write(_fill, length)

            async def take(running: Any = running) -> Latency:
                return await sequential(lambda: engines.invoke(running), scale.sequential)

            await take()
            sides[name] = take
        rounds = await take_turns(sides, scale.rounds)
    empty, full = middle(rounds["empty"]), middle(rounds["full"])
    return [
        Row(
            f"Engine.call p50 after {scale.history:,} invocations",
            "ms",
            full.p50,
            empty.p50,
            1.1,
            note="floor: empty history",
        )
    ]


def _fill(db: Any, length: int) -> None:
    """Copy the one invocation there is, with its message and audit row, `length` times into the past."""
    for table in ("invocations", "messages", "audit"):
        columns = ", ".join(row[1] for row in db.conn.execute(f"PRAGMA table_info({table})").fetchall()[1:])
        first, last = db.conn.execute(f"SELECT min(id), max(id) FROM {table}").fetchone()
        db.conn.execute(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?)"
            f" INSERT INTO {table} SELECT ? - i * 1000, {columns} FROM {table}, n WHERE id = ?",
            (length, first, last),
        )
