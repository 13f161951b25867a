"""Role bindings and service accounts: what they come to, who gives them, and that rights follow them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import pytest

from core import errors
from core.engine import Engine
from core.model.binding import Binding, Held, Kind, held
from core.model.principal import SYSTEM, Caller, Principal, Role, Surface
from mcp_server.http import auth
from mcp_server.live import CHECK
from tests.engines import engine_on

pytestmark = pytest.mark.anyio

OWNER = Caller(Principal("root", Role.ADMIN, ("*",), platform=True), "tenant-a", Surface.CLI)
ADMIN_OF_A = Caller(Principal("ann", Role.ADMIN, ("tenant-a",)), "tenant-a", Surface.HTTP)
ISSUER = "https://login.example"


def _binding(tenant: str, role: Role, platform: bool = False) -> Binding:
    return Binding("rb_1", Kind.GROUP, ISSUER, "ops", tenant, role, platform, 1, "root")


def test_of_several_bindings_the_highest_role_in_each_tenant_counts() -> None:
    assert held([]) is None
    assert held([_binding("a", Role.USER), _binding("a", Role.ADMIN), _binding("a", Role.VIEWER)]) == Held(
        Role.ADMIN, ("a",), False, {}
    )
    assert held([_binding("b", Role.ADMIN), _binding("a", Role.VIEWER)]) == Held(
        Role.VIEWER, ("a", "b"), False, {"b": Role.ADMIN}
    )
    assert held([_binding("*", Role.OPERATOR), _binding("a", Role.VIEWER), _binding("b", Role.ADMIN)]) == Held(
        Role.OPERATOR, ("*",), False, {"b": Role.ADMIN}
    )
    assert held([_binding("*", Role.ADMIN, True)]) == Held(Role.ADMIN, ("*",), True, {})


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[Engine]:
    async with engine_on(
        tmp_path / "home", workers=0, oidc_issuer=ISSUER, oidc_client_id="c", public_url=ISSUER
    ) as running:
        yield running


async def _key(engine: Engine, name: str, **more: Any) -> dict[str, Any]:
    return await engine.call("service_account_key_create", {"name": name, **more}, OWNER)


async def _caller(engine: Engine, token: str) -> Caller:
    identity = await auth.TokenAuth(engine).principal(f"Bearer {token}")  # type: ignore[arg-type]
    return auth.caller(identity, "tenant-a")


async def test_a_key_of_a_service_account_may_what_its_bindings_say_at_that_time(engine: Engine) -> None:
    with anyio.fail_after(20):
        await engine.call("service_account_create", {"name": "nightly"}, ADMIN_OF_A)
        with pytest.raises(errors.InvalidParams, match="has no role yet"):  # nor does a key wait for one
            await _key(engine, "nightly")
        given = {"service_account": "nightly", "role": "viewer"}
        viewer = await engine.call("role_binding_create", given, ADMIN_OF_A)
        key = await _key(engine, "nightly")
        caller = await _caller(engine, key["token"])
        assert (caller.username, caller.role) == ("service:tenant-a/nightly", Role.VIEWER)
        with pytest.raises(errors.Forbidden, match="needs the role admin"):
            await engine.call("variable_set", {"name": "A", "value": "x"}, caller)
        with pytest.raises(errors.AlreadyExists, match="has the role viewer in tenant-a"):
            await engine.call("role_binding_create", {**given, "role": "admin"}, ADMIN_OF_A)
        await engine.call("role_binding_delete", {"id": viewer["id"]}, ADMIN_OF_A)
        with pytest.raises(errors.Unauthenticated):  # nothing is bound to it
            await _caller(engine, key["token"])
        await engine.call("role_binding_create", {**given, "role": "admin"}, ADMIN_OF_A)
        caller = await _caller(engine, key["token"])
        assert await engine.call("variable_set", {"name": "A", "value": "x"}, caller)
        with pytest.raises(errors.Forbidden, match="makes no key"):
            await engine.call("token_create", {"username": "bob", "tenants": ["tenant-a"]}, caller)
        gone = await engine.call("service_account_delete", {"name": "nightly"}, ADMIN_OF_A)
        assert gone["keys"] == [key["id"]]
        with pytest.raises(errors.Unauthenticated):
            await _caller(engine, key["token"])
        assert (await engine.call("role_binding_list", {}, OWNER))["items"] == []


async def test_the_doors_hear_at_once_that_a_binding_is_gone(engine: Engine) -> None:
    with anyio.fail_after(20):
        await engine.call("service_account_create", {"name": "nightly"}, ADMIN_OF_A)
        binding = await engine.call("role_binding_create", {"service_account": "nightly", "role": "user"}, ADMIN_OF_A)
        key = await _key(engine, "nightly")
        heard: list[str] = []
        engine.subscribe(lambda topic, _: heard.append(topic))
        await engine.call("role_binding_delete", {"id": binding["id"]}, ADMIN_OF_A)
        assert "tokens" in heard
        found = await engine.call(CHECK, {"ids": [key["id"]]}, SYSTEM)
        assert found["items"] == {key["id"]: {"state": "forbidden"}}


async def test_nobody_binds_beyond_his_own_rights_or_for_what_is_not_there(engine: Engine) -> None:
    with anyio.fail_after(20):
        await engine.call("service_account_create", {"name": "nightly"}, ADMIN_OF_A)
        for given, fault in (
            ({"group": "ops", "role": "admin", "tenant": "tenant-b"}, errors.NotFound),
            ({"group": "ops", "role": "viewer", "tenant": "*"}, errors.Forbidden),
            ({"service_account": "other", "role": "viewer"}, errors.NotFound),
            ({"group": "ops", "person": "u-1", "role": "viewer"}, errors.InvalidParams),
            ({"role": "viewer"}, errors.InvalidParams),
            ({"group": "ops", "role": "viewer", "platform": True}, errors.InvalidParams),
        ):
            with pytest.raises(fault):
                await engine.call("role_binding_create", given, ADMIN_OF_A)
        everywhere = {"service_account": "nightly", "role": "admin", "tenant": "*", "platform": True}
        made = await engine.call("role_binding_create", everywhere, OWNER)
        for operation, given in (
            ("service_account_key_create", {"name": "nightly"}),
            ("service_account_delete", {"name": "nightly"}),
        ):
            with pytest.raises(errors.Forbidden, match="beyond his own"):
                await engine.call(operation, given, ADMIN_OF_A)
        with pytest.raises(errors.NotFound):  # one for every tenant is not his to see
            await engine.call("role_binding_delete", {"id": made["id"]}, ADMIN_OF_A)


async def test_a_group_is_one_of_a_provider(tmp_path: Path) -> None:
    async with engine_on(tmp_path / "home", workers=0) as engine:
        with anyio.fail_after(20), pytest.raises(errors.InvalidParams, match="none is set"):
            await engine.call("role_binding_create", {"group": "ops", "role": "viewer"}, OWNER)
