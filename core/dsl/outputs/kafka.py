"""The kafka output: an event as a record of a topic."""

from __future__ import annotations

import asyncio
import contextlib
import math
import re
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from functools import partial
from typing import Annotated, Any, ClassVar, NamedTuple

from pydantic import AfterValidator, Field

from core import clock
from core.dsl.component import REGISTRY, Batch, Config, Env, Event, Output, Run
from core.dsl.connections import kafka
from core.dsl.connections.retry import Retry, Temporary, attempt
from core.dsl.events import select
from core.dsl.language import templates
from core.dsl.language.duration import Duration
from core.dsl.outputs import content, partitioners
from core.errors import JobFailed, SluiceError, shorten
from core.model.letter import Code

MOST_IN_FLIGHT_BYTES = 16 * 1024 * 1024  # that are sent and not answered; then the job waits
RECORD_BYTES = 64  # of a record besides key, value and headers, at most
HEADER_BYTES = 10  # of a header besides name and value, at most
CLOSE_SECONDS = 2.0
WATCH_SECONDS = 1.0  # between two looks at what is on its way
TELL_SECONDS = 5.0  # between two words of the same outage
LEGAL_TOPIC = re.compile(kafka.TOPIC_PATTERN)


def _check_topic(text: str) -> str:
    if templates.parse(text) == [text] and "{{" not in text and not LEGAL_TOPIC.fullmatch(text):
        raise ValueError(f"{shorten(text, 60)} is no name of a topic: letters, digits, dot, _ and -, at most 249")
    return text


class Batching(Config):
    """How many records travel together to one partition."""

    max_bytes: int = Field(default=256 * 1024, ge=1024, le=16 * 1024 * 1024)
    """The most of one batch; what the cluster allows (`message.max.bytes`) is about 1 MB, unless it says otherwise."""
    linger: Duration = 0.0
    """Wait so long for more events before a batch that is not full is sent; left out: send what comes together."""


@REGISTRY.register("kafka")
class KafkaOutput(kafka.Cluster, Output):
    """Write events to topics of Apache Kafka, or of what speaks its protocol: one record for each event.

    An event counts as delivered when all replicas that are in step have it (acks=all). The producer is idempotent: what
    it tries again because an answer was lost is kept once, and records of one key stay in order; after a crash of the
    worker or a restart of the job events may come twice. The value is the event as JSON, or one field of it.

    An event that is larger than `max-record-bytes` or than the cluster takes, or of which no name of a topic can be
    made, is left out and becomes a dead letter. While brokers cannot be reached the output tells so and tries again
    for `delivery-timeout`; then the job fails and is restarted. Needs the extra `kafka`.
    """

    connects_to: ClassVar[str] = "Kafka cluster"
    example: ClassVar[str] = """
name: to-kafka
input: {echo: {event: '{"order": 7, "amount": 12.5}', json: true}}
output:
  kafka:
    bootstrap-servers: ["broker.example.com:9092"]
    topic: orders
    key: "${order}"
    compression: zstd
"""

    topic: Annotated[templates.Text, AfterValidator(_check_topic)] = Field(min_length=1)
    """The topic; with `${field}` each event says its own."""
    key: templates.Text | None = None
    """The key of the record; left out or empty, or one `${field}` that is null or missing: none. Records of one key go
    to one partition, in order."""
    headers: dict[str, templates.Text] = Field(default_factory=dict, max_length=100)
    """Headers of the record."""
    input_field: select.Selector | None = None
    """The field with the value of the record; left out: the whole event as JSON."""
    partitioner: partitioners.Name = "murmur2"
    """How a key chooses its partition: `murmur2` as clients in Java do, `crc32` as librdkafka does, or `round-robin`
    whatever the key is. Records without a key change the partition with each batch."""
    compression: kafka.Compression = "none"
    """How batches are compressed."""
    batch: Batching = Batching()
    """How many records travel together."""
    idempotent: bool = True
    """Have the cluster know what it has already. Switch it off for a cluster that cannot; then an answer that is lost
    may leave a record twice."""
    max_record_bytes: int = Field(default=1_000_000, ge=1, le=64 * 1024 * 1024)
    """The largest record that is sent: no more than `max.message.bytes` of the topic."""
    delivery_timeout: Annotated[Duration, Field(ge=1, le=3600)] = 120.0
    """Fail when a record was not accepted for so long."""

    def open(self, env: Env) -> KafkaSink:
        return KafkaSink(self, env)


class Record(NamedTuple):
    """One event as it is sent."""

    event: Event
    topic: str
    partition: int
    key: bytes | None
    value: bytes
    headers: list[tuple[str, bytes]]


