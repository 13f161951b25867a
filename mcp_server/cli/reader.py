"""Standard output whose reader has gone, as `| head` does, or that cannot be written, as on a full disk: a command that
only looks ends there, and one that has begun to change something goes on without being read, so that its exit code
tells what became of it."""

from __future__ import annotations

import contextlib
import io
import os
import select
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

_acts = False


class Unwritable(OSError):
    """Standard output cannot be written, and that is not because its reader has gone."""


def acts() -> None:
    """From now on the command changes something."""
    global _acts
    _acts = True


@contextlib.contextmanager
def minded() -> Iterator[None]:
    """Standard output, minded; all of it is handed over at the end. What its encoding lacks is replaced.

    Raises BrokenPipeError, unless the command acts, and Unwritable: of a command that acts at its end.
    """
    global _acts
    _acts, before = False, sys.stdout
    if isinstance(before, io.TextIOWrapper) and before.errors == "strict":
        before.reconfigure(errors="replace")  # one title must not end a whole list
    # Without any (`>&-`) it takes that descriptor, so that no database gets it.
    output = _Output(Path(os.devnull).open("w", encoding="utf-8") if before is None else before)
    sys.stdout = output
    try:
        yield
        output.flush()
        if output.failed is not None:
            raise output.failed
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
        self.failed: Unwritable | None = None
        """Why what a command that acts has printed is lost."""

    def write(self, text: str) -> int:
        with self._minded():
            return self._output.write(text)
        return len(text)

    def flush(self) -> None:
        with self._minded():
            self._output.flush()

    @contextlib.contextmanager
    def _minded(self) -> Iterator[None]:
        """Go on where the command acts."""
        try:
            yield
        except BrokenPipeError:
            if not _acts:
                raise
            silence()
        except OSError as error:
            failed = Unwritable(error.errno, error.strerror)
            if not _acts:
                raise failed from None
            self.failed = failed
            silence()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._output, name)
