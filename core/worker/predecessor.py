"""One process for each name of a worker: it waits for the process before it, and ends that if it cannot end by itself.

Two processes of one name would share the state directories of their workloads. The lock file of the name is held by
the one process, and says which it is. A worker whose engine was killed ends by itself, unless it is stopped (SIGSTOP):
no code of it runs then, so nobody but the next one can end it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import time
from pathlib import Path
from typing import NamedTuple

import structlog

from core import clock, errors

log = structlog.get_logger("core.worker")
WAIT_SECONDS = 15.0
_PAUSE_SECONDS = 0.01
_STOPPED = ("T", "t")  # by a signal, by a debugger: proc(5)


class Holder(NamedTuple):
    """The process that a lock file names: no other one has its number and its start, as long as the machine is up."""

    pid: int
    started: int  # in clock ticks since the machine started
    boot: str
    parent: int  # the engine that started it


def take(path: Path, wait_seconds: float = WAIT_SECONDS) -> int:
    """Take the lock of a name, whose descriptor is returned, as soon as the process before has ended.

    One that is stopped and whose engine is gone is killed. Raises Busy when it does not end in time.
    """
    path.parent.mkdir(mode=0o700, exist_ok=True)
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    deadline, killed = time.monotonic() + wait_seconds, False
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = _read(fd)
            if holder is not None and not killed and stranded(holder):
                killed = True
                with contextlib.suppress(ProcessLookupError):
                    os.kill(holder.pid, signal.SIGKILL)
                log.warning("predecessor_killed", pid=holder.pid, reason="it was stopped, and its engine is gone")
            if time.monotonic() > deadline:
                os.close(fd)
                raise _does_not_end(holder) from None
            time.sleep(_PAUSE_SECONDS)
        else:
            _write(fd)
            return fd


def stranded(holder: Holder) -> bool:
    """Whether a process is stopped and has lost the engine that started it; false where the system does not tell."""
    found = _stat(holder.pid)
    if found is None or (found.started, clock.boot_id()) != (holder.started, holder.boot):
        return False
    return found.state in _STOPPED and found.parent != holder.parent


class _Stat(NamedTuple):
    state: str
    parent: int
    started: int


def _stat(pid: int) -> _Stat | None:
    """What the kernel tells of a process; None when there is none, and where it does not tell."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()  # behind its name, in which anything may stand: state is the third field
    return _Stat(fields[0], int(fields[1]), int(fields[19]))


def _write(fd: int) -> None:
    """Say in the lock file who holds it; where the system does not tell, nothing."""
    pid = os.getpid()
    found = _stat(pid)
    text = f"{pid} {found.started} {clock.boot_id()} {os.getppid()}\n" if found is not None else ""
    os.ftruncate(fd, 0)
    os.pwrite(fd, text.encode(), 0)


def _read(fd: int) -> Holder | None:
    """Who holds a lock; None when it does not say (yet)."""
    try:
        pid, started, boot, parent = os.pread(fd, 200, 0).decode("ascii").split()
        return Holder(int(pid), int(started), boot, int(parent))
    except ValueError:
        return None


def _does_not_end(holder: Holder | None) -> errors.Busy:
    if holder is None:
        return errors.Busy("The process before it does not end.")
    return errors.Busy(
        f"The process before it ({holder.pid}) does not end.",
        hint=f"It may be at the end of its work; if it hangs, end it: kill -9 {holder.pid}",
    )
