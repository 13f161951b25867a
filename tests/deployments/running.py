"""Workflows on an engine with real workers: published, planned and applied, with events that can be counted."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import orjson

from core import documents
from core.engine import Engine
from tests import waiting
from tests.engines import ADMIN

LINES = """
kind: blueprint
slug: lines
version: 1.0.0
parameters: {type: object, properties: {path: {type: string}}, required: [path]}
ports: {out: [out]}
jobs: [{name: read, input: {files: {paths: ["{{path}}"], json: true}}, output: {port: out}}]
"""
TAIL = """
kind: blueprint
slug: tail
version: 1.0.0
parameters: {type: object, properties: {path: {type: string}}, required: [path]}
ports: {out: [out]}
jobs: [{name: read, input: {files: {paths: ["{{path}}"], json: true, mode: tail}}, output: {port: out}}]
"""
KEEP = """
kind: blueprint
slug: keep
version: 1.0.0
parameters: {type: object, properties: {path: {type: string}}, required: [path]}
ports: {in: [in]}
jobs: [{name: write, input: {port: in}, output: {file: {path: "{{path}}"}}}]
"""


async def publish(engine: Engine, *texts: str) -> list[str]:
    """Publish documents; returns their sources."""
    out = []
    for text in texts:
        (document,) = documents.load(text)
        saved = await engine.call("workflow_save_draft", {"document": text}, ADMIN)
        assert saved["errors"] == [], saved["errors"]
        key = {"slug": document.data["slug"], "type": document.kind}
        out.append((await engine.call("workflow_publish", key, ADMIN))["source"])
    return out


async def plan(engine: Engine, source: str, name: str = "demo", **more: Any) -> dict[str, Any]:
    made = await engine.call("deployment_plan", {"name": name, "source": source, **more}, ADMIN)
    assert made["blockers"] == [], made["blockers"]
    return made


async def apply(engine: Engine, source: str, name: str = "demo", **more: Any) -> dict[str, Any]:
    """Plan and apply; fails when not everything comes up."""
    made = await plan(engine, source, name, **more)
    result = await engine.call("deployment_apply", {"plan_id": made["plan_id"]}, ADMIN)
    assert result["state"] == "running", result
    return result


def write(path: Path, numbers: range, **more: Any) -> None:
    """Events with a number each, one a line."""
    with path.open("ab") as file:
        file.writelines(orjson.dumps({"n": n, **{k: v(n) for k, v in more.items()}}) + b"\n" for n in numbers)


def numbers(path: Path) -> Counter[int]:
    """The numbers of the events that arrived, each with how often."""
    return Counter(orjson.loads(line)["n"] for line in waiting.lines(path))


async def arrived(path: Path, wanted: range | list[int], seconds: float = 20) -> Counter[int]:
    """Wait until every wanted event is there; returns what is."""
    need = set(wanted)
    await waiting.until(lambda: need <= numbers(path).keys(), seconds=seconds)
    return numbers(path)


def once(wanted: range | list[int]) -> Counter[int]:
    return Counter(wanted)
