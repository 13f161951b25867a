"""The build of the console in a checkout, when one of its pages is first needed: packaging/console.py, in a process.

A wheel holds the built files and not their source: there, nothing is built and no request starts a program. A process
starts one build at most; processes wait for each other (packaging/console.py).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE
from pathlib import Path

SCRIPT = Path(__file__).parents[1] / "packaging" / "console.py"
_LAST = 1000  # characters of the reason of a failure

_build: Build | None = None  # of this process


class Build:
    """One run of the script."""

    def __init__(self) -> None:
        self.building = False
        self.reason = ""
        """Why it failed."""
        self._progress = asyncio.Event()
        self.task = asyncio.create_task(self._run())

    async def known(self) -> None:
        """Wait until it is over, or there is something to build."""
        await self._progress.wait()

    async def _run(self) -> None:
        try:
            await self._script()
        except OSError as error:
            self.reason = str(error)
        finally:
            self.building = False
            self._progress.set()

    async def _script(self) -> None:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, str(SCRIPT)), stdin=DEVNULL, stdout=PIPE, start_new_session=True
        )
        assert process.stdout is not None
        output = ""
        try:
            async for line in process.stdout:
                self.building = True
                self._progress.set()
                output += line.decode(errors="replace")
                sys.stderr.write(line.decode(errors="replace"))
            if await process.wait() != 0:
                self.reason = output[-_LAST:].strip() or f"{SCRIPT.name} failed with {process.returncode}"
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)  # npm and Vite with it


def possible() -> bool:
    """Whether this is a checkout that builds its console."""
    return SCRIPT.is_file() and (SCRIPT.parents[1] / "console").is_dir() and os.environ.get("SLUICE_CONSOLE") != "skip"


async def begun() -> Build | None:
    """The build of this process, once it is over or has something to build; None where nothing is ever built."""
    global _build
    if not possible():
        return None
    if _build is None or _build.task.cancelled():
        _build = Build()
    await _build.known()
    return _build


async def finished() -> str:
    """Wait for the build, where there is one; why it failed."""
    build = await begun()
    if build is None:
        return ""
    if not build.task.done():  # it may be of a loop that is closed
        await asyncio.wait({build.task})
    return build.reason
