"""Reading HTTP/1.1 requests from a connection and writing answers: bounded in size, in time and in number.

What the input and the output http-server stand on. The parser is llhttp (httptools) in its strict mode, so a message
that two parsers could cut in two ways is refused.
"""

from __future__ import annotations

import asyncio
import http
import zlib
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import httptools

from core import clock
from core.guard import listen

HEAD_SECONDS = 10.0  # from the first byte of a request to the end of its headers
REQUEST_SECONDS = 60.0  # from the first byte of a request to its last
IDLE_SECONDS = 60.0  # between two requests of one connection
WRITE_SECONDS = 30.0  # for a client that does not read its answer
LINGER_SECONDS = 1.0
LINGER_BYTES = 4 * 1024 * 1024
MOST_HEAD_BYTES = 64 * 1024
MOST_HEADERS = 200
MOST_TARGET_BYTES = 8 * 1024
MOST_HELD_BYTES = 64 * 1024 * 1024  # of the bodies of all connections of one input
CHUNK_BYTES = 32 * 1024


@dataclass(slots=True)
class Answer:
    """What a client is told."""

    status: int
    body: bytes = b""
    content_type: str = "text/plain; charset=utf-8"
    retry_after_seconds: int = 0


class Refused(Exception):
    """A request that gets this answer and nothing else; its connection is closed."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.answer = refusal(status, text)


def refusal(status: int, text: str) -> Answer:
    """An answer that says no; 503 asks to try again."""
    return Answer(status, f"{text}\n".encode(), retry_after_seconds=5 if status == 503 else 0)


@dataclass(slots=True)
class Request:
    """One complete request."""

    method: str = ""
    target: bytes = b""
    headers: list[tuple[str, str]] = field(default_factory=list)  # names in lower case
    body: bytearray = field(default_factory=bytearray)
    keep_alive: bool = False
    expects_continue: bool = False
    fault: Refused | None = None

    def header(self, name: str) -> str:
        return next((value for key, value in self.headers if key == name), "")


class Held:
    """How many bytes of bodies are in memory, over all connections."""

    def __init__(self, most: int) -> None:
        self._most = most
        self.bytes = 0

    def take(self, count: int) -> bool:
        if self.bytes + count > self._most:
            return False
        self.bytes += count
        return True

    def give(self, count: int) -> None:
        self.bytes -= count


class Reader:
    """Cuts the bytes of one connection into requests (the callbacks are called by httptools)."""

    def __init__(self, max_body_bytes: int, held: Held) -> None:
        self._max_body = max_body_bytes
        self._held = held
        self._parser = httptools.HttpRequestParser(self)
        self._request = Request()
        self._head_bytes = 0
        self.complete: deque[Request] = deque()
        self.begun = False  # a request is on its way
        self.in_body = False  # its headers are complete

    def feed(self, data: bytes) -> None:
        """Take what was read. Raises Refused for what is no acceptable request."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as error:
            if not self.complete or self.complete[-1].method == "CONNECT":
                raise Refused(400, "this server speaks HTTP/1.1 only") from error
            self.complete[-1].keep_alive = False  # an offer of another protocol is not taken; what follows is lost
        except httptools.HttpParserError as error:
            fault = self._request.fault
            raise fault or Refused(400, "this is not a valid HTTP/1.1 request") from error
        if self._request.fault is not None and not self.complete:
            raise self._request.fault
        if self.begun and not self.in_body:
            self._head_bytes += len(data)
            if self._head_bytes > MOST_HEAD_BYTES:
                raise Refused(431, "the headers are too long")

    @property
    def continues(self) -> bool:
        """Whether the client waits for a word before it sends the body; true once."""
        asked = self.in_body and self._request.expects_continue
        self._request.expects_continue = False
        return asked

    def close(self) -> None:
        """Give back what is held for requests that nobody will answer."""
        for request in (*self.complete, self._request):
            self._held.give(len(request.body))
            request.body.clear()

    # -- called by the parser ----------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        self.begun, self.in_body, self._head_bytes = True, False, 0

    def on_url(self, part: bytes) -> None:
        self._request.target += part
        if len(self._request.target) > MOST_TARGET_BYTES:
            self._refuse(414, "the address is too long")

    def on_header(self, name: bytes, value: bytes) -> None:
        self._request.headers.append((name.decode("latin-1").lower(), value.strip().decode("latin-1")))
        if len(self._request.headers) > MOST_HEADERS:
            self._refuse(431, "there are too many headers")

    def on_headers_complete(self) -> None:
        request = self._request
        self.in_body = True
        request.method = self._parser.get_method().decode("ascii")
        request.keep_alive = self._parser.should_keep_alive()
        request.expects_continue = request.header("expect").lower() == "100-continue"
        length = request.header("content-length")
        if length.isdigit() and int(length) > self._max_body:
            self._refuse(413, f"the body is longer than {self._max_body} bytes")

    def on_body(self, part: bytes) -> None:
        request = self._request
        if request.fault is not None:
            return
        if len(request.body) + len(part) > self._max_body:
            self._refuse(413, f"the body is longer than {self._max_body} bytes")
        elif not self._held.take(len(part)):
            self._refuse(503, "too many requests wait here")
        else:
            request.body += part

    def on_message_complete(self) -> None:
        self.complete.append(self._request)
        self._request = Request()
        self.begun = self.in_body = False

    def _refuse(self, status: int, text: str) -> None:
        if self._request.fault is None:
            self._request.fault = Refused(status, text)


