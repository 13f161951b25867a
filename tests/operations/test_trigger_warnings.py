"""What publishing says of the other end, on real workers: every call that it gives is made, and then the trigger works.

`explain` of the trigger says the same, and that of a run which timed out says why.
"""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import orjson
import pytest

from core import ownership
from core.engine import Engine, open_offline
from core.operations import REGISTRY
from core.settings import Settings
from mcp_server import results
from tests.engines import ADMIN, deploy, engine_on

pytestmark = pytest.mark.anyio
NUMBERS = itertools.count()
LISTENS = "echo: {event: '{\"n\": 1}', json: true, trigger: {message: {filter-tag: go-NAME}}}"


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def engine(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Engine]:
    async with engine_on(tmp_path_factory.mktemp("warnings") / "home") as running:
        yield running


@pytest.fixture
def name() -> str:
    """Of the trigger and of its job, for one test."""
    return f"job{next(NUMBERS)}"


def job(name: str, output: str, source: str = LISTENS) -> str:
    return f"name: {name}\ninput: {{{source}}}\noutput: {output}\n".replace("NAME", name)


async def publish(engine: Engine, name: str, operation: str = "trigger_publish", **more: Any) -> dict[str, Any]:
    wanted = {"slug": name, "tenant_id": "tenant-a", "target_job_name": name, "target_message_tag": f"go-{name}"}
    wanted |= {"response_slot": "reply", "response_timeout_seconds": 20, "publication": {"mcp": True}, **more}
    return await engine.call(operation, wanted, ADMIN)


def codes(answer: dict[str, Any]) -> list[str]:
    return [warning["code"] for warning in answer["warnings"]]


async def mend(engine: Engine, answer: dict[str, Any]) -> None:
    """Make every call that an answer gives, which has to be whole in its text as well."""
    shown = results.success(answer)
    text = shown["content"][0]["text"]
    assert shown["structuredContent"] == answer
    for warning in answer["warnings"]:
        assert warning["message"] in text
        for call in warning["mend"]:
            assert orjson.dumps({"call": call["call"], "arguments": call["arguments"]}).decode()[1:-1] in text
            await engine.call(call["call"], call["arguments"], ADMIN)


async def works(engine: Engine, name: str) -> None:
    """A run succeeds, and nothing is left to say."""
    with anyio.fail_after(30):
        record = await engine.call("trigger_invoke", {"slug": name, "wait_timeout_seconds": 30}, ADMIN)
    assert record["state"] == "succeeded", record
    found = await engine.call("explain", {"kind": "trigger", "id": name}, ADMIN)
    assert [call["call"] for call in found["next"]] == ["trigger_get"]
    assert "fits it" in found["summary"]


async def test_a_trigger_that_fits_has_no_warnings(engine: Engine, name: str) -> None:
    await deploy(engine, job(name, "respond"))
    assert (await publish(engine, name))["warnings"] == []
    await works(engine, name)


async def test_no_such_job_and_no_surface(engine: Engine, name: str) -> None:
    answer = await publish(engine, name, publication={})
    assert codes(answer) == ["target_not_deployed", "published_nowhere"]
    await mend(engine, answer)
    await works(engine, name)
    shown = await engine.call("trigger_get", {"slug": name}, ADMIN)
    assert shown["tool_name"] == f"trigger_invoke_{name}"


async def test_a_job_that_is_only_staged(engine: Engine, name: str) -> None:
    await engine.call("job_put", {"document": job(name, "respond")}, ADMIN)
    answer = await publish(engine, name)
    assert codes(answer) == ["target_not_deployed"]
    await mend(engine, answer)
    await works(engine, name)


async def test_a_filter_with_another_tag(engine: Engine, name: str) -> None:
    await deploy(engine, job(name, "respond"))
    answer = await publish(engine, name, target_message_tag="gone")
    assert codes(answer) == ["filter_does_not_match"]
    await mend(engine, answer)
    await works(engine, name)


@pytest.mark.parametrize("output", ["discard", "{file: out/NAME.txt}"])
async def test_a_job_that_neither_listens_nor_answers(engine: Engine, name: str, output: str) -> None:
    await deploy(engine, job(name, output, "echo: {event: hello}"))
    answer = await publish(engine, name)
    assert codes(answer) == ["filter_does_not_match", "never_answers"]
    await mend(engine, answer)
    await works(engine, name)


