"""Standard input as lines of text on the event loop, so that waiting for a line can be cancelled.

The SDK reads stdin in a thread, which cannot be interrupted: SIGTERM would wait for the client's next line.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import anyio

LINE_BYTES = 64 * 1024 * 1024


class _Lines:
    """The part of anyio.AsyncFile that the SDK's stdio transport uses: iteration over lines."""

    def __init__(self, reader: asyncio.StreamReader) -> None:
        self._reader = reader

    def __aiter__(self) -> _Lines:
        return self

    async def __anext__(self) -> str:
        try:
            line = await self._reader.readline()
        except ValueError:
            return "\n"  # a line above LINE_BYTES was dropped; an empty line is answered as a parse error
        if not line:
            raise StopAsyncIteration
        return line.decode(errors="replace")


@asynccontextmanager
async def lines() -> AsyncIterator[anyio.AsyncFile[str] | None]:
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
        yield cast(Any, _Lines(reader))
    finally:
        transport.close()
