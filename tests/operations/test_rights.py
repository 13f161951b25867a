"""Who may call what: every operation has a rule, and what one tenant owns is not there for another one.

Both tests walk the registry, so that a new operation is part of them without being named here.
"""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import anyio
import pytest

from core import errors
from core.engine import Engine
from core.model.operation import Effect, Operation, Params, Registry
from core.model.principal import SYSTEM, Caller, Principal, Role, Surface
from core.operations import REGISTRY
from tests import cases
from tests.engines import ADMIN, USER, engine_on
from tests.furnished import CANARY, arguments_of, furnish, naming, settled

pytestmark = pytest.mark.anyio


class Nothing(Params):
    pass


def test_every_operation_says_who_may_call_it() -> None:
    assert [op.name for op in REGISTRY if op.role is None] == [], "without a role nobody can call it"


CHANGES = {
    # What each role may change besides what those before it may; an admin everything.
    Role.VIEWER: {  # his own session
        *("token_mint", "console_link_create", "console_session_create", "console_session_end"),
        *("login_complete", "login_end", "login_device_poll", "login_device_approve"),
        *("mcp_grant_approve", "mcp_token_issue", "mcp_token_end"),
        *("mcp_activity_record", "call_once"),
    },
    Role.USER: {"trigger_invoke", "trigger_invocation_rerun", "trigger_invocation_cancel"},
    Role.OPERATOR: {
        *("job_run_now", "run_cancel", "schedule_pause", "schedule_resume", "schedule_backfill"),
        *("deployment_reconcile", "worker_drain", "worker_resume", "dead_letter_replay", "callback_redeliver"),
    },
}


def test_each_role_may_change_what_it_is_for_and_only_an_admin_administers() -> None:
    may: set[str] = set()
    for role, more in CHANGES.items():
        may |= more
        assert {op.name for op in REGISTRY if op.effect is not Effect.READ and op.allows(role)} == may, role
    assert all(op.allows(Role.ADMIN) for op in REGISTRY)


def test_a_role_covers_itself_and_those_before_it() -> None:
    order = [Role.VIEWER, Role.USER, Role.OPERATOR, Role.ADMIN]
    assert [[one.covers(other) for other in order] for one in order] == [
        [True, False, False, False],
        [True, True, False, False],
        [True, True, True, False],
        [True, True, True, True],
    ]


async def test_a_role_counts_in_its_tenant_alone(engine: Engine) -> None:
    """Admin of one tenant and viewer of another: also when an argument names the other one."""
    principal = Principal("carl", Role.VIEWER, ("tenant-a", "tenant-b"), roles=(("tenant-b", Role.ADMIN),))
    in_a, in_b = (Caller(principal, tenant, Surface.HTTP) for tenant in ("tenant-a", "tenant-b"))
    with anyio.fail_after(10):
        assert await engine.call("audit_list", {}, in_b)
        with pytest.raises(errors.Forbidden, match="role admin; carl has the role viewer in tenant-a"):
            await engine.call("audit_list", {}, in_a)
        given = {"slug": "mine", "target_job_name": "j", "target_message_tag": "t", "tenant_id": "tenant-a"}
        with pytest.raises(errors.Forbidden, match="in tenant-a"):
            await engine.call("trigger_publish", given, in_b)
        assert (await engine.call("whoami", {}, in_a))["role"] == "viewer"
        assert (await engine.call("whoami", {}, in_b))["role"] == "admin"
        with pytest.raises(errors.Forbidden, match="role"):  # nor does a key carry the role into the other tenant
            given = {"username": "carl", "role": "admin", "tenants": ["tenant-a", "tenant-b"]}
            await engine.call("token_create", given, in_b)


async def test_the_policy_of_a_trigger_asks_for_the_role(engine: Engine) -> None:
    """a_trigger lets users and admins; for_admins admins alone, which operators are as far as running goes."""
    more = {"target_job_name": "smoke_trigger_handler", "target_message_tag": "smoke.invoke"}
    await engine.call("trigger_publish", {"slug": "for_admins", **more}, ADMIN)
    refused = {
        Role.VIEWER: {"a_trigger", "for_admins"},
        Role.USER: {"for_admins"},
        Role.OPERATOR: set(),
        Role.ADMIN: set(),
    }
    for role, expected in refused.items():
        caller = Caller(Principal("rob", role, ("tenant-a",)), "tenant-a", Surface.HTTP)
        found = (await engine.call("trigger_list", {}, caller))["items"]
        assert {one["slug"] for one in found if not one["may_run"]} == expected, role
    with anyio.fail_after(5), pytest.raises(errors.Forbidden, match="role user"):
        viewer = Caller(Principal("rob", Role.VIEWER, ("tenant-a",)), "tenant-a", Surface.HTTP)
        await engine.call("trigger_invoke", {"slug": "a_trigger", "params": {"env": "x"}}, viewer)
    await engine.call("trigger_deactivate", {"slug": "for_admins"}, ADMIN)


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def engine(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Engine]:
    async with engine_on(tmp_path_factory.mktemp("rights") / "home", workers=1) as running:
        with anyio.fail_after(120):
            await furnish(running)
        yield running


