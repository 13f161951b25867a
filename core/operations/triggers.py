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
from core.model import results
from core.model.operation import Effect, Params
from core.model.principal import Caller, Role
from core.model.states import InvocationState
from core.model.trigger import DEFAULT_WAIT_SECONDS, MAX_WAIT_SECONDS, Definition
from core.operations.registry import LISTED, RECORDED, Sorted, offset_page, operation
from core.store import invocations
from core.store import triggers as table
from core.triggers import registry, tools
from core.triggers.callbacks import Callback
from core.triggers.registry import Trigger

SHOWN_REVISIONS = 50
SHOWN_RUNS = 50


class TriggerList(Sorted):
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
    outline=LISTED,
    role=Role.VIEWER,
)
async def trigger_list(
    engine: Engine, caller: Caller, params: TriggerList
) -> results.Listing[results.triggers.TriggerItem]:
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

    def row(trigger: Trigger) -> results.triggers.TriggerItem:
        target = engine.fleet.workload_views(tenant=trigger.tenant, job=trigger.definition.target_job_name)
        may_run = trigger.invokable_by(caller)
        return {**trigger.summary(), "may_run": may_run, "target_up": any(map(status.up, target))}

    return offset_page(found, params, row)


def _on_surface(trigger: Trigger, surface: str, caller: Caller) -> bool:
    publication = trigger.definition.publication
    if surface == "mcp":
        return publication.mcp
    if caller.role is Role.OPERATOR:
        return publication.ui_admin or publication.ui_user
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
    role=Role.VIEWER,
)
async def trigger_get(engine: Engine, caller: Caller, params: TriggerGet) -> results.triggers.Trigger:
    """Show a trigger: its whole definition, who made it, its revisions, and what differs between two of them."""
    present = engine.triggers.find(caller, params.slug, params.tenant_id)
    rows = await engine.database.read(table.revisions, present.tenant, present.slug)
    meant = present if params.revision in (None, present.revision) else _revision(rows, params.revision, "/revision")
    up, calls = await _target(engine, present)
    out: results.triggers.Trigger = {
        **meant.summary(),  # type: ignore[typeddict-item]  # which has none of the keys that follow only now and then
        "active": meant.active and meant.revision == present.revision,
        "definition": meant.definition.model_dump(exclude={"kind"}),
        "created_at": clock.iso(meant.created_at_ns),
        "created_at_ns": meant.created_at_ns,
        "created_by": meant.created_by,
        "invokable": meant.revision == present.revision and present.invokable_by(caller),
        "target_up": up,
        "revisions": [registry.revision_to_answer(row) for row in rows[:SHOWN_REVISIONS]],
    }
    if calls:
        out["next"] = [call.to_dict() for call in calls]
    if params.compare is not None:
        other = _revision(rows, params.compare, "/compare")
        old, new = (one.definition.model_dump(exclude={"kind"}) for one in (other, meant))
        out["compared_with"] = params.compare
        out["changes"] = [one.to_dict() for one in differences.between(old, new)]
    return out


async def _target(engine: Engine, trigger: Trigger) -> tuple[bool, list[Call]]:
    """Whether its job is up, and where it is not the calls that help."""
    job = trigger.definition.target_job_name
    there = engine.fleet.workload_views(tenant=trigger.tenant, job=job)
    if any(map(status.up, there)):
        return True, []
    found = await engine.explainer.mismatches(trigger.definition) if not there else []
    calls = [call for one in found if one.code == "target_not_deployed" for call in one.mend]
    return False, calls or [Call("explain", {"kind": "job", "id": job}, "see why its job does not run")]


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
async def trigger_publish(engine: Engine, caller: Caller, params: Definition) -> results.triggers.TriggerPublished:
    """Publish a trigger: a named action with validated parameters that sends a message to a job.

    With publication.mcp it is an MCP tool at once. With response_slot a run ends when the job answers with a
    trigger_response, else when the message is accepted. Fails if the slug exists: use trigger_revise then.
    `warnings` says what keeps it from working, each with the calls that mend it.
    """
    definition = registry.check(params.model_dump(exclude_defaults=True), caller)
    in_tenant(caller, definition.tenant_id)
    trigger = await engine.triggers.publish(definition, caller, engine.ids.next())
    return {**trigger.present(), "warnings": await _warnings(engine, trigger)}


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
async def trigger_revise(engine: Engine, caller: Caller, params: TriggerRevise) -> results.triggers.TriggerRevised:
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
    return {**trigger.present(), "changes": changes, "warnings": await _warnings(engine, trigger)}


async def _warnings(engine: Engine, trigger: Trigger) -> list[results.triggers.Mismatch]:
    return [one.to_dict() for one in await engine.explainer.mismatches(trigger.definition)]


@operation(
    summary="Stop offering a trigger.",
    http="POST /api/triggers/{slug}/deactivate",
    toolset="triggers",
    effect=Effect.WRITE,
    offline=True,
    role=Role.ADMIN,
    idempotent=True,
)
async def trigger_deactivate(engine: Engine, caller: Caller, params: TriggerRef) -> results.triggers.TriggerDeactivated:
    """Make a trigger inactive: it is no longer offered or invocable, its history stays. Revise it to bring it back.

    Runs that are under way go on: `open_invocations` are their ids, the newest first, `open_total` how many there are.
    """
    present = engine.triggers.find(caller, params.slug, params.tenant_id)
    trigger = await engine.triggers.deactivate(present, caller, engine.ids.next())
    which = {"slug": trigger.slug, "state": InvocationState.DISPATCHED.value}
    runs, total = await engine.database.read(
        lambda db: invocations.search(db, trigger.tenant, equal=which, limit=SHOWN_RUNS)
    )
    return {
        **trigger.present(),
        "callers_hear": trigger.inactivity,
        "open_invocations": [run.text_id for run in runs],
        "open_total": total,
    }


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
    starts_runs=True,
    outline=RECORDED,
    role=Role.USER,
)
async def trigger_invoke(engine: Engine, caller: Caller, params: TriggerInvoke) -> results.triggers.Invocation:
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
    role=Role.VIEWER,
)
async def trigger_tools(engine: Engine, caller: Caller, params: TriggerTools) -> results.triggers.TriggerTools:
    """The dynamic tools of an MCP session: {version, tools}; version changes when any trigger does."""
    if params.known_version == engine.triggers.version:
        return {"version": engine.triggers.version, "tools": None}
    return {"version": engine.triggers.version, "tools": tools.of(engine.triggers, caller)}
