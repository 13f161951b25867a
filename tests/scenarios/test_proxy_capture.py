"""Proxy capture from the trigger through a job into http-post and back into the record, on a real worker."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import pytest

from core.engine import Engine
from tests import waiting
from tests.dsl import web
from tests.engines import ADMIN, EXAMPLES, deploy, engine_on

pytestmark = pytest.mark.anyio

DEFINITION: dict[str, Any] = {
    **json.loads((EXAMPLES / "smoke_trigger.json").read_text()),
    "response_timeout_seconds": 2,
}
HANDLER = """
name: smoke_trigger_handler
input:
  echo:
    trigger: {message: {filter-kind: user, filter-type: [user-generated], filter-tag: smoke.invoke}}
    json: true
    event: '{"hello": "world"}'
actions:
- add: {output-fields: {trigger_proxy: "${msg|job_event.trigger_proxy}"}}
- convert: {conversions: [{field: trigger_proxy, conversion: json}]}
output:
  http-post: {url: "%s"}
"""


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[Engine]:
    async with engine_on(tmp_path / "home", egress_allow=("127.0.0.0/8",)) as running:
        yield running


async def invoke(engine: Engine, **more: Any) -> dict[str, Any]:
    return await engine.call("trigger_invoke", {"slug": "smoke_trigger", "params": {"env": "prod"}, **more}, ADMIN)


async def test_the_answer_is_recorded_and_does_not_end_the_run(engine: Engine) -> None:
    answer = web.answer(201, b'{"id": 7}', content_type="application/json", etag="e1", set_cookie="a=b", x_other="1")
    with anyio.fail_after(30):
        async with web.serve(answer) as site:
            await engine.call("trigger_publish", DEFINITION, ADMIN)
            await deploy(engine, HANDLER % site.url("/orders"))
            record = await invoke(engine, wait_timeout_seconds=0)
            id = record["invocation_id"]
            record = await waiting.until(
                lambda: engine.call("trigger_invocation_get", {"invocation_id": id}, ADMIN),
                lambda record: record["trigger_proxy_recorded_at"] is not None,
            )
            assert record["state"] == "dispatched", "the capture alone ends nothing"
            captured = record["result"]["trigger_proxy_response"]
            ended = await engine.call("trigger_invocation_get", {"invocation_id": id, "wait_seconds": 10}, ADMIN)
    assert (captured["status"], captured["body"], captured["truncated"]) == (201, '{"id": 7}', False)
    assert captured["headers"] == {"content-type": "application/json", "etag": "e1", "content-length": "9"}
    assert json.loads(site.requests[0].body) == {"hello": "world"}, "the envelope does not leave"
    assert ended["state"] == "timed_out"
    assert ended["result"]["trigger_proxy_response"] == captured
    assert [event["type"] for event in ended["events"]] == ["accepted", "dispatched", "proxy_recorded", "timed_out"]
    stored = await engine.call("trigger_invocation_get", {"invocation_id": id}, ADMIN)
    assert stored == ended
