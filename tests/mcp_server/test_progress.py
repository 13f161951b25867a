"""Progress: counts of what a call is about reach whoever waits for it, and nobody else; it only grows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import pytest

from core.model import notices
from core.model.principal import Caller, Principal, Role
from core.operations import REGISTRY
from mcp_server.cli import stage
from mcp_server.progress import Progress
from tests.mcp_server import fake

pytestmark = pytest.mark.anyio
TENANT = "tenant-a"


def hears(caller: Caller, topic: str, data: Any) -> bool:
    return notices.hears(REGISTRY, caller, topic, data)


class Client:
    """Hears the progress of one call."""

    def __init__(self) -> None:
        self.told: list[tuple[float, float | None, str]] = []
        self.heard = anyio.Event()

    async def report(self, progress: float, total: float | None, message: str) -> None:
        self.told.append((progress, total, message))
        self.heard.set()
        self.heard = anyio.Event()


def count(done: int, total: int = 4, **more: Any) -> dict[str, Any]:
    return {"tenant": "default", "id": "plan_1", "done": done, "total": total, "text": f"{done} of {total}", **more}


async def test_counts_of_the_plan_that_is_applied_are_passed_on() -> None:
    progress, client = Progress(hears), Client()
    with anyio.fail_after(5):
        async with progress.reported(client.report, "deployment_apply", {"plan_id": "plan_1"}, fake.CALLER, 60):
            for done in (1, 3, 4):
                heard = client.heard
                progress.noticed("progress", count(done))
                await heard.wait()
    assert client.told == [(1.0, 4.0, "1 of 4"), (3.0, 4.0, "3 of 4"), (4.0, 4.0, "4 of 4")]


async def test_what_is_about_others_is_not_heard() -> None:
    progress, client = Progress(hears), Client()
    other = replace(fake.CALLER, principal=Principal("eve", Role.ADMIN, ("default",)))
    with anyio.fail_after(5):
        async with progress.reported(client.report, "deployment_apply", {"plan_id": "plan_1"}, other, 0.02):
            heard = client.heard
            progress.noticed("progress", count(1, id="plan_2"))
            progress.noticed("progress", count(1, tenant="tenant-b"))
            progress.noticed("deployment", count(1))
            await heard.wait()
    assert all("is running" in message for _, _, message in client.told)
    assert not progress._waiting


async def test_it_grows_even_when_the_count_falls_or_nothing_is_new() -> None:
    progress, client = Progress(hears), Client()
    with anyio.fail_after(5):
        async with progress.reported(client.report, "deployment_apply", {"plan_id": "plan_1"}, fake.CALLER, 0.02):
            for done in (3, 2, 4):
                heard = client.heard
                progress.noticed("progress", count(done))
                await heard.wait()
            for _ in range(2):
                await client.heard.wait()
    values = [value for value, _, _ in client.told]
    assert values == sorted(set(values)) and len(values) >= 5
    assert all(total is not None and value <= total for value, total, _ in client.told)


async def test_a_client_attached_in_another_process_sees_the_counts_of_its_apply(tmp_path: Path) -> None:
    scene = stage.Stage(tmp_path / "home")
    told: list[tuple[float, float | None, str | None]] = []

    async def hear(progress: float, total: float | None, message: str | None) -> None:
        told.append((progress, total, message))

    try:
        with anyio.fail_after(60):
            await scene.start(workers=1)
            async with scene.mcp(TENANT) as client:
                source = "workflow:quickstart-file-store-roundtrip"
                values = {"path": "store"}
                made = await client.call("deployment_plan", name="demo", source=source, values=values)
                await client._client.call_tool(
                    "deployment_apply", {"plan_id": made.result["plan_id"]}, progress_callback=hear
                )
    finally:
        with anyio.fail_after(30, shield=True):
            await scene.stop()
    assert told and told[-1] == (4.0, 4.0, "4 of 4 workloads are up")
    assert [value for value, _, _ in told] == sorted({value for value, _, _ in told})
