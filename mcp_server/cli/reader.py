"""Standard output whose reader has gone, as `| head` does: a command that only looks ends there, and one that has begun
to change something goes on without being read, so that its exit code tells what became of it."""

from __future__ import annotations

import contextlib
import os
import select
import sys
from collections.abc import Iterator
from typing import Any, TextIO

_acts = False


def acts() -> None:
    """From now on the command changes something."""
    global _acts
    _acts = True


@contextlib.contextmanager
def minded() -> Iterator[None]:
    """Standard output, minded; all of it is handed over at the end. Raises BrokenPipeError, unless the command acts."""
    global _acts
    _acts, before = False, sys.stdout
    output = _Output(before)
    sys.stdout = output
    try:
        yield
        output.flush()
    finally:
        sys.stdout = before


def gone() -> bool:
    """Whether nobody can read standard output any more: for who waits for something to print."""
    try:
        looked = select.poll()
        looked.register(sys.stdout.fileno(), 0)
        return any(event & select.POLLERR for _, event in looked.poll(0))
    except (OSError, ValueError):  # it is no file, as in a test
        return False


def silence() -> None:
    """Let what is still to be printed go nowhere."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


class _Output:
    def __init__(self, output: TextIO) -> None:
        self._output = output

    def write(self, text: str) -> int:
        try:
            return self._output.write(text)
        except BrokenPipeError:
            if not _acts:
                raise
            silence()
            return len(text)

    def flush(self) -> None:
        try:
            self._output.flush()
        except BrokenPipeError:
            if not _acts:
                raise
            silence()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._output, name)
