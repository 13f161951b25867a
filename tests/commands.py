"""The sluice command again and again, without loading it each time: a process that has it becomes each one by a fork.

What a command is otherwise stays: a process of its own, with its environment, its output and its exit code.
"""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Mapping, Sequence

import msgspec

LOADED = ("mcp_server.cli.commands", "mcp_server.cli.connect", "mcp_server.cli.failures", "core.operations")
CRASHED = 70  # EX_SOFTWARE of sysexits.h


class _Asked(msgspec.Struct):
    words: list[str]
    environment: dict[str, str]
    stdout: str
    """The file for it."""
    stderr: str


class Commands:
    """Whoever makes one closes it. One command at a time; blocks until it has ended."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    def run(self, words: Sequence[str], environment: Mapping[str, str]) -> subprocess.CompletedProcess[bytes]:
        """Do `sluice WORDS...` with this environment and nothing on its standard input."""
        with tempfile.NamedTemporaryFile() as out, tempfile.NamedTemporaryFile() as err:
            asked = _Asked(list(words), dict(environment), out.name, err.name)
            code = self._ask(asked)
            return subprocess.CompletedProcess(asked.words, code, out.read(), err.read())

    def _ask(self, asked: _Asked) -> int:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(msgspec.json.encode(asked) + b"\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    def close(self) -> None:
        """End the process."""
        self._process.communicate(timeout=10)


def _become(asked: _Asked) -> int:
    """Do a command in the process that is nothing else from now on."""
    from mcp_server.cli import main

    for file, way, number in (
        (os.devnull, os.O_RDONLY, 0),
        (asked.stdout, os.O_WRONLY, 1),
        (asked.stderr, os.O_WRONLY, 2),
    ):
        os.dup2(os.open(file, way), number)
    os.environ.clear()
    os.environ.update(asked.environment)
    try:
        return main.run(asked.words)
    except BaseException:
        traceback.print_exc()
        return CRASHED
    finally:
        sys.stdout.flush()
        sys.stderr.flush()


def serve() -> None:
    """Do what is asked, line by line, until nobody can ask any more."""
    for name in LOADED:
        importlib.import_module(name)
    for line in sys.stdin.buffer:
        child = os.fork()
        if not child:
            os._exit(_become(msgspec.json.decode(line, type=_Asked)))
        _, status = os.waitpid(child, 0)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(status)}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    serve()
