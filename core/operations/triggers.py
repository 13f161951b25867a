"""Triggers: publish, revise, deactivate, list, and the one that everything is for: invoke."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from core import clock, errors
from core.admission import in_tenant
from core.deployments import status
from core.documents import differences
from core.engine import Engine
from core.explain.chain import Call
from core.model.operation import Effect, Params
from core.model.principal import Caller, Role
from core.model.states import InvocationState
from core.model.trigger import DEFAULT_WAIT_SECONDS, MAX_WAIT_SECONDS, TOOL_PREFIX, Definition
from core.operations.registry import INVOCATION_RECORD, Page, items_schema, offset_page, operation
from core.store import invocations
from core.store import triggers as table
from core.triggers import registry, tools
from core.triggers.callbacks import Callback
from core.triggers.registry import Trigger

SHOWN_REVISIONS = 50
SHOWN_RUNS = 50


class TriggerList(Page):
    surface: Literal["ui", "mcp"] | None = None
    """Published to this surface."""
    invokable_only: bool = False
    """That you may invoke now."""
    tag: str | None = Field(default=None, max_length=100)
    """With this tag."""
    tenant_id: str | None = Field(default=None, max_length=64)
    """Its tenant; left out: your own, for the local operator every one."""


@operation(
    summary="List the published triggers.",
    http="GET /api/triggers",
    toolset="triggers",
    result=items_schema(),
    role=Role.USER,
)
async def trigger_list(engine: Engine, caller: Caller, params: TriggerList) -> dict[str, Any]:
    """List the published triggers: what each does to the world (effect), whether you may run it now, and whether a
    worker runs its target job.

    trigger_get has the parameter schema of one. Run one with its tool trigger_invoke_<slug>.
    """
    found = [
        trigger
        for trigger in engine.triggers.reachable(caller, params.tenant_id)
        if (not params.invokable_only or trigger.invokable_by(caller))
        and (params.surface is None or _on_surface(trigger, params.surface, caller))
        and (params.tag is None or params.tag in trigger.definition.tags)
    ]

    def row(trigger: Trigger) -> dict[str, Any]:
        target = engine.fleet.workload_views(tenant=trigger.tenant, job=trigger.definition.target_job_name)
        may_run = trigger.invokable_by(caller)
        return {**trigger.summary(), "may_run": may_run, "target_up": any(map(status.up, target))}

    return offset_page(found, params, row)


def _on_surface(trigger: Trigger, surface: str, caller: Caller) -> bool:
    publication = trigger.definition.publication
    if surface == "mcp":
        return publication.mcp
    return publication.ui_admin if caller.is_admin else publication.ui_user


class TriggerRef(Params):
    slug: str = Field(max_length=64)
    """The slug of the trigger, e.g. smoke_trigger."""
    tenant_id: str | None = Field(default=None, max_length=64)
    """Its tenant; your own when left out."""


class TriggerGet(TriggerRef):
    revision: int | None = Field(default=None, ge=1, le=2**31)
    """Show this revision instead of the present one."""
    compare: int | None = Field(default=None, ge=1, le=2**31)
    """Tell in `changes` what differs from this revision."""


@operation(
    summary="Show one trigger with its schema and defaults.",
    http="GET /api/triggers/{slug}",
    toolset="triggers",
    role=Role.USER,
)
async def trigger_get(engine: Engine, caller: Caller, params: TriggerGet) -> dict[str, Any]:
    """Show a trigger: its whole definition, who made it, its revisions, and what differs between two of them."""
    present = engine.triggers.find(caller, params.slug, params.tenant_id)
    rows = await engine.database.read(table.revisions, present.tenant, present.slug)
    shown = present if params.revision in (None, present.revision) else _revision(rows, params.revision, "/revision")
    out = {
        **shown.summary(),
        "active": shown.active and shown.revision == present.revision,
        "definition": shown.definition.model_dump(exclude={"kind"}),
        **clock.with_text({"created_at_ns": shown.created_at_ns, "created_by": shown.created_by}),
        "invokable": shown.revision == present.revision and present.invokable_by(caller),
        **await _target(engine, present),
        "revisions": [
            clock.with_text({key: row[key] for key in ("revision", "created_at_ns", "created_by")})
            for row in rows[:SHOWN_REVISIONS]
        ],
    }
    if params.compare is not None:
        other = _revision(rows, params.compare, "/compare")
        old, new = (one.definition.model_dump(exclude={"kind"}) for one in (other, shown))
        out["compared_with"] = params.compare
        out["changes"] = [one.to_dict() for one in differences.between(old, new)]
    return out


async def _target(engine: Engine, trigger: Trigger) -> dict[str, Any]:
    """{target_up}, and where it is not up {next}: the calls that help."""
    job = trigger.definition.target_job_name
    there = engine.fleet.workload_views(tenant=trigger.tenant, job=job)
    if any(map(status.up, there)):
        return {"target_up": True}
    found = await engine.explainer.mismatches(trigger.definition) if not there else []
    calls = [call for one in found if one.code == "target_not_deployed" for call in one.mend]
    calls = calls or [Call("explain", {"kind": "job", "id": job}, "see why its job does not run")]
    return {"target_up": False, "next": [call.to_dict() for call in calls]}


def _revision(rows: list[dict[str, Any]], number: int | None, pointer: str) -> Trigger:
    for row in rows:
        if row["revision"] == number:
            return Trigger.from_row(row)
    raise errors.NotFound(
        f"There is no revision {number} of this trigger.",
        hint=f"It has the revisions 1 to {rows[0]['revision']}.",
        errors=[errors.Problem(pointer, "is not a revision of this trigger")],
    )


@operation(
    summary="Publish a new trigger (revision 1).",
    http="POST /api/triggers/publish",
    toolset="triggers",
    effect=Effect.WRITE,
    offline=True,
    role=Role.ADMIN,
)
async def trigger_publish(engine: Engine, caller: Caller, params: Definition) -> dict[str, Any]:
    """Publish a trigger: a named action with validated parameters that sends a message to a job.

    With publication.mcp it is an MCP tool at once. With response_slot a run ends when the job answers with a
    trigger_response, else when the message is accepted. Fails if the slug exists: use trigger_revise then.
    `warnings` says what keeps it from working, each with the calls that mend it.
    """
    definition = registry.check(params.model_dump(exclude_defaults=True), caller)
    in_tenant(caller, definition.tenant_id)
    trigger = await engine.triggers.publish(definition, caller, engine.ids.next())
    return {**_published(trigger), **await _warned(engine, trigger)}


class TriggerRevise(Definition):
    pass


@operation(
    summary="Publish a new revision of a trigger.",
    http="POST /api/triggers/{slug}/revise",
    toolset="triggers",
    effect=Effect.WRITE,
    offline=True,
    role=Role.ADMIN,
)
async def trigger_revise(engine: Engine, caller: Caller, params: TriggerRevise) -> dict[str, Any]:
    """Replace a trigger by a new revision; send the whole definition, nothing is patched in place.

    The new revision is active, also when the present one was deactivated. `changes` says what differs from it (path,
    old, new), `warnings` what keeps it from working, each with the calls that mend it.
    """
    definition = registry.check(params.model_dump(exclude_defaults=True), caller)
    within = in_tenant(caller, definition.tenant_id)
    present = engine.triggers.find(within, definition.slug, definition.tenant_id)
    trigger = await engine.triggers.revise(present, definition, caller, engine.ids.next())
    old, new = (one.definition.model_dump(exclude={"kind"}) for one in (present, trigger))
    changes = [one.to_dict() for one in differences.between(old, new)]
    return {**_published(trigger), "changes": changes, **await _warned(engine, trigger)}


async def _warned(engine: Engine, trigger: Trigger) -> dict[str, Any]:
    return {"warnings": [one.to_dict() for one in await engine.explainer.mismatches(trigger.definition)]}


def _published(trigger: Trigger) -> dict[str, Any]:
    mcp = trigger.definition.publication.mcp
    return {
        "slug": trigger.slug,
        "tenant_id": trigger.tenant,
        "revision": trigger.revision,
        "active": trigger.active,
        "tool_name": TOOL_PREFIX + trigger.slug if mcp else None,
    }


@operation(
    summary="Stop offering a trigger.",
    http="POST /api/triggers/{slug}/deactivate",
    toolset="triggers",
    effect=Effect.WRITE,
    offline=True,
    role=Role.ADMIN,
    idempotent=True,
)
async def trigger_deactivate(engine: Engine, caller: Caller, params: TriggerRef) -> dict[str, Any]:
    """Make a trigger inactive: it is no longer offered or invocable, its history stays. Revise it to bring it back.

    Runs that are under way go on: `open_invocations` are their ids, the newest first, `open_total` how many there are.
    """
    present = engine.triggers.find(caller, params.slug, params.tenant_id)
    trigger = await engine.triggers.deactivate(present, caller, engine.ids.next())
    which = {"slug": trigger.slug, "state": InvocationState.DISPATCHED.value}
    runs, total = await engine.database.read(
        lambda db: invocations.search(db, trigger.tenant, equal=which, limit=SHOWN_RUNS)
    )
    open_runs = {"open_invocations": [run.text_id for run in runs], "open_total": total}
    return {**_published(trigger), "callers_hear": trigger.inactivity, **open_runs}


class TriggerInvoke(Params):
    slug: str = Field(max_length=64)
    """The slug of the trigger."""
    params: dict[str, Any] | None = None
    """Its parameters; defaults fill what you leave out."""
    idempotency_key: str | None = Field(default=None, min_length=1, max_length=255)
    """Repeat a call with the same key to get the same invocation instead of a second run."""
    wait_timeout_seconds: int = Field(default=DEFAULT_WAIT_SECONDS, ge=0, le=MAX_WAIT_SECONDS)
    """How long this call waits for the end of the run."""
    tenant_id: str | None = Field(default=None, max_length=64)
    """The tenant of the trigger; your own when left out."""
    callback: Callback | None = None
    """Post each change of the run's state to an address; signed when the secret callback/signing-secret is set."""


