"""Triggers through the engine: which tenant a call means, and what it is told about an argument that does not fit."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from core import errors
from core.engine import Engine
from core.model.principal import Principal, Role
from tests.engines import ADMIN, engine_on

pytestmark = pytest.mark.anyio

OPERATOR = replace(ADMIN, tenant="default")
"""Who owns the home directory, in no tenant in particular."""
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
    assert (await engine.call("trigger_get", {"slug": "check"}, OPERATOR))["tenant_id"] == "tenant-a"
    assert await slugs(engine, {}) == ["tenant-a/check"]
    assert await slugs(engine, {"tenant_id": "default"}) == []
    await engine.call("trigger_publish", DRAFT, OPERATOR)
    assert await slugs(engine, {}) == ["default/check", "tenant-a/check"]
    with pytest.raises(errors.NotFound):
        await engine.call("trigger_get", {"slug": "check", "tenant_id": "tenant-b"}, OPERATOR)


async def test_a_session_in_a_tenant_is_offered_what_it_can_call(engine: Engine) -> None:
    await engine.call("trigger_revise", {**DRAFT, "tenant_id": "tenant-a", "publication": {"mcp": True}}, ADMIN)
    for tenant, offered in (("default", 1), ("tenant-a", 1), ("tenant-b", 0)):
        caller = replace(OPERATOR, tenant=tenant)
        assert len((await engine.call("trigger_tools", {}, caller))["tools"]) == offered
        assert (await engine.call("trigger_list", {}, caller))["total"] == offered
        if offered:
            assert (await engine.call("trigger_invoke", {"slug": "check"}, caller))["tenant_id"] == "tenant-a"


async def test_a_row_says_whether_the_caller_may_run_it_and_what_that_does(engine: Engine) -> None:
    for slug, more in (
        ("reads", {"annotations": {"read_only": True}}),
        ("wipes", {"annotations": {"destructive": True}, "invoke_policy": {"allow_user": False}}),
    ):
        await engine.call("trigger_publish", {**DRAFT, "slug": slug, "tenant_id": "tenant-a", **more}, ADMIN)
    user = replace(ADMIN, principal=Principal("ulla", Role.USER, ("tenant-a",)))
    for caller, may in ((ADMIN, True), (user, False)):
        rows = {row["slug"]: row for row in (await engine.call("trigger_list", {}, caller))["items"]}
        assert {slug: row["effect"] for slug, row in rows.items()} == {
            "check": "write",
            "reads": "read",
            "wipes": "destructive",
        }
        assert rows["wipes"]["may_run"] is may
        assert not any(row["target_up"] for row in rows.values()), "no job is called check here"


async def slugs(engine: Engine, arguments: dict[str, Any]) -> list[str]:
    listed = await engine.call("trigger_list", {"invokable_only": True, **arguments}, OPERATOR)
    return [f"{one['tenant_id']}/{one['slug']}" for one in listed["items"]]


async def test_an_empty_list_of_runs_tells_where_else_there_may_be_some(engine: Engine) -> None:
    await engine.call("trigger_invoke", {"slug": "check"}, OPERATOR)
    empty = await engine.call("trigger_invocation_list", {}, OPERATOR)
    assert (empty["total"], "tenant-a" in empty["hint"]) == (0, True)
    for arguments in ({"tenant_id": "tenant-a"}, {"tenant_id": "default"}):
        assert "hint" not in await engine.call("trigger_invocation_list", arguments, OPERATOR)
    member = replace(OPERATOR, principal=Principal("bob", Role.ADMIN, ("default",)))
    assert "hint" not in await engine.call("trigger_invocation_list", {}, member), "others' tenants are not told"
    assert (await engine.call("trigger_list", {}, member))["items"] == []


async def test_an_optional_argument_that_does_not_fit_is_told_what_fits(engine: Engine) -> None:
    with pytest.raises(errors.InvalidParams) as caught:
        await engine.call("trigger_list", {"surface": "tv", "tag": 5}, ADMIN)
    said = {problem.pointer: problem.message for problem in caught.value.errors}
    assert '"ui"' in said["/surface"] and '"mcp"' in said["/surface"]
    assert said["/tag"] == '5 is not of type "string"'
