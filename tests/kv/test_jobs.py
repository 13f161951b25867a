"""Jobs on a real worker that use the KV store of their engine."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import pytest

from core.engine import Engine
from core.model.kv import Namespace
from tests import waiting
from tests.engines import ADMIN, deploy, engine_on

pytestmark = pytest.mark.anyio


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[Engine]:
    async with engine_on(tmp_path / "home") as running:
        yield running


def space(engine: Engine, name: str) -> Namespace:
    return Namespace(engine.kv, f"tenant-a:{name}")


def lines(path: Path) -> list[Any]:
    return [json.loads(line) for line in waiting.lines(path)]


def job(name: str, source: str, sink: str, *actions: str) -> str:
    return "\n".join(
        (f"name: {name}", f"input: {source}", "actions:", *(f"  - {a}" for a in actions), f"output: {sink}")
    )


async def test_what_one_job_sets_another_reads(engine: Engine, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    with anyio.fail_after(30):
        await deploy(
            engine,
            job(
                "writer",
                '{echo: {json: true, event: \'{"id": "a", "n": 7}\'}}',
                "{discard: {}}",
                "worker-kv: {namespace: shared, operation: {set: {key-field: id, ttl-ms: 60000}}}",
            ),
        )
        found = await space(engine, "shared").get("a")
        assert json.loads(found.value or "") == {"id": "a", "n": 7}
        await deploy(
            engine,
            f"name: reader\ninput: {{worker-kv: {{namespace: 'tenant-a:shared', operation: {{get: {{key: a}}}}}}}}\n"
            f"output: {{file: {{path: {out}}}}}",
        )
        await waiting.until(lambda: lines(out))
    assert lines(out) == [{"id": "a", "n": 7}]


async def test_a_job_that_names_another_tenants_namespace_fails_and_says_why(engine: Engine) -> None:
    text = job("thief", "{echo: {event: x}}", "print", "worker-kv: {namespace: 'acme:n', operation: {set: {key: k}}}")
    with anyio.fail_after(30):
        await engine.call("job_put", {"document": text}, ADMIN)
        deployed = await engine.call("job_deploy", {"name": "thief"}, ADMIN)
    assert deployed["workloads"][0]["state"] == "failed"
    assert "another tenant" in deployed["workloads"][0]["reason"]


async def test_a_run_that_a_message_starts_may_wait_for_the_store(engine: Engine, tmp_path: Path) -> None:
    with anyio.fail_after(30):
        await deploy(
            engine,
            job(
                "count",
                "{echo: {json: true, event: '{}', trigger: {message: {filter-tag: go}}}}",
                "{message: {tag: done}}",
                "add: {output-fields: {who: '${msg|job_event.who}'}}",
                "worker-kv: {namespace: who, operation: {set-if-absent: {key-field: who, result-field: first}}}",
            ),
        )
        await deploy(
            engine,
            'name: go\ninput: {echo: {json: true, event: "{\\"who\\": \\"a\\"}\\n{\\"who\\": \\"a\\"}"}}\n'
            "output: {message: {tag: go}}",
        )

        async def done() -> list[Any]:
            return list((await engine.call("message_search", {"tag": "done"}, ADMIN))["items"])

        items = await waiting.until(done, lambda items: len(items) >= 2)
    assert sorted(item["message_data"]["job_event"]["first"] for item in items) == [False, True]


async def test_a_trace_says_what_would_be_done_and_leaves_the_store_alone(engine: Engine) -> None:
    text = job(
        "traced",
        "{echo: {event: x}}",
        "print",
        "worker-kv: {namespace: n, operation: {set-if-absent: {key-field: id, result-field: first}}}",
        "dedupe: {fields: [id], namespace: n}",
        "enrich: {lookup-kv: {namespace: n, key-field: id}}",
    )
    with anyio.fail_after(30):
        events = [{"id": "a"}, {"id": "a"}]
        traced = await engine.call("job_trace", {"document": text, "events": events}, ADMIN)
        assert (await space(engine, "n").list()).entries == ()
    assert traced["steps"][0]["after"] == [{"id": "a", "first": True}, {"id": "a", "first": True}]
    assert [(told["kind"], told["step"], told["text"]) for told in traced["would_emit"][:2]] == [
        ("kv", 0, "would set-if-absent a in tenant-a:n"),
        ("kv", 0, "would set-if-absent a in tenant-a:n"),
    ]
    assert "a trace reads no store" in traced["would_emit"][2]["text"]
    assert traced["events_out"] == [{"id": "a", "first": True}]
