"""The client of NATS, whose lost connections do no harm to others.

asyncio of Python 3.12, and of 3.13 before 3.13.6, registers the socket of a connection that has just been lost again
when `writelines` comes at that moment (https://github.com/python/cpython/issues/136234). The next socket of the process
that gets its number, whoever opens it, then waits for ever. The client writes like that by itself, from a task that
does not know of the loss; `write` looks whether there is still a connection. Needs the extra `nats`.
"""

from __future__ import annotations

from collections.abc import Iterable

from nats.aio import client
from nats.aio.client import Client
from nats.aio.transport import TcpTransport

__all__ = ["Client"]


class Tcp(TcpTransport):
    """A connection on which everything is written by `write`."""

    def writelines(self, payload: Iterable[bytes]) -> None:
        self.write(b"".join(payload))  # type: ignore[no-untyped-call]


client.TcpTransport = Tcp  # type: ignore[attr-defined]  # what a client makes its connections of
