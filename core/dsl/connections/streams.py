"""A stream of a NATS server (JetStream), for the input and the output of that name. No other part of jobs imports nats.

The server is the one that the administrator of the worker has named (`Limits.nats`); documents name streams only, and
each tenant has its own: stream `sluice+TENANT+STREAM` with the subject `sluice.channel.TENANT.STREAM`. A message holds
one event a line, as JSON. Where a job stands is kept by the server, in a durable consumer with the name of the job
(and a mark of the replay that it has carried out). Nothing is deleted that a reader has not acknowledged: the stream
has no limits of its own, and readers purge what all of them have read.
"""

from __future__ import annotations

import contextlib
import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote

from core import natsclient
from core.dsl.component import Env
from core.dsl.connections.retry import Temporary
from core.errors import JobFailed, shorten

if TYPE_CHECKING:  # an extra
    from nats.aio.client import Client
    from nats.js.api import ConsumerInfo
    from nats.js.client import JetStreamContext

NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9_-]{0,127}$"
ANSWER_SECONDS = 5.0
HEADER_BYTES = 1024  # what a message needs beside its events
MOST_UNSETTLED = 1000  # messages that the readers of one consumer may hold
DUPLICATE_SECONDS = 120.0  # for so long the server knows a message that was published a second time
ACCEPTED, REFUSED, WORKING = b"+ACK", b"-NAK", b"+WPI"


class Message(NamedTuple):
    """One message of a stream."""

    data: bytes
    reply: str  # where the server hears what became of it
    pending: int  # how many more there are for this reader


class Consumer(NamedTuple):
    """Where a reader stands."""

    name: str
    floor: int  # everything up to this sequence number is acknowledged


class Extent(NamedTuple):
    """What is in a stream."""

    first: int  # sequence number of the oldest message
    messages: int
    size: int  # bytes


def plain(name: str) -> str:
    """A name as a token of the server: what has a meaning there is escaped, so that different names stay different."""
    return quote(name, safe="").replace(".", "%2E").replace("~", "%7E")


def consumer_name(job: str, replay: str) -> str:
    """The durable consumer of a job; another replay is another consumer, which takes the place of the one before."""
    mark = f"+{hashlib.blake2b(replay.encode(), digest_size=6).hexdigest()}" if replay else ""
    return f"{plain(job)}{mark}"


def floor_of(job: str, consumers: Sequence[Consumer]) -> int | None:
    """Up to where a job has read for certain; None when it has no consumer yet."""
    name = plain(job)
    return min((one.floor for one in consumers if one.name.partition("+")[0] == name), default=None)


def start_of(since: int | None, floor: int | None) -> int | None:
    """The sequence number where a new consumer begins; None: after what is there now.

    `since` is the first message of the replay (None: it asks for nothing that is there), `floor` that of the consumers
    that the job had before: what it has not read is never passed over.
    """
    known = [number for number in (since, None if floor is None else floor + 1) if number is not None]
    return max(min(known), 1) if known else None


def purge_to(extent: Extent, floors: Sequence[int | None], since: int | None, max_bytes: int | None) -> int | None:
    """Up to which sequence number (without it) a stream may be purged; None when nothing may go.

    `floors` are those of all readers, None for one that has read nothing; `since` is the first message that is not
    too old (None: age is no bound). Of the sizes of single messages nothing is known: as many go as would be enough
    if all were alike, and the next look mends what is left.
    """
    read = [floor for floor in floors if floor is not None]
    if not extent.messages or not read or len(read) < len(floors):
        return None
    to = since or extent.first
    if max_bytes is not None and extent.size > max_bytes:
        to = max(to, extent.first + math.ceil(extent.messages * (extent.size - max_bytes) / extent.size))
    to = min(to, min(read) + 1)
    return to if to > extent.first else None


