"""Processes as a test sees them: one that has ended is none, also while nobody has asked for its exit code."""

from __future__ import annotations

import contextlib

import psutil


def ended(pid: int) -> bool:
    """Whether a process has ended (a zombie has)."""
    try:
        return psutil.Process(pid).status() in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)
    except psutil.NoSuchProcess:
        return True


def children(word: str, *, of: int | None = None) -> list[psutil.Process]:
    """The children of a process, or of this one, that run with a word in their command line.

    Raises psutil.NoSuchProcess when the process itself has ended.
    """
    found = []
    for child in psutil.Process(of).children():
        with contextlib.suppress(psutil.NoSuchProcess):  # it ends while it is looked at
            if word in " ".join(child.cmdline()):
                found.append(child)
    return found
