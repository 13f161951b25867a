"""Standard output of a stdio server: the protocol has it alone."""

from __future__ import annotations

import contextlib
import fcntl
import io
import os
import sys
from typing import TextIO


def take() -> TextIO:
    """The real standard output, for the protocol; from here to the end of the process everything else is on stderr.

    File descriptor 1 becomes stderr, for good: nothing that is printed reaches the client, whether by Python, by C code
    with a buffer of its own, by a child process, or when the interpreter ends; nor does what was printed before and is
    still in a buffer. Call it before anything else of the server.
    """
    wire = fcntl.fcntl(1, fcntl.F_DUPFD_CLOEXEC, 3)
    if sys.stderr is not None:
        os.dup2(2, 1)
    else:  # it was closed when the process began, and by now its descriptor is of something else
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        os.close(null)
    if isinstance(sys.stdout, io.TextIOWrapper):
        with contextlib.suppress(OSError):  # nobody reads stderr
            sys.stdout.reconfigure(
                line_buffering=True
            )  # writes what is in its buffer, to where the descriptor leads now
    # The thread that writes to a client who does not read outlives the server: nobody may get its descriptor.
    return open(wire, "w", encoding="utf-8", newline="\n", closefd=False)