Handle = Callable[[Request, str], Awaitable[Answer]]  # the request and the address of the sender


class Connections:
    """The connections of one server: a task each, no more than `most`, ended in order."""

    def __init__(self, handle: Handle, *, most: int, max_body_bytes: int) -> None:
        self._handle = handle
        self._most = most
        self._max_body = max_body_bytes
        self._held = Held(max(MOST_HELD_BYTES, 2 * max_body_bytes))
        self._tasks: dict[asyncio.Task[None], bool] = {}  # whether it waits for a request
        self._stopping = False

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection to its end; the callback of asyncio.start_server."""
        task = asyncio.current_task()
        assert task is not None
        self._tasks[task] = True
        requests = Reader(self._max_body, self._held)
        try:
            await self._serve(task, reader, writer, requests)
        except (OSError, asyncio.CancelledError):
            pass  # the client went away, or the input ends: there is nobody to tell
        finally:
            requests.close()
            del self._tasks[task]
            writer.close()

    async def _serve(
        self, task: asyncio.Task[None], reader: asyncio.StreamReader, writer: asyncio.StreamWriter, requests: Reader
    ) -> None:
        ip = listen.peer_ip(writer.get_extra_info("peername"))
        last = self._stopping or len(self._tasks) > self._most
        try:
            if last:
                raise Refused(503, "too many connections")
            while not last and (request := await self._read(task, reader, writer, requests)) is not None:
                try:
                    if request.fault is not None:
                        raise request.fault
                    answer = await self._handle(request, ip)
                finally:
                    self._held.give(len(request.body))
                last = self._stopping or not request.keep_alive
                await _write(writer, answer, last=last, head_only=request.method == "HEAD")
        except Refused as refused:
            await _write(writer, refused.answer, last=True)
            await _linger(reader, writer)

    async def _read(
        self, task: asyncio.Task[None], reader: asyncio.StreamReader, writer: asyncio.StreamWriter, requests: Reader
    ) -> Request | None:
        """The next request, or None when there will be none."""
        started = 0.0
        patience = IDLE_SECONDS
        self._tasks[task] = True
        try:
            while not requests.complete:
                now = clock.monotonic()
                if requests.begun:
                    self._tasks[task] = False
                    started = started or now
                    patience = started + (REQUEST_SECONDS if requests.in_body else HEAD_SECONDS) - now
                elif self._stopping:
                    return None
                if requests.continues:
                    writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
                try:
                    async with asyncio.timeout(max(patience, 0.0)):
                        data = await reader.read(CHUNK_BYTES)
                except TimeoutError:
                    if requests.begun:
                        raise Refused(408, "the request did not come in time") from None
                    return None
                if not data:
                    return None
                requests.feed(data)
            return requests.complete.popleft()
        finally:
            self._tasks[task] = False

    def stop(self) -> None:
        """Begin no more requests: idle connections end now, the others when they are answered."""
        self._stopping = True
        for task, idle in self._tasks.items():
            if idle:
                task.cancel()

    async def close(self, seconds: float) -> None:
        """Wait for the answers that are still to be written, then end what is left."""
        self.stop()
        if self._tasks:
            await asyncio.wait(list(self._tasks), timeout=seconds)
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)


async def _write(writer: asyncio.StreamWriter, answer: Answer, *, last: bool, head_only: bool = False) -> None:
    """Send one answer; its length is told also when the body stays away, as for HEAD."""
    try:
        reason = http.HTTPStatus(answer.status).phrase
    except ValueError:
        reason = "Answer"
    lines = [f"HTTP/1.1 {answer.status} {reason}", f"content-length: {len(answer.body)}"]
    if answer.body:
        lines += [f"content-type: {answer.content_type}", "x-content-type-options: nosniff"]
    if answer.retry_after_seconds:
        lines.append(f"retry-after: {answer.retry_after_seconds}")
    if last:
        lines.append("connection: close")
    head = "\r\n".join([*lines, "", ""]).encode("latin-1", errors="replace")
    writer.write(head if head_only else head + answer.body)
    async with asyncio.timeout(WRITE_SECONDS):
        await writer.drain()


async def _linger(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Read for a moment what the client still sends: a close with data unread would take the answer away from it."""
    if writer.can_write_eof():
        writer.write_eof()
    left = LINGER_BYTES
    try:
        async with asyncio.timeout(LINGER_SECONDS):
            while left > 0 and (data := await reader.read(CHUNK_BYTES)):
                left -= len(data)
    except TimeoutError:
        pass  # it had its moment


def unpack(body: bytes, encoding: str, max_bytes: int) -> bytes:
    """A body without its content coding. Raises Refused for one that is broken, unknown or too long unpacked."""
    encoding = encoding.strip().lower()
    if encoding in ("", "identity"):
        return body
    if encoding not in ("gzip", "x-gzip"):
        raise Refused(415, "the content coding is not known; send gzip or none")
    member = zlib.decompressobj(wbits=31)
    try:
        out = member.decompress(body, max_bytes + 1)
    except zlib.error as error:
        raise Refused(400, "the body is not valid gzip") from error
    if len(out) > max_bytes:
        raise Refused(413, f"the body is longer than {max_bytes} bytes when it is unpacked")
    if not member.eof:
        raise Refused(400, "the gzip body is cut off")
    return out