async def test_a_job_that_answers_in_another_slot(engine: Engine, name: str) -> None:
    envelope = """{data: {type: trigger_response, version: 1, tenant_id: tenant-a, response_slot: other, nonce: n,
      invocation_id: "${msg|job_event.invocation_id}", outcome: succeeded, emitted_at_ns: 0}}"""
    await deploy(engine, job(name, "discard") + f"emit: {envelope}\n")
    answer = await publish(engine, name)
    assert codes(answer) == ["answers_in_another_slot"]
    await mend(engine, answer)
    await works(engine, name)


async def test_a_revision_says_what_changed_and_warns_too(engine: Engine, name: str) -> None:
    await deploy(engine, job(name, "respond"))
    await publish(engine, name)
    revised = await publish(engine, name, "trigger_revise", target_message_tag="gone", tags=["x"])
    assert revised["changes"] == [
        {"path": "target_message_tag", "old": f"go-{name}", "new": "gone"},
        {"path": "tags[0]", "new": "x"},
    ]
    assert codes(revised) == ["filter_does_not_match"]
    found = await engine.call("explain", {"kind": "trigger", "id": name}, ADMIN)
    assert revised["warnings"][0]["message"] in found["summary"]
    assert found["next"] == revised["warnings"][0]["mend"]
    read_only = await engine.call("explain", {"kind": "trigger", "id": name}, replace(ADMIN, allow_write=False))
    assert [call["call"] for call in read_only["next"]] == ["trigger_get"]


async def test_deactivation_says_what_still_runs(engine: Engine, name: str) -> None:
    await deploy(engine, job(name, "discard"))
    await publish(engine, name)
    runs = [await engine.call("trigger_invoke", {"slug": name, "wait_timeout_seconds": 0}, ADMIN) for _ in range(2)]
    off = await engine.call("trigger_deactivate", {"slug": name}, ADMIN)
    assert off["open_invocations"] == [run["invocation_id"] for run in reversed(runs)]
    assert (off["active"], off["open_total"]) == (False, 2)
    assert "was deactivated by alice" in off["callers_hear"]
    found = await engine.call("explain", {"kind": "trigger", "id": name}, ADMIN)
    assert found["state"] == "inactive"
    assert "alice deactivated it through internal" in [cause["what"] for cause in found["because"]]


async def test_a_run_whose_job_did_its_work_and_said_nothing_is_explained(engine: Engine, name: str) -> None:
    await deploy(engine, job(name, "{file: out/NAME.txt}"))
    await publish(engine, name, response_timeout_seconds=1, annotations={"idempotent": True})
    record = await engine.call("trigger_invoke", {"slug": name}, ADMIN)
    assert record["state"] == "timed_out" and "the work may be done" in record["result"]["hint"]
    assert (await engine.call("trigger_get", {"slug": name}, ADMIN))["target_up"]
    asked = {"kind": "invocation", "id": record["invocation_id"]}
    found = await engine.call("explain", asked, ADMIN)
    assert f"{name} ended ok at 2" in found["summary"]
    assert f"1 event to file out/{name}.txt, and sent nothing valid to slot reply" in found["summary"]
    assert "its document has no trigger_response" in found["summary"]
    assert "The work may be done already" in found["summary"]
    assert [call["call"] for call in found["next"]] == ["explain", "trigger_get", "trigger_invoke"]
    assert found["next"][0]["arguments"] == {"kind": "trigger", "id": name}
    reading = await engine.call("explain", asked, replace(ADMIN, allow_write=False))
    assert [call["call"] for call in reading["next"]] == ["explain", "trigger_get"]
    await publish(engine, name, "trigger_revise")
    found = await engine.call("explain", asked, ADMIN)
    assert [call["call"] for call in found["next"]] == ["explain", "trigger_get"], "it is idempotent no more"


async def test_what_a_home_without_an_engine_publishes_is_checked_too(tmp_path: Path) -> None:
    home = tmp_path / "home"
    async with engine_on(home) as running:
        await deploy(running, job("fine", "respond"))
    owned = ownership.acquire(ownership.prepare(home))
    assert owned is not None
    async with open_offline(Settings(home=home), REGISTRY, owned) as alone:
        assert codes(await publish(alone, "fine")) == []
        assert codes(await publish(alone, "other")) == ["target_not_deployed"]
