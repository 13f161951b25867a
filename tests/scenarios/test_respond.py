"""Handlers whose output is `respond`, on a real worker process: what the caller's record says of each end of a run."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import pytest

from core.engine import Engine
from tests import waiting
from tests.engines import ADMIN, EXAMPLES, deploy, engine_on

pytestmark = pytest.mark.anyio

DEFINITION: dict[str, Any] = json.loads((EXAMPLES / "smoke_trigger.json").read_text())


def handler(output: str, actions: str = "[]") -> str:
    return f"""
name: smoke_trigger_handler
input:
  echo:
    trigger: {{message: {{filter-kind: user, filter-type: [user-generated], filter-tag: smoke.invoke}}}}
    json: true
    event: '{{}}'
actions: {actions}
output: {output}
"""


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[Engine]:
    async with engine_on(tmp_path / "home") as running:
        with anyio.fail_after(30):
            yield running


async def ran(engine: Engine, document: str, **changes: Any) -> dict[str, Any]:
    """The record of one run of a handler, which is deployed before its trigger is published."""
    await deploy(engine, document)
    await engine.call("trigger_publish", {**DEFINITION, **changes}, ADMIN)
    return await engine.call("trigger_invoke", {"slug": "smoke_trigger", "params": {"env": "prod"}}, ADMIN)


async def test_one_line_ends_the_run_with_its_result(engine: Engine) -> None:
    schema = {"type": "object", "properties": {"depth": {"type": "integer"}}, "required": ["depth"]}
    output = '{respond: {result: {env: "${msg|job_event.params.env}", depth: "${msg|job_event.params.depth}"}}}'
    record = await ran(engine, handler(output), result_schema=schema)
    assert record["state"] == "succeeded"
    assert record["result"]["trigger_response"]["result"] == {"env": "prod", "depth": 1}
    assert [event["type"] for event in record["events"]] == ["accepted", "dispatched", "succeeded"]


async def test_a_failed_run_ends_the_record_at_once_with_its_error(engine: Engine) -> None:
    record = await ran(engine, handler("respond", "[{abort: {message: the disk is full}}]"))
    answer = record["result"]["trigger_response"]
    assert record["state"] == "failed"
    assert (answer["outcome"], answer["error_code"]) == ("failed", "run_failed")
    assert "the disk is full" in answer["error_message"]


async def test_an_error_that_the_handler_reports_is_in_the_record(engine: Engine) -> None:
    record = await ran(engine, handler('{respond: {error: {code: no_env, message: "no ${msg|job_event.params.env}"}}}'))
    answer = record["result"]["trigger_response"]
    assert (record["state"], answer["error_code"], answer["error_message"]) == ("failed", "no_env", "no prod")


async def test_a_message_that_is_no_invocation_fails_the_run_with_that_reason(engine: Engine) -> None:
    await deploy(engine, handler("respond"))
    sender = "{name: sender, input: {echo: {event: hello}}, output: {message: {tag: smoke.invoke}}}"
    await deploy(engine, sender)

    async def log() -> list[str]:
        shown = await engine.call("job_get", {"name": "smoke_trigger_handler"}, ADMIN)
        return [line["text"] for line in shown["log"] if line["level"] == "error"]

    (line, *_) = await waiting.until(log)
    assert "there is nobody to answer: the message is no invocation" in line


async def test_the_message_names_the_slot_only_where_somebody_waits(engine: Engine) -> None:
    plain = {"response_slot": "", "proxy_policy": {"mode": "off"}}
    record = await ran(engine, handler("respond"), **plain)
    assert record["result"]["mode"] == "dispatch_only"
    found = await engine.call("message_search", {"tag": "smoke.invoke"}, ADMIN)
    (message,) = found["items"]
    assert "response_slot" not in message["message_data"]["job_event"]
    await engine.call("trigger_revise", DEFINITION, ADMIN)
    await engine.call("trigger_invoke", {"slug": "smoke_trigger", "params": {"env": "prod"}}, ADMIN)
    found = await engine.call("message_search", {"tag": "smoke.invoke", "limit": 1}, ADMIN)
    assert found["items"][0]["message_data"]["job_event"]["response_slot"] == "smoke.reply"