async def connect(env: Env, stream: str) -> Stream:
    """Connect to the server of this worker and make the stream if it is not there.

    Raises JobFailed when the worker has no server, and Temporary when it cannot be reached or refuses.
    """
    url = env.limits.nats
    if not url:
        raise JobFailed(
            "jetstream: this worker knows no NATS server",
            hint="Start the engine (sluice serve), and each worker of another machine, with --nats nats://HOST:PORT.",
        )
    if not natsclient.installed():
        raise JobFailed(
            "jetstream needs the library nats-py, which is not installed on this worker",
            hint="pip install 'sluice-mcp[nats]'",
        )
    shown = natsclient.without_credentials(url).replace("nats://", "").replace("tls://", "")
    try:
        client = await natsclient.connect(
            url,
            f"sluice job {env.tenant}/{env.job}",
            on_fault=lambda text: env.log("warning", f"jetstream: the NATS server at {shown}: {shorten(text, 200)}"),
            on_away=lambda: None,
            on_back=lambda: env.log("info", f"jetstream: the NATS server at {shown} is back"),
        )
    except natsclient.CannotConnect as error:
        raise Temporary(f"jetstream: the NATS server at {shown} cannot be reached: {error}") from error
    try:
        made = Stream(client, plain(env.tenant), stream, shown, env.limits.stream_replicas)
        await made.ensure()
    except BaseException as error:
        await client.close()
        if isinstance(error, natsclient.faults()):
            raise Temporary(
                f"jetstream: the NATS server at {shown} cannot be reached: {error or 'no answer'}"
            ) from error
        raise
    return made


