"""Who may call what: every operation has a rule, and what one tenant owns is not there for another one.

Both tests walk the registry, so that a new operation is part of them without being named here.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import anyio
import pytest
from engines import ADMIN, EXAMPLES, USER, deploy, engine_on

from core import errors
from core.engine import Engine
from core.model.operation import Effect, Operation, Params, Registry
from core.model.principal import SYSTEM, Caller, Principal, Role, Surface
from core.operations import REGISTRY

pytestmark = pytest.mark.anyio


class Nothing(Params):
    pass


@pytest.mark.parametrize("operation", list(REGISTRY), ids=lambda op: op.name)
def test_every_operation_says_who_may_call_it(operation: Operation) -> None:
    assert operation.role is not None, f"{operation.name} declares no role: nobody can call it"


def test_only_an_admin_may_administer() -> None:
    """What a user may change is what a trigger's policy lets him run, and records of his own session."""
    changing = {op.name for op in REGISTRY if op.effect is not Effect.READ and op.allows(Role.USER)}
    assert changing == {
        "trigger_invoke",
        "trigger_invocation_rerun",
        "token_mint",
        "mcp_activity_record",
        "replay_begin",
        "replay_end",
    }


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def engine(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Engine]:
    async with engine_on(tmp_path_factory.mktemp("rights") / "home", workers=1) as running:
        with anyio.fail_after(30):
            await _furnish(running)
        yield running


async def test_an_operation_without_a_rule_is_refused_to_everybody(engine: Engine) -> None:
    registry = Registry()

    @registry.operation(summary="New.", http="", toolset="jobs")
    async def newcomer(engine: Engine, caller: Caller, params: Nothing) -> dict[str, Any]:
        raise AssertionError("it was called")

    for caller in (ADMIN, USER, SYSTEM):
        with pytest.raises(errors.Forbidden, match="no rule"):
            engine._authorise(registry["newcomer"], caller, {})


@pytest.mark.parametrize("operation", [op for op in REGISTRY if op.role is Role.ADMIN], ids=lambda op: op.name)
async def test_a_user_is_refused_what_is_for_admins_and_the_refusal_is_on_record(
    engine: Engine, operation: Operation
) -> None:
    with anyio.fail_after(5), pytest.raises(errors.Forbidden, match="role admin"):
        await engine.call(operation.name, {}, USER)


# -- tenants ----------------------------------------------------------------------------------------------------------

CANARY = "canary-of-tenant-a"
MALLORY = Caller(Principal("mallory", Role.ADMIN, ("tenant-b",)), "tenant-b", Surface.HTTP)
BOB_OF_B = replace(MALLORY, principal=replace(MALLORY.principal, role=Role.USER))
SHARED = {op.name for op in REGISTRY if op.toolset == "workers" and op.name != "deployment_set"} | {
    "license_show", "license_install", "secret_rotate_key", "catalog_portals", "dsl_reference", "schema_get",
    "mcp_notifications_transport_get",
}  # fmt: skip
"""About the installation and not about what a tenant owns."""
JOB = "name: a_job\ninput: {echo: {event: %s, trigger: {interval: {duration: 1h}}}}\noutput: {print: STDOUT}\n"
WORKFLOW = """\
kind: workflow
slug: a-flow
summary: %s
steps:
  - {id: beat, use: "blueprint:echo-source@1.0.0", with: {event: "{}", interval: 1h}, out: channel:c}
  - {id: print, use: "blueprint:file-printer@1.0.0", in: channel:c}
"""
MANIFEST = {"schema_version": "v1", "scope": {"tenant_id": "tenant-a", "environment": "dev"}, "includes": []}
NAMES: dict[str, str] = {
    # What tenant-a owns, by toolset and argument; `_furnish` adds the ids that are made.
    "jobs name": "a_job",
    "jobs job": "a_job",
    "deployments name": "a_place",
    "workers name": "a_place",
    "triggers slug": "a_trigger",
    "workflows slug": "a-flow",
    "catalog slug": "a-flow",
    "contexts name": "A_THING",
    "contexts job": "a_job",
    "kv namespace": "a_space",
    "kv key": "a_key",
    "session id": "a_job",
}
GIVEN: dict[str, Any] = {
    # What an operation needs besides the name of a thing.
    "action": "requeue",
    "digest": "0" * 32,
    "document": JOB % "mine",
    "from_environment": "dev",
    "environment": "dev",
    "key": "k",
    "keys": ["region"],
    "kind": "job",
    "manifest": MANIFEST,
    "new_name": "copied",
    "operation": "job_put",
    "records": [{"tool": "x", "outcome": "ok", "duration_ms": 1, "at_ns": 1}],
    "status": 0,
    "target_job_name": "a_job",
    "to_environment": "prod",
    "token": "x",
    "username": "mallory",
    "value": "mine",
    "values": {"region": "mine"},
    "version": 1,
}
SPECIAL: dict[str, dict[str, Any]] = {
    "deployment_plan": {"remove": True},
    "job_trace": {"name": "a_job"},
    "workflow_save_draft": {"document": WORKFLOW % "mine"},
    "workflow_validate": {"slug": "a-flow"},
    "workflow_retire": {"version": "1"},
    "catalog_update": {"type": "workflow"},
    "secret_delete": {"name": "web/a"},
    "secret_set": {"name": "web/a"},
    "token_create": {"tenants": ["tenant-b"]},
}


