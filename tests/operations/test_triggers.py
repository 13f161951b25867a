"""Triggers through the engine: which tenant a call means, and what it is told about an argument that does not fit."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from engines import ADMIN, engine_on

from core import errors
from core.engine import Engine

pytestmark = pytest.mark.anyio

DRAFT = {"slug": "check", "display_name": "Check", "parameter_schema": {"type": "object"}, "target_job_name": "check"}


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[Engine]:
    async with engine_on(tmp_path / "home", workers=0) as running:
        await running.call("trigger_publish", {**DRAFT, "tenant_id": "tenant-a"}, ADMIN)
        yield running


@pytest.mark.parametrize(
    ("operation", "arguments"),
    [
        ("trigger_get", {"slug": "check"}),
        ("trigger_invoke", {"slug": "check"}),
        ("trigger_deactivate", {"slug": "check"}),
        ("trigger_revise", DRAFT),
    ],
)
@pytest.mark.parametrize("tenant", ["tenant-b", "default"])
async def test_a_named_tenant_is_that_tenant_and_no_other(
    engine: Engine, operation: str, arguments: dict[str, Any], tenant: str
) -> None:
    with pytest.raises(errors.NotFound):
        await engine.call(operation, {**arguments, "tenant_id": tenant}, ADMIN)
    kept = await engine.call("trigger_get", {"slug": "check", "tenant_id": "tenant-a"}, ADMIN)
    assert (kept["active"], kept["revision"]) == (True, 1)


async def test_the_local_operator_may_leave_out_the_only_tenant_that_has_the_trigger(engine: Engine) -> None:
    assert (await engine.call("trigger_get", {"slug": "check"}, ADMIN))["tenant_id"] == "tenant-a"


async def test_an_optional_argument_that_does_not_fit_is_told_what_fits(engine: Engine) -> None:
    with pytest.raises(errors.InvalidParams) as caught:
        await engine.call("trigger_list", {"surface": "tv", "tag": 5}, ADMIN)
    said = {problem.pointer: problem.message for problem in caught.value.errors}
    assert '"ui"' in said["/surface"] and '"mcp"' in said["/surface"]
    assert said["/tag"] == '5 is not of type "string"'
