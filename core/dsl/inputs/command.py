"""One started command of the exec input: its output as it comes, and its end with all that it has started."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

from core import clock, reserve
from core.confinement import starting
from core.confinement.places import Places
from core.dsl.connections.retry import Temporary
from core.dsl.inputs import descendants, lines
from core.errors import shorten

KEPT_STDERR_BYTES = 64 * 1024
GRACE_SECONDS = 1.0  # between asking the process group to end and killing it
LOOK_SECONDS = 0.25  # between two looks at the disks while a command runs
_LIMITS = ((resource.RLIMIT_CORE, 0), (resource.RLIMIT_NOFILE, 1024))


async def start(
    arguments: Sequence[str],
    places: Places | None,
    directory: Path,
    environment: Mapping[str, str],
    timeout_seconds: float,
    mark: str,
    writes: Sequence[Path] = (),
) -> Running:
    """Start a command in its own session, without input, with these variables alone, and within these places.

    `writes`: directories on whose file systems it leaves room (core.reserve). Raises OSError, NoRoom.
    """
    for place in writes:
        reserve.OURS.check(place)
    with contextlib.ExitStack() as ours, contextlib.ExitStack() as theirs:
        ends = []
        for _ in range(2):
            reading, writing = os.pipe()
            ours.callback(os.close, reading)
            theirs.callback(os.close, writing)
            ends.append((reading, writing))
        (out, far_out), (error, far_error) = ends
        process = starting.start(
            arguments,
            places,
            stdin=subprocess.DEVNULL,
            stdout=far_out,
            stderr=far_error,
            cwd=directory,
            env=environment,
            start_new_session=True,
        )
        ours.pop_all()
    try:
        for kind, most in _LIMITS:
            with contextlib.suppress(ProcessLookupError, PermissionError):  # it may have ended already
                resource.prlimit(process.pid, kind, (most, most))
        its_out, its_error = await _Pipe.read_from(out), await _Pipe.read_from(error)
    except BaseException:
        process.kill()
        process.wait()
        raise
    return Running(process, its_out, its_error, timeout_seconds, mark, writes)


class _Pipe:
    """Our end of a pipe that a command writes into."""

    def __init__(self, reader: asyncio.StreamReader, transport: asyncio.ReadTransport) -> None:
        self._transport = transport
        self.read = reader.read

    @classmethod
    async def read_from(cls, fd: int) -> Self:
        """Takes the descriptor over."""
        loop, reader = asyncio.get_running_loop(), asyncio.StreamReader()
        made = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(fd, "rb", 0))
        return cls(reader, made[0])

    def close(self) -> None:
        self._transport.close()


class Running:
    """A started command; leaving the context ends all that it has started, whatever state it is in."""

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        out: _Pipe,
        error: _Pipe,
        timeout_seconds: float,
        mark: str,
        writes: Sequence[Path] = (),
    ) -> None:
        self._process = process
        self._out = out
        self._error = error
        self._mark = mark
        self._deadline = clock.monotonic() + timeout_seconds
        self._seconds = timeout_seconds
        self.stderr = b""
        self._drain = asyncio.create_task(self._keep_stderr())
        self._ended = asyncio.create_task(_ended(process.pid))
        self._no_room: reserve.NoRoom | None = None
        self._watch = asyncio.create_task(self._leave_room(writes))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._signal(signal.SIGTERM)
        await asyncio.wait({self._ended}, timeout=GRACE_SECONDS)
        self._signal(signal.SIGKILL)  # also what the command left behind in its group
        await asyncio.to_thread(descendants.kill, self._mark)  # and what has left its group
        await asyncio.wait({self._ended}, timeout=GRACE_SECONDS)
        tasks = {self._drain, self._ended, self._watch}
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        self._out.close()  # someone outside may still hold the other ends
        self._error.close()
        self._process.poll()  # only now may another process get its number, and so the signals to its group

    async def read(self) -> bytes:
        """The next part of the standard output, empty at its end.

        Raises Temporary at the timeout. When the command has ended but something it started holds the pipe open, the
        end comes after a grace time.
        """
        reading = asyncio.ensure_future(self._out.read(lines.BATCH_BYTES))
        try:
            await asyncio.wait({reading, self._ended}, timeout=self._left(), return_when=asyncio.FIRST_COMPLETED)
            if not reading.done() and self._ended.done():
                await asyncio.wait({reading}, timeout=GRACE_SECONDS)
                if not reading.done():
                    return b""
            if not reading.done():
                raise self._too_long()
            return reading.result()
        finally:
            if not reading.done():
                reading.cancel()
                await asyncio.wait({reading})

    async def end(self) -> int:
        """The exit status; the signal as a negative number when it was killed by one.

        Raises Temporary at the timeout, NoRoom when it was ended because a disk is full for jobs.
        """
        await asyncio.wait({self._ended}, timeout=self._left())
        if not self._ended.done():
            raise self._too_long()
        await asyncio.wait({self._drain}, timeout=GRACE_SECONDS)
        if not self._drain.done():
            self._signal(signal.SIGKILL)
            await asyncio.wait({self._drain}, timeout=GRACE_SECONDS)
        if self._no_room is not None:
            raise self._no_room
        return self._ended.result()

    def _too_long(self) -> Temporary:
        return Temporary(f"exec: the command did not end within {self._seconds:g} s and was killed")

    def judge(self, status: int) -> None:
        """Raise for a status other than 0."""
        if status:
            said = shorten(self.stderr.decode(errors="replace").strip()[-200:])
            raise Temporary(f"exec: the command ended with status {status}" + (f": {said}" if said else ""))

    def _left(self) -> float:
        return max(self._deadline - clock.monotonic(), 0.0)

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):  # the group is gone
            os.killpg(self._process.pid, number)

    async def _leave_room(self, writes: Sequence[Path]) -> None:
        """End the command when a disk that it can write is full for jobs, whoever has filled it."""
        with contextlib.suppress(OSError):  # a directory that it has removed: nothing is left to look at
            while True:
                await asyncio.sleep(LOOK_SECONDS)
                try:
                    for place in writes:
                        reserve.OURS.check(place)
                except reserve.NoRoom as error:
                    self._no_room = error
                    self._signal(signal.SIGKILL)
                    return

    async def _keep_stderr(self) -> None:
        while part := await self._error.read(8192):
            self.stderr = (self.stderr + part)[-KEPT_STDERR_BYTES:]


async def _ended(pid: int) -> int:
    """Wait until a child has ended; its exit status, or its signal as a negative number. It stays to be collected.

    Its pipes say nothing: what it has started may hold them open.
    """
    fd = os.pidfd_open(pid)
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(fd, ended.set)
    try:
        await ended.wait()
    finally:
        loop.remove_reader(fd)
        os.close(fd)
    found = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)  # noqa: ASYNC222 - it has ended
    assert found is not None
    return found.si_status if found.si_code == os.CLD_EXITED else -found.si_status
