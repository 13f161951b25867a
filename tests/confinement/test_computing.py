"""A process that computes: whatever else it tries is refused, by the filter and by the limits."""

from __future__ import annotations

import errno
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from core.confinement import sandbox

whole = pytest.mark.skipif(bool(sandbox.lacking()), reason=f"this kernel: {', '.join(sandbox.lacking())}")
TRYING = """
import ctypes, mmap, os, signal, socket, sys
sys.path.insert(0, sys.argv[1])
from core.confinement import computing
parent, libc = os.getppid(), ctypes.CDLL(None, use_errno=True)
tries = {
    "open": lambda: os.open("/dev/null", os.O_RDONLY),
    "stat": lambda: os.stat("/"),
    "socket": lambda: socket.socket(),
    "pair": lambda: socket.socketpair(),
    "pipe": lambda: os.pipe(),
    "fork": lambda: os.fork(),
    "exec": lambda: os.execv("/bin/true", ["true"]),
    "kill": lambda: os.kill(parent, 0),
    "limits": lambda: __import__("resource").prlimit(parent, 7),
    "code": lambda: mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_EXEC),
    "memory": lambda: bytearray(300 << 20),
}
computing.enter(256 << 20, confined=sys.argv[2] == "yes")
refused = []
for name in sys.argv[3:]:
    try:
        tries[name]()
    except (OSError, MemoryError) as error:
        refused.append(f"{name}:{getattr(error, 'errno', None) or 'none'}")
os.write(0, " ".join(refused).encode())
"""


def run(confined: str, *tries: str) -> dict[str, str]:
    """What was refused to a process of what it has tried, with the errors."""
    command = [sys.executable, "-P", "-c", TRYING, str(Path(__file__).parents[2]), confined, *tries]
    ours, theirs = socket.socketpair()
    with ours, theirs:
        done = subprocess.run(command, stdin=theirs, stderr=subprocess.PIPE, timeout=60)
        assert done.returncode == 0, done.stderr
        theirs.close()
        told = ours.recv(10_000).decode()
    return dict(one.split(":") for one in told.split())


@whole
def test_a_process_that_computes_can_do_nothing_else() -> None:
    by_filter = "open stat socket pair pipe fork exec kill limits code".split()
    assert run("yes", *by_filter, "memory") == dict.fromkeys(by_filter, str(errno.EPERM)) | {"memory": "none"}


def test_without_a_sandbox_it_can_open_nothing_and_has_no_more_memory() -> None:
    opening = ["open", "socket", "pair", "pipe"]
    assert run("no", *opening, "memory") == dict.fromkeys(opening, str(errno.EMFILE)) | {"memory": "none"}
