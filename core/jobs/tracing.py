"""Run & Trace: a short-lived child process for each trace, few at a time, killed when it takes too long."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import tempfile
from typing import TYPE_CHECKING, Any

import orjson

from core import errors
from core.guard import filepolicy
from core.settings import Settings

if TYPE_CHECKING:
    from core.model.results import jobs

AT_ONCE = 2
SECONDS = 20.0
MOST_ANSWER_BYTES = 1024 * 1024
KEPT_ENVIRONMENT = ("PATH", "LANG", "LC_ALL", "PYTHONPATH", "VIRTUAL_ENV", "SSL_CERT_FILE")


class Tracer:
    """Runs traces for one engine."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._running: set[asyncio.subprocess.Process] = set()
        self._taken = 0

    async def trace(self, request: dict[str, Any]) -> jobs.Trace:
        """The answer of core.worker.trace to a request (see its Request; what it may do is set here).

        Raises Busy when AT_ONCE are running, what the trace raised, or InvalidDocument when it took too long or
        too much.
        """
        if self._taken >= AT_ONCE:
            raise errors.Busy(f"{AT_ONCE} traces are running already.", hint="Try again in a few seconds.")
        self._taken += 1
        try:
            with tempfile.TemporaryDirectory(prefix="sluice-trace-", ignore_cleanup_errors=True) as directory:
                told = {"limits": self._limits(), "state_dir": directory, "home": str(self._settings.home)}
                told["sandbox"] = self._settings.sandbox
                return await self._run({**request, **told}, directory)
        finally:
            self._taken -= 1

    async def close(self) -> None:
        """End what is still running."""
        for process in tuple(self._running):
            _kill(process)

    def _limits(self) -> dict[str, Any]:
        settings = self._settings
        return {
            "allow_exec": settings.allow_exec,
            "confined": settings.sandbox != "off",
            "files": filepolicy.of(settings.of_group("")),
            "egress_allow": list(settings.egress_allow),
            "lua_memory_mb": settings.job_memory_mb,
        }

    async def _run(self, request: dict[str, Any], directory: str) -> jobs.Trace:
        kept = {name: value for name, value in os.environ.items() if name in KEPT_ENVIRONMENT}
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-m", "core.worker.trace"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            cwd=directory,
            env={**kept, "TMPDIR": directory, "HOME": directory, "MALLOC_ARENA_MAX": "2"},
            start_new_session=True,
        )
        self._running.add(process)
        try:
            async with asyncio.timeout(SECONDS):
                raw = await _exchange(process, orjson.dumps(request))
                code = await process.wait()
        except TimeoutError:
            raise errors.InvalidDocument(
                f"The trace was stopped after {SECONDS:g} seconds.", hint="Trace fewer events, or look for a loop."
            ) from None
        finally:
            _kill(process)
            self._running.discard(process)
            await process.wait()
        return _answer(raw, code)


async def _exchange(process: asyncio.subprocess.Process, request: bytes) -> bytes:
    assert process.stdin is not None
    assert process.stdout is not None
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it ended early: its exit code says why
        process.stdin.write(request)
        await process.stdin.drain()
        process.stdin.close()
    out = bytearray()
    while chunk := await process.stdout.read(65536):
        out += chunk
        if len(out) > MOST_ANSWER_BYTES:
            return b""
    return bytes(out)


def _answer(raw: bytes, code: int) -> jobs.Trace:
    try:
        answer = orjson.loads(raw)
    except orjson.JSONDecodeError:
        why = {-signal.SIGXCPU: "it used too much processor time", -signal.SIGALRM: "it took too long"}
        raise errors.InvalidDocument(
            f"The trace was stopped: {why.get(code, 'it used more memory or time than it may')}.",
            hint="Trace fewer events, or look for a loop or a text that grows without end.",
        ) from None
    if "error" in answer:
        raise errors.from_dict(answer["error"])
    result: jobs.Trace = answer["result"]
    return result


def _kill(process: asyncio.subprocess.Process) -> None:
    """End the process, and what is in its group, unless it has ended by itself."""
    if process.returncode is not None:
        return
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
