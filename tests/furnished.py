"""A tenant with one of each thing, and the names of them: what tests of rights ask for, and others must not see.

Every thing holds the canary. `arguments_of` gives the arguments of any operation that name what the tenant owns, or
names of the same shape that nobody has; a new operation whose arguments are not known here fails the test that asks.
"""

from __future__ import annotations

import hashlib
import re
from typing import Any

from core import clock
from core.engine import Engine
from core.model.operation import Operation
from core.store import audit, disclosures, enrolment
from tests import waiting
from tests.engines import ADMIN, EXAMPLES, deploy

CANARY = "canary-of-tenant-a"
REFUSING = "name: refusing\ninput: {echo: {event: %s}}\noutput: {print: {input-field: missing}}\n"
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
CONTEXT = {
    "kind": "context",
    "path": "context.yaml",
    "text": f"kind: context\nenvironment: dev\nvalues: {{from_git: {CANARY}}}\n",
}
NAMES: dict[str, str] = {
    # What tenant-a owns, by toolset and argument; `furnish` adds the ids that are made.
    "jobs name": "a_job",
    "jobs job": "a_job",
    "schedules name": "a_job",
    "deployments name": "a_place",
    "workers name": "a_place",
    "workers id": "slw_none",
    "triggers slug": "a_trigger",
    "workflows slug": "a-flow",
    "catalog slug": "a-flow",
    "contexts name": "A_THING",
    "contexts job": "a_job",
    "letters job": "refusing",
    "kv namespace": "a_space",
    "kv key": "a_key",
    "session id": "a_job",
    "administration name": "an-account",
}
GIVEN: dict[str, Any] = {
    # What an operation needs besides the name of a thing.
    "action": "requeue",
    "arguments": {"document": JOB % "mine"},
    "digest": "0" * 32,
    "document": JOB % "mine",
    "from_environment": "dev",
    "group": "default",
    "environment": "dev",
    "key": "k",
    "keys": ["region"],
    "kind": "job",
    "manifest": MANIFEST,
    "ids": ["tok_none"],
    "new_name": "copied",
    "operation": "job_put",
    "records": [{"tool": "x", "outcome": "ok", "duration_ms": 1, "at_ns": 1}],
    "since": "3h",
    "status": 0,
    "target_job_name": "a_job",
    "to_environment": "prod",
    "token": "x",
    "type": "workflow",
    "until": "1h",
    "username": "mallory",
    "role": "viewer",
    "value": "mine",
    "values": {"region": "mine"},
    "version": 1,
    "worker": "local-1",
}
SPECIAL: dict[str, dict[str, Any]] = {
    "deployment_plan": {"remove": True},
    "deployment_reset": {"step": "print", "to": "beginning"},
    "job_trace": {"name": "a_job"},
    "dead_letter_replay": {"job": "refusing", "wait_seconds": 0},
    "dead_letter_discard": {"job": "refusing", "code": "skipped"},
    "workflow_save_draft": {"document": WORKFLOW % "mine"},
    "workflow_validate": {"slug": "a-flow"},
    "workflow_retire": {"version": "1"},
    "workflow_trace": {"source": "workflow:a-flow"},
    "catalog_update": {"type": "workflow"},
    "secret_delete": {"name": "web/a"},
    "secret_set": {"name": "web/a"},
    "mcp_grant_get": {"query": {"client_id": "x"}},
    "mcp_grant_approve": {"query": {"client_id": "x"}},
    "mcp_token_issue": {"form": {"grant_type": "x"}},
    "mcp_token_end": {"token": "x"},
    "login_complete": {"query": {}, "transaction": "x"},
    "login_end": {"logout_token": "x"},
    "login_device_poll": {"device_code": "x"},
    "login_device_approve": {"user_code": "BBBB-BBBB"},
    "role_binding_create": {"service_account": "an-account"},
    "role_binding_delete": {"id": "rb_none"},
    "service_account_create": {"name": "an-account"},
    "token_create": {"tenants": ["tenant-b"]},
    "worker_approve": {"name": "edge-1"},
    "worker_revoke": {"name": "edge-1"},
    "worker_secrets": {"name": "edge-1"},
    "worker_get": {"name": "local-1"},
    "worker_group_get": {"name": "default"},
    "worker_group_rebalance": {"name": "default"},
}


