"""The kafka input: the records of topics, read as a member of a consumer group, as long as the job runs."""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from core import clock
from core.dsl.component import REGISTRY, Batch, Env, Input, Run
from core.dsl.connections import kafka
from core.dsl.events import patterns, select
from core.dsl.inputs import offsets, records
from core.dsl.inputs.pace import Pace
from core.dsl.inputs.rewind import BEGINNING, Replay
from core.dsl.language.duration import Duration
from core.errors import JobFailed, SluiceError, shorten
from core.model.letter import Code

POLL_SECONDS = 1.0  # between two looks at whether all is well, while no record comes
MOST_RECORDS = 500  # of one batch
MOST_OPEN = 20_000  # records that are handed on and not accepted
MOST_FETCH_BYTES = 8 * 1024 * 1024  # of one answer of a broker, unless one record is larger
MOST_PARTITION_BYTES = 1024 * 1024
COMMIT_SECONDS = 1.0
LOOKUP_SECONDS = 20.0  # for all that is asked when partitions are given
REBALANCE_SECONDS = 60.0  # the readers of a group have so long to let go of their partitions
FINISH_SECONDS = 30.0  # of which the output has so long to accept what is on its way
CLOSE_SECONDS = 5.0  # for a last commit
LEAVE_SECONDS = 0.5
TOPIC_SECONDS = 5.0  # after that it is told that a topic is not there
JOIN_SECONDS = 20.0  # after that it is told that a reader is not let into its group
TOPICS_SECONDS = 30.0  # between two looks at which topics match
UNHEALTHY_SECONDS = 5.0  # between two words of the same outage
INTERNAL = "__"  # what the names of Kafka's own topics begin with


@REGISTRY.register("kafka")
class KafkaInput(kafka.Cluster, Input):
    """Read topics of Apache Kafka, or of what speaks its protocol, as long as the job runs: one event for each record.

    The readers of a `group` share the partitions of the topics. The offset of a record is committed when the output has
    accepted it and all before it, so that nothing is lost when a worker dies or partitions move; what was on its way
    comes again. When partitions are to move to another reader, the output gets 30 seconds to accept what is on its
    way; what it has not accepted by then is read again by the other one, and the log says how much that is. A group
    that has committed nothing begins where `replay` says, by default at the beginning.

    Records that were deleted by the cluster before they were read are counted as left out, with how many there were;
    so is a record that is longer than a line may be, or with `json` one that is no JSON object: each becomes a dead
    letter with its topic, partition and offset. A record without a value (a tombstone) is an event without fields,
    apart from those that `key-field` and the like name. While a broker cannot be reached, a topic is not there or the
    group lets nobody in, the input tells so and goes on trying. Needs the extra `kafka`.
    """

    connects_to: ClassVar[str] = "Kafka cluster"
    example: ClassVar[str] = """
name: from-kafka
input:
  kafka:
    bootstrap-servers: ["broker.example.com:9092"]
    topics: [orders]
    group: billing
    json: true
    key-field: order_id
output: {print: STDOUT}
"""

    topics: tuple[Annotated[str, Field(pattern=kafka.TOPIC_PATTERN)], ...] = Field(default=(), max_length=1000)
    """The topics to read; either these or topics-pattern."""
    topics_pattern: patterns.Regex | None = None
    """Read every topic whose whole name matches this regular expression (RE2), also one that is made later, which is
    found within half a minute and read from its beginning. Topics of Kafka itself (`__…`) never match."""
    group: str = Field(default="", max_length=255)
    """The consumer group; left out: `sluice.TENANT.JOB`. Copies of the job are members of one group."""
    replay: Replay | None = None
    """Where a group begins that has committed nothing, as `beginning` (earliest), `now` (latest) or a time, and what is
    read once more when this changes. The group itself remembers that it was carried out."""
    isolation: Literal["read-committed", "read-uncommitted"] = "read-committed"
    """Leave out records of transactions that were aborted or are still open, or read all there is."""
    json_: bool = False
    """The value of each record is a JSON object and becomes the event; otherwise it is text in `_raw`."""
    key_field: select.Selector | None = None
    """Put the key of the record here, as text; null when it has none."""
    headers_field: select.Selector | None = None
    """Put the headers of the record here, as an object of texts; a name that comes twice holds a list."""
    metadata_field: select.Selector | None = None
    """Put an object with `topic`, `partition`, `offset` and `timestamp` (ISO 8601, UTC) of the record here."""
    session_timeout: Annotated[Duration, Field(ge=1, le=1800)] = 15.0
    """After so long without a sign of life of a worker its partitions go to other readers of the group, or back to the
    same one once it is there again; the cluster bounds it (`group.min.session.timeout.ms`, 6s by default)."""
    max_poll_interval: Annotated[Duration, Field(ge=10, le=86_400)] = 300.0
    """When the output takes longer than this for a batch, the partitions go to other readers of the group."""

    @model_validator(mode="after")
    def _names_topics_in_one_way(self) -> Self:
        if bool(self.topics) == (self.topics_pattern is not None):
            raise ValueError("kafka has exactly one of topics and topics-pattern")
        return self

    @property
    def continuous(self) -> bool:
        return True

    def effect_of_reading(self) -> str:
        return "reading as a member of the group takes partitions away from its other readers"

    def open(self, env: Env) -> KafkaSource:
        return KafkaSource(self, env)


