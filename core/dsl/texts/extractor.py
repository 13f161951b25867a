"""The worker's side of a process that reads files: started when there is one to read, kept for the next ones.

A new one costs about half a second, a file some milliseconds. It is replaced after any fault, and after a number of
files: what one of them may have left behind meets few others, and only ones of the same job.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys

import core
from core.confinement import starting
from core.confinement.places import Places
from core.dsl.texts import wire
from core.dsl.texts.wire import Bounds, Format, Reply, Request, Unreadable
from core.errors import JobFailed, shorten

MEMORY_BYTES = 512 * 1024 * 1024  # of address space, for one process
FILES = 200  # that one process reads
START_SECONDS = 30.0
IDLE_SECONDS = 60.0  # without a file, after which it ends
GRACE_SECONDS = 2.0  # after its own alarm
_CHUNK_BYTES = 256 * 1024
# `-m` would look for this package in the directory around it, which is closed within a sandbox when it is no
# directory of installed packages.
_BOOT = """
import importlib.util, sys
spec = importlib.util.spec_from_file_location("core", sys.argv[1])
sys.modules["core"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(sys.modules["core"])
from core.dsl.texts import reader
sys.exit(reader.main(sys.argv[2:]))
"""


class Extractor:
    """Reads one file at a time, in a process of its own. It belongs to one job, and so to one tenant."""

    def __init__(self, format: Format, *, confined: bool) -> None:
        self._format = format
        self._confined = confined
        self._turn = asyncio.Lock()
        self._process: _Process | None = None
        self._idle: asyncio.TimerHandle | None = None

    async def texts_of(self, content: bytes, bounds: Bounds, seconds: float, *, base64: bool = True) -> list[str]:
        """The text of each page, or of the whole file where there are no pages.

        Raises Unreadable for a file whose text cannot be had in that time, JobFailed when no process can be started.
        """
        async with self._turn:
            self._stay()
            process = self._process
            if process is None:
                process = self._process = _Process(self._format, self._confined)
            try:
                await process.ready()
                reply = await process.ask(Request(len(content), seconds, bounds, base64), content)
            except BaseException:  # also a job that ends: what is half read is no use to anybody
                self._end()
                raise
            if reply.spent or process.asked >= FILES:
                self._end()
            else:
                self._idle = asyncio.get_running_loop().call_later(IDLE_SECONDS, self._end)
        if reply.refused:
            raise Unreadable(shorten(reply.refused, wire.MOST_REASON_CHARACTERS))
        return reply.texts

    @property
    def pid(self) -> int | None:
        """Of the process, while there is one."""
        return self._process.pid if self._process is not None else None

    def close(self) -> None:
        """End the process. Safe to call twice."""
        self._stay()
        self._end()

    def _stay(self) -> None:
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.end()


class _Process:
    """One of these processes, and our end of its socket."""

    def __init__(self, format: Format, confined: bool) -> None:
        """Starts it. Raises JobFailed."""
        self.asked = 0
        self._ready = False
        self._sock, theirs = socket.socketpair()
        self._sock.setblocking(False)
        words = [sys.executable, "-P", "-c", _BOOT, str(core.__file__), format, str(MEMORY_BYTES)]
        variables = {"LANG": "C.UTF-8"}
        if path := os.environ.get("PYTHONPATH"):  # where this program is, when it is not installed
            variables["PYTHONPATH"] = path
        try:
            with theirs:
                self._popen = starting.start(
                    [*words, "confined"] if confined else words,
                    Places() if confined else None,
                    stdin=theirs.fileno(),
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    cwd="/",
                    env=variables,
                    start_new_session=True,
                )
        except OSError as error:
            self._sock.close()
            raise JobFailed(f"the process that reads files cannot be started: {error.strerror or error}") from error

    @property
    def pid(self) -> int:
        return self._popen.pid

    async def ready(self) -> None:
        """Wait until it has loaded what it needs. Raises JobFailed."""
        if self._ready:
            return
        try:
            async with asyncio.timeout(START_SECONDS):
                await self._reply()
        except (TimeoutError, OSError, ValueError) as error:
            told = (
                f"did not start within {START_SECONDS:g} s" if isinstance(error, TimeoutError) else await self._ended()
            )
            raise JobFailed(f"the process that reads files {told}") from error
        self._ready = True

    async def ask(self, request: Request, content: bytes) -> Reply:
        """What it says about one file. Raises Unreadable when it ends over it."""
        loop = asyncio.get_running_loop()
        self.asked += 1
        try:
            async with asyncio.timeout(request.seconds + GRACE_SECONDS):
                await loop.sock_sendall(self._sock, wire.encode(request))
                await loop.sock_sendall(self._sock, content)
                return await self._reply()
        except TimeoutError:
            raise Unreadable(f"takes longer than {request.seconds:g} s") from None
        except OSError:
            if await self._code() == -signal.SIGALRM:
                raise Unreadable(f"takes longer than {request.seconds:g} s") from None
            raise Unreadable(f"broke the process that reads it, which {await self._ended()}") from None
        except ValueError:
            raise Unreadable("broke the process that reads it, which gave no proper answer") from None

    async def _reply(self) -> Reply:
        length = wire.length(await self._exactly(wire.LENGTH.size), wire.MOST_REPLY_BYTES)
        return wire.parse(await self._exactly(length), Reply)

    async def _exactly(self, count: int) -> bytes:
        loop, out = asyncio.get_running_loop(), bytearray()
        while len(out) < count:
            part = await loop.sock_recv(self._sock, min(count - len(out), _CHUNK_BYTES))
            if not part:
                raise ConnectionResetError
            out += part
        return bytes(out)

    async def _code(self) -> int | None:
        """How a process that has closed its end has ended; the signal as a negative number."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            return await asyncio.to_thread(self._popen.wait, GRACE_SECONDS)
        return None

    async def _ended(self) -> str:
        code = await self._code()
        return "closed its end" if code is None else f"ended with signal {-code}" if code < 0 else f"ended with {code}"

    def end(self) -> None:
        """Kill it; it is collected beside the loop, for giving back much memory takes a while."""
        self._sock.close()
        self._popen.kill()
        asyncio.get_running_loop().run_in_executor(None, self._popen.wait)
