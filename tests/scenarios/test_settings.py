"""A home with a sluice.toml, in processes of an operator: a service without flags, and shells that say otherwise."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import orjson
import pytest
from mcp import Client
from mcp.client.stdio import StdioServerParameters

from core import ownership
from mcp_server.cli import codes, stage

pytestmark = pytest.mark.anyio
TEXT = """\
workers = "default=1,etl=1"
drain_seconds = 1
nats = ""
[serve]
port = 0
allow_host = ["sluice.example"]
[group.etl]
allow_exec = true
"""
OF_A_SHELL = {"SLUICE_WORKERS": "7", "SLUICE_ALLOW_EXEC": "1", "SLUICE_EGRESS_ALLOW": "0.0.0.0/0"}
RUNS_A_COMMAND = (
    "name: {name}\ninput: {{exec: {{command: 'true', trigger: {{interval: 1h}}}}}}\noutput: {{discard: {{}}}}"
)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    place = tmp_path / "home"
    place.mkdir(mode=0o700)
    write(place, TEXT)
    return place


def write(home: Path, text: str) -> None:
    (home / "sluice.toml").write_text(text, encoding="utf-8")
    (home / "sluice.toml").chmod(0o600)


@pytest.fixture
async def scene(home: Path) -> AsyncIterator[stage.Stage]:
    made = stage.Stage(home, SLUICE_LISTEN_ALLOW="10.0.0.5")
    try:
        with anyio.fail_after(60):
            await made.start()
        yield made
    finally:
        with anyio.fail_after(30, shield=True):
            await made.stop()


async def settings(scene: stage.Stage) -> tuple[dict[str, dict[str, Any]], dict[str, Any]]:
    answer = await scene.must("GET", "/api/settings")
    return {one["name"]: one for one in answer["items"]}, answer


async def test_a_service_has_what_its_home_says_and_a_group_what_its_table_says(home: Path, scene: stage.Stage) -> None:
    with anyio.fail_after(60):
        told, answer = await settings(scene)
        assert (answer["restart"], answer["fault"]) == ([], None)
        assert {name: (told[name]["value"], told[name]["source"]) for name in ("workers", "serve.allow_host")} == {
            "workers": ("default=1,etl=1", "file"),
            "serve.allow_host": (["sluice.example"], "file"),
        }
        assert told["drain_seconds"]["where"] == f"{home}/sluice.toml:2"
        assert told["listen_allow"]["where"] == "SLUICE_LISTEN_ALLOW"
        done = {}
        for group in ("etl", "default"):
            await scene.must("POST", "/api/jobs", document=RUNS_A_COMMAND.format(name=group))
            done[group] = await scene.must("POST", f"/api/jobs/{group}/deploy", worker_group=group, wait_seconds=20)
        (opened,), (shut,) = (done[group]["workloads"] for group in ("etl", "default"))
        assert opened["state"] == "running", opened
        assert "the exec input is switched off" in shut["reason"], shut


async def test_what_the_file_says_later_waits_for_a_restart_and_shells_have_no_say(
    home: Path, scene: stage.Stage
) -> None:
    write(home, TEXT.replace("drain_seconds = 1", "drain_seconds = 2") + 'egress_allow = ["10.0.0.7"]\n')
    command = [stage.program("sluice"), "settings", "--home", str(home), "--json"]
    with anyio.fail_after(60):
        done = await anyio.run_process(command, env={**stage.environment(), **OF_A_SHELL})
        told = {one["name"]: one for one in orjson.loads(done.stdout)["items"]}
        assert (told["workers"]["value"], told["allow_exec"]["value"]) == ("default=1,etl=1", False)
        assert told["drain_seconds"]["value"] == 1
        assert told["drain_seconds"]["after_restart"] == 2
        assert told["group.etl.egress_allow"]["after_restart"] == ["10.0.0.7"]
        write(home, "worker = 3")
        _, answer = await settings(scene)
        assert answer["fault"]["errors"][0]["where"] == f"{home}/sluice.toml:1"
        workers = (await scene.must("GET", "/api/workers"))["items"]
        assert {one["state"] for one in workers} <= {"starting", "online"}, "it goes on"


async def test_a_session_that_becomes_the_engine_has_the_settings_of_the_home(home: Path, tmp_path: Path) -> None:
    server = StdioServerParameters(
        command=sys.executable,
        args=["-c", "from mcp_server.cli.main import main_mcp; main_mcp()", "--home", str(home), "--toolsets", "all"],
        env={**stage.environment(), **OF_A_SHELL},
    )
    with anyio.fail_after(60):
        async with Client(server) as client:
            listed = await client.call_tool("worker_list", {})
            assert [one["name"] for one in (listed.structured_content or {})["items"]] == ["local-1", "local-2"]
            command = [stage.program("sluice"), "settings", "--home", str(home), "--json"]
            done = await anyio.run_process(command, env=stage.environment())
    told = {one["name"]: one for one in orjson.loads(done.stdout)["items"]}
    assert (told["allow_exec"]["value"], told["egress_allow"]["value"]) == (False, [])
    assert told["workers"]["source"] == "file"


async def test_without_an_engine_the_home_answers_and_a_file_that_does_not_fit_starts_nothing(home: Path) -> None:
    async def run(*words: str) -> tuple[int, str, str]:
        with anyio.fail_after(30):
            command = [stage.program("sluice"), *words, "--home", str(home)]
            done = await anyio.run_process(command, check=False, env={**stage.environment(), **OF_A_SHELL})
        return done.returncode, done.stdout.decode(), done.stderr.decode()

    code, out, said = await run("settings", "--changed")
    assert (code, said.startswith("No engine is running: ")) == (0, True)
    assert "SLUICE_WORKERS (above sluice.toml:1)" in out and "restart" not in out + said
    write(home, "workers = 'etl'")
    code, _, said = await run("serve")
    assert code == codes.USAGE
    assert f"{home}/sluice.toml:1: " in said
    assert not ownership.held(home)
