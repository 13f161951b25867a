"""Owners that are stopped or killed while a write is under way: `busy` says that it was not done, `unconfirmed` that it
may have been, and an answer that it was.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import httpx
import pytest

from core import errors, ownership
from core.model.principal import Caller, Principal, Role, Surface
from core.settings import Settings
from mcp_server import attach
from mcp_server.cli import connect, stage
from tests import figures, waiting

pytestmark = pytest.mark.anyio
OWNER = Caller(Principal("op", Role.ADMIN, ("*",), platform=True), "default", Surface.CLI)
AT_ONCE = 4


@asynccontextmanager
async def serving(home: Path) -> AsyncIterator[stage.Stage]:
    made = stage.Stage(home)
    try:
        await made.start(workers=0)
        yield made
    finally:
        with anyio.CancelScope(shield=True):
            await made.stop()


async def make(session: attach.Session, name: str) -> str:
    """A write that cannot be done twice: the code of its outcome."""
    try:
        await session.call("worker_group_create", {"name": name}, OWNER)
    except errors.SluiceError as error:
        return error.code
    return "done"


async def made(session: attach.Session) -> set[str]:
    listed = await session.call("worker_group_list", {"limit": 200}, OWNER)
    return {item["name"] for item in listed["items"]}


@pytest.mark.parametrize("rounds", [2, pytest.param(100, marks=pytest.mark.soak)])
async def test_a_killed_owner_leaves_open_only_what_it_may_have_done(
    rounds: int, tmp_path: Path, record_property: figures.Recorder
) -> None:
    figures.record(record_property, kills=rounds, requests=rounds * AT_ONCE)
    told: dict[str, str] = {}
    settings = Settings(home=tmp_path / "home", workers=0)
    with anyio.fail_after(40 * rounds):
        for n in range(rounds):
            async with serving(tmp_path / "home") as owner, attach.open_session(settings) as session:
                assert not session.owner
                names = [f"g{n}-{k}" for k in range(AT_ONCE)]
                calls = [asyncio.ensure_future(make(session, name)) for name in names]
                await waiting.pause(random.uniform(0, 0.01))  # how far they come is left to chance
                os.kill(owner.pid, signal.SIGKILL)
                told |= dict(zip(names, await asyncio.gather(*calls), strict=True))
                there = await made(session)  # this session owns the home now
                assert session.owner
        assert set(told.values()) <= {"done", "unconfirmed", "busy"}
        for name, outcome in told.items():
            assert outcome == "unconfirmed" or (outcome == "done") is (name in there), (name, outcome)


async def test_a_stopped_owner_is_open_for_writes_and_busy_for_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attach, "SILENCE_SECONDS", 0.5)
    settings = Settings(home=tmp_path / "home", workers=0)
    with anyio.fail_after(60):
        async with serving(tmp_path / "home") as owner, attach.open_session(settings) as session:
            os.kill(owner.pid, signal.SIGSTOP)
            try:
                assert await make(session, "while-stopped") == "unconfirmed"
                with pytest.raises(errors.Busy):
                    await made(session)
                with pytest.raises(errors.Unconfirmed) as keyed:
                    await session.call("trigger_invoke", {"slug": "x"}, OWNER)
                assert keyed.value.details["idempotency_key"] in keyed.value.hint
                with pytest.raises(errors.Busy, match="Nothing was asked of it"):
                    async with attach.open_session(settings):
                        pass
            finally:
                os.kill(owner.pid, signal.SIGCONT)

            async def done() -> bool:
                return "while-stopped" in await made(session)

            await waiting.until(done)
            assert await make(session, "while-stopped") == "already_exists", "so it was open indeed"


async def test_a_write_with_a_key_is_done_once_also_when_its_owner_is_killed(tmp_path: Path) -> None:
    """Over HTTP, by a server that is attached to the owner: after the kill the same key tells what became of it."""
    home = tmp_path / "home"
    token = ""
    with anyio.fail_after(90):
        async with serving(home) as owner:
            token = (home / connect.ADMIN_TOKEN).read_text().strip()
            (tmp_path / "second").mkdir()
            door = Door(tmp_path / "second", home)
            async with door.open() as url:
                assert ownership.owner_pid(home) == owner.pid
                headers = {"authorization": f"Bearer {token}", "idempotency-key": "k-1"}
                async with httpx.AsyncClient(base_url=url, headers=headers, trust_env=False, timeout=30) as client:
                    os.kill(owner.pid, signal.SIGSTOP)
                    asked = asyncio.ensure_future(client.post("/api/worker-groups", json={"name": "once"}))
                    assert not (await asyncio.wait({asked}, timeout=0.1))[0], "the owner has it, and stands still"
                    os.kill(owner.pid, signal.SIGKILL)
                    first = await asked
                    if first.status_code == 503:  # the next owner takes its time: whoever waits no longer asks again
                        first = await answered(lambda: client.post("/api/worker-groups", json={"name": "once"}))
                    again = await client.post("/api/worker-groups", json={"name": "once"})
                    listed = (await answered(lambda: client.get("/api/worker-groups?limit=200"))).json()["items"]
                assert (first.status_code, first.json()["name"]) == (201, "once"), "the next owner has done it"
                assert again.content == first.content and again.headers["idempotent-replayed"] == "true"
                assert [group["name"] for group in listed].count("once") == 1


async def answered(ask: Callable[[], Awaitable[httpx.Response]]) -> httpx.Response:
    """What an engine that is there answers."""
    return await waiting.until(ask, lambda answer: answer.status_code != 503)


class Door:
    """A second `sluice serve` on a home that has an owner."""

    def __init__(self, folder: Path, home: Path) -> None:
        self._log, self._home = folder / "serve.log", home

    @asynccontextmanager
    async def open(self) -> AsyncIterator[str]:
        command = [stage.program("sluice"), "serve", "--home", str(self._home), "--port", "0", "--workers", "0"]
        with self._log.open("wb") as out:
            process = await anyio.open_process(command, stdout=out, stderr=out, env=stage.environment())
        try:

            def listening() -> str:
                lines = [line for line in waiting.lines(self._log) if line.startswith(stage.LISTENS)]
                return lines[0].split()[3] if lines else ""

            yield await waiting.until(listening)
        finally:
            with anyio.CancelScope(shield=True):
                process.terminate()
                await process.aclose()
