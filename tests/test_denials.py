"""Refusals: each on record while they are few, and counted when they are many."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import anyio
import pytest

from core import denials, errors
from core.model.principal import Caller, Principal, Role, Surface
from tests.engines import ADMIN, engine_on

pytestmark = pytest.mark.anyio
UWE = Caller(Principal("uwe", Role.USER, ("tenant-a",)), "tenant-a", Surface.HTTP)


async def test_a_refusal_that_is_repeated_is_counted_and_leaves_what_others_did(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with engine_on(tmp_path / "home", workers=0) as engine:
        with anyio.fail_after(60):
            for _ in range(1000):
                with pytest.raises(errors.Forbidden):
                    await engine.call("audit_list", {}, UWE)
            with pytest.raises(errors.Forbidden):
                await engine.call("secret_list", {"limit": 1}, replace(UWE, principal=replace(UWE.principal)))
            monkeypatch.setattr(denials, "WINDOW_SECONDS", 0.0)
            await engine.denials.fold()
            rows = (await engine.call("audit_list", {"username": "uwe", "limit": 200}, ADMIN))["items"]
            found = Counter(row["operation"] for row in rows)
            assert found["audit_list"] == denials.EACH + 1
            assert rows[0]["target"] == f"{1000 - denials.EACH} more refusals within a minute"
            assert {row["decision"] for row in rows} == {"forbidden"}


async def test_a_change_that_was_refused_is_on_record_with_its_code_its_thing_and_its_session(tmp_path: Path) -> None:
    lena = Caller(Principal("lena", Role.ADMIN, ("tenant-a",)), "tenant-a", Surface.MCP, label="desk")
    async with engine_on(tmp_path / "home", workers=0) as engine:
        with anyio.fail_after(60):
            for operation, arguments, code in (
                ("deployment_apply", {"plan_id": "plan_0123456789abcdef"}, "not_found"),
                ("deployment_plan", {"name": "demo", "source": 7}, "invalid_params"),
                ("trigger_deactivate", {"slug": "nothing"}, "not_found"),
                ("job_put", {"document": "name: x\n"}, "invalid_document"),
            ):
                with pytest.raises(errors.SluiceError) as refused:
                    await engine.call(operation, arguments, lena)
                assert refused.value.code == code
            with pytest.raises(errors.NotFound):
                await engine.call("trigger_get", {"slug": "nothing"}, lena)  # a question changes nothing
            await engine.call("variable_set", {"name": "a", "value": "1"}, lena)
            found = (await engine.call("audit_list", {"label": "desk"}, lena))["items"]
            assert [(row["operation"], row["target"], row["decision"]) for row in reversed(found)] == [
                ("deployment_apply", "tenant-a/plan_0123456789abcdef", "not_found"),
                ("deployment_plan", "tenant-a/demo", "invalid_params"),
                ("trigger_deactivate", "tenant-a/nothing", "not_found"),
                ("job_put", "", "invalid_document"),
                ("variable_set", "tenant-a/a", "allowed"),
            ]
            by_name = (await engine.call("audit_list", {"target": "demo"}, lena))["items"]
            assert [row["decision"] for row in by_name] == ["invalid_params"]