async def _furnish(engine: Engine) -> None:
    """Give tenant-a one of each thing, with the canary in it."""

    async def do(operation: str, **arguments: Any) -> dict[str, Any]:
        return await engine.call(operation, arguments, ADMIN)

    await deploy(engine, JOB % CANARY)
    await do("job_put", document=JOB % CANARY + f"# {CANARY}", draft=True)
    await deploy(engine, (EXAMPLES / "smoke_trigger_handler.yaml").read_text(encoding="utf-8"))
    await do(
        "trigger_publish",
        slug="a_trigger",
        description=CANARY,
        target_job_name="smoke_trigger_handler",
        target_message_tag="smoke.invoke",
        publication={"mcp": True, "ui_admin": True, "ui_user": True},
        invoke_policy={"allow_admin": True, "allow_user": True},
    )
    run = await do("trigger_invoke", slug="a_trigger", params={"env": CANARY}, wait_timeout_seconds=0)
    await do("workflow_save_draft", document=WORKFLOW % CANARY)
    await do("workflow_publish", slug="a-flow")
    await do("workflow_save_draft", document=WORKFLOW % (CANARY + " draft"))
    plan = await do("deployment_plan", name="a_place", source="workflow:a-flow")
    await do("deployment_apply", plan_id=plan["plan_id"])
    later = await do("deployment_plan", name="a_place", remove=True)
    await do("context_set", values={"region": CANARY}, job="a_job")
    await do("context_set", values={"region": CANARY})
    await do("variable_set", name="A_THING", value=CANARY)
    await do("secret_set", name="web/a", value=CANARY)
    await do("kv_set", namespace="a_space", key="a_key", value=CANARY)
    await do("mcp_activity_record", records=[{"tool": CANARY, "outcome": "ok", "duration_ms": 1, "at_ns": 1}])
    token = await do("token_create", username="alice", name=CANARY, tenants=["tenant-a"])
    NAMES.update(
        {
            "triggers invocation_id": run["invocation_id"],
            "messages invocation_id": run["invocation_id"],
            "messages event_id": "evt_" + run["invocation_id"][4:],
            "deployments plan_id": later["plan_id"],
            "administration id": token["id"],
        }
    )


