"""Kafka: the input and the output of the job language beside the loops that one writes with the same client by hand."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from statistics import median
from typing import Any

import orjson

from bench import wire
from bench.measure import Scale, take_turns
from bench.report import Row
from core.dsl.component import Limits
from core.dsl.connections import kafka_client
from core.dsl.language.compile import compile_job
from core.worker.channels import Channels
from core.worker.environment import Environment
from core.worker.executor import Executor
from core.worker.kv import NoKV

LOOPBACK = ("127.0.0.0/8",)
BATCH_BYTES = 256 * 1024
GROUP_SECONDS = 60.0  # for a group to form, which is not measured


async def measure(scale: Scale, folder: Path) -> list[Row]:
    async with wire.process(*wire.python("-m", "bench.floors.cluster")) as pipes:
        servers = (await pipes.line()).decode().strip().split(",")
        sides = _Sides(servers, scale.events // 4, folder)
        await sides.fill()
        writing = await take_turns({"ours": sides.write, "floor": sides.write_by_hand}, scale.rounds)
        reading = await take_turns({"ours": sides.read, "floor": sides.read_by_hand}, scale.rounds)
    return [
        _row("input, events", "floor: getmany, parse, commit each second", reading),
        _row("output, events", "floor: send for each event", writing),
    ]


def _row(what: str, note: str, rates: dict[str, list[float]]) -> Row:
    return Row(what, "1/s", median(rates["ours"]), median(rates["floor"]), 0.6, more_is_better=True, note=note)


class _Sides:
    """Each measures its rate, in events a second."""

    def __init__(self, servers: list[str], count: int, folder: Path) -> None:
        self._servers = servers
        self._count = count
        self._folder = folder
        self._events = [
            {"host": f"web-{n % 50:03}.example", "user": 100_000 + n, "status": 200, "path": f"/api/v1/items/{n:06}"}
            for n in range(count)
        ]
        self._turn = 0

    def _client(self) -> dict[str, Any]:
        dialer = kafka_client.Dialer(LOOPBACK)
        return {"bootstrap_servers": self._servers, "client_id": kafka_client.ClientId("bench", dialer)}

    async def fill(self) -> None:
        """What the readers read."""
        await self._produce("read")

    async def _produce(self, topic: str) -> None:
        producer = kafka_client.AIOKafkaProducer(
            **self._client(), enable_idempotence=True, acks="all", max_batch_size=BATCH_BYTES, linger_ms=5
        )
        await producer.start()
        sent = [
            await producer.send(topic, orjson.dumps(event), key=str(event["user"]).encode()) for event in self._events
        ]
        await asyncio.gather(*sent)
        await producer.stop()

    async def write_by_hand(self) -> float:
        started = time.perf_counter()
        await self._produce("by-hand")
        return self._count / (time.perf_counter() - started)

    async def write(self) -> float:
        lines = self._folder / "events.jsonl"
        if not lines.exists():
            lines.write_bytes(b"\n".join(map(orjson.dumps, self._events)))
        target = {"kafka": {"bootstrap-servers": self._servers, "topic": "ours", "key": "${user}"}}
        text = lines.read_text()
        started = time.perf_counter()
        await self._run({"echo": {"event": text, "json": True}}, target, None)
        return self._count / (time.perf_counter() - started)

    async def read_by_hand(self) -> float:
        consumer = kafka_client.AIOKafkaConsumer(
            "read", **self._client(), group_id=self._group(), enable_auto_commit=False, auto_offset_reset="earliest"
        )
        await consumer.start()
        seen, started, committed = 0, 0.0, time.perf_counter()
        while seen < self._count:
            found = await consumer.getmany(timeout_ms=1000, max_records=2000)
            started = started or time.perf_counter()
            for records in found.values():
                seen += len([orjson.loads(record.value) for record in records])
            if time.perf_counter() - committed >= 1:
                await consumer.commit()
        seconds = time.perf_counter() - started
        await consumer.stop()
        return self._count / seconds

    async def read(self) -> float:
        source = {
            "kafka": {"bootstrap-servers": self._servers, "topics": ["read"], "group": self._group(), "json": True}
        }
        return self._count / await self._run(source, {"discard": {}}, self._count)

    def _group(self) -> str:
        self._turn += 1
        return f"g{self._turn}"

    async def _run(self, source: Any, sink: Any, until: int | None) -> float:
        """Run a job to its end, or until so many events are accepted; the seconds since the first of them."""
        name = f"job{self._turn}"
        env = Environment(
            job=name,
            worker="bench",
            tenant="default",
            workload=f"{name}.0",
            limits=Limits(egress_allow=LOOPBACK),
            state_dir=self._folder / name,
            log=lambda level, text, **fields: None,
            publish=_nowhere,
            variable=lambda name: None,
            channels=Channels(),
            store=NoKV(),
        )
        executor = Executor(compile_job({"name": name, "input": source, "output": sink}, env), env, on_run=_ended)
        running = asyncio.create_task(executor.run())
        if until is None:
            await running
            return 0.0
        started = await _at_least(1, executor, running)
        ended = await _at_least(until, executor, running)
        await executor.drain(5)
        running.cancel()
        await asyncio.wait({running})
        return ended - started


async def _at_least(count: int, executor: Executor, running: asyncio.Task[Any]) -> float:
    """When so many events were accepted."""
    async with asyncio.timeout(GROUP_SECONDS):
        while executor.metrics.events_out < count:
            if running.done():
                running.result()
            executor.count()
            await asyncio.sleep(0.002)
    return time.perf_counter()


def _nowhere(message: Any) -> asyncio.Future[None]:
    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    future.set_result(None)
    return future


def _ended(report: Any) -> None:
    if not report.ok:
        raise RuntimeError(report.reason)
