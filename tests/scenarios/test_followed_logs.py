"""Logs that are followed while the engine is killed: no line twice, none out of order, and the gap is told."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import httpx
import orjson
import pytest

from mcp_server.cli import stage
from tests import waiting

pytestmark = pytest.mark.anyio
TICK = """
name: ticker
input: {echo: {event: "tick ${stat|run_id||0}", trigger: {interval: 20ms}}}
output: {print: STDOUT}
"""
OTHER = TICK.replace("ticker", "other").replace("tick ", "tock ")


class Followed:
    """What somebody who follows was told."""

    def __init__(self) -> None:
        self.lines: list[dict[str, Any]] = []

    @property
    def gaps(self) -> list[str]:
        return [line["fields"]["dropped"]["reason"] for line in self.lines if "dropped" in line.get("fields", {})]

    def has(self, lines: int, gaps: int) -> bool:
        """Whether so many lines have come, and so many gaps were told."""
        return len(self.lines) >= lines and len(self.gaps) >= gaps

    def check(self) -> None:
        places = [line["after"] for line in self.lines if "after" in line]  # the first answer has none
        assert len(places) > 60
        assert places == sorted(set(places)), "a line came twice, or late"
        lines = [(line["at"], line["text"]) for line in self.lines]  # one each 20 ms
        assert len(set(lines)) == len(lines)
        assert {line["workload"].split("/")[1] for line in self.lines} == {"ticker#0"}


class Command(Followed):
    """`sluice logs ticker --follow` as a process."""

    def __init__(self, home: Path) -> None:
        super().__init__()
        self._words = [stage.program("sluice"), "logs", "ticker", "--follow", "--json", "--home", str(home)]

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        process = await asyncio.create_subprocess_exec(
            *self._words, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, env=stage.environment()
        )
        reading = asyncio.create_task(self._read(process))
        try:
            yield
        finally:
            process.send_signal(signal.SIGINT)
            await process.wait()
            await reading

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        async for line in process.stdout:
            self.lines.append(orjson.loads(line))


class Browser(Followed):
    """Somebody who reads the stream, and comes back to it by itself."""

    def __init__(self, scene: stage.Stage) -> None:
        super().__init__()
        self._scene = scene
        self._last: str | None = None
        self.connections = 0

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        reading = asyncio.create_task(self._read())
        try:
            yield
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)

    async def _read(self) -> None:
        while True:
            with contextlib.suppress(httpx.TransportError):
                await self._connected()
            await waiting.pause(0.1)  # as a browser does

    async def _connected(self) -> None:
        token = (self._scene.home / "admin.token").read_text().strip()
        headers = {"authorization": f"Bearer {token}"} | ({"last-event-id": self._last} if self._last else {})
        async with (
            httpx.AsyncClient(base_url=self._scene.url, headers=headers, trust_env=False, timeout=20) as client,
            client.stream("GET", "/api/logs/subscribe?of=ticker") as answer,
        ):
            assert answer.status_code == 200
            self.connections += 1
            event: dict[str, str] = {}
            async for line in answer.aiter_lines():
                if line:
                    name, _, value = line.partition(": ")
                    event[name] = value
                    continue
                self._last = event.get("id", self._last)
                if event.get("event") == "line":
                    self.lines.append({**orjson.loads(event["data"]), "after": self._last})
                event = {}


async def test_who_follows_a_log_gets_no_line_twice_when_the_engine_is_killed(tmp_path: Path) -> None:
    scene = stage.Stage(tmp_path / "home")
    try:
        with anyio.fail_after(90):
            await scene.start(workers=1)
            for document in (TICK, OTHER):
                await scene.must("POST", "/api/jobs", document=document)
                name = document.split()[1]
                await scene.must("POST", f"/api/jobs/{name}/deploy")
            command, browser = Command(scene.home), Browser(scene)
            async with command.running(), browser.running():
                for one in (command, browser):
                    await waiting.until(functools.partial(one.has, 30, 0))
                for kills in (1, 2):
                    os.kill(scene.pid, signal.SIGKILL)
                    await scene.stop()  # what it leaves
                    before = {one: len(one.lines) for one in (command, browser)}
                    await scene.start(workers=1)
                    for one, seen in before.items():
                        await waiting.until(functools.partial(one.has, seen + 30, kills))
    finally:
        with anyio.fail_after(30, shield=True):
            await scene.stop()
    for followed in (command, browser):
        followed.check()
        assert followed.gaps == ["engine-ended"] * 2
    assert browser.connections >= 3
