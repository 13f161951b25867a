"""Ending what a command leaves behind: processes in sessions of their own, where no signal to its group finds them.

To whom a process belongs is told by a mark in the environment that it has inherited. One that has wiped that on
purpose is not found; whoever may run commands is trusted that far.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import signal
from collections.abc import Callable, Iterable
from pathlib import Path

NAME = "SLUICE_COMMAND"  # documents cannot set variables whose names begin with SLUICE_
_MOST_ROUNDS = 20  # of looking again for what was started while others were being killed
_PROC = Path("/proc")


def owner(place: Path) -> str:
    """How the marks of all commands begin that one workload starts, whose private directory is `place`."""
    return _digest(place) + "."


def mark(owner: str, worker: Path) -> str:
    """A value for the variable NAME that no other command has; `worker` is the lock file of who starts it."""
    return f"{owner}{_digest(worker)}.{secrets.token_hex(8)}"


def _digest(path: Path) -> str:
    return hashlib.blake2b(bytes(path.absolute()), digest_size=12).hexdigest()


def kill(value: str) -> int:
    """Kill every process of this user whose mark begins so; how many there were. It reads all of /proc: use a thread.

    With the mark of a command it ends what that command left; with an `owner`, what a killed worker left, unless that
    worker had another sandbox: then only `kill_of` finds it.
    """
    return _kill(lambda mark: mark.startswith(value))


def kill_of(workers: Iterable[Path]) -> int:
    """Kill what these workers have started, named by their lock files; to be called before a sandbox is entered."""
    sought = {_digest(worker) for worker in workers}
    return _kill(lambda mark: not sought.isdisjoint(mark.split(".")[1:2]))


def _kill(ours: Callable[[str], bool]) -> int:
    killed: set[str] = set()
    for _ in range(_MOST_ROUNDS):
        found = {name for name in _processes() - killed if (mark := _mark(name)) and ours(mark)}
        for name in found:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(int(name), signal.SIGKILL)
        if not found:
            break
        killed |= found
    return len(killed)


def _processes() -> set[str]:
    return {entry.name for entry in os.scandir(_PROC) if entry.name.isdigit()}


def _mark(name: str) -> str:
    """The mark that a process was started with; none for one that has ended or belongs to somebody else."""
    try:
        variables = (_PROC / name / "environ").read_bytes().split(b"\0")
    except OSError:
        return ""
    prefix = f"{NAME}=".encode()
    return next((os.fsdecode(one.removeprefix(prefix)) for one in variables if one.startswith(prefix)), "")
