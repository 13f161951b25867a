"""The supervisor of the workers: a fault at any line of it, and the worker is there again."""

from __future__ import annotations

import asyncio
import errno
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from core import channel, forever
from core.fleet import kernel, processes
from core.fleet.connection import Worker
from core.forever import Loops
from core.model.states import WorkerState
from core.settings import Settings
from core.witness import Seen
from tests import waiting

pytestmark = pytest.mark.anyio
SOURCE = processes.__file__


class _Child:
    """A worker of this thread: it is there until its end of the channel is closed."""

    def __init__(self, sock: socket.socket, alive: set[_Child]) -> None:
        self.pid: int | None = None
        self._sock = sock.dup()
        self._alive = alive
        alive.add(self)

    def terminate(self) -> None:
        self.kill()

    def kill(self) -> None:
        self._sock.close()
        self._alive.discard(self)

    async def wait(self, seconds: float) -> int | None:
        return 1

    def seen(self) -> Seen | None:
        return None

    def close(self) -> None:
        """There is nothing left."""


class _House:
    """One worker under its supervisor."""

    def __init__(self, home: Path) -> None:
        self.worker = Worker("local-1", "default", 4)
        self.alive: set[_Child] = set()
        self.loops = Loops()
        self.lives = 0
        settings = Settings(home=home, workers=1, heartbeat_seconds=0.002)
        self.processes = processes.Processes(
            settings, self._spawn, {"local-1": self.worker}, self._link, self._gone, self._ended, self.loops
        )

    def _spawn(self, name: str, settings: Settings, sock: socket.socket) -> _Child:
        self.lives += 1
        self.worker.state = WorkerState.ONLINE
        return _Child(sock, self.alive)

    async def _link(self, worker: Worker, sock: socket.socket) -> tuple[channel.Channel, asyncio.Event]:
        ended = asyncio.Event()
        return await channel.over_socket(sock, on_close=lambda _: ended.set()), ended

    def _gone(self, worker: Worker) -> None:
        worker.state, worker.channel = WorkerState.LOST, None

    async def _ended(self, worker: Worker, end: processes.End) -> None:
        await waiting.turn()  # what is done at an end gives the loop away

    async def up(self) -> None:
        """Wait until the worker is there: one process, and a channel that is open."""

        def one() -> bool:
            self.worker.heard()
            return len(self.alive) == 1 and self.worker.connected

        await waiting.until(one, every=0.001)

    async def stop(self) -> None:
        await self.processes.stop()
        self.end_worker()

    def end_worker(self) -> None:
        for child in tuple(self.alive):
            child.kill()


def _tracing(at_line: Callable[[int], None]) -> Callable[[FrameType, str, Any], Any]:
    """A trace function (sys.settrace) that is told each line of the supervisor before it runs."""

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        if frame.f_code.co_filename != SOURCE:
            return None
        if event == "line":
            at_line(frame.f_lineno)
        return trace

    return trace


def _files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forever, "FIRST_BACKOFF_SECONDS", 0.001)
    monkeypatch.setattr(processes, "FIRST_BACKOFF_SECONDS", 0.001)
    monkeypatch.setattr(processes, "LONGEST_BACKOFF_SECONDS", 0.002)


async def test_a_fault_at_any_line_of_a_life_does_not_end_the_supervisor(
    tmp_path: Path, quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[socket.socket] = []  # between their making and the block that closes them nothing can fail but this test
    pair = socket.socketpair
    monkeypatch.setattr(socket, "socketpair", lambda: (made.extend(two := pair()), two)[1])
    house = _House(tmp_path)
    before = sys.gettrace()
    lines: set[int] = set()
    faults = 0
    house.processes.start()
    try:
        await house.up()
        sys.settrace(_tracing(lines.add))
        lives = house.lives
        house.end_worker()
        while house.lives < lives + 2:  # each line of one life, and of the look at the silent
            house.end_worker()
            await waiting.pause(0.002)  # then its next life is ended
        sys.settrace(before)
        await house.up()
        files = _files()
        assert len(lines) > 25
        for line in sorted(lines):
            thrown: list[int] = []

            def at_line(number: int, line: int = line, thrown: list[int] = thrown) -> None:
                if number == line and not thrown:
                    thrown.append(number)
                    raise OSError(errno.EMFILE, "Too many open files")

            sys.settrace(_tracing(at_line))
            async with asyncio.timeout(10):
                while not thrown:
                    house.end_worker()
                    await waiting.pause(0.002)  # then its next life is ended
            sys.settrace(before)
            await house.up()
            faults += 1
            await waiting.until(lambda: _files() <= files + 2)  # what this line leaves open is closed soon
    finally:
        sys.settrace(before)
        await house.stop()
        for one in made:
            one.close()
    assert faults == len(lines)
    assert sum(loop.failures for loop in house.loops) >= faults - 3  # some lines are of a wait that takes the fault


async def test_without_file_descriptors_the_worker_is_away_and_then_comes_back(
    tmp_path: Path, quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    house = _House(tmp_path)
    house.processes.start()
    await house.up()

    def none_left() -> tuple[socket.socket, socket.socket]:
        raise OSError(errno.EMFILE, "Too many open files")

    with monkeypatch.context() as patch:
        patch.setattr(socket, "socketpair", none_left)
        house.end_worker()
        await waiting.until(lambda: bool(house.loops.failing) and house.loops.failing[0].in_a_row > 3)
        assert [loop.name for loop in house.loops.failing] == ["worker local-1"]
    await house.up()
    await house.stop()


def test_what_is_stopped_by_somebody_is_not_silent_by_its_job() -> None:
    with subprocess.Popen(["sleep", "60"]) as sleeping:
        assert not kernel.stopped(sleeping.pid)
        sleeping.send_signal(signal.SIGSTOP)
        waiting.until_now(lambda: kernel.stopped(sleeping.pid))
        sleeping.kill()
