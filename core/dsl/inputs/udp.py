"""The udp input: datagrams as events."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from typing import Any, ClassVar

from core.dsl.component import REGISTRY, Batch, Env, Event, Input, Run
from core.dsl.connections import sockets
from core.dsl.events.select import Selector
from core.dsl.inputs import lines
from core.guard import listen

MOST_BYTES = 65_535  # of one datagram
BATCH_BYTES = 256 * 1024
RECEIVE_BUFFER_BYTES = 4 * 1024 * 1024  # asked of the system, for bursts while the output is slow


@REGISTRY.register("udp")
class Udp(Input):
    """Receive UDP datagrams as long as the job runs: one event for each line of a datagram, in `_raw` or parsed.

    UDP has no acknowledgement: a datagram that comes while the output is slow waits in the buffer of the system, and
    is lost without a trace when that is full or when the job stops. An empty datagram gives no event; bytes that are
    not UTF-8 are replaced, a line that is not JSON with `json` stays text in `_raw`, and both are counted as errors.
    When the address cannot be used, as when another program has it, the job fails and tries again. Addresses other
    than loopback must be opened by the administrator (setting `listen_allow`).
    """

    spellings: ClassVar = {"listen": "address", "ignore-line-breaks": "ignore-linebreaks"}
    example: ClassVar[str] = """
name: datagrams
input:
  udp: {address: "127.0.0.1:5140", source-ip-field: host}
output: {print: STDOUT}
"""

    address: sockets.ListenAddress
    """Where to receive: `host:port` with an address of this machine; `0.0.0.0:port` is every address."""
    json_: bool = False
    """Each line is a JSON object and becomes the event. A line that is not stays text in `_raw`, and is counted."""
    ignore_linebreaks: bool = False
    """A datagram is one event, whatever lines it has."""
    source_ip_field: Selector | None = None
    """Put the address of the sender here."""

    @property
    def continuous(self) -> bool:
        return True

    def open(self, env: Env) -> UdpSource:
        return UdpSource(self, env)


class UdpSource:
    """Reads the socket only when the job asks for more, so that nothing is held here."""

    def __init__(self, config: Udp, env: Env) -> None:
        self._config = config
        self._env = env
        self._put_ip = sockets.put_source_ip(config.source_ip_field, env, "udp")

    async def batches(self, run: Run) -> AsyncIterator[Batch]:
        sock = sockets.bind(self._config.address, self._env, kind=socket.SOCK_DGRAM)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
            self._env.log("info", f"udp: listening at {listen.name_of(sock)}")
            loop = asyncio.get_running_loop()
            while True:
                first = await loop.sock_recvfrom(sock, MOST_BYTES)
                events: list[Event] = []
                size = 0
                for data, sender in _at_hand(sock, first):
                    size += len(data)
                    events += self._events(data, sender, run)
                run.bytes_in += size
                if events:
                    yield Batch(events)
        finally:
            sock.close()

    def _events(self, data: bytes, sender: Any, run: Run) -> list[Event]:
        config = self._config
        events = lines.from_text(data, config.json_, config.ignore_linebreaks, self._env, run, "udp")
        self._put_ip(events, listen.peer_ip(sender), run)
        return events

    async def close(self) -> None:
        pass


def _at_hand(sock: socket.socket, first: tuple[bytes, Any]) -> list[tuple[bytes, Any]]:
    """A datagram and those that have arrived behind it, up to the size of a batch."""
    out, size = [first], len(first[0])
    with contextlib.suppress(BlockingIOError):
        while size < BATCH_BYTES:
            out.append(sock.recvfrom(MOST_BYTES))
            size += len(out[-1][0]) + 64  # an empty one counts too, so that this ends
    return out
