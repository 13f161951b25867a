"""A disk that is full: writes are refused in plain words, reads go on, and nothing accepted is lost."""

from __future__ import annotations

import json
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from core import errors
from core.engine import Engine
from core.store import stray_opens
from tests.engines import ADMIN, EXAMPLES, deploy, engine_on

pytestmark = pytest.mark.anyio

INVOKE = {"slug": "smoke_trigger", "params": {"env": "x" * 2000}, "wait_timeout_seconds": 0}


@contextmanager
def full_disk(home: Path) -> Iterator[None]:
    """No file of this process can grow: what the engine sees is the error of a full disk."""
    limit, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (max(p.stat().st_size for p in home.glob("sluice.db*")), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))


async def _until_full(engine: Engine) -> list[str]:
    """Invoke until the store refuses; returns what was accepted."""
    accepted = []
    for _ in range(5_000):
        try:
            record = await engine.call("trigger_invoke", INVOKE, ADMIN)
            accepted.append(record["invocation_id"])
        except errors.StorageUnavailable as error:
            assert "Free disk space" in error.hint
            return accepted
    raise AssertionError("the disk never filled")


async def test_a_full_disk_refuses_new_runs_and_loses_no_accepted_one(tmp_path: Path) -> None:
    home = tmp_path / "home"
    definition: dict[str, Any] = json.loads((EXAMPLES / "smoke_trigger.json").read_text())
    async with engine_on(home) as engine:
        with anyio.fail_after(60):
            await engine.call("trigger_publish", {**definition, "response_timeout_seconds": 60}, ADMIN)
            await deploy(engine, (EXAMPLES / "smoke_trigger_handler.yaml").read_text())
            with full_disk(home):
                accepted = await _until_full(engine)
                listed = await engine.call("trigger_list", {}, ADMIN)
                assert [item["slug"] for item in listed["items"]] == ["smoke_trigger"], "reads go on"
                runs = await engine.call("trigger_invocation_list", {}, ADMIN)
                assert runs["total"] == len(accepted)
                revision = 1
                with pytest.raises(errors.StorageUnavailable):
                    while True:  # a checkpoint may have made room in the log
                        text = f"{revision}".ljust(1400, "y")
                        await engine.call("trigger_revise", {**definition, "description": text}, ADMIN)
                        revision += 1
                shown = await engine.call("trigger_get", {"slug": "smoke_trigger"}, ADMIN)
                assert shown["revision"] == revision, "a refused revision is not there in memory either"
            for id in accepted:
                ended = await engine.call("trigger_invocation_get", {"invocation_id": id, "wait_seconds": 20}, ADMIN)
                assert ended["state"] == "succeeded"
            again = await engine.call("trigger_invoke", {**INVOKE, "wait_timeout_seconds": 20}, ADMIN)
            assert again["state"] == "succeeded", "the engine goes on by itself"
            assert (await engine.call("trigger_invocation_list", {}, ADMIN))["total"] == len(accepted) + 1


async def test_the_owner_of_a_home_cannot_open_its_database_by_name(tmp_path: Path) -> None:
    async with engine_on(tmp_path / "home") as engine:
        with pytest.raises(stray_opens.DatabaseOpenedByName):
            engine.settings.database.read_bytes()
    assert (tmp_path / "home" / "sluice.db").read_bytes().startswith(b"SQLite format 3")