class Stream:
    """One stream over a connection of its own. Made by `connect`; whoever makes it closes it.

    Every method raises Temporary when the server cannot be reached or refuses.
    """

    def __init__(self, client: Client, tenant: str, stream: str, server: str, replicas: int) -> None:
        from nats.errors import Error

        self._client = client
        self._context: JetStreamContext = client.jetstream(timeout=ANSWER_SECONDS)
        self._faults = (Error, OSError, TimeoutError)
        self._server = server
        self._replicas = replicas
        self.name = f"sluice+{tenant}+{stream}"
        self.subject = f"sluice.channel.{tenant}.{stream}"

    @property
    def most_bytes(self) -> int:
        """How large the events of one message may be together."""
        return self._client.max_payload - HEADER_BYTES

    @contextlib.contextmanager
    def _telling(self) -> Iterator[None]:
        from nats.js.errors import APIError, NoStreamResponseError, ServiceUnavailableError

        try:
            yield
        except self._faults as error:
            hint = ""
            if isinstance(error, ServiceUnavailableError | NoStreamResponseError):
                why = "JetStream does not answer"
                hint = "Is it turned on (nats-server -js)?"
            elif isinstance(error, APIError):
                why = error.description or str(error)
            else:
                why = str(error) or type(error).__name__
            raise Temporary(f"jetstream: the NATS server at {self._server}: {shorten(why, 200)}", hint=hint) from error

    async def ensure(self) -> None:
        """Make the stream if it is not there. One that an administrator made is taken as it is."""
        from nats.js.api import DiscardPolicy, RetentionPolicy, StorageType
        from nats.js.errors import NotFoundError

        with self._telling():
            try:
                info = await self._context.stream_info(self.name)
            except NotFoundError:
                info = await self._context.add_stream(  # if another job makes it now, it makes the same
                    name=self.name,
                    subjects=[self.subject],
                    retention=RetentionPolicy.LIMITS,
                    discard=DiscardPolicy.NEW,
                    storage=StorageType.FILE,
                    num_replicas=self._replicas,
                    duplicate_window=DUPLICATE_SECONDS,
                )
        if info.config.retention != RetentionPolicy.LIMITS or self.subject not in (info.config.subjects or ()):
            raise JobFailed(
                f"jetstream: the stream {self.name} is there, and is not one for jobs",
                hint=f"Give it the retention policy limits and the subject {self.subject}, or name another stream.",
            )

    # -- writing -------------------------------------------------------------------------------------------

    async def publish(self, data: bytes, id: str) -> None:
        """Publish one message and wait until the server has it; the same `id` within two minutes is the same one."""
        from nats.js.errors import NoStreamResponseError

        with self._telling():
            try:
                await self._context.publish(self.subject, data, stream=self.name, headers={"Nats-Msg-Id": id})
            except NoStreamResponseError:  # somebody has deleted it
                await self.ensure()
                raise

    # -- reading -------------------------------------------------------------------------------------------

    async def consumers(self) -> list[Consumer]:
        """The durable consumers."""
        with self._telling():
            found: list[ConsumerInfo] = []
            more = True
            while more:
                page = await self._context.consumers_info(self.name, offset=len(found))
                found += page
                more = len(page) > 0
        return [
            Consumer(info.name, info.ack_floor.stream_seq if info.ack_floor is not None else 0)
            for info in found
            if info.config.durable_name
        ]

    async def first_since(self, seconds: float) -> int:
        """The sequence number of the first message since a time (seconds since the epoch): the server looks it up.

        It is where a consumer for that time would begin; this one is deleted again, or ends by itself.
        """
        from nats.js.api import AckPolicy, DeliverPolicy

        with self._telling():
            info = await self._context.add_consumer(
                self.name,
                deliver_policy=DeliverPolicy.BY_START_TIME,
                opt_start_time=datetime.fromtimestamp(seconds, UTC),
                ack_policy=AckPolicy.NONE,
                inactive_threshold=ANSWER_SECONDS,
                mem_storage=True,
            )
            await self._context.delete_consumer(self.name, info.name)
        return (info.delivered.stream_seq if info.delivered is not None else 0) + 1

    async def consume(self, job: str, replay: str, since: float, ack_wait: float) -> Consumption:
        """Read as a job: where it has come to; a new replay begins at `since` (seconds since the epoch, inf for now).

        A message that is not settled `ack_wait` seconds after the last sign of work comes again.
        """
        name = consumer_name(job, replay)
        others = await self.consumers()
        if all(one.name != name for one in others):
            floor = floor_of(job, others)
            first = None
            if replay or floor is None:
                first = 1 if since == -math.inf else None if since == math.inf else await self.first_since(since)
            await self._make(name, start_of(first, floor), ack_wait)
        for one in others:  # the new one is there: nothing is lost with those before it
            if one.name != name and one.name.partition("+")[0] == plain(job):
                await self._forget(one.name)
        with self._telling():
            info = await self._context.consumer_info(self.name, name)
            if info.config.ack_wait != ack_wait:
                await self._context.add_consumer(self.name, info.config.evolve(name=name, ack_wait=ack_wait))
            pull = await self._context.pull_subscribe_bind(consumer=name, stream=self.name)
        return Consumption(self, pull)

    async def _make(self, name: str, start: int | None, ack_wait: float) -> None:
        from nats.js.api import AckPolicy, DeliverPolicy
        from nats.js.errors import BadRequestError

        place: Mapping[str, Any] = {"deliver_policy": DeliverPolicy.NEW}
        if start is not None:
            place = {"deliver_policy": DeliverPolicy.BY_START_SEQUENCE, "opt_start_seq": start}
        with self._telling():
            try:
                await self._context.add_consumer(
                    self.name,
                    name=name,
                    durable_name=name,
                    ack_policy=AckPolicy.EXPLICIT,
                    ack_wait=ack_wait,
                    max_deliver=-1,
                    max_ack_pending=MOST_UNSETTLED,
                    **place,
                )
            except BadRequestError:  # another replica has made it meanwhile, from where it saw the others
                await self._context.consumer_info(self.name, name)

    async def _forget(self, name: str) -> None:
        from nats.js.errors import NotFoundError

        with self._telling(), contextlib.suppress(NotFoundError):  # another replica has done it
            await self._context.delete_consumer(self.name, name)

    async def fetch(self, pull: JetStreamContext.PullSubscription, seconds: float) -> Message | None:
        """The next message of a subscription; None when none comes within `seconds`."""
        from nats.errors import TimeoutError as NothingCame

        with self._telling():
            try:
                (message,) = await pull.fetch(1, timeout=seconds)
            except NothingCame:
                if self._client.is_connected:
                    return None
                raise
        return Message(message.data, message.reply, message.metadata.num_pending)

    async def answer(self, reply: str, what: bytes) -> None:
        """Tell the server what became of a message, without waiting for it to hear it."""
        with self._telling():
            await self._client.publish(reply, what)

    # -- keeping -------------------------------------------------------------------------------------------

    async def trim(self, readers: Sequence[str], kept_since: float | None, max_bytes: int | None) -> int | None:
        """Delete what all `readers` (jobs) have read and the bounds do not keep; up to which sequence number."""
        with self._telling():
            state = (await self._context.stream_info(self.name)).state
        consumers = await self.consumers()
        floors = [floor_of(reader, consumers) for reader in readers]
        since = None if kept_since is None else await self.first_since(kept_since)
        to = purge_to(Extent(state.first_seq, state.messages, state.bytes), floors, since, max_bytes)
        if to is not None:
            with self._telling():
                await self._context.purge_stream(self.name, seq=to)
        return to

    async def close(self) -> None:
        """Let go of the connection, after what was said last. Safe to call twice."""
        with contextlib.suppress(*self._faults):  # what the server does not hear, it sends again
            await self._client.flush(1)
        await self._client.close()


class Consumption:
    """The messages of one reader."""

    def __init__(self, stream: Stream, pull: JetStreamContext.PullSubscription) -> None:
        self._stream = stream
        self._pull = pull

    async def next(self, seconds: float) -> Message | None:
        """The next message; None when none comes within `seconds`. Raises Temporary."""
        return await self._stream.fetch(self._pull, seconds)
