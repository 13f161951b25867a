"""The seed's smoke trigger, unchanged, on a real worker process."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import pytest

from core import errors
from core.engine import Engine
from tests.engines import ADMIN, EXAMPLES, USER, deploy, engine_on

pytestmark = pytest.mark.anyio

DEFINITION: dict[str, Any] = json.loads((EXAMPLES / "smoke_trigger.json").read_text())
HANDLER = (EXAMPLES / "smoke_trigger_handler.yaml").read_text()


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[Engine]:
    async with engine_on(tmp_path / "home") as running:
        yield running


async def _invoke(engine: Engine, params: dict[str, Any], caller: Any = ADMIN, **more: Any) -> dict[str, Any]:
    return await engine.call("trigger_invoke", {"slug": "smoke_trigger", "params": params, **more}, caller)


async def test_the_seed_runs_unchanged_and_answers_with_a_structured_result(engine: Engine) -> None:
    with anyio.fail_after(30):
        published = await engine.call("trigger_publish", DEFINITION, ADMIN)
        assert [warning["code"] for warning in published.pop("warnings")] == ["target_not_deployed"]
        assert published == {
            "slug": "smoke_trigger",
            "tenant_id": "tenant-a",
            "revision": 1,
            "active": True,
            "tool_name": "trigger_invoke_smoke_trigger",
        }
        await deploy(engine, HANDLER)
        record = await _invoke(engine, {"env": "prod"}, USER)
    assert record["state"] == "succeeded"
    assert record["params"] == {"env": "prod", "depth": 1}, "the default filled what was left out"
    response = record["result"]["trigger_response"]
    assert response["result"] == {"ok": True, "message": "Smoke check passed"}
    assert response["emitted_at_ns"] == record["requested_at_ns"], "19 digits survived every hop"
    assert [event["type"] for event in record["events"]] == ["accepted", "dispatched", "succeeded"]
    again = await engine.call("trigger_invocation_get", {"invocation_id": record["invocation_id"]}, USER)
    assert again == {**record, "next": again["next"]}


async def test_the_same_key_gives_the_same_run_and_other_params_a_mismatch(engine: Engine) -> None:
    with anyio.fail_after(30):
        await engine.call("trigger_publish", DEFINITION, ADMIN)
        await deploy(engine, HANDLER)
        first = await _invoke(engine, {"env": "prod", "depth": 2}, idempotency_key="k")
        second = await _invoke(engine, {"depth": 2.0, "env": "prod"}, idempotency_key="k")
        assert second["invocation_id"] == first["invocation_id"]
        assert second["deduplicated"] is True
        with pytest.raises(errors.IdempotencyMismatch):
            await _invoke(engine, {"env": "dev", "depth": 2}, idempotency_key="k")
        other = await _invoke(engine, {"env": "prod", "depth": 2}, USER, idempotency_key="k")
        assert other["invocation_id"] != first["invocation_id"], "keys are scoped to the caller"
        listed = await engine.call("trigger_invocation_list", {}, ADMIN)
    assert listed["total"] == 2


async def test_the_list_says_whether_the_target_runs(engine: Engine) -> None:
    with anyio.fail_after(30):
        await engine.call("trigger_publish", DEFINITION, ADMIN)
        (row,) = (await engine.call("trigger_list", {}, ADMIN))["items"]
        assert (row["target_up"], row["may_run"]) == (False, True)
        await deploy(engine, HANDLER)
        (row,) = (await engine.call("trigger_list", {}, ADMIN))["items"]
        assert (row["target_up"], row["may_run"]) == (True, True)


async def test_params_that_do_not_fit_are_refused_with_every_place_and_nothing_is_recorded(engine: Engine) -> None:
    with anyio.fail_after(30):
        await engine.call("trigger_publish", DEFINITION, ADMIN)
        with pytest.raises(errors.InvalidParams) as caught:
            await _invoke(engine, {"depth": 0})
        assert {problem.pointer for problem in caught.value.errors} == {"", "/depth"}
        assert (await engine.call("trigger_invocation_list", {}, ADMIN))["total"] == 0


async def test_a_target_that_is_not_deployed_fails_the_run_with_the_way_out(engine: Engine) -> None:
    with anyio.fail_after(30):
        await engine.call("trigger_publish", DEFINITION, ADMIN)
        record = await _invoke(engine, {"env": "prod"})
    assert record["state"] == "failed"
    assert record["result"]["error_code"] == "target_unavailable"
    assert "job_deploy" in record["result"]["hint"]


async def test_a_job_whose_filter_has_another_tag_is_not_a_target(engine: Engine) -> None:
    with anyio.fail_after(30):
        await engine.call("trigger_publish", {**DEFINITION, "target_message_tag": "other.tag"}, ADMIN)
        await deploy(engine, HANDLER)
        record = await _invoke(engine, {"env": "prod"})
    assert record["result"]["error_code"] == "target_unavailable"
    assert "filter" in record["result"]["error_message"]


async def test_dispatch_only_succeeds_when_the_message_is_accepted_for_delivery(engine: Engine) -> None:
    plain = {
        k: v for k, v in DEFINITION.items() if k not in ("response_slot", "proxy_policy", "response_timeout_seconds")
    }
    with anyio.fail_after(30):
        await engine.call("trigger_publish", plain, ADMIN)
        await deploy(engine, HANDLER)
        record = await _invoke(engine, {"env": "prod"})
    assert record["state"] == "succeeded"
    assert record["result"] == {"status": "accepted_for_dispatch", "mode": "dispatch_only", "state": "succeeded"}


SILENT = """
name: smoke_trigger_handler
input:
  echo:
    trigger: {message: {filter-kind: user, filter-type: [user-generated], filter-tag: smoke.invoke}}
    json: true
    event: "{}"
