"""Calls in the middle of a job on a real worker: with a secret, through a cache, from the KV store; and the count."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import pytest

from core.engine import Engine
from mcp_server.http import metrics
from tests import waiting
from tests.dsl import model_server, web
from tests.engines import ADMIN, deploy, engine_on

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def engine(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Engine]:
    home = tmp_path_factory.mktemp("calls") / "home"
    async with engine_on(home, egress_allow=("127.0.0.1/32",)) as opened:
        yield opened


def job(name: str, events: list[Any], action: dict[str, Any], out: Path) -> str:
    source = {"echo": {"json": True, "event": "\n".join(map(json.dumps, events))}}
    return json.dumps({"name": name, "input": source, "actions": [action], "output": {"file": {"path": str(out)}}})


def lines(path: Path) -> list[Any]:
    return [json.loads(line) for line in waiting.lines(path)]


async def owner(request: web.Request, writer: asyncio.StreamWriter) -> None:
    host = request.line.split()[1].rpartition("/")[2]
    writer.write(web.answer(200, json.dumps({"owner": f"of {host}"}).encode(), content_type="application/json"))


async def figures(engine: Engine, name: str) -> dict[str, Any]:
    return (await engine.call("job_metrics", {"name": name}, ADMIN))["items"][0]["metrics"]


async def test_events_are_enriched_by_calls_in_order_and_the_calls_are_counted(engine: Engine, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    await engine.call("secret_set", {"name": "owners-key", "value": "s3cret-of-owners"}, ADMIN)
    events = [{"n": n, "host": f"h{n % 10}"} for n in range(200)]
    async with web.serve(owner) as site:
        action = {
            "url": site.url("/hosts/${host}"),
            "headers": {"authorization": "Bearer ${secret|owners-key}"},
            "concurrency": 8,
            "cache": {"ttl": "1m"},
        }
        with anyio.fail_after(30):
            await deploy(engine, job("owners", events, {"http": action}, out))
            await waiting.until(lambda: len(lines(out)) == 200)
            found = await waiting.until(lambda: figures(engine, "owners"), lambda told: told.get("calls") == 10)
    assert lines(out) == [{**event, "response": {"owner": f"of {event['host']}"}} for event in events]
    assert {request.headers["authorization"] for request in site.requests} == {"Bearer s3cret-of-owners"}
    assert (found["calls_failed"], found["cache_hits"], found["cache_misses"]) == (0, 190, 10)
    items = (await engine.call("job_metrics", {}, ADMIN))["items"]
    shown = {one.name: [sample.value for sample in one.samples] for one in metrics.jobs(items, "tenant-a")}
    assert (shown["job_calls_total"], shown["job_cache_hits_total"]) == ([10], [190])


async def test_a_trace_says_which_call_it_did_not_make(engine: Engine) -> None:
    async with web.serve(owner) as site:
        text = job("traced", [{"host": "a b"}], {"http": {"url": site.url("/${host}")}}, Path("out"))
        found = await engine.call("job_trace", {"document": text}, ADMIN)
    assert site.connections == 0
    (told, _) = found["would_emit"]
    assert (told["kind"], told["step"], told["method"]) == ("call", 0, "GET")
    assert told["url"] == site.url("/a%20b")
    assert "a trace makes no call" in told["text"]


async def test_an_event_that_a_service_refuses_is_a_letter_that_is_replayed_through_the_call(
    engine: Engine, tmp_path: Path
) -> None:
    out = tmp_path / "out.jsonl"
    known = {"a"}

    async def only_known(request: web.Request, writer: asyncio.StreamWriter) -> None:
        host = request.line.split()[1].rpartition("/")[2]
        writer.write(web.answer(200, b'"ann"', content_type="application/json") if host in known else web.answer(404))

    async with web.serve(only_known) as site:
        action = {"http": {"url": site.url("/${host}"), "response": {"body-field": "owner"}}}
        with anyio.fail_after(40):
            await deploy(engine, job("replayed", [{"host": "a"}, {"host": "b"}], action, out))
            letters = await waiting.until(
                lambda: engine.call("dead_letter_list", {"job": "replayed"}, ADMIN), lambda told: told["items"]
            )
            (letter,) = letters["items"]
            assert (letter["step"], letter["code"]) == ("/actions/0/http", "action-failed")
            assert "answered 404" in letter["reason"]
            known.add("b")
            await engine.call("dead_letter_replay", {"job": "replayed"}, ADMIN)
            await waiting.until(lambda: len(lines(out)) == 2)
    assert lines(out) == [{"host": "a", "owner": "ann"}, {"host": "b", "owner": "ann"}]


async def test_a_job_comes_back_no_sooner_than_a_service_asks(engine: Engine, tmp_path: Path) -> None:
    async with web.serve(web.answer(429, retry_after="3600")) as site:
        with anyio.fail_after(30):
            action = {"http": {"url": site.url("/x")}}
            await engine.call("job_put", {"document": job("asking", [{}], action, tmp_path / "out.jsonl")}, ADMIN)
            await engine.call("job_deploy", {"name": "asking", "wait_seconds": 0}, ADMIN)

            async def workload() -> dict[str, Any]:
                return (await engine.call("job_get", {"name": "asking"}, ADMIN))["workloads"][0]

            seen = await waiting.until(workload, lambda one: one["state"] == "failed")
            assert "answered 429 (not tried again for 3600 s, as asked)" in seen["reason"]
            await engine.call("job_undeploy", {"name": "asking"}, ADMIN)
    assert len(site.requests) == 1


async def test_a_model_is_asked_with_a_secret_key_until_the_budget_of_the_day_is_used_up(
    engine: Engine, tmp_path: Path
) -> None:
    out = tmp_path / "out.jsonl"
    await engine.call("secret_set", {"name": "model-key", "value": "sk-0123456789"}, ADMIN)
    async with model_server.serving(key="sk-0123456789") as server:
        action = {
            "infer": {
                "workload": "llm-completion",
                "llm": {"url": server.url, "model": "small", "api-key": "${secret|model-key}"},
                "input-field": "text",
                "concurrency": 1,
                "prices": {"prompt": 1, "completion": 1},
                "budget": {"tokens": 40, "per": "day"},
                "cache": {"ttl": "1d", "namespace": "answers"},
            }
        }
        with anyio.fail_after(40):
            events = [{"text": f"w{n}"} for n in range(30)]
            await engine.call("job_put", {"document": job("asking", events, action, out)}, ADMIN)
            await engine.call("job_deploy", {"name": "asking"}, ADMIN)

            async def failed() -> dict[str, Any]:
                return (await engine.call("job_get", {"name": "asking"}, ADMIN))["workloads"][0]

            seen = await waiting.until(failed, lambda one: "budget" in one["reason"])
            assert "is used up: 40 of 40 tokens" in seen["reason"]
            told = await figures(engine, "asking")
            await engine.call("job_undeploy", {"name": "asking"}, ADMIN)
    assert len(server.asked) == 20, "and none after its restarts"
    assert (told["prompt_tokens"], told["completion_tokens"], told["cost_millionths"]) == (20, 20, 40)
    logged = await engine.call("job_log", {"name": "asking"}, ADMIN)
    assert "sk-0123456789" not in json.dumps(logged)