class KafkaSource:
    """Polls one consumer; a task of its own commits what was accepted."""

    def __init__(self, config: KafkaInput, env: Env) -> None:
        self._config = config
        self._env = env
        self._link = kafka.Link(config, env)
        self._to_events = records.Records(config, env)
        self._group = config.group or f"sluice.{env.tenant}.{env.job}"
        self._mark = offsets.mark_of(config.replay)
        self._topics: tuple[str, ...] = config.topics
        self._readings: dict[Any, offsets.Reading] = {}  # by aiokafka's TopicPartition
        self._replayed: set[Any] = set()  # partitions of which the replay was carried out
        self._given: set[Any] = set()  # partitions that are ours, and of which it is not known yet where to begin
        self._stale: frozenset[Any] = frozenset()  # partitions whose records of the last poll came too early
        self._consumer: Any = None
        self._polling: asyncio.Task[Any] | None = None
        self._committing: asyncio.Task[None] | None = None
        self._fault: SluiceError | None = None  # of what runs beside `batches`
        self._outside_since: float | None = None  # since when the group has not let us in
        self._subscribed = math.inf  # when the topics were asked for
        self._looked = -math.inf  # when topics were looked for
        self._told = -math.inf  # when an outage was told
        self._behind: float | None = None
        self._pace = Pace(MOST_RECORDS)
        self._closing = False

    # -- reading -------------------------------------------------------------------------------------------

    async def batches(self, run: Run) -> AsyncIterator[Batch]:
        await self._connect(run)
        self._committing = asyncio.create_task(self._keep_committing())
        while True:
            await self._follow_topics()
            if self._given:
                await self._begin(run)
            chunks = await self._poll()
            self._observe()
            for partition, reading, found in chunks:
                await self._look_back(partition, reading, found[0].offset, run)
                at = 0
                while at < len(found) and not reading.ended:  # else whoever has the partition now reads the rest
                    some = found[at : at + self._pace.size]
                    at += len(some)
                    events, since = self._to_events(some, run), clock.monotonic()
                    yield Batch(events, reading.expect(some[-1].offset + 1, len(some)), document_end=True)
                    self._pace.took(len(some), clock.monotonic() - since)
                    await self._room()
            await self._note()

    async def _connect(self, run: Run) -> None:
        client = self._link.client
        self._consumer = client.AIOKafkaConsumer(
            **self._link.options(run),
            group_id=self._group,
            enable_auto_commit=False,
            auto_offset_reset="earliest",  # what is lost by that is noticed in `_look_back`
            isolation_level=self._config.isolation.replace("-", "_"),
            max_poll_interval_ms=int(self._config.max_poll_interval * 1000),
            request_timeout_ms=int(kafka.REQUEST_SECONDS * 1000),
            session_timeout_ms=int(self._config.session_timeout * 1000),
            rebalance_timeout_ms=int(REBALANCE_SECONDS * 1000),
            heartbeat_interval_ms=int(self._config.session_timeout * 200),
            fetch_max_bytes=MOST_FETCH_BYTES,
            max_partition_fetch_bytes=MOST_PARTITION_BYTES,
        )
        try:
            await self._consumer.start()
        except Exception as error:
            fault = self._link.fault(error)
            self._env.contact.failed(fault.message)
            raise fault from error
        if self._topics:
            self._subscribe()

    def _subscribe(self) -> None:
        self._outside_since = self._subscribed = clock.monotonic()
        listener = self._link.client.Rebalances(self._give, self._take)
        self._consumer.subscribe(topics=self._topics, listener=listener)

    async def _follow_topics(self) -> None:
        """With a pattern: read also what has come to match by now."""
        pattern = self._config.topics_pattern
        if pattern is None or clock.monotonic() - self._looked < TOPICS_SECONDS:
            return
        self._looked = clock.monotonic()
        matches = patterns.compile(f"^(?:{pattern})$").matches
        try:
            there = await self._consumer.topics()
        except self._link.client.errors.KafkaError:
            return  # told by the dialer; those that are known are read on
        found = tuple(sorted(name for name in there if not name.startswith(INTERNAL) and matches(name)))
        if found and found != self._topics:
            await self._take(list(self._readings))
            self._topics = found
            self._env.log("info", f"kafka: reads {len(found)} topics: {shorten(', '.join(found), 500)}")
            self._subscribe()
        elif not found:
            self._looked -= TOPICS_SECONDS - POLL_SECONDS

    async def _poll(self) -> list[tuple[Any, offsets.Reading, Sequence[Any]]]:
        """What has come, by partition; nothing after a while without. Raises what is wrong for good."""
        if not self._topics:
            await asyncio.sleep(POLL_SECONDS)
            return []
        if self._polling is None:  # it is never cancelled but at the end: aiokafka counts who waits
            self._polling = asyncio.create_task(
                self._consumer.getmany(timeout_ms=int(POLL_SECONDS * 1000), max_records=2 * self._pace.size)
            )
        await asyncio.wait({self._polling}, timeout=POLL_SECONDS)
        if not self._polling.done():  # while partitions are being handed out
            return []
        polled, self._polling = self._polling, None
        try:
            found = polled.result()
        except Exception as error:
            fault = self._link.fault(error)
            self._env.contact.failed(fault.message)
            raise fault from error
        # What came before the place of its partition was set comes again.
        stale, self._stale = self._stale, frozenset()
        known = [one for one in found if one in self._readings and one not in stale]
        return [(one, self._readings[one], found[one]) for one in known]

    async def _room(self) -> None:
        """Wait while too much is on its way."""
        while sum(reading.open for reading in self._readings.values()) >= MOST_OPEN:
            busiest = max(self._readings.values(), key=lambda reading: reading.open)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(POLL_SECONDS):
                    await busiest.idle()
            self._observe()

    async def _look_back(self, partition: Any, reading: offsets.Reading, first: int, run: Run) -> None:
        """Count what the cluster has deleted before it was read; offsets are also left out by compaction."""
        if first == reading.next:
            return
        where = f"kafka: partition {partition.partition} of {partition.topic}"
        if first < reading.next:
            self._env.log("warning", f"{where} has become shorter and is read from its beginning")
            return
        with contextlib.suppress(self._link.client.errors.KafkaError):
            beginning = (await self._consumer.beginning_offsets([partition]))[partition]
            if beginning > reading.next:
                what = {
                    **records.place(partition.topic, partition.partition, reading.next),
                    "deleted-before": beginning,
                }
                lost = f"{where}: the cluster deleted up to {beginning - reading.next} records before they were read"
                text = f"{lost} (offsets {reading.next} to {beginning - 1})"
                run.skip(self._env, text, what, Code.UNREADABLE)

    # -- partitions that come and go -----------------------------------------------------------------------

    def _give(self, partitions: Collection[Any]) -> None:
        self._outside_since = None
        self._given = set(partitions)
        names = ", ".join(f"{one.topic}/{one.partition}" for one in sorted(partitions))
        self._env.log("info", f"kafka: group {self._group} reads here: {shorten(names, 500) or 'nothing'}")

    async def _take(self, partitions: Collection[Any]) -> None:
        """Let go of partitions: commit what the output accepts in time, and tell of the rest."""
        self._outside_since = self._outside_since or clock.monotonic()
        self._given -= set(partitions)
        ours = {one: reading for one in partitions if (reading := self._readings.get(one)) is not None}
        for reading in ours.values():
            reading.ended = True  # no more of it is handed on
        try:
            if not self._closing:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(FINISH_SECONDS):
                        await self._finish(ours)
            await self._commit(ours)
        except SluiceError as error:  # aiokafka would swallow it
            self._fault = error
        for one in ours:
            del self._readings[one]
        if left := sum(reading.next - reading.reached for reading in ours.values()):
            self._env.log(
                "warning",
                f"kafka: up to {left} records were on their way when their partitions went to other readers of the"
                f" group {self._group}, and are read again by those",
            )

    async def _finish(self, ours: Mapping[Any, offsets.Reading]) -> None:
        for reading in ours.values():
            await reading.idle()

    async def _begin(self, run: Run) -> None:
        """Set where reading begins, of partitions that were given to us, and commit that."""
        given, client = sorted(self._given), self._link.client
        replay = self._config.replay
        try:
            async with asyncio.timeout(LOOKUP_SECONDS):
                committed = await self._committed(given, run)
                beginning = await self._consumer.beginning_offsets(given)
                since = await self._since(given, replay, beginning)
        except TimeoutError as error:
            raise self._link.fault(JobFailed(f"kafka: no word of where to begin in {LOOKUP_SECONDS:g} s")) from error
        except client.errors.KafkaError as error:
            raise self._link.fault(error) from error
        known = {one.topic for one in committed}
        if self._config.topics_pattern is not None and known:
            known.update(self._topics)  # what came to match later is read from its beginning
        for one in self._given.intersection(given):
            was = committed.get(one)
            if was is not None and one in self._replayed:  # also where the cluster keeps no more than the offset
                was = offsets.Committed(was.offset, self._mark)
            start = offsets.start_of(replay, was, since[one], beginning[one], known=one.topic in known)
            try:
                self._consumer.seek(one, start)
            except client.errors.IllegalStateError:
                continue  # it is no longer ours
            self._replayed.add(one)
            reading = self._readings[one] = offsets.Reading(start)
            if was is None or was != (start, self._mark):
                reading.committed = -1  # so that who comes after us begins there too
        if self._polling is not None and self._polling.done():
            self._stale = frozenset(given)
        self._given.difference_update(given)
        await self._commit(self._readings)

    async def _committed(self, given: Sequence[Any], run: Run) -> dict[Any, offsets.Committed]:
        """What the group has committed of our topics."""
        client = self._link.client
        topics = {*self._topics, *(one.topic for one in given)}
        wanted = [
            client.TopicPartition(topic, number)
            for topic in topics
            for number in self._consumer.partitions_for_topic(topic) or ()
        ]
        options = {**self._link.options(run), "request_timeout_ms": int(kafka.REQUEST_SECONDS * 1000)}
        async with client.asking(options, CLOSE_SECONDS) as admin:
            found = await admin.list_consumer_group_offsets(self._group, partitions=[*{*wanted, *given}])
        return {one: offsets.Committed(at.offset, at.metadata or "") for one, at in found.items() if at.offset >= 0}

    async def _since(self, given: Sequence[Any], replay: Replay | None, beginning: dict[Any, int]) -> dict[Any, int]:
        """The first offset of each partition since the point of the replay."""
        if replay is None or replay.from_ == BEGINNING:
            return beginning
        end: dict[Any, int] = await self._consumer.end_offsets(given)
        seconds = replay.since(math.inf)
        if seconds == math.inf:
            return end
        found = await self._consumer.offsets_for_times(dict.fromkeys(given, max(0, int(seconds * 1000))))
        return {one: at.offset if (at := found.get(one)) is not None else end[one] for one in given}

    # -- committing ----------------------------------------------------------------------------------------

    async def _keep_committing(self) -> None:
        try:
            while True:
                await asyncio.sleep(COMMIT_SECONDS)
                await self._commit(self._readings)
        except Exception as error:  # nobody awaits this task; without it nothing would be committed any more
            self._fault = self._link.fault(error)

    async def _commit(self, readings: Mapping[Any, offsets.Reading]) -> None:
        """Commit what was accepted. Raises JobFailed when that is not allowed."""
        errors = self._link.client.errors
        due = {one: reading.reached for one, reading in readings.items() if reading.due}
        if not due:
            return
        wanted = {one: self._link.client.OffsetAndMetadata(offset, self._mark) for one, offset in due.items()}
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                await self._consumer.commit(wanted)
        except (errors.GroupAuthorizationFailedError, errors.TopicAuthorizationFailedError) as error:
            raise self._link.fault(error) from error
        except (errors.KafkaError, TimeoutError) as error:  # what is not committed is read again
            self._env.log("warning", f"kafka: offsets were not committed: {self._link.client.reason(error)}")
            return
        for one, offset in due.items():
            readings[one].committed = offset

    # -- whether all is well -------------------------------------------------------------------------------

    def _observe(self) -> None:
        """Tell whether the cluster is there. Raises what cannot pass."""
        if self._fault is not None:
            raise self._fault
        if (over := self._link.over) is not None:
            raise over
        why, now = self._outage(), clock.monotonic()
        contact = self._env.contact
        if not why:
            if contact.failing:
                contact.reached()
        elif not contact.failing or now - self._told >= UNHEALTHY_SECONDS:
            self._told = now
            contact.failed(f"kafka: {why}")

    def _outage(self) -> str:
        """Why records may be missing; empty when nothing is known to be wrong."""
        if away := self._link.fault_now:
            return away
        if not self._topics:
            return f"no topic matches {shorten(self._config.topics_pattern or '', 100)}"
        waited = clock.monotonic() - self._subscribed
        missing = [topic for topic in self._topics if self._consumer.partitions_for_topic(topic) is None]
        if missing and waited > TOPIC_SECONDS:
            return f"the cluster has no topic {shorten(', '.join(missing), 200)}, or we may not read it"
        if self._outside_since is not None and clock.monotonic() - self._outside_since > JOIN_SECONDS:
            return f"the group {self._group} has not let us in since {JOIN_SECONDS:g} s"
        return ""

    async def _note(self) -> None:
        """Note since when there is something unread, as far as the last answers of the brokers told."""
        behind = False
        for one in self._readings:
            with contextlib.suppress(self._link.client.errors.IllegalStateError, TimeoutError):  # no longer ours
                async with asyncio.timeout(0):  # at once, or it is being looked for and nothing is known
                    position = await self._consumer.position(one)  # behind the marks of transactions as well
                behind = behind or self._end(one) > position
        self._behind = None if not behind else clock.monotonic() if self._behind is None else self._behind

    def _end(self, partition: Any) -> int:
        """Of what may be read: what belongs to an open transaction may not yet."""
        end: int = self._consumer.highwater(partition) or 0
        stable = self._consumer.last_stable_offset(partition)
        return end if stable is None or stable < 0 else min(end, stable)

    def behind_since(self) -> float | None:
        return self._behind

    async def close(self) -> None:
        if self._closing:
            return
        self._closing = True
        if self._committing is not None:
            self._committing.cancel()
            await asyncio.wait({self._committing})
        if self._consumer is None:
            return
        with contextlib.suppress(SluiceError):
            await self._commit(self._readings)
        if self._polling is not None:
            self._polling.cancel()
            await asyncio.wait({self._polling})
        await self._link.client.leave(self._consumer, LEAVE_SECONDS)  # else the group notices by itself
