"""Jobs on a real worker that use the KV store of their engine."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import pytest
from engines import deploy, engine_on

from core.engine import Engine
from core.model.kv import Namespace

pytestmark = pytest.mark.anyio


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[Engine]:
    async with engine_on(tmp_path / "home") as running:
        yield running


def space(engine: Engine, name: str) -> Namespace:
    return Namespace(engine.kv, f"tenant-a:{name}")


def lines(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


async def until(condition: Any) -> None:
    while not condition():  # noqa: ASYNC110
        await anyio.sleep(0.01)


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
        await until(lambda: lines(out))
    assert lines(out) == [{"id": "a", "n": 7}]
