"""Plans: compute what a deployment would change, and save it for an apply."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints, model_validator

from core import clock, errors
from core.catalog import items
from core.contexts.layers import Layers
from core.contexts.values import layers_of
from core.deployments import expand, observed, plan, planning
from core.deployments.surroundings import Surroundings
from core.dsl import compile as compiler
from core.dsl import mentions
from core.engine import Engine
from core.guard.filerules import Locator
from core.license import Feature
from core.model.catalog import NAME_PATTERN, Graph, LibraryJob
from core.model.deployment import EMPTY, State
from core.model.operation import Effect, Params
from core.model.plan import Finding, Plan
from core.model.principal import Caller, Role
from core.model.states import DeploymentState
from core.operations.deployment_status import unknown
from core.operations.registry import operation
from core.store import audit
from core.store import deployments as table
from core.store import plans as plan_table
from core.store import workflows as documents

Name = Annotated[str, StringConstraints(pattern=NAME_PATTERN, max_length=63)]
Step = Annotated[str, StringConstraints(max_length=200)]
Detail = Literal["concise", "detailed"]


class DeploymentPlan(Params):
    name: Name
    """The deployment, new or existing: lower-case letters, digits, single - and _."""
    source: str | None = Field(default=None, max_length=200)
    """What to deploy: workflow:SLUG[@VERSION] or blueprint:SLUG[@VERSION]; what was applied last when left out."""
    worker_group: Name | None = None
    """The worker group for steps that name none; as before, or `default`, when left out."""
    values: dict[str, Any] = Field(default_factory=dict)
    """Answers to the wizard fields (or parameters of a blueprint); those left out stay as they were applied."""
    placement: dict[Step, Name] = Field(default_factory=dict)
    """Step -> worker group, over what the workflow says."""
    replicas: dict[Step, Annotated[int, Field(ge=1, le=1024)]] = Field(default_factory=dict)
    """Step -> number of copies, over what the workflow says."""
    exact: bool = False
    """What is given is all: nothing that is left out stays as it was applied."""
    recompute_placement: bool = False
    """Forget where things run now and place them afresh."""
    environment: str | None = Field(default=None, max_length=200)
    """Whose context values {{name}} sees, e.g. prod; as before, or none, when left out."""
    remove: bool = False
    """Plan the removal of the deployment."""
    to_revision: int | None = Field(default=None, ge=1, le=2**31)
    """Plan the way back to an earlier revision, exactly as it was (deployment_history lists them)."""
    detail: Detail = "concise"
    """detailed shows the document of every job that comes, changes or goes."""

    @model_validator(mode="after")
    def _alone(self) -> DeploymentPlan:
        others = self.model_fields_set - {"name", "detail", "to_revision"}
        if self.to_revision is not None and any(getattr(self, name) not in (None, False, {}) for name in others):
            raise ValueError("to_revision brings everything with it: give it without " + ", ".join(sorted(others)))
        return self


PLANNED = {
    "type": "object",
    "properties": {
        "plan_id": {"type": ["string", "null"]},
        "saved": {"type": "boolean"},
        "base_revision": {"type": "integer"},
        "summary": {"type": "object", "additionalProperties": {"type": "integer"}},
        "changes": {"type": "array", "items": {"type": "object"}},
        "warnings": {"type": "array", "items": {"type": "object"}},
        "blockers": {"type": "array", "items": {"type": "object"}},
        "expires_at": {"type": ["string", "null"]},
        "text": {"type": "string"},
    },
    "required": [
        "plan_id",
        "saved",
        "base_revision",
        "summary",
        "changes",
        "warnings",
        "blockers",
        "expires_at",
        "text",
    ],
}


@operation(
    summary="Compute what a deployment would change.",
    http="POST /api/deployments/{name}/plan",
    toolset="deployments",
    feature=Feature.DEPLOYMENTS,
    effect=Effect.WRITE,
    role=Role.ADMIN,
    gated=False,
    result=PLANNED,
)
async def deployment_plan(engine: Engine, caller: Caller, params: DeploymentPlan) -> dict[str, Any]:
    """Compute a plan: jobs, adapters, channels and placement, with what would change and why. Runs nothing.

    Show `text` to the user; then deployment_apply(plan_id) does exactly this, once. Blockers must be mended first;
    warnings need not. In a read-only session the plan is not saved, and plan_id is null.
    """
    row = await engine.database.read(table.get, caller.tenant, params.name)
    revision = row["revision"] if row is not None else 0
    gone = row is None or row["state"] in (DeploymentState.REMOVED, DeploymentState.REMOVING)
    if params.remove and gone:
        raise unknown(params.name, caller)
    current = EMPTY if row is None else await asyncio.to_thread(State.from_dict, row["desired"])
    if params.remove:
        made = plan.remove(params.name, current)
    elif params.to_revision is not None:
        made = await _back(engine, caller, params.name, params.to_revision, current)
    else:
        made = await _plan(engine, caller, params, current)
    now = engine.now_ns()
    plan_id = expires = None
    if caller.allow_write:
        plan_id = f"plan_{clock.token(16)}"
        expires = now + engine.settings.plan_ttl_seconds * clock.NANOSECONDS
        saved = await asyncio.to_thread(planning.row, made, plan_id, caller, revision, now, expires)
        note = audit.row(engine.ids.next(), caller, "deployment_plan", f"{caller.tenant}/{made.deployment}")
        await engine.database.write(plan_table.insert, saved, note)
    return planning.shown(
        made,
        plan_id=plan_id,
        base_revision=revision,
        expires_ns=expires,
        detailed=params.detail == "detailed",
    )


async def plan_with(
    engine: Engine, caller: Caller, params: DeploymentPlan, every: list[items.Entry], contexts: Layers
) -> Plan:
    """What deployment_plan would say if the catalog and the contexts were these; nothing is saved."""
    row = await engine.database.read(table.get, caller.tenant, params.name)
    current = EMPTY if row is None else await asyncio.to_thread(State.from_dict, row["desired"])
    return await _plan(engine, caller, params, current, every, contexts)


async def _plan(
    engine: Engine,
    caller: Caller,
    params: DeploymentPlan,
    current: State,
    every: list[items.Entry] | None = None,
    contexts: Layers | None = None,
) -> Plan:
    source = params.source or current.source
    if not source:
        raise errors.InvalidParams(
            f"{params.name} is new, so the plan needs a source.",
            hint="Give source, e.g. workflow:quickstart-file-store-roundtrip@1; catalog_search finds others.",
            errors=[errors.Problem("/source", "required for a new deployment")],
        )
    every = await engine.library.visible(caller.tenant) if every is None else every
    one = await _named(engine, caller, every, source)
    if isinstance(one.model, LibraryJob):
        raise errors.InvalidParams(
            f"{one.slug} is a library job, which is deployed on its own.",
            hint="Stage its document with job_put and run it with job_deploy.",
        )
    model = one.model
    # What was applied stays for what the caller leaves out, as long as it is the same item.
    same = not params.exact and current.source.rpartition("@")[0] == f"{one.type.value}:{one.slug}"
    asked = {question["field"] for question in items.wizard(one)}
    kept = {name: value for name, value in current.values.items() if same and name in asked}
    steps = {step.id for step in model.steps} if isinstance(model, Graph) else set()
    request = expand.Request(
        params.name,
        f"{one.type.value}:{one.slug}@{one.version}",
        caller.tenant,
        params.worker_group or (current.group if same else "default"),
        {**kept, **params.values},
        {**_still(current.placement, same, steps), **params.placement},
        {**_still(current.replicas, same, steps), **params.replicas},
    )
    await observed.workers_started(engine.fleet)
    around = await _around(
        engine,
        caller,
        (current.environment if same else "") if params.environment is None else params.environment,
        contexts,
    )
    workers = observed.workers(engine.fleet, caller.tenant, params.name)
    # Beside the loop: a plan of thousands of steps takes long enough to be felt by everyone else.
    made = await asyncio.to_thread(
        lambda: plan.make(
            model,
            request,
            items.finder(every),
            workers,
            current,
            surroundings=around,
            check_job=compiler.check_job,
            recompute=params.recompute_placement,
        )
    )
    taken = _taken(engine, caller.tenant, params.name, made.desired)
    return made if not taken else plan.with_blockers(made, taken)


async def _around(engine: Engine, caller: Caller, environment: str, contexts: Layers | None = None) -> Surroundings:
    """What the engine has to offer to a deployment of this tenant."""
    licensed = frozenset(feature.value for feature in engine.licensing.current.features)
    return Surroundings(
        await layers_of(engine.database, caller.tenant) if contexts is None else contexts,
        environment,
        secrets=engine.vault.names(caller.tenant),
        features=licensed | ({"exec"} if engine.settings.allow_exec else set()),
        nats=bool(engine.settings.nats),
        groups=engine.fleet.groups.names(caller.tenant),
        files=functools.cache(functools.partial(engine.reach.of, caller.tenant)),
    )


async def _back(engine: Engine, caller: Caller, name: str, revision: int, current: State) -> Plan:
    """The plan of an earlier wish, which the history holds whole: its source need not be in the catalog any more."""
    entry = await engine.database.read(table.version, caller.tenant, name, revision)
    if entry is None:
        raise errors.NotFound(
            f"There is no revision {revision} of a deployment {name} in tenant {caller.tenant}.",
            hint=f"deployment_history(name={name!r}) lists the revisions.",
        )
    wish = await asyncio.to_thread(State.from_dict, entry["desired"])
    if not wish.jobs:
        raise errors.InvalidParams(
            f"Revision {revision} removed {name}, so there is nothing to go back to.",
            hint="Name another revision, or plan the removal with remove=true.",
            errors=[errors.Problem("/to_revision", "is a revision that runs nothing")],
        )
    await observed.workers_started(engine.fleet)
    workers = observed.workers(engine.fleet, caller.tenant, name)
    needed = await asyncio.to_thread(_secrets, wish)
    present = engine.vault.names(caller.tenant)
    blockers = [
        Finding(
            "missing_secret",
            f"missing secret {one}: revision {revision} needs it.",
            f"Set it, then plan again: sluice secret set {one}",
        )
        for one in sorted(needed - set(present))
    ]
    files = functools.cache(functools.partial(engine.reach.of, caller.tenant))
    blockers += await asyncio.to_thread(_unreachable, wish, files)
    made = await asyncio.to_thread(plan.back, name, wish, workers, current, blockers, tuple(sorted(needed)))
    taken = _taken(engine, caller.tenant, name, made.desired)
    return made if not taken else plan.with_blockers(made, taken)


def _secrets(wish: State) -> set[str]:
    documents = [document for job in wish.jobs.values() for document in (job.document, *job.variants.values())]
    return {one.secret for document in documents for one in mentions.secrets(document)}


def _unreachable(wish: State, files: Callable[[str], Locator]) -> list[Finding]:
    """A blocker for each place that a job of an earlier wish may not use any more, and each job that is none now."""
    found: list[Finding] = []
    for job in wish.jobs.values():
        for document in (job.document, *job.variants.values()):
            try:
                found += expand.refused(job.name, compiler.check_job(document), files(job.group))
            except errors.InvalidDocument as error:
                found.append(Finding("invalid_job", f"Job {job.name}: {error.message}", error.hint))
    return list(dict.fromkeys(found))


def _still(given: Mapping[str, Any], same: bool, steps: set[str]) -> dict[str, Any]:
    return {step: value for step, value in given.items() if same and step.partition(".")[0] in steps}


async def _named(engine: Engine, caller: Caller, every: list[items.Entry], source: str) -> items.Entry:
    """The item that a source names; of a mere draft, NotFound says how to publish it."""
    try:
        return _resolve(every, source)
    except errors.NotFound as error:
        kind, _, slug = source.partition("@")[0].partition(":")
        if await engine.database.read(documents.draft, (caller.tenant, kind, slug)) is not None:
            error.hint = f"It is a draft; publish it first: workflow_publish(slug='{slug}', type='{kind}')."
        raise


def _resolve(every: list[items.Entry], source: str) -> items.Entry:
    kind, colon, rest = source.partition(":")
    slug, _, version = rest.partition("@")
    if not colon or kind not in ("workflow", "blueprint", "perspective", "job") or not slug:
        raise errors.InvalidParams(
            f"{errors.shorten(source, 80)} is not a source.",
            hint="Write workflow:SLUG@VERSION or blueprint:SLUG@VERSION.",
            errors=[errors.Problem("/source", "must be workflow:SLUG[@VERSION] or blueprint:SLUG[@VERSION]")],
        )
    return items.pick(every, slug, kind, version or None)


def _taken(engine: Engine, tenant: str, name: str, desired: State) -> list[Finding]:
    """Names of wished jobs that something else uses."""
    return [
        Finding(
            "name_taken",
            f"A job {row['job']} exists already ({_owner(row)}).",
            "Undeploy it, or give the deployment another name.",
        )
        for row in engine.fleet.workload_rows(tenant=tenant)
        if row["job"] in desired.jobs and row["deployment"] != name
    ]


def _owner(row: dict[str, Any]) -> str:
    return f"of deployment {row['deployment']}" if row["deployment"] else "unmanaged"
