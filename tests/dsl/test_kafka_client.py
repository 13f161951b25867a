"""Every broker that a cluster tells of passes the guard of outgoing connections before anybody connects to it."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import pytest
from aiokafka.errors import KafkaConnectionError

from core.dsl.component import Limits, Run
from core.dsl.connections import kafka_client
from core.errors import JobFailed
from core.guard import dialing
from tests import brokers
from tests.dsl import rig
from tests.dsl.rig import Worker

pytestmark = [pytest.mark.anyio, brokers.needs_broker]
OPEN = ("127.0.0.1/32",)  # and nothing else of loopback


@pytest.fixture
def worker(tmp_path: Path) -> Worker:
    return Worker(tmp_path / "state", Limits(egress_allow=OPEN))


class Trap:
    """A port that nobody may connect to; who does is counted."""

    def __init__(self, host: str) -> None:
        self.visits = 0
        self.socket = socket.create_server((host, 0))
        self.port = self.socket.getsockname()[1]

    async def count(self) -> None:
        loop = asyncio.get_running_loop()
        self.socket.setblocking(False)
        while True:
            visitor, _ = await loop.sock_accept(self.socket)
            self.visits += 1
            visitor.close()


@contextlib.asynccontextmanager
async def trap(host: str = "127.0.0.2") -> AsyncIterator[Trap]:
    made = Trap(host)
    counting = asyncio.create_task(made.count())
    try:
        yield made
    finally:
        counting.cancel()
        made.socket.close()


def written(addresses: list[str], **more: Any) -> dict[str, Any]:
    return {
        "kafka": {"bootstrap-servers": addresses, "topic": "t", "idempotent": False, "delivery-timeout": "2s", **more}
    }


async def read(worker: Worker, **config: Any) -> None:
    source = rig.declare("input", {"kafka": config}).open(worker.env())
    try:
        async for batch in source.batches(Run()):
            batch.settle(None)
    finally:
        await source.close()


@pytest.mark.parametrize("announced", ["127.0.0.2", "brokers.example"])
async def test_a_forbidden_broker_that_the_cluster_tells_of_is_never_connected_to(
    worker: Worker, announced: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lookup = dialing.lookup

    async def look(host: str, port: int) -> list[Any]:
        return await lookup("127.0.0.2" if host == "brokers.example" else host, port)

    monkeypatch.setattr(dialing, "lookup", look)
    with anyio.fail_after(20):
        async with trap() as forbidden:
            with brokers.broker(announced=f"{announced}:{forbidden.port}") as address:
                with pytest.raises(JobFailed, match=f"the broker {announced}:{forbidden.port}: .* may not reach"):
                    await worker.write('{"n": 1}', written([address]))
                with pytest.raises(JobFailed, match=f"the broker {announced}:{forbidden.port}: .* may not reach"):
                    await read(worker, **{"bootstrap-servers": [address], "topics": ["t"]})
            assert forbidden.visits == 0
            with contextlib.closing(socket.create_connection(("127.0.0.2", forbidden.port))):
                while not forbidden.visits:  # the trap does count
                    await anyio.lowlevel.checkpoint()


async def test_nothing_connects_but_the_dialer(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fails when a version of aiokafka opens a connection elsewhere: bootstrap, leaders and coordinator of a group."""
    dialled: list[int] = []
    connected: list[int] = []
    guarded, bare = kafka_client.Dialer.open, asyncio.BaseEventLoop.create_connection

    async def through(self: Any, factory: Any, host: str, port: int, tls: Any) -> Any:
        dialled.append(port)
        return await guarded(self, factory, host, port, tls)

    async def past(self: Any, factory: Any, host: Any = None, port: Any = None, **more: Any) -> Any:
        connected.append(port)
        return await bare(self, factory, host, port, **more)

    monkeypatch.setattr(kafka_client.Dialer, "open", through)
    monkeypatch.setattr(asyncio.BaseEventLoop, "create_connection", past)
    with brokers.mock(3) as addresses, anyio.fail_after(20):
        lines = "\n".join(f'{{"n": {n}}}' for n in range(100))
        assert (await worker.write(lines, written(addresses, idempotent=True, key="${n}"))).ok
        source = rig.declare("input", {"kafka": {"bootstrap-servers": addresses, "topics": ["t"]}}).open(worker.env())
        got = 0
        async for batch in source.batches(Run()):
            got += len(batch.events)
            batch.settle(None)
            if got == 100:
                break
        await source.close()
    reached = {f"127.0.0.1:{port}" for port in dialled}
    assert reached <= set(addresses) and len(reached) > 1, "not every broker leads a partition"
    assert sorted(dialled) == sorted(connected)


async def test_a_client_without_a_dialer_connects_nowhere() -> None:
    async with trap("127.0.0.1") as port:
        with pytest.raises(KafkaConnectionError, match="without a dialer"):
            await kafka_client.client.create_conn("127.0.0.1", port.port, client_id="plain")
        assert port.visits == 0


async def test_a_library_that_connects_past_the_guard_is_refused(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def elsewhere(self: Any) -> None:
        self._reader = self._writer = None

    monkeypatch.setattr(kafka_client.conn.AIOKafkaConnection, "connect", elsewhere)
    monkeypatch.setattr(kafka_client.conn.AIOKafkaConnection, "close", lambda self, **more: None)
    with pytest.raises(JobFailed, match="connects past the guard"):
        await read(worker, **{"bootstrap-servers": ["127.0.0.1:1"], "topics": ["t"]})


async def test_without_the_library_the_job_says_what_to_install(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "core.dsl.connections.kafka_client", None)
    with pytest.raises(JobFailed, match="aiokafka, which is not installed") as raised:
        await read(worker, **{"bootstrap-servers": ["127.0.0.1:1"], "topics": ["t"]})
    assert raised.value.hint == "pip install 'sluice-mcp[kafka]'"
