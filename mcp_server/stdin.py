"""Standard input as lines of text on the event loop, so that waiting for a line can be cancelled.

The SDK reads stdin in a thread, which cannot be interrupted: SIGTERM would wait for the client's next line. It also
drops a line that is no message without a word; here such a line is answered, so that no client waits for ever.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import stat
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from core import errors
from core.documents import canonical

LINE_BYTES = 64 * 1024 * 1024
MOST_ID_CHARACTERS = 256  # of an id that is told back in a line that could not be read as a whole
PARSE_ERROR, INVALID_REQUEST = -32700, -32600

Refuse = Callable[[str | int | None, int, str], Awaitable[None]]
"""Answers a line that is no message: the id of its request as far as it can be known, a code, and why."""


class Lines:
    """The part of anyio.AsyncFile that the SDK's stdio transport uses: iteration over lines."""

    def __init__(self, reader: asyncio.StreamReader) -> None:
        self._reader = reader
        self.refuse: Refuse | None = None

    def __aiter__(self) -> Lines:
        return self

    async def __anext__(self) -> str:
        while True:
            try:
                line = await self._reader.readline()
                fault = check(line) if line else None
            except ValueError:  # the reader has dropped it
                line = b"\n"
                fault = None, PARSE_ERROR, f"A line may have at most {LINE_BYTES} bytes."
            if fault is not None and self.refuse is not None:
                await self.refuse(*fault)
            elif not line:
                raise StopAsyncIteration
            else:
                return line.decode(errors="replace")


def check(line: bytes) -> tuple[str | int | None, int, str] | None:
    """Why a line is no message: (id or None, JSON-RPC code, reason); None when it is one."""
    try:
        message = canonical.parse_json(line, max_bytes=LINE_BYTES)
    except errors.InvalidParams as error:
        return _id_of(line), PARSE_ERROR, error.message
    if not isinstance(message, dict):
        return None, INVALID_REQUEST, "A message is one JSON object; batches are not part of MCP."
    if "method" in message and "id" in message and type(message["id"]) not in (str, int):
        return None, INVALID_REQUEST, "The id of a request is a string or an integer."
    return None


def _id_of(line: bytes) -> str | int | None:
    """The id of a request that was refused as a whole, for the client to match the answer."""
    try:
        message = json.loads(line)
    except (ValueError, RecursionError):
        return None
    found = message.get("id") if isinstance(message, dict) else None
    if isinstance(found, str) and found.isprintable() and len(found) <= MOST_ID_CHARACTERS:  # no lone surrogate is
        return found
    return found if type(found) is int and abs(found) < 2**63 else None


@asynccontextmanager
async def lines() -> AsyncIterator[Lines | None]:
    """Lines of stdin, or None where only a thread can read it (a terminal, a file): then the SDK does.

    While it is open, file descriptor 0 is the null device, so no child process can read the protocol.
    """
    kind = os.fstat(0).st_mode
    if not (stat.S_ISFIFO(kind) or stat.S_ISSOCK(kind)):
        yield None
        return
    private = fcntl.fcntl(0, fcntl.F_DUPFD_CLOEXEC, 3)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    reader = asyncio.StreamReader(limit=LINE_BYTES)
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(private, "rb", buffering=0)
    )
    try:
        yield Lines(reader)
    finally:
        transport.close()
