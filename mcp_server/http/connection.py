"""One connection of the HTTP door: what it may have read, kept and left unread, so that none holds up the others.

The parser is given one request at a time. What came behind it waits, and nothing more is read, until that request is
answered and its answer is on its way; then the next one takes its turn behind those of the other connections. A head
that does not come, a body that comes too slowly and an answer that is not read end the connection.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from typing import Any

import uvicorn
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from core import accepting
from core.external.line import PATH
from mcp_server.http import sockets

MAX_HEAD_BYTES = 64 * 1024
REQUEST_SECONDS = 120.0  # from the head of a request to its last byte
FRAMING = 8  # bytes of framing that a byte of a body may cost, beyond MAX_HEAD_BYTES
CHUNKED_BYTES = 1024  # of a body of unknown length that are parsed at a time: requests may follow it
MOST_UNREAD_BYTES = 64 * 1024 * 1024  # of all connections together
LAST_SECONDS = 5.0  # for a connection that was told that it ends
KEPT_BYTES = 64 * 1024  # of requests that wait for their turn; beyond it, no more is read
_END_OF_HEAD = b"\r\n\r\n"
_TOO_MUCH = b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
_TOO_LARGE = b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
_TOO_LATE = b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"


class Unread:
    """The connections of one server whose answers wait for their clients, and how much of them there may be."""

    def __init__(self, most_bytes: int = MOST_UNREAD_BYTES) -> None:
        self.most_bytes = most_bytes
        self._waiting: dict[Connection, None] = {}  # who has waited longest comes first

    def add(self, connection: Connection) -> None:
        """An answer waits. When there is too much of them, the one that has waited longest ends, of the address that
        has the most."""
        self._waiting[connection] = None
        total = sum(one.unread for one in self._waiting)
        while total > self.most_bytes:
            held = Counter[str]()
            for one in self._waiting:
                held[one.address] += one.unread
            (greedy, _), *_ = held.most_common(1)
            first = next(one for one in self._waiting if one.address == greedy)
            total -= first.unread
            self.remove(first)
            first.guest.ends(accepting.Reason.UNREAD)

    def remove(self, connection: Connection) -> None:
        """Its answer was taken, or it has ended."""
        self._waiting.pop(connection, None)


class _Flow(FlowControl):
    """Reading goes on only when nothing waits that was read, whoever asks for it."""

    held = False

    def resume_reading(self) -> None:
        if not self.held:
            super().resume_reading()


class Connection(HttpToolsProtocol):
    """The HTTP parser, with bounds on what is no body: the head of a request, which it keeps in memory until it is
    complete, and the framing of chunks, which it reads and forgets however long it is."""

    flow: _Flow
    _head = 0  # bytes received since the parser last came to the end of a head or of a message
    _body = 0  # bytes of the body among them
    _length: int | None = None  # of the body, once somebody has asked for it; -1: it does not say
    _in_head = True
    _rest = b""  # what was read and waits for its turn,
    _at = 0  # from here on
    _deadline: asyncio.TimerHandle | None = None  # while a body is incomplete
    _upgraded = False
    _unread = 0  # bytes of an answer that began to wait for the client

    def __init__(
        self,
        guest: accepting.Guest,
        unread: Unread,
        config: uvicorn.Config,
        state: ServerState,
        app: dict[str, Any],
    ) -> None:
        super().__init__(config, state, app)
        self.guest = guest
        self._all_unread = unread
        self._moved_in, self._moved_out = self._arrived, self._taken  # each is one object, so that it is known again

    @property
    def address(self) -> str:
        """Whose connection it is."""
        return self.guest.address

    @property
    def unread(self) -> int:
        """How many bytes of answers wait for the client."""
        return self.transport.get_write_buffer_size()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.flow = _Flow(transport)
        self.guest.leave = self._sent_away

    def connection_lost(self, exc: Exception | None) -> None:
        self.guest.gone()
        self._whole()
        self._all_unread.remove(self)
        self._rest = b""
        super().connection_lost(exc)

    def _sent_away(self, reason: accepting.Reason) -> None:
        if reason is accepting.Reason.SLOW and not (self.transport.is_closing() or self.flow.write_paused):
            self._too_late()
        else:
            self.transport.abort()

    def _whole(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _too_late(self) -> None:
        self._deadline = None
        if self.transport.is_closing():
            return
        if self.cycle is None or self.cycle.response_complete or not self.cycle.response_started:
            self.transport.write(_TOO_LATE)
        self._close()

    def _close(self) -> None:
        """Close, and do not wait for long until what was written has been read."""
        self.transport.close()
        self.loop.call_later(LAST_SECONDS, self.transport.abort)

    # -- what is read --------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        if self._rest:
            self._keep(self._rest[self._at :] + data, 0)
        else:
            self._take(data, 0)

    def _keep(self, data: bytes, start: int) -> None:
        """Keep what has to wait. While it is little, reading goes on, which also tells when the client leaves."""
        self._rest, self._at = data, start
        if len(data) - start > KEPT_BYTES:
            self.flow.held = True
            self.flow.pause_reading()

    def _take(self, data: bytes, start: int) -> None:
        """Give the parser one request, or what there is of it from there on; the rest waits."""
        size = len(data)
        while start < size and not self.transport.is_closing():
            if self._in_head and (self.flow.write_paused or not (self.cycle is None or self.cycle.response_complete)):
                self._keep(data, start)
                break
            end = self._end(data, start)
            self._parse(data if end - start == size else data[start:end])
            start = end
            if self._upgraded:  # it is a socket now, and its client waits for the answer
                return
        if self.transport.is_closing():
            return
        if self._in_head:
            self._whole()
        elif not self.cycle.response_complete:
            if not self.flow.write_paused:
                self.guest.moves(self._moved_in)
            if self._deadline is None:
                self._deadline = self.loop.call_later(REQUEST_SECONDS, self._too_late)

    def _end(self, data: bytes, start: int) -> int:
        """How far the parser may go with no more than one request; it takes more, should a head end across parts."""
        if self._in_head:
            if data.count(_END_OF_HEAD, start) <= 1:  # a second request would have a head that ends, too
                return len(data)
            return data.index(_END_OF_HEAD, start) + len(_END_OF_HEAD)
        if self._length is None:
            self._length = _length(self.headers)
        left = CHUNKED_BYTES if self._length < 0 else self._length - self._body
        return min(len(data), start + max(left, 1))

    def _parse(self, data: bytes) -> None:
        self._head += len(data)
        super().data_received(data)
        bound = MAX_HEAD_BYTES if self._in_head else MAX_HEAD_BYTES + FRAMING * self._body
        if self._head > bound and not self.transport.is_closing():
            self.transport.write(_TOO_LARGE if self._in_head else _TOO_MUCH)
            self._close()

    def _go_on(self) -> None:
        """The next of the requests that wait has its turn."""
        if not self._rest or self.transport.is_closing() or self.flow.write_paused:
            return
        if self.cycle is not None and not self.cycle.response_complete:  # it had its turn already
            return
        rest, self._rest = self._rest, b""
        self.flow.held = False
        self._take(rest, self._at)
        if not self._rest and self._in_head:
            self.flow.resume_reading()

    def _should_upgrade_to_ws(self) -> bool:
        """Only where there is a socket; everywhere else such a request is answered like others."""
        return self.url.partition(b"?")[0] == PATH.encode()

    def handle_websocket_upgrade(self) -> None:
        self._whole()
        self._all_unread.remove(self)
        super().handle_websocket_upgrade()
        self._upgraded = True
        upgraded = self.transport.get_protocol()
        assert isinstance(upgraded, sockets.Socket)
        upgraded.belongs_to(self.guest)

    def on_headers_complete(self) -> None:
        self._in_head, self._head, self._body, self._length = False, 0, 0, None
        self.guest.works()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._body += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._in_head, self._head = True, 0
        if self.parser.should_upgrade() and self._should_upgrade():
            return  # it has no cycle: what was a request becomes a socket
        super().on_message_complete()
        if self.cycle.response_complete:
            self.guest.waits()
        elif self.guest.where is not None:
            self.guest.works()

    def _arrived(self) -> int:
        return self._head

    # -- what is written -----------------------------------------------------------------------------------

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.pipeline or self.transport.is_closing():
            return
        # Also when the body of what was answered has not come: who waits for it no longer keeps no one out.
        if not self.flow.write_paused:
            self.guest.waits()
        if self._rest:
            self._unset_keepalive_if_required()
            self.loop.call_soon(self._go_on)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._unread = self.unread
        self.guest.moves(self._moved_out)
        self._all_unread.add(self)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._all_unread.remove(self)
        if self.cycle is None or self.cycle.response_complete:
            self.guest.waits()
        else:
            self.guest.works()
        if self._rest:
            self.loop.call_soon(self._go_on)

    def _taken(self) -> int:
        return self._unread - self.unread


def _length(headers: Sequence[tuple[bytes, bytes]]) -> int:
    """How long the body of a request says that it is; -1 when it does not."""
    for name, value in headers:
        if name == b"content-length":
            text = value.strip(b" \t")[:20]
            return int(text) if text.isdigit() else -1
    return -1
