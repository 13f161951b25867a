"""kill -9 of the owner at every boundary of a run with a callback: what was told is kept, and the run ends once."""

from __future__ import annotations

import asyncio
import json
import shutil
import signal
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import anyio
import pytest

from core.engine import Engine
from tests.dsl import web
from tests.engines import ADMIN, deploy, engine_on
from tests.scenarios import invoke_child
from tests.triggers.rig import SILENT, Rig, path, response

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).parents[2]


async def child(home: Path, url: str, fatal: int) -> tuple[int, list[str]]:
    """Run the owner; returns its exit code and the lines that it printed."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, invoke_child.__file__, str(home), url, str(fatal)),
        stdout=subprocess.PIPE,
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT)},
    )
    out, _ = await process.communicate()
    return process.returncode or 0, out.decode().split()


async def goes_on(engine: Engine, url: str, told: list[str]) -> None:
    """Ask for the run again, as a client that heard nothing does; it ends once, and everything owed is delivered."""
    rig = Rig(engine)
    record = await rig.invoke(ADMIN, idempotency_key=invoke_child.KEY, callback={"url": url})
    assert told in ([], [record["invocation_id"]]), "what was told is kept"
    if record["state"] == "dispatched":
        await rig.say(response(record))
    ended = await invoke_child.finished(rig, record, 2)
    history = [type for type in path(ended) if type != "redelivered"]
    assert history == ["accepted", "dispatched", "succeeded"]
    assert (await engine.call("trigger_invocation_list", {}, ADMIN))["total"] == 1
    kept = {**record, "callbacks": None}
    if record["state"] == "succeeded":
        assert {**kept, "deduplicated": None} == {**ended, "callbacks": None, "deduplicated": None}


async def test_a_run_that_is_cut_off_anywhere_is_kept_and_ends_once(tmp_path: Path) -> None:
    prepared = tmp_path / "prepared"
    with anyio.fail_after(60):
        async with engine_on(prepared) as engine:
            await Rig(engine).publish(response_timeout_seconds=3600)
            await deploy(engine, SILENT)
    async with web.serve(web.answer(204)) as site:
        with anyio.fail_after(600):
            whole = tmp_path / "whole"
            shutil.copytree(prepared, whole)
            code, lines = await child(whole, site.url(), 0)
            assert code == 0
            boundaries = int(lines[-1])
            assert boundaries >= 12, "four transactions and two posts"
            for fatal in range(1, boundaries + 1):
                home = tmp_path / f"killed{fatal}"
                shutil.copytree(prepared, home)
                site.requests.clear()
                code, lines = await child(home, site.url(), fatal)
                assert code == -signal.SIGKILL, f"boundary {fatal} of {boundaries}"
                async with engine_on(home, **invoke_child.SETTINGS) as engine:
                    await goes_on(engine, site.url(), lines)
                bodies = defaultdict(set)
                for request in site.requests:
                    bodies[request.headers["webhook-id"]].add(request.body)
                assert all(len(each) == 1 for each in bodies.values()), "one id, one body"
                states = sorted(json.loads(body)["invocation"]["state"] for each in bodies.values() for body in each)
                assert states == ["dispatched", "succeeded"]
                assert len(site.requests) <= 3, "at most the post that was not written down is made again"
                shutil.rmtree(home)