output: {discard: {}}
"""


async def test_without_a_response_the_wait_ends_first_and_the_run_times_out_later(engine: Engine) -> None:
    with anyio.fail_after(30):
        await engine.call("trigger_publish", {**DEFINITION, "response_timeout_seconds": 1}, ADMIN)
        await deploy(engine, SILENT)
        record = await _invoke(engine, {"env": "prod"}, wait_timeout_seconds=0)
        assert record["state"] == "dispatched"
        assert record["result"] == {
            "status": "accepted_for_dispatch",
            "mode": "response_slot",
            "state": "dispatched",
        }
        id = record["invocation_id"]
        ended = await engine.call("trigger_invocation_get", {"invocation_id": id, "wait_seconds": 10}, ADMIN)
    assert ended["state"] == "timed_out"
    assert ended["result"]["deadline_ns"] == record["deadline_ns"]


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        ("      extra_key: 1\n", "unknown key 'extra_key'"),
        ("      response_slot: other\n", "response_slot must be 'smoke.reply'"),
        ("      tenant_id: tenant-b\n", "not the tenant"),
        ("      emitted_at_ns: 1.5\n", "integer"),
    ],
)
async def test_a_bad_envelope_changes_nothing_but_the_history(engine: Engine, broken: str, reason: str) -> None:
    fields = {
        "type": "trigger_response",
        "version": "1",
        "tenant_id": '"${msg|job_event.trigger.tenant_id}"',
        "invocation_id": '"${msg|job_event.invocation_id}"',
        "response_slot": "smoke.reply",
        "nonce": "n",
        "outcome": "succeeded",
        "emitted_at_ns": "5",
    }
    key, _, value = broken.strip().partition(": ")
    fields[key] = value
    body = "".join(f"        {k}: {v}\n" for k, v in fields.items())
    handler = SILENT.replace(
        "output: {discard: {}}",
        f"actions:\n- add:\n    output-fields:\n      trigger_response:\n{body}"
        "output: {message: {input-field: trigger_response}}",
    )
    with anyio.fail_after(30):
        await engine.call("trigger_publish", {**DEFINITION, "response_timeout_seconds": 1}, ADMIN)
        await deploy(engine, handler)
        record = await _invoke(engine, {"env": "prod"})
    assert record["state"] == "timed_out"
    refused = [event["reason"] for event in record["events"] if event["type"] == "response_refused"]
    assert len(refused) == 1
    assert reason in refused[0]


async def test_revise_deactivate_and_policy(engine: Engine) -> None:
    with anyio.fail_after(30):
        await engine.call("trigger_publish", DEFINITION, ADMIN)
        with pytest.raises(errors.AlreadyExists):
            await engine.call("trigger_publish", DEFINITION, ADMIN)
        with pytest.raises(errors.Forbidden):
            await engine.call("trigger_publish", {**DEFINITION, "slug": "other"}, USER)
        closed = {**DEFINITION, "invoke_policy": {"allow_admin": True, "allow_user": False}}
        assert (await engine.call("trigger_revise", closed, ADMIN))["revision"] == 2
        with pytest.raises(errors.Forbidden):
            await _invoke(engine, {"env": "prod"}, USER)
        gone = await engine.call("trigger_deactivate", {"slug": "smoke_trigger"}, ADMIN)
        assert gone["active"] is False
        with pytest.raises(errors.NotFound):
            await _invoke(engine, {"env": "prod"})
        assert (await engine.call("trigger_revise", DEFINITION, ADMIN))["active"] is True
        limited = {**DEFINITION, "invoke_policy": {"rate_limit": {"per_user": 1, "per_seconds": 60}}}
        await engine.call("trigger_revise", limited, ADMIN)
        await _invoke(engine, {"env": "prod"})
        with pytest.raises(errors.RateLimited) as caught:
            await _invoke(engine, {"env": "prod"})
    assert 0 < caught.value.details["retry_after_seconds"] <= 61
