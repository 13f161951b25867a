"""Commands beside a home whose engine was killed, in a shell with other settings: they start nothing, run nothing and
move nothing."""

from __future__ import annotations

import ast
import shutil
import sqlite3
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import orjson
import psutil
import pytest

from core import clock, ownership
from mcp_server.cli import codes, stage
from tests import sources
from tests.attacks.rig import HANDLER, TRIGGER

pytestmark = pytest.mark.anyio
ROOT = Path(__file__).parents[2]
DEPLOYMENTS = ("first", "second", "third")
FLOW = """\
kind: workflow
slug: beats
title: Beats
steps:
  - {id: beat, use: "blueprint:echo-source@1.0.0", with: {event: "{}", interval: 1h}, out: channel:c}
  - {id: print, use: "blueprint:file-printer@1.0.0", in: channel:c}
"""
OF_A_SHELL = {"SLUICE_WORKERS": "1", "SLUICE_EGRESS_ALLOW": "0.0.0.0/0", "SLUICE_ALLOW_EXEC": "1"}
OF_WHAT_RUNS = ("workloads", "invocations", "dispatches", "callback_deliveries", "deployment_history")


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def home(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Path]:
    """A home with three deployments over two workers and a trigger, whose engine was killed. The last test of this file
    starts one on it again."""
    scene = stage.Stage(tmp_path_factory.mktemp("one-off") / "home")
    try:
        with anyio.fail_after(90):
            await scene.start(workers=2)
            await scene.must("POST", "/api/workflows", document=FLOW)
            await scene.must("POST", "/api/workflows/beats/publish")
            for name in DEPLOYMENTS:
                plan = await scene.must("POST", f"/api/deployments/{name}/plan", source="workflow:beats@1")
                done = await scene.must("POST", f"/api/plans/{plan['plan_id']}/apply", wait_seconds=30)
                assert done["state"] == "running", done
            await scene.must("POST", "/api/jobs", document=HANDLER)
            await scene.must("POST", "/api/jobs/smoke_trigger_handler/deploy")
            await scene.must("POST", "/api/triggers/publish", **{**TRIGGER, "tenant_id": "default"})
            psutil.Process(scene.pid).kill()

            def ended() -> bool:
                return of_the_home(scene.home) == []

            await stage.until(ended, 30, "its workers to end with it")
    finally:
        with anyio.fail_after(30, shield=True):
            await scene.stop()
    yield scene.home


def kept(home: Path) -> dict[str, list[Any]]:
    connection = sqlite3.connect(f"file:{home / 'sluice.db'}?mode=ro", uri=True)
    try:
        found = {table: connection.execute(f"SELECT * FROM {table} ORDER BY 1, 2").fetchall() for table in OF_WHAT_RUNS}
        found["deployments"] = connection.execute("SELECT tenant, name, revision, desired FROM deployments").fetchall()
        return found
    finally:
        connection.close()


async def one_off(home: Path, *words: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    command = [stage.program("sluice"), *words, "--home", str(home)]
    with anyio.fail_after(30):
        return await anyio.run_process(command, input=stdin, check=False, env={**stage.environment(), **OF_A_SHELL})


def of_the_home(home: Path) -> list[int]:
    """The processes that were started for it and are still there."""
    return [one.pid for one in psutil.process_iter(["cmdline"]) if str(home) in (one.info["cmdline"] or ())]


async def test_what_needs_an_engine_is_refused_at_once_and_nothing_moves(home: Path) -> None:
    before = kept(home)
    for words in (
        ("trigger", "invoke", "smoke_trigger", "--set", "env=prod"),
        ("reconcile", "first"),
        ("worker", "list"),
        ("messages", "--follow"),
        ("metrics",),
        ("explain", "worker", "local-1"),
    ):
        started = clock.monotonic()
        done = await one_off(home, *words)
        assert (done.returncode, done.stdout) == (codes.NO_ENGINE, b""), (words, done)
        assert done.stderr.decode().splitlines() == [
            f"error: target_unavailable: No engine is running on {home}.",
            f"  hint: Start one: sluice serve --home {home}",
        ]
        assert clock.monotonic() - started < 10, "it does not wait for anything"
    assert kept(home) == before
    assert not ownership.held(home)
    assert of_the_home(home) == []


async def gone_since(home: Path) -> set[str]:
    """Since when its deployments have no engine, as status says."""
    return {one["since"] for one in orjson.loads((await one_off(home, "status", "--json")).stdout)["items"]}


async def test_a_change_without_an_engine_does_not_move_its_end(home: Path) -> None:
    before = await gone_since(home)
    assert (await one_off(home, "variable", "set", "RATE", "1")).returncode == 0
    assert await gone_since(home) == before


async def test_a_copy_is_looked_at_and_not_changed(home: Path) -> None:
    copy = home.with_name("copy")
    shutil.copytree(home, copy, symlinks=True, ignore=lambda _, names: [one for one in names if one.endswith(".sock")])
    assert (await one_off(copy, "variable", "list")).returncode == 0
    for words in (("variable", "set", "RATE", "1"), ("trigger", "deactivate", "smoke_trigger")):
        done = await one_off(copy, *words)
        assert done.returncode == codes.FAILED
        assert b"This home was copied from" in done.stderr
        assert b"--adopt" in done.stderr


async def test_what_is_recorded_can_be_read_and_records_can_be_kept(home: Path) -> None:
    before = kept(home)
    reads = ("status", "explain deployment first", "messages", "usage")
    for words in map(str.split, reads):
        done = await one_off(home, *words)
        assert done.returncode == 0, done.stderr
        assert done.stderr.decode().startswith("No engine is running: "), words
    shown = orjson.loads((await one_off(home, "status", "--json")).stdout)["items"]
    assert {one["name"] for one in shown} == set(DEPLOYMENTS)
    doctor = await one_off(home, "doctor", "--json")
    assert [one["check"] for one in orjson.loads(doctor.stdout)["checks"]][:2] == ["lock", "engine"]
    for words in (
        ("token", "create", "--username", "ci", "--json"),
        ("secret", "set", "web/key"),
        ("context", "set", "region=eu"),
        ("trigger", "deactivate", "smoke_trigger"),
    ):
        done = await one_off(home, *words, stdin=b"value\n")
        assert done.returncode == 0, (words, done.stderr)
    assert kept(home) == before
    scene = stage.Stage(home)
    try:
        with anyio.fail_after(60):
            await scene.start(workers=2)
            told = await scene.must("GET", "/api/secrets")
            assert [one["name"] for one in told["items"]] == ["web/key"]

            async def running() -> bool:
                found = (await scene.must("GET", "/api/deployments"))["items"]
                return {one["state"] for one in found} == {"running"}

            await stage.until(running, 30, "the deployments to run")
    finally:
        with anyio.fail_after(30, shield=True):
            await scene.stop()
    assert kept(home)["deployments"] == before["deployments"], "nothing was moved"


def test_only_servers_may_become_the_engine() -> None:
    """Commands come to it through connect.engine, which opens a visit."""
    openers = {
        path.name
        for path, tree in sources.trees(ROOT / "mcp_server", word="open")
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
        if node.func.attr in ("open_session", "open_engine", "opened") and ast.unparse(node.func) != "self.open_session"
    }
    assert openers == {"serve.py", "mcp.py", "connect.py"}
