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
from pathlib import Path

NAME = "SLUICE_COMMAND"  # documents cannot set variables whose names begin with SLUICE_
_MOST_ROUNDS = 20  # of looking again for what was started while others were being killed
_PROC = Path("/proc")


def owner(place: Path) -> str:
    """How the marks of all commands begin that one workload starts, whose private directory is `place`."""
    return hashlib.blake2b(bytes(place.absolute()), digest_size=12).hexdigest() + "."


def mark(owner: str) -> str:
    """A value for the variable NAME that no other command has."""
    return owner + secrets.token_hex(8)


def kill(value: str) -> int:
    """Kill every process of this user whose mark begins so; how many there were. It reads all of /proc: use a thread.

    With the mark of a command it ends what that command left; with an `owner`, what a killed worker left.
    """
    sought = f"{NAME}={value}".encode()
    killed: set[str] = set()
    for _ in range(_MOST_ROUNDS):
        found = {name for name in _processes() - killed if any(one.startswith(sought) for one in _environment(name))}
        for name in found:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(int(name), signal.SIGKILL)
        if not found:
            break
        killed |= found
    return len(killed)


def _processes() -> set[str]:
    return {entry.name for entry in os.scandir(_PROC) if entry.name.isdigit()}


def _environment(name: str) -> list[bytes]:
    """The variables that a process was started with; none for one that has ended or belongs to somebody else."""
    try:
        return (_PROC / name / "environ").read_bytes().split(b"\0")
    except OSError:
        return []
