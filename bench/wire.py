"""Raw clients that cost as little as possible: newline-JSON, HTTP/1.1 and a process on pipes.

Ready-made client libraries cost several times what is measured here.
"""

from __future__ import annotations

import asyncio
import sys
from collections import deque
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any, cast

import orjson

LINE_LIMIT = 64 * 1024 * 1024
ENDING_SECONDS = 10.0


async def until_stdin_ends() -> None:
    """Return when whoever started this process closes its standard input (or dies)."""
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    await reader.read()


class Lines(asyncio.Protocol):
    """Newline-JSON calls over a stream socket; answers come in the order of the calls."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[asyncio.Future[Any]] = deque()
        self._out: list[bytes] = []
        self._rest = b""
        self._last = 0

    async def call(self, args: Any) -> Any:
        self._last += 1
        if not self._out:
            self._loop.call_soon(self._flush)
        self._out.append(orjson.dumps({"id": self._last, "call": "echo", "args": args}))
        future: asyncio.Future[Any] = self._loop.create_future()
        self._waiting.append(future)
        return await future

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._waiting.popleft().set_result(orjson.loads(line)["result"])

    def _flush(self) -> None:
        self.transport.write(b"\n".join([*self._out, b""]))
        self._out.clear()


class Http(asyncio.Protocol):
    """One keep-alive connection, one request at a time; the requests are bytes that were made before."""

    def __init__(self) -> None:
        self._data = b""
        self._need = -1  # bytes of the whole answer, once its headers are here
        self._answer: asyncio.Future[bytes] | None = None

    async def request(self, raw: bytes) -> bytes:
        """Send a request and return the body of its answer.

        Raises RuntimeError for a status of 400 and above, and when the connection is lost.
        """
        if self.transport.is_closing():
            raise RuntimeError("the server closed the connection")
        self._answer = asyncio.get_running_loop().create_future()
        self.transport.write(raw)
        return await self._answer

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._data += data
        if self._need < 0:
            end = self._data.find(b"\r\n\r\n")
            if end < 0:
                return
            head = self._data[:end].lower()
            at = head.index(b"content-length:") + len(b"content-length:")
            self._need = end + 4 + int(head[at:].split(b"\r\n", 1)[0])
        if len(self._data) < self._need or self._answer is None:
            return
        body = self._data[self._data.index(b"\r\n\r\n") + 4 :]
        status = int(self._data[9:12])
        self._data, self._need = b"", -1
        answer, self._answer = self._answer, None
        if status < 400:
            answer.set_result(body)
        else:
            answer.set_exception(RuntimeError(f"HTTP {status}: {body[:500]!r}"))

    def connection_lost(self, exc: Exception | None) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(RuntimeError("the server closed the connection"))


def post(path: str, body: bytes, headers: Mapping[str, str] | None = None) -> bytes:
    """The bytes of a POST request with a JSON body."""
    lines = [f"POST {path} HTTP/1.1", "host: 127.0.0.1", "content-type: application/json"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    lines.append(f"content-length: {len(body)}")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


async def connect(port: int) -> Http:
    _, protocol = await asyncio.get_running_loop().create_connection(Http, "127.0.0.1", port)
    return protocol


class Pipes:
    """A child process that is spoken to line by line over its stdin and stdout."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self.process = process
        self._stdin, self._stdout = process.stdin, process.stdout
        self._waiting: deque[asyncio.Future[bytes]] = deque()
        self._reader: asyncio.Task[None] | None = None

    async def line(self) -> bytes:
        """The next line that the process writes.

        Raises RuntimeError when it has ended.
        """
        line = await self._stdout.readline()
        if not line:
            raise RuntimeError(f"the process ended with {await self.process.wait()}")
        return line

    async def rest_of_output(self) -> bytes:
        """Everything that the process still writes before it ends."""
        return await self._stdout.read()

    async def ask(self, raw: bytes) -> bytes:
        """Write a line, return the next one."""
        self._stdin.write(raw)
        return await self.line()

    def tell(self, raw: bytes) -> None:
        """Write a line that has no answer."""
        self._stdin.write(raw)

    async def ask_in_flight(self, raw: bytes) -> bytes:
        """Like `ask`, with several under way: each answer ends the oldest wait, whichever request it belongs to."""
        if self._reader is None:
            self._reader = asyncio.create_task(self._read())
        future: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        self._stdin.write(raw)
        return await future

    async def _read(self) -> None:
        while True:
            line = await self.line()
            self._waiting.popleft().set_result(line)

    async def rest(self) -> None:
        """Stop reading for `ask_in_flight`, so that `ask` can be used again."""
        if self._reader is not None:
            self._reader.cancel()
            await asyncio.gather(self._reader, return_exceptions=True)
            self._reader = None


@asynccontextmanager
async def process(*command: str, stderr: int | None = None) -> AsyncIterator[Pipes]:
    """Run a command for as long as the block runs; its stdin ends with the block, and SIGTERM follows."""
    child = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=stderr,
        limit=LINE_LIMIT,
    )
    pipes = Pipes(child)
    try:
        yield pipes
    finally:
        await pipes.rest()
        await _end(child)


async def _end(child: asyncio.subprocess.Process) -> None:
    assert child.stdin is not None
    child.stdin.close()
    with suppress(TimeoutError):
        await asyncio.wait_for(child.wait(), 0.5)
    for end in (child.terminate, child.kill):
        if child.returncode is None:
            end()
            with suppress(TimeoutError):
                await asyncio.wait_for(child.wait(), ENDING_SECONDS)


def python(*arguments: str) -> tuple[str, ...]:
    """A command that runs this Python."""
    return (sys.executable, *arguments)
