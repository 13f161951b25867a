"""Paths are judged before a job runs: by the tenant, by the group that it goes to, and by what is open today."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from core import errors
from core.engine import Engine
from tests.engines import ADMIN, engine_on

pytestmark = pytest.mark.anyio
QUICKSTART = "workflow:quickstart-file-store-roundtrip@1"
READER = "name: reader\ninput: {{files: {{path: {path}, mode: batch}}}}\noutput: {{discard: {{}}}}\n"


def guarded(home: Path, **settings: Any) -> Any:
    return engine_on(home, **{"workers": 0, "file_access": "tenant", **settings})


async def plan(engine: Engine, **more: Any) -> dict[str, Any]:
    made: dict[str, Any] = await engine.call("deployment_plan", {"name": "web", **more}, ADMIN)
    return made


async def test_a_root_of_a_group_is_open_to_jobs_that_go_there(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "file").write_text("x\n")
    document = READER.format(path=tmp_path / "in" / "file")
    async with guarded(tmp_path / "home", workers="default=1,etl=1", file_roots=(f"etl:{tmp_path}/in:ro",)) as engine:
        await engine.call("job_put", {"document": document}, ADMIN)  # it may go to either group
        with pytest.raises(errors.InvalidDocument) as refused:
            await engine.call("job_deploy", {"name": "reader"}, ADMIN)
        assert "outside of where jobs of the tenant tenant-a" in refused.value.errors[0].message
        deployed = await engine.call("job_deploy", {"name": "reader", "worker_group": "etl"}, ADMIN)
        assert [one["state"] for one in deployed["workloads"]] == ["completed"]
        values = {"path": str(tmp_path / "in"), "guid_prefix": "x"}
        here = await plan(engine, source=QUICKSTART, values=values, worker_group="default")
        there = await plan(engine, source=QUICKSTART, values=values, worker_group="etl")
        assert {one["code"] for one in here["blockers"]} == {"path_not_allowed"}
        assert len(here["blockers"]) == 2, "the writer and the reader of the channel"
        [written] = there["blockers"]
        assert "can only be read by jobs" in written["message"] and ":ro" in written["hint"]


async def test_a_job_that_is_deployed_says_what_is_closed_on_its_workers(tmp_path: Path) -> None:
    source = "input: {echo: {event: x, trigger: {interval: 1h}}}"
    async with guarded(tmp_path / "home", workers=1) as engine:
        for url, codes in (("http://192.0.2.1/x", ["closed"]), ("https://example.com/", [])):
            document = f"name: post\n{source}\noutput: {{http-post: {{url: {url}}}}}\n"
            await engine.call("job_put", {"document": document}, ADMIN)
            deployed = await engine.call("job_deploy", {"name": "post", "wait_seconds": 0}, ADMIN)
            assert [one["code"] for one in deployed["warnings"]] == codes
            assert all("SLUICE_EGRESS_ALLOW=192.0.2.1" in one["hint"] for one in deployed["warnings"])


async def test_another_tenants_root_is_closed_and_the_reason_is_a_fault_of_the_document(tmp_path: Path) -> None:
    async with guarded(tmp_path / "home", file_roots=(f"tenant-b={tmp_path}/b",)) as engine:
        document = READER.format(path=tmp_path / "b" / "file")
        found = await engine.call("job_validate", {"document": document}, ADMIN)
        assert not found["valid"]
        [fault] = found["errors"]
        assert fault["pointer"] == "/input/files/paths/0"
        assert "belongs to another tenant" in fault["message"]
        assert "whoever runs the worker: --file-root tenant-a=/PATH (setting file_roots)" in fault["message"]


async def test_the_way_back_is_blocked_by_a_path_that_is_closed_by_now(tmp_path: Path) -> None:
    (tmp_path / "spool").mkdir()
    home, values = tmp_path / "home", {"path": str(tmp_path / "spool"), "guid_prefix": "x"}
    async with guarded(home, workers=1, file_roots=(f"{tmp_path}/spool",)) as engine:
        for wanted in (values, {**values, "path": "spool"}):
            made = await plan(engine, source=QUICKSTART, values=wanted)
            assert made["blockers"] == []
            await engine.call("deployment_apply", {"plan_id": made["plan_id"]}, ADMIN)
        seen = await engine.call("deployment_get", {"name": "web", "detail": "detailed"}, ADMIN)
        assert seen["data_directory"] == str(tmp_path / "home-data" / "tenant-a")
        assert (await plan(engine, to_revision=1))["blockers"] == []
    async with guarded(home) as engine:
        back = await plan(engine, to_revision=1)
        assert [one["code"] for one in back["blockers"]] == ["path_not_allowed"] * 2