class _Owner:
    """A batch of the job, settled when all batches that have a record of it are answered."""

    def __init__(self, settle: Callable[[BaseException | None], None]) -> None:
        self._settle: Callable[[BaseException | None], None] | None = settle
        self._left = 1  # one more than there are open batches, until all of its records are in one

    def enter(self) -> None:
        self._left += 1

    def leave(self, error: BaseException | None = None) -> None:
        self._left -= 1
        if self._settle is not None and (error is not None or not self._left):
            settle, self._settle = self._settle, None
            settle(error)


@dataclass(eq=False, slots=True)
class _Parcel:
    """Records for one partition that travel together."""

    topic: str
    partition: int
    builder: Any
    run: Run
    records: list[Record] = field(default_factory=list)
    owners: list[_Owner] = field(default_factory=list)
    size: int = 0
    late: asyncio.TimerHandle | None = None

    def settle(self, error: BaseException | None) -> None:
        if self.late is not None:
            self.late.cancel()
        for owner in self.owners:
            owner.leave(error)
        self.owners = []


class KafkaSink:
    """Fills a parcel for each partition; many are on their way at once, of each partition one after the other."""

    def __init__(self, config: KafkaOutput, env: Env) -> None:
        self._config = config
        self._env = env
        self._link = kafka.Link(config, env)
        errors = self._link.client.errors
        self._too_large = (errors.MessageSizeTooLargeError, errors.RecordListTooLargeError)
        self._producer: Any = None
        self._encode = content.pairs(config.input_field, env, "kafka")
        self._topic = templates.template(config.topic, env, required=True)
        self._key = None if config.key is None else _key(config.key, env)
        self._headers = [(name, templates.template(text, env)) for name, text in config.headers.items()]
        self._partitioners: dict[str, partitioners.Partitioner] = {}
        self._filling: dict[tuple[str, int], _Parcel] = {}
        self._sent: dict[_Parcel, None] = {}  # not answered, in the order of sending
        self._refused: list[_Parcel] = []  # by the cluster, and those behind them
        self._starts_anew = True  # whether a record that is sent once more needs another producer
        self._in_flight = 0  # bytes
        self._landed = asyncio.Event()
        self._fault: BaseException | None = None
        self._lock = asyncio.Lock()
        self._timer: asyncio.TimerHandle | None = None
        self._watching: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def write(self, batch: Batch, run: Run) -> None:
        owner = _Owner(batch.settle)
        async with self._lock:
            try:
                await self._connect(run)
                for event, value in self._encode(batch.events, run):
                    record = await self._record(event, value, run)
                    if record is not None:
                        await self._fill(record, owner, run)
                if not self._config.batch.linger:
                    await self._send_all()
                elif self._filling and self._timer is None:
                    loop = asyncio.get_running_loop()
                    self._timer = loop.call_later(self._config.batch.linger, self._start, self._time_is_up)
            except BaseException as error:
                fault = self._fail(error if isinstance(error, Exception) else JobFailed("the run was ended"))
                owner.leave(fault)
                raise
        owner.leave()

    async def flush(self, run: Run) -> None:
        async with self._lock:
            await self._send_all()

    # -- making records ------------------------------------------------------------------------------------

    async def _record(self, event: Event, value: bytes, run: Run) -> Record | None:
        """An event as a record; None for one that is left out."""
        topic = content.filled(self._topic, event, self._env, run, "kafka: the topic")
        key = "" if self._key is None else content.filled(self._key, event, self._env, run, "kafka: the key")
        if topic is None or key is None:
            return None
        if not LEGAL_TOPIC.fullmatch(topic):
            why = f"kafka: {shorten(topic, 60)} is no name of a topic"
            run.leave_out(self._env, Code.PATH_REFUSED, why, event)
            return None
        headers = []
        for name, fill in self._headers:
            text = content.filled(fill, event, self._env, run, f"kafka: the header {name}")
            if text is None:
                return None
            headers.append((name, text.encode(errors="replace")))
        data = key.encode(errors="replace") or None
        size = len(value) + len(data or b"") + RECORD_BYTES
        size += sum(len(name.encode()) + len(text) + HEADER_BYTES for name, text in headers)
        if size > self._config.max_record_bytes:
            most = self._config.max_record_bytes
            run.leave_out(self._env, Code.TOO_LARGE, f"kafka: a record of {size} bytes; at most {most} are sent", event)
            return None
        partitions = await self._partitions(topic)
        if not partitions:
            run.leave_out(self._env, Code.REFUSED, f"kafka: the cluster has no topic {shorten(topic, 249)}", event)
            return None
        chosen = self._partitioner(topic).choose(data, partitions)
        return Record(event, topic, chosen, data, value, headers)

    def _partitioner(self, topic: str) -> partitioners.Partitioner:
        known = self._partitioners.get(topic)
        if known is None:
            made = partitioners.Partitioner(self._config.partitioner, self._link.client.murmur2)
            known = self._partitioners[topic] = made
        return known

    async def _partitions(self, topic: str) -> list[int]:
        """Those of a topic, in order; none when the cluster answers and does not have it. Raises Temporary."""
        errors = self._link.client.errors
        if known := self._producer.client.cluster.partitions_for_topic(topic):
            return sorted(known)
        try:
            return sorted(await self._link.unless_refused(self._producer.partitions_for(topic)))
        except errors.UnknownTopicOrPartitionError as error:
            if self._link.fault_now or templates.parse(self._config.topic) == [topic]:
                raise self._link.fault(error) from error  # nobody answers, or it is the only one and may come yet
            return []
        except errors.KafkaError as error:
            raise self._link.fault(error) from error

    # -- sending -------------------------------------------------------------------------------------------

    async def _fill(self, record: Record, owner: _Owner, run: Run) -> None:
        """Put a record into the parcel of its partition, and send that one first when it is full."""
        place = (record.topic, record.partition)
        parcel = self._filling.get(place)
        if parcel is None or not _append(parcel, record):
            if parcel is not None:
                await self._send(parcel)
            parcel = self._filling[place] = self._parcel(place, run)
            _append(parcel, record)
        if not parcel.owners or parcel.owners[-1] is not owner:
            parcel.owners.append(owner)
            owner.enter()

    def _parcel(self, place: tuple[str, int], run: Run) -> _Parcel:
        return _Parcel(*place, self._producer.create_batch(), run)

    async def _send_all(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for parcel in list(self._filling.values()):
            await self._send(parcel)

    async def _time_is_up(self) -> None:
        self._timer = None
        async with self._lock:
            try:
                await self._send_all()
            except (SluiceError, OSError) as error:  # nobody awaits this: the batches carry it to the executor
                self._fail(error)

    async def _send(self, parcel: _Parcel) -> None:
        """Hand a parcel to the producer, when there is room. Raises the fault of an earlier one."""
        while self._in_flight > MOST_IN_FLIGHT_BYTES and self._fault is None:
            self._landed.clear()
            await self._landed.wait()
        self._raise_fault()
        self._filling.pop((parcel.topic, parcel.partition), None)
        self._partitioner(parcel.topic).turn()
        parcel.builder.close()
        self._sent[parcel] = None
        self._in_flight += parcel.size
        seconds = self._config.delivery_timeout
        parcel.late = asyncio.get_running_loop().call_later(seconds, self._overdue)
        answer = await self._hand_over(parcel)
        answer.add_done_callback(partial(self._answered, parcel))

    async def _hand_over(self, parcel: _Parcel) -> asyncio.Future[Any]:
        errors = self._link.client.errors
        while True:
            self._raise_fault()
            try:
                answer: asyncio.Future[Any] = await self._link.unless_refused(
                    self._producer.send_batch(parcel.builder, parcel.topic, partition=parcel.partition)
                )
                return answer
            except errors.KafkaTimeoutError:
                continue  # those before it are still on their way, until one of them is overdue
            except errors.KafkaError as error:
                raise self._link.fault(error) from error

    def _answered(self, parcel: _Parcel, answer: asyncio.Future[Any]) -> None:
        if parcel not in self._sent:  # given up
            if not answer.cancelled():
                answer.exception()
            return
        del self._sent[parcel]
        self._in_flight -= parcel.size
        self._landed.set()
        error = JobFailed("the producer was stopped") if answer.cancelled() else answer.exception()
        if isinstance(error, self._too_large) or (error is not None and self._refused):
            # What follows of an idempotent producer is refused as well: the number of this parcel is missing.
            self._refused.append(parcel)
            if len(self._refused) == 1:
                self._start(self._mend)
            return
        if error is not None:
            self._fail(self._link.fault(error))
            parcel.settle(self._fault)
            return
        parcel.run.bytes_out += parcel.size
        if self._env.contact.failing:
            self._env.contact.reached()
        parcel.settle(None)

    async def _mend(self) -> None:
        """Send what the cluster refused once more, record by record, and leave out what it does not take alone."""
        async with self._lock:
            try:
                while self._sent:
                    self._landed.clear()
                    await self._landed.wait()
                self._raise_fault()
                self._starts_anew = True
                while self._refused:
                    for record in self._refused[0].records:
                        await self._send_alone(record, self._refused[0].run)
                    self._refused.pop(0).settle(None)
            except Exception as error:  # nobody awaits this: the batches carry it to the executor
                self._fail(error)

    async def _send_alone(self, record: Record, run: Run) -> None:
        parcel = self._parcel((record.topic, record.partition), run)
        _append(parcel, record)
        parcel.builder.close()
        if self._starts_anew:
            await self._close_producer()
            await self._connect(run)
            self._starts_anew = False
        try:
            async with asyncio.timeout(self._config.delivery_timeout):
                await (await self._hand_over(parcel))
        except self._too_large:
            self._starts_anew = True  # with other numbers
            why = f"kafka: the cluster takes no record of {parcel.size} bytes in topic {record.topic}"
            run.leave_out(self._env, Code.TOO_LARGE, why, record.event)
        except (self._link.client.errors.KafkaError, TimeoutError) as error:
            raise self._link.fault(error) from error
        else:
            run.bytes_out += parcel.size

    def _overdue(self) -> None:
        seconds = self._config.delivery_timeout
        self._fail(self._link.fault(TimeoutError(f"no word of records for {seconds:g} s")))

    async def _watch(self) -> None:
        """While something is on its way: tell of brokers that cannot be reached, give up when that will not pass."""
        told = -math.inf
        while (over := self._link.over) is None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(WATCH_SECONDS):
                    await self._link.dialer.refusal.wait()
            away = self._link.fault_now if self._sent else ""
            if away and clock.monotonic() - told >= TELL_SECONDS:
                told = clock.monotonic()
                self._env.contact.failed(f"kafka: {away}")
        self._fail(over)

    def _fail(self, error: BaseException) -> BaseException:
        """Give up all that is on its way: the sources will read it again."""
        if self._fault is None:
            self._fault = error
            if isinstance(error, Temporary):
                self._env.contact.failed(error.message)
            for parcel in [*self._refused, *self._sent, *self._filling.values()]:
                parcel.settle(error)
            self._refused.clear()
            self._sent.clear()
            self._filling.clear()
            self._in_flight = 0
            self._landed.set()
        return self._fault

    def _raise_fault(self) -> None:
        if (over := self._link.over) is not None:
            raise over
        if self._fault is not None:
            raise self._fault

    def _start(self, work: Callable[[], Coroutine[Any, Any, None]]) -> asyncio.Task[None]:
        task = asyncio.create_task(work())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    # -- the producer --------------------------------------------------------------------------------------

    async def _connect(self, run: Run) -> None:
        self._raise_fault()
        if self._producer is None:
            tries = Retry(timeout=self._config.delivery_timeout, retries=100)
            self._producer = await attempt(tries, self._env, "kafka", lambda: self._open(run))
            if self._watching is None:
                self._watching = self._start(self._watch)

    async def _open(self, run: Run) -> Any:
        config, client = self._config, self._link.client
        producer = client.AIOKafkaProducer(
            **self._link.options(run),
            acks="all",
            enable_idempotence=config.idempotent,
            compression_type=None if config.compression == "none" else config.compression,
            max_batch_size=config.batch.max_bytes,
            max_request_size=max(config.batch.max_bytes, config.max_record_bytes),
            request_timeout_ms=int(kafka.REQUEST_SECONDS * 1000),
        )
        try:
            async with asyncio.timeout(kafka.REQUEST_SECONDS):
                await self._link.unless_refused(producer.start())
        except BaseException as error:
            await client.abandon(producer, CLOSE_SECONDS)
            if not isinstance(error, Exception):
                raise
            raise self._link.fault(error) from error
        return producer

    async def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        self._fail(JobFailed("the job was ended"))
        await self._close_producer()

    async def _close_producer(self) -> None:
        producer, self._producer = self._producer, None
        if producer is not None:
            await self._link.client.abandon(producer, CLOSE_SECONDS)


def _key(text: str, env: Env) -> templates.Render:
    """The key of an event; empty for none, as that of a record that came without one."""
    fill, parts = templates.template(text, env), templates.parse(text)
    match parts:
        case [templates.Lookup(source="event", name=name, fallback=None)]:
            get = select.getter(select.parse(name))
            return lambda event, run: "" if get(event) in (select.MISSING, None) else fill(event, run)
    return fill


def _append(parcel: _Parcel, record: Record) -> bool:
    """Put a record into a parcel, unless that is full."""
    added = parcel.builder.append(timestamp=None, key=record.key, value=record.value, headers=record.headers)
    if added is None:
        return False
    parcel.records.append(record)
    parcel.size = parcel.builder.size()
    return True
