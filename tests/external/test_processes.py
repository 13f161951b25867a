"""The commands as a person types them: `sluice serve --nats`, `sluice worker --url`, and a look at it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import anyio
import pytest

from mcp_server.cli import checkup, codes
from tests.external import rig, server

pytestmark = pytest.mark.anyio

SLUICE = str(Path(sys.executable).with_name("sluice"))


async def sluice(home: Path, *words: str) -> tuple[int, Any]:
    """A command's exit code and its JSON."""
    process = await asyncio.create_subprocess_exec(
        SLUICE, *words, "--home", str(home), "--json", stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, err = await process.communicate()
    assert b"Traceback" not in err
    return process.returncode or 0, json.loads(out or err)


async def test_an_engine_and_a_worker_with_their_commands(tmp_path: Path) -> None:
    home = tmp_path / "engine"
    with server.running() as bus, anyio.fail_after(90):
        flags = ["--home", str(home), "--port", "0", "--workers", "0", "--nats", bus.url]
        serve = await asyncio.create_subprocess_exec(
            SLUICE, "serve", *flags, stderr=asyncio.subprocess.PIPE, env={**os.environ, "SLUICE_DRAIN_SECONDS": "1"}
        )
        assert serve.stderr is not None
        try:
            while b"listens on" not in (said := await serve.stderr.readline()):
                assert said, "the engine has ended"
            key = tmp_path / "token"
            key.touch(mode=0o600)
            code, refused = await sluice(home, "worker-token", "create", "--group", "edge")
            assert (code, refused["error"]["code"]) == (codes.FAILED, "not_found")
            assert "sluice group create edge" in refused["error"]["hint"]
            code, _ = await sluice(home, "group", "create", "edge", "--admit", "default")
            assert code == 0
            _, made = await sluice(home, "worker-token", "create", "--group", "edge")
            key.write_text(made["token"])
            async with rig.machine(tmp_path / "edge", bus.url, key) as edge:
                await edge.says("has joined")
                while True:
                    code, listed = await sluice(home, "worker", "list", "--state", "online")
                    if listed["items"]:
                        break
                assert (code, listed["items"][0]["kind"]) == (0, "external")
                assert (home / "engine.identity").stat().st_mode & 0o777 == 0o600
                assert (tmp_path / "edge" / "worker.credential").stat().st_mode & 0o777 == 0o600
                assert not (home / "worker.key").exists(), "only whoever asks for it has one"
                edge.signal(signal.SIGTERM)
                assert await edge.ended() == 0
            while True:
                code, removed = await sluice(home, "worker", "remove", "edge-1")
                if code == 0:
                    break
                assert removed["error"]["code"] == "busy", removed
            assert (await sluice(home, "worker", "list"))[1]["items"] == []
        finally:
            serve.terminate()
            await serve.communicate()
    assert serve.returncode == 0


async def test_serve_refuses_an_address_that_is_none(tmp_path: Path) -> None:
    code, said = await sluice(tmp_path / "home", "serve", "--nats", "http://127.0.0.1:4222")
    assert code != 0
    assert "nats://HOST:PORT" in json.dumps(said)


async def test_doctor_looks_at_the_nats_server_that_is_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with server.running() as bus, anyio.fail_after(60):
        monkeypatch.setenv("SLUICE_NATS", bus.url.replace("//", "//ada:s3cret@"))
        code, found = await sluice(tmp_path / "home", "doctor")
        said = f"{bus.url} answers{checkup.OPEN}"
        assert {"check": "nats", "state": "ok", "found": said, "hint": ""} in found["checks"]
        bus.kill()
        code, found = await sluice(tmp_path / "home", "doctor")
        (fault,) = [one for one in found["checks"] if one["check"] == "nats"]
    assert code == 1
    assert fault["state"] == "fault"
    assert "cannot be reached" in fault["found"]
    assert "s3cret" not in json.dumps(found)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--token-file", "t"], "--url is missing"),
        (["--url", "127.0.0.1:3000", "--token-file", "t"], "Use https://HOST:PORT"),
        (["--url", "ftp://x", "--token-file", "t"], "is no address of an engine"),
        (["--url", "http://x:1", "--token-file", "empty"], "There is no token in"),
        (["--url", "http://x:1", "--token-file", "open"], "sluice worker-token revoke slw_0123456789abcdef"),
        (["--url", "http://x:1", "--token-file", "other"], "This is no worker token"),
        (["--url", "http://x:1"], "This worker was not let in yet"),
    ],
)
async def test_what_is_mistyped_about_a_worker_is_told_with_the_way(
    tmp_path: Path, words: list[str], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    token = f"slw_0123456789abcdef_{'a' * 64}_{'b' * 32}"
    for name, text in (("t", token), ("empty", ""), ("open", token), ("other", "sluice_x")):
        rig.keep(tmp_path / name, text)
    (tmp_path / "open").chmod(0o644)
    done = await anyio.run_process([SLUICE, "worker", *words, "--home", str(tmp_path / "home")], check=False)
    assert done.returncode not in (0, None)
    assert said in done.stderr.decode()
