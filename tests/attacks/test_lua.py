"""Scripts of one tenant that loop where no hook runs: their events are refused, and nobody waits for them."""

from __future__ import annotations

import time
from pathlib import Path

import anyio
import orjson
import pytest
import yaml

from core.engine import Engine
from tests import waiting
from tests.attacks.test_quarantine import EVIL
from tests.engines import ADMIN, EXAMPLES, deploy, engine_on

pytestmark = pytest.mark.anyio

BORDER = "local t = {} for k = 0, 61 do t[1 << k] = 1 t[(1 << k) + 1] = 1 end "
SCRIPTS = {
    "insert": BORDER + "table.insert(t, 1, 1)",
    "remove": BORDER + "table.remove(t, 1)",
    "find": "event.at = ('a'):rep(1000000):find(('a'):rep(400000) .. 'b', 1, true)",
    "pattern": "event.at = ('a'):rep(100000):find('(.-)(.-)(.-)x')",
    "sort": "local s, t = ('x'):rep(1000000), {} for i = 1, 90000 do t[i] = s end table.sort(t, string.lower)",
    "result": "local s = ('x'):rep(1000000) for i = 1, 90000 do event['k' .. i] = s end",
    "matches": "event.ok = matches(('ab'):rep(500000), '(a|b)*a(a|b){500}c')",
}
SECONDS = 60.0


def _refused(engine: Engine) -> dict[str, int]:
    return {one.job: one.metrics.get("errors", 0) for one in engine.fleet.workload_views(tenant=EVIL.tenant)}


async def test_no_script_holds_up_its_worker_and_the_trigger_of_a_neighbour_answers(tmp_path: Path) -> None:
    handler = (EXAMPLES / "smoke_trigger_handler.yaml").read_text(encoding="utf-8")
    trigger = orjson.loads((EXAMPLES / "smoke_trigger.json").read_bytes())
    with anyio.fail_after(3 * SECONDS):
        async with engine_on(tmp_path / "home", workers=1) as engine:
            await deploy(engine, handler)
            await engine.call("trigger_publish", trigger, ADMIN)
            for name, code in SCRIPTS.items():
                echo = {"event": "{}", "json": True, "trigger": {"interval": "1h"}}
                job = {"name": name, "input": {"echo": echo}, "actions": [{"script": code}], "output": {"discard": {}}}
                await engine.call("job_put", {"document": yaml.safe_dump(job)}, EVIL)
                await engine.call("job_deploy", {"name": name, "wait_seconds": 0}, EVIL)
            asked = {"slug": "smoke_trigger", "params": {"env": "x"}, "wait_timeout_seconds": 30}
            answered = 0
            while min(_refused(engine).values()) == 0 or answered < 5:  # the trigger answers while each of them runs
                started = time.monotonic()
                assert (await engine.call("trigger_invoke", asked, ADMIN))["state"] == "succeeded"
                assert time.monotonic() - started < 15  # each script has a second of processor time
                answered += 1
                await waiting.pause(0.05)  # the pace of its calls
            assert engine.fleet.workers["local-1"].restarts == 0
            assert engine.fleet.quarantined() == []
