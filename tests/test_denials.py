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
