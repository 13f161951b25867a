"""What the tests of built-in items share: one engine with two workers, deployments on it, and what they wrote."""

from __future__ import annotations

import gzip
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import orjson

from core.engine import Engine
from tests import waiting
from tests.engines import ADMIN, engine_on

SECONDS = 25.0

T = TypeVar("T")


@asynccontextmanager
async def two_workers(home: Path) -> AsyncIterator[Engine]:
    """An engine whose two workers are both there; jobs may reach servers on loopback and run programs."""
    async with engine_on(home, workers=2, egress_allow=("127.0.0.1/32",), allow_exec=True) as engine:
        yield engine


@asynccontextmanager
async def deployed(
    engine: Engine, name: str, source: str, values: Mapping[str, Any]
) -> AsyncIterator[list[dict[str, Any]]]:
    """Plan without a warning, apply, come up; afterwards remove. Yields the workloads."""
    made = await engine.call("deployment_plan", {"name": name, "source": source, "values": dict(values)}, ADMIN)
    assert (made["blockers"], made["warnings"]) == ([], []), made["text"]
    result = await engine.call("deployment_apply", {"plan_id": made["plan_id"]}, ADMIN)
    assert result["state"] == "running", result
    yield result["workloads"]
    removal = await engine.call("deployment_plan", {"name": name, "remove": True}, ADMIN)
    removed = await engine.call("deployment_apply", {"plan_id": removal["plan_id"]}, ADMIN)
    assert (removed["state"], removed["workloads"]) == ("removed", [])


async def published(engine: Engine, document: Mapping[str, Any]) -> str:
    """The source of a workflow that was saved without a fault or warning, and published."""
    saved = await engine.call("workflow_save_draft", {"document": orjson.dumps(document).decode()}, ADMIN)
    assert (saved["errors"], saved["warnings"]) == ([], [])
    made = await engine.call("workflow_publish", {"slug": saved["slug"], "type": saved["type"]}, ADMIN)
    return str(made["source"])


def write(path: Path, *events: Any) -> Path:
    """A file with a line for each: a text as it is, anything else as JSON."""
    lines = (event if isinstance(event, str) else orjson.dumps(event).decode() for event in events)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


def read(path: Path) -> list[Any]:
    """The events in a file of JSON lines, so far; nothing while it is not there."""
    return [orjson.loads(line) for line in waiting.lines(path)]


def archived(directory: Path) -> list[Any]:
    """The events in the compressed objects of an archive, so far."""
    found = []
    for path in sorted(directory.rglob("*.json.gz")):
        found += [orjson.loads(line) for line in gzip.decompress(path.read_bytes()).splitlines()]
    return found


async def lines(path: Path, count: int) -> list[Any]:
    """The events in a file as soon as there are so many."""
    return await waiting.until(lambda: read(path), lambda found: len(found) >= count)


async def messages(engine: Engine, count: int, **filters: Any) -> list[dict[str, Any]]:
    """The payloads of the messages that fit, the oldest first, as soon as there are so many."""

    async def search() -> list[dict[str, Any]]:
        page = await engine.call("message_search", {"limit": 200, **filters}, ADMIN)
        return [item["message_data"] for item in reversed(page["items"])]

    return await waiting.until(search, lambda found: len(found) >= count)


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])
