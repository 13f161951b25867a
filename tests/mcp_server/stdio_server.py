"""A program that serves the fake engine over stdio; started by the tests as a client would start sluice-mcp.

Whatever can write to a standard output does: Python with a buffer and without, what remembers the stream of the start,
C code, a child process, a thread, and what runs when the interpreter ends.
"""

from __future__ import annotations

import asyncio
import atexit
import ctypes
import os
import subprocess
import sys
import threading

from mcp_server import server, stdout
from mcp_server.session import EngineSession
from tests.mcp_server import fake

LIBC = ctypes.CDLL(None)


def stray(moment: str) -> None:
    print(f"stray: print, {moment}")
    os.write(1, f"stray: descriptor 1, {moment}\n".encode())
    LIBC.puts(f"stray: C, {moment}".encode())
    subprocess.run(["echo", f"stray: a child, {moment}"], check=True)
    thread = threading.Thread(target=print, args=(f"stray: a thread, {moment}",))
    thread.start()
    thread.join()
    assert sys.__stdout__ is not None
    sys.__stdout__.write(f"stray: the stream of the start, {moment}\n")


async def open_session() -> EngineSession:
    stray("while it serves")
    engine = fake.FakeSession()
    engine.publish("smoke")
    return engine


def main() -> None:
    if not sys.stdout.write_through:  # else it is on the wire already
        print("stray: print, before it serves")
    wire = stdout.take()
    stray("at its start")
    atexit.register(stray, "at exit")
    options = fake.options(allow_write="--allow-write" in sys.argv, heartbeat_seconds=0.05)
    asyncio.run(server.serve_stdio(open_session, options, wire))
    stray("behind its end")
    print("ended in good order", os.getpid(), file=sys.stderr)


if __name__ == "__main__":
    main()