def arguments_of(operation: Operation, *, real: bool) -> dict[str, Any]:
    """Arguments that name what tenant-a owns, or something of the same shape that nobody owns."""
    schema = operation.schema
    placeholders = set(re.findall(r"{(\w+)}", operation.http))
    wanted = placeholders | set(schema.get("required", ()))
    out: dict[str, Any] = {}
    for argument in sorted(wanted):
        name = NAMES.get(f"{operation.toolset} {argument}")
        if name is not None:
            out[argument] = name
        elif argument in GIVEN:
            out[argument] = GIVEN[argument]
        elif argument not in SPECIAL.get(operation.name, {}):
            raise AssertionError(f"say in NAMES or GIVEN what {argument} of {operation.name} ({operation.toolset}) is")
    out.update(SPECIAL.get(operation.name, {}))
    return out if real else {key: _other(value) if key in _naming() else value for key, value in out.items()}


def _naming() -> set[str]:
    return {key.split()[1] for key in NAMES}


def _other(value: Any) -> Any:
    """A name of the same shape that nobody has."""
    return value[:-1] + ("0" if value[-1] != "0" else "1") if isinstance(value, str) else value


async def _outcome(engine: Engine, operation: Operation, caller: Caller, *, real: bool) -> str:
    given = arguments_of(operation, real=real)
    try:
        result = await engine.call(operation.name, given, caller)
    except errors.SluiceError as error:
        said = str(error.to_dict())
    else:
        said = str(result)
    assert CANARY not in said, f"{operation.name} shows what tenant-a owns"
    for key, value in given.items():
        if key in _naming():
            said = said.replace(str(value), f"<{key}>")
    return said


OWNED = [op for op in REGISTRY if op.name not in SHARED]
MAKES = {
    # They make a thing of the caller's own tenant, whatever others call theirs.
    "context_set", "job_put", "kv_set", "mcp_activity_record", "replay_begin", "replay_end", "secret_set",
    "token_create", "trigger_publish", "variable_set", "workflow_save_draft",
}  # fmt: skip


@pytest.mark.parametrize(
    "operation",
    [op for op in OWNED if op.effect is Effect.READ and "{" in op.http],
    ids=lambda op: op.name,
)
async def test_the_owner_finds_what_the_others_do_not(engine: Engine, operation: Operation) -> None:
    """Without this the next test could pass with names that nobody has."""
    with anyio.fail_after(5):
        assert await engine.call(operation.name, arguments_of(operation, real=True), ADMIN)
    with anyio.fail_after(5), pytest.raises(errors.NotFound):
        await engine.call(operation.name, arguments_of(operation, real=True), MALLORY)


@pytest.mark.parametrize("caller", [MALLORY, BOB_OF_B], ids=["admin", "user"])
@pytest.mark.parametrize("operation", [op for op in OWNED if op.name not in MAKES], ids=lambda op: op.name)
async def test_what_another_tenant_owns_is_told_like_what_is_not_there(
    engine: Engine, operation: Operation, caller: Caller
) -> None:
    with anyio.fail_after(10):
        theirs = await _outcome(engine, operation, caller, real=True)
        nobodys = await _outcome(engine, operation, caller, real=False)
    assert theirs == nobodys


@pytest.mark.parametrize(
    "operation", [op for op in OWNED if "tenant_id" in op.schema.get("properties", {})], ids=lambda op: op.name
)
async def test_an_argument_opens_no_other_tenant(engine: Engine, operation: Operation) -> None:
    given = {**arguments_of(operation, real=True), "tenant_id": "tenant-a"}
    with anyio.fail_after(5), pytest.raises(errors.NotFound, match="no tenant"):
        await engine.call(operation.name, given, MALLORY)


async def test_nobody_touches_what_another_tenant_owns(engine: Engine) -> None:
    """Runs the whole registry as tenant-b, with the names of tenant-a, and compares all rows of tenant-a."""
    with anyio.fail_after(60):
        before = await engine.database.read(_rows_of_a)
        for operation in OWNED:
            await _outcome(engine, operation, MALLORY, real=True)
        after = await engine.database.read(_rows_of_a)
    assert before == after
    assert sum(map(len, before.values())) > 12


def _rows_of_a(db: Any) -> dict[str, list[Any]]:
    owned = [table.name for table in db.tables if any(column.name == "tenant" for column in table.columns)]
    return {name: list(db.query(f"SELECT * FROM [{name}] WHERE tenant = 'tenant-a'")) for name in owned}
