"""The wire: a connection to a NATS server, and lines that are two subjects of it (core.external.broker).

The client makes a lost connection anew for as long as that takes; what was published meanwhile may be gone, which the
tunnel notices.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

import structlog

from core import errors, natsclient
from core.external.line import LineBroken
from core.external.sealed import OVERHEAD_BYTES
from core.external.tunnel import CHUNK_BYTES

if TYPE_CHECKING:  # an extra, which an installation without external workers does not have
    from nats.aio.client import Client
    from nats.aio.msg import Msg
    from nats.aio.subscription import Subscription

log = structlog.get_logger("core.external")

PING_SECONDS = 5
FLUSH_SECONDS = 2  # what was asked of a server that was killed is never answered, also when it is there again
MOST_WAITING = 1024  # records that have arrived and wait for their tunnel; more wait in the client
NOT_LET_IN: Final = {
    "engine": "Are name and password in its address right, or is it to know this engine (sluice nats-config)?",
    "worker": "Its token or credential was revoked or has expired, the engine, which the server asks, is away, or there"
    " are a name and a password in the address, which the server does not know or, asking the engine, does not want.",
}
PENDING_BYTES = 64 * 1024 * 1024  # more than the windows of some tunnels; beyond it the wire says that it is broken


class Question(NamedTuple):
    """What somebody asks."""

    subject: str
    data: bytes
    reply: str
    """The subject on which the answer is wanted, in the words of who asks."""


class Wire:
    """A connection to a NATS server. Made by `connect`; whoever makes it closes it."""

    def __init__(self, faults: tuple[type[Exception], ...]) -> None:
        self._client: Client
        self._faults = faults
        self._inboxes: set[Inbox] = set()
        self.begun = False
        """Whether it was connected."""
        self.comes_back: Callable[[], None] = lambda: None
        """Called when the connection is there again."""
        self.ended = asyncio.Event()
        """The server has ended the connection for good, or it was closed: another one has to be made."""

    def over(self, client: Client) -> Wire:
        """The wire that this client is."""
        self._client, self.begun = client, True
        return self

    def back(self) -> None:
        """The client has connected again."""
        log.warning("nats_back", name=self._client.options["name"])
        self.comes_back()

    def end(self) -> None:
        """The client has ended."""
        if self.ended.is_set():
            return
        self.ended.set()
        for inbox in tuple(self._inboxes):
            inbox.broken()

    @property
    def connected(self) -> bool:
        return self._client.is_connected

    @property
    def chunk_bytes(self) -> int:
        """How much data one record may hold."""
        return min(CHUNK_BYTES, self._client.max_payload - OVERHEAD_BYTES)

    async def send(self, subject: str, data: bytes) -> None:
        """Raises LineBroken."""
        try:
            await self._client.publish(subject, data)
        except self._faults as error:
            raise LineBroken(f"NATS takes nothing: {error}") from error

    async def ask(self, subject: str, data: bytes, seconds: float) -> bytes | None:
        """The answer to a request; None when nobody listens, nobody answers within `seconds`, or the wire ends."""
        asking = asyncio.ensure_future(self._client.request(subject, data, timeout=seconds))
        ending = asyncio.ensure_future(self.ended.wait())
        try:
            await asyncio.wait((asking, ending), return_when=asyncio.FIRST_COMPLETED)
            return asking.result().data if asking.done() else None
        except self._faults:
            return None
        finally:
            asking.cancel()
            ending.cancel()

    async def ask_all(self, subject: str, data: bytes, seconds: float) -> list[bytes]:
        """What everybody answers who does so within `seconds`; nothing from a wire that ends. Raises
        TargetUnavailable."""
        inbox = self._client.new_inbox()
        said = list[bytes]()

        async def take(message: Msg) -> None:
            if message.data:  # else the server says that nobody listens
                said.append(message.data)

        subscription = await self._subscribe(inbox, take)
        with contextlib.suppress(*self._faults):
            await self._client.publish(subject, data, reply=inbox)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self.ended.wait()
            await subscription.unsubscribe()
        return said

    async def listen(self, subject: str) -> Inbox:
        """Listen to a subject from now on; whoever asks for it ends it. Raises TargetUnavailable."""
        records: asyncio.Queue[bytes] = asyncio.Queue(MOST_WAITING)

        async def take(message: Msg) -> None:
            await records.put(message.data)

        inbox = Inbox(records, await self._subscribe(subject, take), self._faults, self._inboxes.discard)
        self._inboxes.add(inbox)
        return inbox

    async def answer(self, subject: str, reply: Callable[[Question], Awaitable[bytes | None]]) -> None:
        """Answer what is asked on a subject, or on those that fit one with a `*`, until the wire is closed; with None,
        not at all. Raises TargetUnavailable."""

        async def take(message: Msg) -> None:
            said = await reply(Question(message.subject, message.data, message.reply))
            if said is not None and message.reply:
                await self.send(message.reply, said)

        await self._subscribe(subject, take)

    async def _subscribe(self, subject: str, take: Callable[[Msg], Awaitable[None]]) -> Subscription:
        """Subscribe, and wait until the server knows of it: before the other side hears the subject."""
        subscription: Subscription | None = None
        try:
            subscription = await self._client.subscribe(subject, cb=take)
            await self._client.flush(FLUSH_SECONDS)
        except self._faults as error:
            if subscription is not None:  # it would come back with the connection
                with contextlib.suppress(*self._faults):
                    await subscription.unsubscribe()
            raise errors.TargetUnavailable("The NATS server does not answer.", hint="Is it running?") from error
        return subscription

    async def close(self) -> None:
        with contextlib.suppress(*self._faults):  # the server may be gone, and with it what there was to end
            await self._client.close()


class Inbox:
    """What arrives on one subject, in order."""

    def __init__(
        self,
        records: asyncio.Queue[bytes],
        subscription: Subscription,
        gone: tuple[type[Exception], ...],
        ended: Callable[[Inbox], None],
    ) -> None:
        self._records = records
        self._subscription = subscription
        self._gone = gone  # what it raises when it has ended with its connection
        self._ended = ended
        self._broken = False

    def broken(self) -> None:
        """Nothing arrives any more."""
        self._broken = True
        if self._records.empty():
            self._records.put_nowait(b"")  # wakes who waits; no record is empty

    async def take(self) -> bytes:
        """Raises LineBroken."""
        if not (self._broken and self._records.empty()):
            record = await self._records.get()
            if record or not self._broken:
                return record
        raise LineBroken("the NATS server has ended the connection")

    async def end(self) -> None:
        self._ended(self)
        with contextlib.suppress(*self._gone):
            await self._subscription.unsubscribe()


class NatsLine:
    """Two subjects, one for each way. Nothing tells when the other end is gone but its silence."""

    def __init__(self, wire: Wire, inbox: Inbox, speaks: str) -> None:
        self._wire = wire
        self._inbox = inbox
        self._speaks = speaks

    @property
    def chunk_bytes(self) -> int:
        return self._wire.chunk_bytes

    async def send(self, record: bytes) -> None:
        await self._wire.send(self._speaks, record)

    async def take(self) -> bytes:
        return await self._inbox.take()

    async def close(self, reason: str = "") -> None:
        await self._inbox.end()


async def line(wire: Wire, *, hears: str, speaks: str) -> NatsLine:
    """A line over two subjects, which hears from now on. Raises TargetUnavailable."""
    return NatsLine(wire, await wire.listen(hears), speaks)


def require() -> None:
    """Raises TargetUnavailable without the extra `nats`."""
    if not natsclient.installed():
        raise errors.TargetUnavailable(
            "Workers on other machines need the extra 'nats', which is not installed.",
            hint="pip install 'sluice-mcp[nats]'",
        )


async def connect(url: str, name: str, what: Literal["engine", "worker"] = "engine", **options: Any) -> Wire:
    """Connect to a NATS server (core.natsclient). Raises TargetUnavailable."""
    shown = natsclient.without_credentials(url)
    wire = Wire(natsclient.faults())
    try:
        client = await natsclient.connect(
            url,
            name,
            # Why it cannot connect at all, whoever wants it hears.
            on_fault=lambda text: log.warning("nats_fault", server=shown, error=text) if wire.begun else None,
            on_away=lambda: log.warning("nats_away", server=shown),
            on_back=wire.back,
            on_end=wire.end,
            ping_interval=PING_SECONDS,
            pending_size=PENDING_BYTES,
            **options,
        )
    except natsclient.NotLetIn as error:
        raise errors.TargetUnavailable(
            f"The NATS server at {shown} does not let this {what} in: {error}.", hint=NOT_LET_IN[what]
        ) from error
    except natsclient.CannotConnect as error:
        raise errors.TargetUnavailable(
            f"The NATS server at {shown} cannot be reached: {error}.",
            hint="Is it running, and are the address and the credentials right?",
        ) from error
    return wire.over(client)
