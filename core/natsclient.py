"""A client of a NATS server that connects within a deadline, and afterwards comes back for as long as that takes."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

if TYPE_CHECKING:  # an extra, which an installation without NATS does not have
    from nats.aio.client import Client

CONNECT_SECONDS = 5.0
RECONNECT_SECONDS = 0.2
CLOSE_SECONDS = 1.0  # for a client that did not connect
CANCELLATIONS = 3
_NOT_LET_IN = "Authorization Violation"  # what a server says (nats-server, errors.go)


class CannotConnect(Exception):
    """Nobody answered, or the server refused; the text says which."""


class NotLetIn(CannotConnect):
    """The server does not know this client, or lets it in no more."""


def installed() -> bool:
    """Whether the extra `nats` is there."""
    return importlib.util.find_spec("nats") is not None


def without_credentials(url: str) -> str:
    """The address as logs and people may see it."""
    parts = [urlsplit(one) for one in url.split(",")]
    return ",".join(urlunsplit(one._replace(netloc=one.netloc.rpartition("@")[2])) for one in parts)


def has_credentials(url: str) -> bool:
    """Whether an address says who connects."""
    return url != without_credentials(url)


def faults() -> tuple[type[Exception], ...]:
    """What calls of a client raise when the server is away or refuses."""
    from nats.errors import Error

    return (Error, OSError, TimeoutError)


async def connect(
    url: str,
    name: str,
    *,
    on_fault: Callable[[str], None],
    on_away: Callable[[], None],
    on_back: Callable[[], None],
    on_end: Callable[[], None] | None = None,
    **options: Any,
) -> Client:
    """Connect to nats://[USER:PASSWORD@]HOST:PORT, or tls://, or one of several with commas between; whoever does it
    closes the client.

    `on_fault` hears each new text once: a server that is away says the same at every try. `on_end`: the client has
    ended and does not come back, since the server has ended it for good, as when what let it in has expired
    (https://github.com/nats-io/nats.py/issues/1019), or does not let it in again; without `on_end` that is tried on and
    on. Raises CannotConnect, NotLetIn.
    """
    from nats.errors import AuthorizationError

    from core.natstransport import Client

    client, last = Client(), ""
    closing: set[asyncio.Task[None]] = set()
    refusals: tuple[type[Exception], ...] = (*faults(), ValueError)

    async def failed(error: Exception) -> None:
        nonlocal last
        text = str(error) or type(error).__name__
        if text != last:
            last = text
            on_fault(text)
        if isinstance(error, AuthorizationError) or _NOT_LET_IN in text:  # on coming back it is another class
            if not connecting.done():
                raise NotLetIn(text) from error  # the client would go on to the next server, and then begin anew
            if not closing:
                closing.add(asyncio.create_task(give_up()))  # beside its own next try

    async def away() -> None:
        if not client.is_closed:  # by us
            on_away()

    async def back() -> None:
        nonlocal last
        last = ""
        on_back()

    async def ended() -> None:
        if on_end is not None:
            on_end()

    async def give_up() -> None:
        if on_end is not None:
            on_end()  # first: whoever is closed while it connects may stay between two states, and says so to nobody
            with contextlib.suppress(*faults()):
                await client.close()

    connecting = asyncio.create_task(
        client.connect(
            url.split(","),
            name=name,
            error_cb=failed,
            disconnected_cb=away,
            reconnected_cb=back,
            closed_cb=ended,
            connect_timeout=int(CONNECT_SECONDS),
            max_reconnect_attempts=-1,
            reconnect_time_wait=RECONNECT_SECONDS,  # type: ignore[arg-type]  # it sleeps for it
            **options,
        )
    )
    try:
        # The client itself would try without end. A deadline that cancels it does not hold: a fault of the same moment
        # takes the place of the cancellation, and what it waits for then, the end of a connection that never was, never
        # comes.
        await asyncio.wait({connecting}, timeout=CONNECT_SECONDS)
        if not connecting.done():
            raise TimeoutError
        await connecting
    except refusals as error:
        await _give_up(client, connecting)
        raise CannotConnect(last or str(error) or "no answer") from error
    except BaseException:
        await _give_up(client, connecting)
        raise
    return client


async def _give_up(client: Client, connecting: asyncio.Task[None]) -> None:
    """Close a client that did not connect, whatever of it still waits for something."""
    closing = asyncio.create_task(client.close())
    for _ in range(CANCELLATIONS):  # one may have been lost
        connecting.cancel()
        await asyncio.wait({connecting, closing}, timeout=CLOSE_SECONDS)
        if connecting.done() and closing.done():
            break
        closing.cancel()
    await asyncio.gather(*(task for task in (connecting, closing) if task.done()), return_exceptions=True)