async def furnish(engine: Engine) -> None:
    """Give tenant-a one of each thing, with the canary in it."""

    async def do(operation: str, **arguments: Any) -> dict[str, Any]:
        return await engine.call(operation, arguments, ADMIN)

    await deploy(engine, JOB % CANARY)
    await do("job_put", document=JOB % CANARY + f"# {CANARY}", draft=True)
    await deploy(engine, REFUSING % CANARY)
    (letter, *_) = await waiting.until(lambda: _letters(engine))
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
    made = await do("gitops_apply", manifest={**MANIFEST, "name": "default"}, files=[CONTEXT])
    await do("context_set", values={"region": CANARY}, job="a_job")
    await do("context_set", values={"region": CANARY})
    await do("variable_set", name="A_THING", value=CANARY)
    await do("worker_group_create", name="elsewhere", tenants=["tenant-a"])
    token = await do("worker_token_create", group="elsewhere", uses=2)
    NAMES["workers id"] = token["id"]
    await enrol(engine, token["token"])
    given = disclosures.Disclosure("edge-1", "tenant-a", "web/a", 1, 1, 1)
    await engine.database.write(disclosures.keep, [given])
    await do("secret_set", name="web/a", value=CANARY)
    await do("kv_set", namespace="a_space", key="a_key", value=CANARY)
    await do("mcp_activity_record", records=[{"tool": CANARY, "outcome": "ok", "duration_ms": 1, "at_ns": 1}])
    token = await do("token_create", username="alice", name=CANARY, tenants=["tenant-a"])
    await do("service_account_create", name="an-account", description=CANARY)
    binding = await do("role_binding_create", role="user", service_account="an-account")
    SPECIAL["role_binding_delete"]["id"] = binding["id"]
    runs = await waiting.until(lambda: do("run_list"), lambda found: found["items"])
    NAMES.update(
        {
            "triggers invocation_id": run["invocation_id"],
            "messages invocation_id": run["invocation_id"],
            "messages event_id": "evt_" + run["invocation_id"][4:],
            "deployments plan_id": later["plan_id"],
            "administration id": token["id"],
            "letters id": letter["id"],
            "gitops run_id": made["run_id"],
            "jobs run_id": runs["items"][0]["run_id"],
        }
    )


async def enrol(engine: Engine, token: str) -> None:
    """Redeem a worker token for a worker edge-1 that never comes; it waits to be approved."""
    prefix, id, secret, _ = token.split("_")
    asked = enrolment.Asked(
        token=f"{prefix}_{id}",
        secret_hash=hashlib.sha256(secret.encode()).hexdigest(),
        name="edge-1",
        host="edge-1",
        public_key="ab" * 32,
        address="192.0.2.7",
        id="wrk_0123456789abcdef",
        now_ns=clock.now_ns(),
    )
    await engine.database.write(
        enrolment.redeem, asked, lambda target: audit.row(engine.ids.next(), ADMIN, "worker_enrol", target)
    )


async def _letters(engine: Engine) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await engine.call("dead_letter_list", {}, ADMIN))["items"]
    return found


def arguments_of(operation: Operation, *, real: bool, http: str | None = None) -> dict[str, Any]:
    """Arguments that name what tenant-a owns, or something of the same shape that nobody owns.

    `http` is one of the operation's other routes, whose placeholders are arguments as well.
    """
    schema = operation.schema
    placeholders = set(re.findall(r"{(\w+)}", operation.http if http is None else http))
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
    return out if real else {key: other(value) if key in naming() else value for key, value in out.items()}


def naming() -> set[str]:
    return {key.split()[1] for key in NAMES}


def other(value: Any) -> Any:
    """A name of the same shape that nobody has."""
    return value[:-1] + ("0" if value[-1] != "0" else "1") if isinstance(value, str) else value


def settled(text: str) -> str:
    """What was answered, without the ids that every answer makes anew."""
    return re.sub(r"(watch\W+)[0-9a-f]{16}", r"\1made", text)
