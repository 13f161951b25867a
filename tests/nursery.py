"""Workers without the second that each takes to load its code: a process that has it becomes each one by a fork.

What a worker is otherwise stays: a process in a session of its own with its environment, its sandbox and its exit code.
Tests of what a process is from its very start on have fresh ones (the mark `fresh_workers`).
"""

from __future__ import annotations

import atexit
import contextlib
import importlib
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec

from core.fleet import child
from core.settings import Settings

LOADED = ("core.worker.__main__", "core.dsl.component")
CRASHED = 1
ROOT = str(Path(__file__).parents[1])
_real, _popen_of_python = child._popen, subprocess.Popen
_LARGEST = 64 * 1024


class _Wanted(msgspec.Struct):
    """To be forked; its socket, witness, stdin and stderr come beside it."""

    environment: dict[str, str]
    directory: str


class _Ends(NamedTuple):
    sock: int
    shown: int
    stdin: int
    stderr: int


class Nursery:
    """The process that forks, from the first worker on until the tests end. Safe in several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._line: socket.socket | None = None

    def fork(self, ends: _Ends) -> int:
        """The process id of a new worker."""
        wanted = _Wanted(child.environment(), str(Path.cwd()))
        return int(self._ask(msgspec.json.encode(wanted), ends))

    def code_of(self, pid: int) -> int:
        """The exit code of one that has ended."""
        return int(self._ask(b"%d" % pid, ()))

    def _ask(self, line: bytes, fds: tuple[int, ...]) -> bytes:
        with self._lock:
            if self._line is None:
                self._line = self._start()
            socket.send_fds(self._line, [line], fds)
            return self._line.recv(_LARGEST)

    def _start(self) -> socket.socket:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            process = subprocess.Popen(
                [sys.executable, "-P", "-c", f"import sys; sys.path.insert(0, {ROOT!r}); from tests import nursery;"
                 f" nursery.serve({theirs.fileno()})"],
                pass_fds=(theirs.fileno(),), stdin=subprocess.DEVNULL, stdout=2, env=child.environment(),
            )  # fmt: skip
        assert ours.recv(_LARGEST) == b"ready"

        def end() -> None:
            ours.close()
            process.wait(10)

        atexit.register(end)
        return ours


NURSERY = Nursery()


class Forked:
    """What subprocess.Popen is for one that it has started itself."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._handle = os.pidfd_open(pid)  # its pid is its own until its exit code is asked for
        self._lock = threading.Lock()

    def poll(self) -> int | None:
        return self._ended(0)

    def wait(self, timeout: float | None = None) -> int:
        code = self._ended(None if timeout is None else max(0, int(timeout * 1000)))
        if code is None:
            raise subprocess.TimeoutExpired("a worker", timeout or 0.0)
        return code

    def _ended(self, milliseconds: int | None) -> int | None:
        if self.returncode is None:
            poll = select.poll()
            poll.register(self._handle, select.POLLIN)
            if poll.poll(milliseconds):
                with self._lock:
                    if self.returncode is None:
                        self.returncode = NURSERY.code_of(self.pid)
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def __del__(self) -> None:
        os.close(self._handle)


def _popen(sock: int, shown: int, settings: Settings, options: bytes) -> Forked | subprocess.Popen[bytes]:
    if subprocess.Popen is not _popen_of_python:  # a test wants to see how it is started
        return _real(sock, shown, settings, options)
    stdin, given = os.pipe()
    try:
        forked = Forked(NURSERY.fork(_Ends(sock, shown, stdin, 2)))
    finally:
        os.close(stdin)
    with contextlib.suppress(BrokenPipeError), os.fdopen(given, "wb") as pipe:
        pipe.write(options + b"\n")
    return forked


@contextlib.contextmanager
def forked() -> Iterator[None]:
    """Engines of this process fork their workers meanwhile."""
    child._popen = _popen  # type: ignore[assignment]
    try:
        yield
    finally:
        child._popen = _real


def serve(number: int) -> None:
    """Fork what is asked for, until nobody can ask any more."""
    for name in LOADED:
        importlib.import_module(name)
    list(sys.modules["core.dsl.component"].REGISTRY)  # each component is imported
    with socket.socket(fileno=number) as line:
        line.send(b"ready")
        while True:
            asked, fds, _, _ = socket.recv_fds(line, _LARGEST, len(_Ends._fields))
            if not asked:
                return
            if not fds:
                line.send(b"%d" % os.waitstatus_to_exitcode(os.waitpid(int(asked), 0)[1]))
                continue
            ends, wanted = _Ends(*fds), msgspec.json.decode(asked, type=_Wanted)
            pid = os.fork()
            if not pid:
                line.close()
                os._exit(_become(ends, wanted))
            for fd in fds:
                os.close(fd)
            line.send(b"%d" % pid)


def _become(ends: _Ends, wanted: _Wanted) -> int:
    """Be a worker in the process that is nothing else from now on."""
    from core.worker import __main__ as worker

    os.setsid()
    os.dup2(ends.stdin, 0)
    for number in (1, 2):
        os.dup2(ends.stderr, number)
    os.close(ends.stdin)
    os.close(ends.stderr)
    os.chdir(wanted.directory)
    os.environ.clear()
    os.environ.update(wanted.environment)
    try:
        return worker.main(["--fd", str(ends.sock), "--witness", str(ends.shown)])
    except SystemExit as end:
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
        return end.code if isinstance(end.code, int) else 0 if end.code is None else CRASHED
    except BaseException:
        traceback.print_exc()
        return CRASHED
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
