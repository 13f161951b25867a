"""The clients of aiokafka, made to reach their brokers through core.guard and in no other way. Needs the extra `kafka`.

A cluster tells a client which brokers it has, and the client connects to whatever they are. So the guard has to stand
where aiokafka opens a connection: `aiokafka.client` gets every connection, of bootstrap servers, leaders and
coordinators alike, from one function, `create_conn`, which is replaced here. Ours looks for the dialer of the job in
the name of the client, the only thing of our choice that aiokafka hands on to it; a client without one connects
nowhere. The connection itself stays aiokafka's, but for the loop that it asks for a socket. A version that asks
elsewhere is refused after its first connection, and fails the tests.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Coroutine, Iterable, Mapping
from typing import Any, Self

from aiokafka import (
    AIOKafkaConsumer,
    AIOKafkaProducer,
    ConsumerRebalanceListener,
    TopicPartition,
    client,
    conn,
    errors,
)
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.partitioner import murmur2
from aiokafka.structs import OffsetAndMetadata

from core import clock
from core.errors import Forbidden, shorten
from core.guard import dialing

__all__ = [
    "AIOKafkaConsumer",
    "AIOKafkaProducer",
    "ClientId",
    "Dialer",
    "OffsetAndMetadata",
    "Rebalances",
    "TopicPartition",
    "abandon",
    "asking",
    "errors",
    "leave",
    "murmur2",
    "reason",
]

DENIED = (
    errors.AuthenticationFailedError,
    errors.AuthenticationMethodNotSupported,
    errors.IllegalSaslStateError,
    errors.SaslAuthenticationFailed,
    errors.UnsupportedSaslMechanismError,
)
"""What the next try will not change."""
LEAST_ROUNDS = 4096  # of a proof of the password; brokers of Kafka take no fewer
MOST_ROUNDS = 1_000_000  # a second of a processor, about
FAULT_SECONDS = 15.0  # so long a broker counts as away after the last try to connect to it


class Dialer:
    """The way of one job to its brokers, and what became of the tries."""

    def __init__(self, allow: Iterable[str]) -> None:
        self._allow = tuple(allow)
        self._faults: dict[str, tuple[float, str]] = {}  # broker -> when, why
        self.refused: Forbidden | None = None
        """Why a broker of the cluster may not be reached."""
        self.refusal = asyncio.Event()
        self.denied = False
        """Whether a broker does not let us in, so that no more should be tried at once."""
        self.locks_out = False
        """Whether it has refused the password, or what a proof of it takes: further tries may lock the user out."""

    @property
    def fault(self) -> str:
        """Why a broker could not be reached just now; empty when all could."""
        since = clock.monotonic() - FAULT_SECONDS
        return max((one for one in self._faults.values() if one[0] >= since), default=(0.0, ""))[1]

    async def open(
        self, factory: Callable[[], Any], host: str, port: int, tls: ssl.SSLContext | None
    ) -> tuple[asyncio.Transport, Any]:
        """A guarded connection. Raises OSError, which aiokafka takes for a broker that is away."""
        try:
            return await dialing.create_connection(factory, host, port, self._allow, tls=tls)
        except Forbidden as error:
            self.refuse(Forbidden(f"kafka: the broker {shorten(host, 100)}:{port}: {error.message}", hint=error.hint))
            raise ConnectionRefusedError(error.message) from error
        except dialing.Unreachable as error:
            raise OSError(error.message) from error

    def refuse(self, why: Forbidden) -> None:
        """A broker may not be reached, whatever else can be: the job ends."""
        self.refused = why
        self.refusal.set()

    def failed(self, broker: str, why: str, *, denied: bool = False) -> None:
        """There is no connection to a broker; `denied`: it does not let us in."""
        self.denied = self.denied or denied
        self._faults[broker] = (clock.monotonic(), why)

    def reached(self, broker: str) -> None:
        """There is one, and the broker lets us in."""
        self._faults.pop(broker, None)


class _Scram(conn.ScramAuthenticator):  # type: ignore[misc]
    """A proof that does no more rounds than a broker may ask for, which has not shown yet who it is; with few of them
    its proof would help whoever listens to guess the password (RFC 5802, 9)."""

    def create_salted_password(self, salt: bytes, iterations: int) -> None:
        if not LEAST_ROUNDS <= iterations <= MOST_ROUNDS:
            raise errors.SaslAuthenticationFailed(
                f"the broker asks for {iterations} rounds of the password; {LEAST_ROUNDS} to {MOST_ROUNDS} are done"
            )
        super().create_salted_password(salt, iterations)


class ClientId(str):
    """The name of one client, which brings the dialer of its job along, and knows which connections are open: aiokafka
    forgets one that it is asked to give up on meanwhile, or that comes about after the client was closed."""

    dialer: Dialer
    _open: set[_Connection]
    _over: bool

    def __new__(cls, name: str, dialer: Dialer) -> Self:
        made = super().__new__(cls, name)
        made.dialer, made._open, made._over = dialer, set(), False
        return made

    async def connect(self, host: str, port: int, **options: Any) -> _Connection:
        """A connection to one broker. Raises what aiokafka takes for a broker that is away."""
        if self._over:
            raise errors.KafkaConnectionError("this client was closed")
        made = _Connection(host, port, self, **options)
        self._open.add(made)
        try:
            await made.connect()
        except BaseException:  # who gives up here has not told the broker
            made.close()
            raise
        return made

    def closed(self, one: _Connection) -> None:
        self._open.discard(one)

    def end(self) -> None:
        """Close what is open, and open nothing any more."""
        self._over = True
        for one in [*self._open]:
            one.close()


class _Loop:
    """The running loop, with a dialer in the place of what opens connections."""

    def __init__(self, loop: asyncio.AbstractEventLoop, dialer: Dialer) -> None:
        self._loop = loop
        self._dialer = dialer
        self.asked = False

    async def create_connection(
        self, factory: Callable[[], Any], host: str, port: int, *, ssl: ssl.SSLContext | None
    ) -> tuple[asyncio.Transport, Any]:
        self.asked = True
        return await self._dialer.open(factory, host, port, ssl)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loop, name)


class _Connection(conn.AIOKafkaConnection):  # type: ignore[misc]  # aiokafka has no types
    """A connection to one broker that tells its dialer and its client what becomes of it."""

    def __init__(self, host: str, port: int, client_id: ClientId, **options: Any) -> None:
        super().__init__(host, port, client_id=client_id, **options)
        self._client, self._dialer = client_id, client_id.dialer
        self._loop: Any = _Loop(asyncio.get_running_loop(), client_id.dialer)

    def close(self, reason: Any = None, exc: BaseException | None = None) -> Any:
        self._client.closed(self)
        return super().close(reason, exc)

    def authenticator_scram(self) -> Any:
        return _Scram(
            loop=self._loop,
            sasl_plain_password=self._sasl_plain_password,
            sasl_plain_username=self._sasl_plain_username,
            sasl_mechanism=self._sasl_mechanism,
        )

    async def connect(self) -> Any:
        broker = f"{shorten(str(self.host), 100)}:{self.port}"
        try:
            streams = await super().connect()
        except DENIED as error:
            self._dialer.failed(broker, f"{broker}: {reason(error)}", denied=True)
            self._dialer.locks_out = self._dialer.locks_out or isinstance(error, errors.SaslAuthenticationFailed)
            raise
        except (OSError, TimeoutError, errors.KafkaError) as error:
            plain = isinstance(error, errors.KafkaConnectionError) and self._security_protocol.endswith("PLAINTEXT")
            asked = "; does it speak TLS alone (key tls)?" if plain else ""
            self._dialer.failed(broker, f"{broker}: {reason(error)}{asked}")
            raise
        except Exception as error:  # an answer that makes no sense, as to a SCRAM proof that is wrong
            why = f"{broker}: its answer makes no sense ({type(error).__name__}); are sasl and tls right?"
            self._dialer.failed(broker, why, denied=True)
            raise errors.KafkaConnectionError(why) from error
        if not self._loop.asked:
            past = "kafka: this version of aiokafka connects past the guard of outgoing connections"
            self._dialer.refuse(Forbidden(past, hint="install the version that sluice-mcp[kafka] asks for"))
            raise errors.KafkaConnectionError(past)
        self._dialer.reached(broker)
        return streams


async def _connect(host: str, port: int, *, client_id: str, **options: Any) -> _Connection:
    """Takes the place of `aiokafka.conn.create_conn`. Raises what aiokafka takes for a broker that is away."""
    if not isinstance(client_id, ClientId):
        raise errors.KafkaConnectionError("a client without a dialer connects nowhere")
    return await client_id.connect(host, port, **options)


if client.create_conn is not conn.create_conn:
    raise ImportError("this version of aiokafka makes its connections in another way")
client.create_conn = _connect
# At `debug` it writes down keys and values, and while a broker is away every try: both are told by who uses a client.
logging.getLogger("aiokafka").setLevel(logging.CRITICAL)


class Rebalances(ConsumerRebalanceListener):  # type: ignore[misc]
    """Tells of partitions that a reader is given, and that it has to give back."""

    def __init__(
        self,
        given: Callable[[Collection[TopicPartition]], None],
        taken: Callable[[Collection[TopicPartition]], Awaitable[None]],
    ) -> None:
        self._given = given
        self._taken = taken

    async def on_partitions_revoked(self, revoked: Collection[TopicPartition]) -> None:
        await self._taken(revoked)

    async def on_partitions_assigned(self, assigned: Collection[TopicPartition]) -> None:
        self._given(assigned)


def reason(error: BaseException) -> str:
    """A fault in words, on one line."""
    match error:
        case TimeoutError() if not str(error):
            return "no answer in time"
        case errors.UnsupportedSaslMechanismError():  # says which connection it was, as Python shows it
            return "the broker does not offer this mechanism of sasl"
    with contextlib.suppress(Exception):
        return shorten(str(error) or type(error).__name__, 200)
    return type(error).__name__


async def abandon(producer: AIOKafkaProducer, seconds: float) -> None:
    """Stop a producer without waiting for what it has not delivered: an idempotent one would try for ever."""
    sender = producer._sender.sender_task  # stop() waits for all batches first, and there is no other way out
    if sender is not None:
        sender.cancel()
    producer._message_accumulator.fail_all(errors.ProducerClosed())
    await producer.client.close()
    await _end(producer.stop(), producer.client, seconds)


async def leave(consumer: AIOKafkaConsumer, seconds: float) -> None:
    """Stop a consumer, which leaves its group if the cluster answers in time."""
    await _end(consumer.stop(), consumer._client, seconds)


@contextlib.asynccontextmanager
async def asking(options: Mapping[str, Any], seconds: float) -> AsyncIterator[AIOKafkaAdminClient]:
    """A client that asks the cluster, while the block runs. Raises what its start raises."""
    admin = AIOKafkaAdminClient(**options)
    try:
        await admin.start()
        yield admin
    finally:
        await _end(admin.close(), admin._client, seconds)


async def _end(stopping: Coroutine[Any, Any, None], connections: Any, seconds: float) -> None:
    try:
        await _stop(stopping, connections, seconds)
    finally:
        connections._client_id.end()


async def _stop(stopping: Coroutine[Any, Any, None], connections: Any, seconds: float) -> None:
    task = asyncio.ensure_future(stopping)
    await asyncio.wait({task}, timeout=seconds)
    if not task.done():  # it waits for an answer, as to the question to be let into a group: there will be none
        await connections.close()
        await asyncio.wait({task}, timeout=seconds)
    if not task.done():
        task.cancel()
        await asyncio.wait({task})
    if not task.cancelled():
        task.exception()  # nobody is left whom it would concern
