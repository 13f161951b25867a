"""The files of a running `sluice serve` are deleted or replaced, then it is killed: what it accepted is there."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest

from core import whereabouts
from mcp_server.cli import stage
from tests.engines import EXAMPLES

pytestmark = pytest.mark.anyio

TENANT = {"tenant": "tenant-a"}
TRIGGER = json.loads((EXAMPLES / "smoke_trigger.json").read_text())
HANDLER = (EXAMPLES / "smoke_trigger_handler.yaml").read_text()


@contextlib.asynccontextmanager
async def serving(home: Path, workers: int = 0, **settings: str) -> AsyncIterator[stage.Stage]:
    made = stage.Stage(home, **settings)
    try:
        await made.start(workers)
        yield made
    finally:
        await made.stop()


async def invoke(server: stage.Stage, accepted: list[str], said: list[stage.Answer]) -> None:
    """Ask for runs until one is refused."""
    while not said:
        try:
            answer = await server.http(
                "POST", "/api/triggers/smoke_trigger/invoke", **TENANT, params={"env": "x"}, wait_timeout_seconds=0
            )
        except httpx.TransportError:
            return
        if answer.code:
            said.append(answer)
        else:
            accepted.append(answer.result["invocation_id"])


def delete_log(home: Path) -> None:
    (home / "sluice.db-wal").unlink()


def replace_log(home: Path) -> None:
    subprocess.run(["sed", "-i", "", home / "sluice.db-wal"], check=True)


def delete_all(home: Path) -> None:
    subprocess.run("rm -f sluice.db*", shell=True, cwd=home, check=True)


def replace_database(home: Path) -> None:
    """As somebody who puts a backup in the place, which is no copy of now."""
    subprocess.run("cp sluice.db backup && mv backup sluice.db", shell=True, cwd=home, check=True)


SOAKED = [pytest.param(attack, marks=pytest.mark.soak) for attack in (delete_log, replace_log)]


@pytest.mark.parametrize("attack", [delete_all, replace_database, *SOAKED])
async def test_every_run_that_was_accepted_is_there_after_the_files_were_taken_away_and_a_kill(
    tmp_path: Path, attack: Any
) -> None:
    home = tmp_path / "home"
    accepted: list[str] = []
    said: list[stage.Answer] = []
    with anyio.fail_after(120):
        async with serving(home) as server:
            await server.must("POST", "/api/triggers/publish", **TENANT, **TRIGGER)
            asking = [asyncio.create_task(invoke(server, accepted, said)) for _ in range(4)]
            await stage.until(lambda: len(accepted) > 30, 30, "runs")
            attack(home)
            await asyncio.gather(*asking)
            assert said[0].code in ("storage_unavailable", "unconfirmed")
            assert re.search(r"sluice\.db\S* was (deleted|replaced)", said[0].message)
            again = await server.http(
                "POST", "/api/triggers/smoke_trigger/invoke", **TENANT, params={"env": "x"}, wait_timeout_seconds=0
            )
            assert again.code == "storage_unavailable", "it stays so until somebody has looked"
            async with httpx.AsyncClient(trust_env=False) as client:
                health = await client.get(f"{server.url}/health")
            assert health.status_code == 503 and "Restart the engine" in health.json()["trouble"]
            doctor = await sluice("doctor", "--home", str(home), "--port", "0")
            assert doctor.returncode == 1 and b"nothing is written any more" in doctor.stdout
            assert "store_lost" in (tmp_path / "serve.log").read_text()
            os.killpg(server.pid, signal.SIGKILL)
        await as_told(home)
        place = whereabouts.here(home, home / "sluice.db")
        adopts = (
            {} if place.machine else {"SLUICE_ADOPT": "1"}
        )  # docs/home.md: another file, where no machine has an id
        async with serving(home, **adopts) as server:
            rows: list[str] = []
            cursor = ""
            while True:
                page = await server.must("GET", f"/api/trigger-invocations?limit=200{cursor}", **TENANT)
                rows += [row["invocation_id"] for row in page["items"]]
                if not page["next_cursor"]:
                    break
                cursor = f"&cursor={page['next_cursor']}"
    assert set(accepted) - set(rows) == set()


async def sluice(*words: str) -> subprocess.CompletedProcess[bytes]:
    return await anyio.run_process([stage.program("sluice"), *words], check=False, env=stage.environment())


async def as_told(home: Path) -> None:
    """Do what the next start asks for, if it asks."""
    if any(name.startswith("sluice.db.rescued-") for name in os.listdir(home)):  # noqa: PTH208
        refused = await sluice("serve", "--home", str(home), "--port", "0")
        assert refused.returncode == 1
        command = re.search(r"cd .* && rm -f .* && mv \S+ sluice\.db", refused.stderr.decode())
        assert command is not None, refused.stderr
        await anyio.run_process(["bash", "-c", command[0]])


async def test_a_copy_of_a_home_that_is_in_use_runs_nothing_until_it_is_adopted(tmp_path: Path) -> None:
    home, copy = tmp_path / "home", tmp_path / "copy"
    with anyio.fail_after(120):
        async with serving(home) as server:
            await server.must("POST", "/api/triggers/publish", **TENANT, **TRIGGER)
            await anyio.run_process(["cp", "-a", home, copy])
            refused = await sluice("serve", "--home", str(copy), "--port", "0")
            assert refused.returncode == 1
            said = refused.stderr.decode()
            assert f"was copied from {home}, which is still there" in said
            assert "pending callbacks" in said and "--adopt" in said
            looked = await sluice("trigger", "list", "--home", str(copy), "--tenant", "tenant-a")
            assert looked.returncode == 0 and b"smoke_trigger" in looked.stdout, "who only looks may"
            await begins(copy, "--adopt")
            async with serving(copy) as adopted:
                assert (await adopted.must("GET", "/api/triggers", **TENANT))["items"]
            assert (await server.must("GET", "/api/triggers", **TENANT))["items"], "the original goes on"


async def begins(home: Path, *flags: str) -> None:
    """`sluice serve` with these flags listens, and ends when it is told to."""
    command = [stage.program("sluice"), "serve", "--home", str(home), "--port", "0", "--workers", "0", *flags]
    async with await anyio.open_process(command, stdout=None, env=stage.environment()) as process:
        assert process.stderr is not None
        said = b""
        async for piece in process.stderr:
            said += piece
            if stage.LISTENS.encode() in said:
                process.terminate()
    assert stage.LISTENS.encode() in said, said
