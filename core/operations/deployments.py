"""Deployments: plan what would change, and apply exactly that."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, StringConstraints

from core import clock, errors
from core.catalog import items
from core.deployments import apply, expand, observed, placement, plan
from core.deployments.surroundings import Surroundings
from core.documents import canonical
from core.dsl import compile as compiler
from core.engine import Engine
from core.license import Feature
from core.model import secret
from core.model.catalog import NAME_PATTERN, Graph, LibraryJob
from core.model.deployment import EMPTY, State, workloads
from core.model.message import Type
from core.model.operation import Effect, Params
from core.model.plan import Finding, Plan
from core.model.principal import Caller, Role
from core.model.states import DeploymentState, PlanState
from core.operations import catalog
from core.operations.contexts import layers_of
from core.operations.deployment_status import unknown
from core.operations.registry import operation
from core.store import audit
from core.store import deployments as table
from core.store import plans as plan_table

SHOWN_CHANGES = 50
SHOWN_FINDINGS = 30
SHOWN_DIFF_CHARACTERS = 8000  # of one answer

Name = Annotated[str, StringConstraints(pattern=NAME_PATTERN, max_length=63)]
Step = Annotated[str, StringConstraints(max_length=200)]


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
    recompute_placement: bool = False
    """Forget where things run now and place them afresh."""
    environment: str | None = Field(default=None, max_length=200)
    """Whose context values {{name}} sees, e.g. prod; as before, or none, when left out."""
    remove: bool = False
    """Plan the removal of the deployment."""


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
    current = State.from_dict(row["desired"]) if row is not None else EMPTY
    revision = row["revision"] if row is not None else 0
    if params.remove:
        if row is None or row["state"] == DeploymentState.REMOVED:
            raise unknown(params.name, caller)
        made = plan.remove(params.name, current)
    else:
        made = await _plan(engine, caller, params, current)
    now = engine.now_ns()
    plan_id = expires = None
    if caller.allow_write:
        plan_id = f"plan_{clock.token(16)}"
        expires = now + engine.settings.plan_ttl_seconds * clock.NANOSECONDS
        await _save(engine, caller, made, plan_id, revision, now, expires)
    shown = [change for change in made.changes if change.action != "unchanged"]
    budget = SHOWN_DIFF_CHARACTERS
    changes = []
    for change in shown[:SHOWN_CHANGES]:
        text = plan.diff(change)
        if len(text) > budget:
            text = text[:budget] + "\n... cut; job_get shows documents in full"
        budget = max(0, budget - len(text))
        changes.append(
            {
                "action": change.action.value,
                "kind": change.kind.value,
                "id": change.id,
                "where": change.where,
                "reason": change.reason,
                "diff": text,
            }
        )
    return {
        "plan_id": plan_id,
        "saved": plan_id is not None,
        "name": params.name,
        "source": made.source,
        "base_revision": revision,
        "digest": made.digest,
        "summary": dict(made.summary),
        "changes": changes,
        "changes_left_out": len(shown) - len(changes),
        "warnings": [finding.to_dict() for finding in made.warnings[:SHOWN_FINDINGS]],
        "blockers": [finding.to_dict() for finding in made.blockers[:SHOWN_FINDINGS]],
        "contexts": list(made.contexts[:SHOWN_FINDINGS]),
        "secrets": list(made.secrets[:SHOWN_FINDINGS]),
        "expires_at": clock.iso(expires) if expires is not None else None,
        "text": made.text,
    }


async def _plan(engine: Engine, caller: Caller, params: DeploymentPlan, current: State) -> Plan:
    source = params.source or current.source
    if not source:
        raise errors.InvalidParams(
            f"{params.name} is new, so the plan needs a source.",
            hint="Give source, e.g. workflow:quickstart-file-store-roundtrip@1; catalog_search finds others.",
            errors=[errors.Problem("/source", "required for a new deployment")],
        )
    every = await catalog.entries(engine, caller)
    one = _resolve(every, source)
    if isinstance(one.model, LibraryJob):
        raise errors.InvalidParams(
            f"{one.slug} is a library job, which is deployed on its own.",
            hint="Stage its document with job_put and run it with job_deploy.",
        )
    # What was applied stays for what the caller leaves out, as long as it is the same item.
    same = current.source.rpartition("@")[0] == f"{one.type.value}:{one.slug}"
    asked = {question["field"] for question in items.wizard(one)}
    kept = {name: value for name, value in current.values.items() if same and name in asked}
    steps = {step.id for step in one.model.steps} if isinstance(one.model, Graph) else set()
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
    around = Surroundings(
        await layers_of(engine, caller.tenant),
        (current.environment if same else "") if params.environment is None else params.environment,
        secrets=engine.vault.names(caller.tenant),
        features=frozenset({"exec"}) if engine.settings.allow_exec else frozenset(),
    )
    made = plan.make(
        one.model,
        request,
        items.finder(every),
        observed.workers(engine.fleet, caller.tenant, params.name),
        current,
        surroundings=around,
        check_job=compiler.check_job,
        recompute=params.recompute_placement,
    )
    taken = _taken(engine, caller.tenant, params.name, made.desired)
    return made if not taken else plan.with_blockers(made, taken)


def _still(given: Any, same: bool, steps: set[str]) -> dict[str, Any]:
    return {step: value for step, value in given.items() if same and step.partition(".")[0] in steps}


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


async def _save(
    engine: Engine, caller: Caller, made: Plan, plan_id: str, revision: int, now_ns: int, expires_ns: int
) -> None:
    desired = made.desired.to_dict()
    row = {
        "id": plan_id,
        "tenant": caller.tenant,
        "name": made.deployment,
        "state": PlanState.OPEN.value,
        "base_revision": revision,
        "digest": canonical.digest(desired),
        "username": caller.username,
        "created_at_ns": now_ns,
        "expires_at_ns": expires_ns,
        "body": {
            "desired": desired,
            "remove": made.remove,
            "contexts": list(made.contexts),
            "secrets": list(made.secrets),
            "summary": dict(made.summary),
            "warnings": [finding.to_dict() for finding in made.warnings],
            "blockers": [finding.to_dict() for finding in made.blockers],
        },
    }
    note = audit.row(engine.ids.next(), caller, "deployment_plan", f"{caller.tenant}/{made.deployment}")
    await engine.database.write(plan_table.insert, row, note)


class DeploymentApply(Params):
    plan_id: str = Field(max_length=64)
    """The plan to carry out, from deployment_plan."""
    wait_seconds: int = Field(default=30, ge=0, le=300)
    """How long to wait until the workloads have settled."""


@operation(
    summary="Carry out a saved plan.",
    http="POST /api/plans/{plan_id}/apply",
    toolset="deployments",
    feature=Feature.DEPLOYMENTS,
    effect=Effect.DESTRUCTIVE,
    role=Role.ADMIN,
)
async def deployment_apply(engine: Engine, caller: Caller, params: DeploymentApply) -> dict[str, Any]:
    """Carry out a plan that the user has seen: exactly its changes, once, or nothing at all.

    Refused when the deployment has moved since (the answer says what moved), and when the plan is used, expired or
    blocked, or its workers are not there. Waits until everything runs; `state` is running, or degraded with reasons.
    """
    saved = await engine.database.read(plan_table.get, caller.tenant, params.plan_id)
    row: dict[str, Any] | None = None
    since: list[dict[str, Any]] = []
    if saved is not None:
        row = await engine.database.read(table.get, caller.tenant, saved["name"])
        since = await engine.database.read(table.history, caller.tenant, saved["name"], saved["base_revision"])
    try:
        wish = apply.check(saved, params.plan_id, row, since, caller, engine.now_ns())
    except (errors.StalePlan, errors.PlanExpired) as error:
        over = PlanState.STALE if isinstance(error, errors.StalePlan) else PlanState.EXPIRED
        await engine.database.write(plan_table.advance, params.plan_id, over)
        raise
    assert saved is not None  # check() has refused a plan that is not there
    name, removal = saved["name"], saved["body"]["remove"]
    if not removal:
        needed = saved["body"].get("secrets", ())
        apply.check_secrets(needed, engine.vault.names(caller.tenant), name)
        engine.vault.check(caller.tenant, map(secret.named, needed))
        wish = await _placed(engine, caller.tenant, name, wish, saved["body"]["warnings"])
    revision = saved["base_revision"] + 1
    state = DeploymentState.REMOVING if removal else DeploymentState.APPLYING
    history_id = await commit(
        engine,
        caller,
        name,
        wish,
        state,
        revision,
        "remove" if removal else "apply",
        saved["body"]["summary"],
        plan_id=params.plan_id,
    )
    if removal:
        await settle(engine, caller.tenant, name, revision, DeploymentState.REMOVED, "")
        reached, reason = DeploymentState.REMOVED, ""
    else:
        ids = {one.id for one in workloads(caller.tenant, wish)}
        await engine.fleet.wait(lambda: engine.fleet.settled(ids), params.wait_seconds)
        row = await engine.database.read(table.get, caller.tenant, name)
        reached, reason, _ = (
            observed.look(engine.fleet, caller.tenant, row, engine.now_ns()) if row is not None else (state, "", [])
        )
        if reached is DeploymentState.APPLYING and params.wait_seconds > 0:
            reached = DeploymentState.DEGRADED
        await settle(engine, caller.tenant, name, revision, reached, reason)
    return {
        "deployment": name,
        "revision": revision,
        "state": reached.value,
        "reason": reason,
        "workloads": observed.workload_rows(engine.fleet, caller.tenant, name),
        "history_id": history_id,
    }


async def _placed(engine: Engine, tenant: str, name: str, wish: State, warnings: list[dict[str, Any]]) -> State:
    """The wish with a worker for every replica that had none when it was planned. Raises TargetUnavailable."""
    await observed.workers_started(engine.fleet)
    workers = observed.workers(engine.fleet, tenant, name)
    if any("" in chosen for chosen in wish.assignments.values()):
        placed = placement.place(wish.jobs, wish.together, workers, wish.assignments)
        chosen = {
            job: tuple(old or new for old, new in zip(wish.assignments[job], found, strict=True))
            for job, found in placed.assignments.items()
        }
        warnings = [finding.to_dict() for finding in placed.warnings]
        wish = State.from_dict({**wish.to_dict(), "assignments": {job: list(w) for job, w in chosen.items()}})
    apply.check_workers(wish, workers, warnings)
    return wish


async def commit(
    engine: Engine,
    caller: Caller,
    name: str,
    wish: State,
    state: DeploymentState,
    revision: int,
    action: str,
    summary: dict[str, int],
    plan_id: str = "",
) -> str:
    """Write the wish in one transaction and send it to the workers; returns the id of the history entry."""
    now = engine.now_ns()
    row = {
        "tenant": caller.tenant,
        "name": name,
        "revision": revision,
        "state": state.value,
        "reason": "",
        "source": wish.source,
        "desired": wish.to_dict(),
        "updated_at_ns": now,
        "updated_by": caller.username,
    }
    entry = {
        "id": engine.ids.next(),
        "tenant": caller.tenant,
        "name": name,
        "revision": revision,
        "action": action,
        "source": wish.source,
        "plan_id": plan_id,
        "username": caller.username,
        "surface": caller.surface.value,
        "summary": summary,
    }
    wanted = apply.workload_rows(caller.tenant, name, wish, now)
    note = audit.row(engine.ids.next(), caller, f"deployment_{action}", f"{caller.tenant}/{name}")
    await engine.database.write(
        lambda db: table.commit(db, row, entry, wanted, note, expect=revision - 1, plan_id=plan_id)
    )
    await engine.fleet.sync()
    engine.traffic.message(
        caller.tenant,
        type=Type.DEPLOYMENT_APPLIED,
        data={"deployment": name, "revision": revision, "action": action, "source": wish.source},
    )
    engine.traffic.flush()
    engine.announce("deployment", {"tenant": caller.tenant, "name": name, "revision": revision, "action": action})
    return clock.encode(entry["id"])  # type: ignore[arg-type]


async def settle(engine: Engine, tenant: str, name: str, revision: int, state: DeploymentState, reason: str) -> None:
    await engine.database.write(table.settle, tenant, name, revision, state, reason, engine.now_ns())
