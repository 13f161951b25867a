"""The page "From a handler to a trigger in four calls" of docs/triggers.md, called as it stands."""

from __future__ import annotations

from pathlib import Path

import anyio
import orjson
import pytest

from tests.engines import ADMIN, engine_on
from tests.triggers.test_guide import FENCE, GUIDE

pytestmark = pytest.mark.anyio


async def test_the_four_calls_answer(tmp_path: Path) -> None:
    calls = {name.removesuffix(".json"): orjson.loads(text) for kind, name, text in FENCE.findall(SECTION)}
    assert [*calls] == ["job_put", "job_deploy", "trigger_publish", "trigger_invoke_count_words"]
    params = calls.pop("trigger_invoke_count_words")
    async with engine_on(tmp_path / "home") as engine:
        with anyio.fail_after(30):
            for operation, arguments in calls.items():
                await engine.call(operation, arguments, ADMIN)
            record = await engine.call("trigger_invoke", {"slug": "count_words", "params": params}, ADMIN)
    assert record["state"] == "succeeded"
    assert record["result"]["trigger_response"]["result"] == {"words": {"one": 1, "two": 1, "three": 1}}


SECTION = GUIDE.split("## From a handler to a trigger in four calls\n")[1].split("\n## ")[0]