@operation(
    summary="Run a trigger now.",
    http="POST /api/triggers/{slug}/invoke",
    toolset="triggers",
    effect=Effect.WRITE,
    open_world=True,
    result=INVOCATION_RECORD,
    role=Role.USER,
)
async def trigger_invoke(engine: Engine, caller: Caller, params: TriggerInvoke) -> dict[str, Any]:
    """Run a trigger by slug: validates the parameters, sends the message to the job, waits for the end of the run.

    Returns the invocation record. While its state is accepted or dispatched, poll trigger_invocation_get with the
    invocation_id.
    """
    trigger = engine.triggers.find(caller, params.slug, params.tenant_id)
    return await engine.invoker.invoke(
        trigger,
        params.params or {},
        caller,
        idempotency_key=params.idempotency_key,
        wait_seconds=params.wait_timeout_seconds,
        callback=params.callback,
    )


class TriggerTools(Params):
    known_version: int | None = None
    """The version that the caller has; if it is still the present one, `tools` is null."""


@operation(
    summary="The MCP tools that the caller's triggers are.",
    http="GET /api/mcp/trigger-tools",
    toolset="triggers",
    tool=False,
    role=Role.USER,
)
async def trigger_tools(engine: Engine, caller: Caller, params: TriggerTools) -> dict[str, Any]:
    """The dynamic tools of an MCP session: {version, tools}; version changes when any trigger does."""
    if params.known_version == engine.triggers.version:
        return {"version": engine.triggers.version, "tools": None}
    return {"version": engine.triggers.version, "tools": tools.of(engine.triggers, caller)}