async def test_an_operation_without_a_rule_is_refused_to_everybody(engine: Engine) -> None:
    registry = Registry()

    @registry.operation(summary="New.", http="", toolset="jobs")
    async def newcomer(engine: Engine, caller: Caller, params: Nothing) -> dict[str, Any]:
        raise AssertionError("it was called")

    for caller in (ADMIN, USER, SYSTEM):
        with pytest.raises(errors.Forbidden, match="no rule"):
            engine.admission._authorise(registry["newcomer"], caller, {})


BEYOND_USERS = [op for op in REGISTRY if op.role in (Role.OPERATOR, Role.ADMIN)]


async def test_a_user_is_refused_what_is_for_admins_and_the_refusal_is_on_record(engine: Engine) -> None:
    with anyio.fail_after(60), cases.every() as case:
        for operation in BEYOND_USERS:
            with case(operation.name):
                with pytest.raises(errors.Forbidden, match=r"role (admin|operator)"):
                    await engine.call(operation.name, {}, USER)


# -- tenants ----------------------------------------------------------------------------------------------------------

MALLORY = Caller(Principal("mallory", Role.ADMIN, ("tenant-b",)), "tenant-b", Surface.HTTP)
BOB_OF_B = replace(MALLORY, principal=replace(MALLORY.principal, role=Role.USER))
SHARED = {op.name for op in REGISTRY if op.toolset == "workers" and op.name != "deployment_set"} | {
    "license_show", "license_install", "secret_rotate_key", "catalog_portals", "dsl_reference", "schema_get",
    "mcp_notifications_transport_get",
}  # fmt: skip
"""About the installation and not about what a tenant owns."""


async def _outcome(engine: Engine, operation: Operation, caller: Caller, *, real: bool) -> str:
    given = arguments_of(operation, real=real)
    try:
        result = await engine.call(operation.name, given, caller)
    except errors.SluiceError as error:
        said = str(error.to_dict())
    else:
        said = settled(str(result))
    assert CANARY not in said, f"{operation.name} shows what tenant-a owns"
    for key, value in given.items():
        if key in naming():
            said = said.replace(str(value), f"<{key}>")
    return said


OWNED = [op for op in REGISTRY if op.name not in SHARED]
MAKES = {
    # They make a thing of the caller's own tenant, whatever others call theirs.
    "context_set", "job_put", "kv_set", "mcp_activity_record", "call_once", "secret_set",
    "token_create", "trigger_publish", "variable_set", "workflow_save_draft",
    "console_link_create", "console_session_create", "service_account_create",
    "login_device_begin",
}  # fmt: skip


async def test_the_owner_finds_what_the_others_do_not(engine: Engine) -> None:
    """Without this the next test could pass with names that nobody has."""
    with anyio.fail_after(60), cases.every() as case:
        for operation in OWNED:
            if operation.effect is Effect.READ and "{" in operation.http:
                given = arguments_of(operation, real=True)
                with case(operation.name):
                    assert await engine.call(operation.name, given, ADMIN)
                    with pytest.raises(errors.NotFound):
                        await engine.call(operation.name, given, MALLORY)


async def test_what_another_tenant_owns_is_told_like_what_is_not_there(engine: Engine) -> None:
    with anyio.fail_after(120), cases.every() as case:
        for operation, caller in itertools.product(OWNED, (MALLORY, BOB_OF_B)):
            if operation.name not in MAKES:
                with case(operation.name, caller.principal.role):
                    theirs = await _outcome(engine, operation, caller, real=True)
                    assert theirs == await _outcome(engine, operation, caller, real=False)


async def test_an_argument_opens_no_other_tenant(engine: Engine) -> None:
    with anyio.fail_after(60), cases.every() as case:
        for operation in OWNED:
            if "tenant_id" in operation.schema.get("properties", {}):
                given = {**arguments_of(operation, real=True), "tenant_id": "tenant-a"}
                with case(operation.name), pytest.raises(errors.NotFound, match="no tenant"):
                    await engine.call(operation.name, given, MALLORY)


async def test_nobody_touches_what_another_tenant_owns(engine: Engine) -> None:
    """Runs the whole registry as tenant-b, with the names of tenant-a, and compares all rows of tenant-a."""
    with anyio.fail_after(60):
        await engine.fleet.runs.settled()  # what is counted of tenant-a is written by itself after a while
        before = await engine.database.read(_rows_of_a)
        for operation in OWNED:
            await _outcome(engine, operation, MALLORY, real=True)
        after = await engine.database.read(_rows_of_a)
    assert before == after
    assert sum(map(len, before.values())) > 12


def _rows_of_a(db: Any) -> dict[str, list[Any]]:
    owned = {table.name for table in db.tables if any(column.name == "tenant" for column in table.columns)}
    owned -= {"usage"}  # it counts rows of `invocations` after a while, and those are compared
    # Its jobs and schedules go on, and what is well is known to be so in more ways as their first events come through.
    by_themselves = {
        "runs": " AND (by != '' OR state = 'canceled')",
        "conditions": " AND health != 'healthy'",
        "schedules": " AND paused_at_ns != 0",
    }
    return {
        name: list(db.query(f"SELECT * FROM [{name}] WHERE tenant = 'tenant-a'{by_themselves.get(name, '')}"))
        for name in owned
    }
