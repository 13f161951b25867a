"""Shell blocks of pages, as a person types them: bash runs all but the commands of Sluice, which the tests start."""

from __future__ import annotations

import os
import re
import shlex
import sys
from itertools import groupby
from pathlib import Path

import anyio

from mcp_server.cli import stage

COMMAND = re.compile(r"(?:cd (\S+) && )?(sluice [^|<>;&$`]+)(?:\|(.+))?")
BASH = ("bash", "-euo", "pipefail", "-c")


async def typed(script: str, home: Path, place: Path, *, must: bool = True) -> str:
    """What a script prints in this directory; it ends at its first fault."""
    lines = script.replace("\\\n", " ").splitlines()
    printed = b""
    for own, part in groupby(lines, lambda line: COMMAND.fullmatch(line) is not None):
        for text in part if own else ["\n".join(part)]:
            code, out, err = await _run(text, home, place)
            printed += out
            assert code == 0 or not must, (text, out.decode(), err.decode())
            if code:
                return printed.decode().strip()
    return printed.decode().strip()


async def _run(text: str, home: Path, place: Path) -> tuple[int, bytes, bytes]:
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = {**stage.environment(), "SLUICE_HOME": str(home), "PATH": path}
    if (command := COMMAND.fullmatch(text)) is None:
        done = await anyio.run_process([*BASH, text], cwd=place, check=False, env=environment)
        return done.returncode, done.stdout, done.stderr
    folder, words, behind = command.groups()
    started = [stage.program("sluice"), *shlex.split(words)[1:]]
    done = await anyio.run_process(started, cwd=place / (folder or ""), check=False, env=environment)
    if behind is None:
        return done.returncode, done.stdout, done.stderr
    last = await anyio.run_process([*BASH, behind], cwd=place, check=False, env=environment, input=done.stdout)
    return done.returncode or last.returncode, last.stdout, done.stderr + last.stderr
