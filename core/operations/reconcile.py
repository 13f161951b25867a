"""Reconcile: bring what runs back to what was applied, and say how that is done for a deployment."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from core.deployments import observed, records
from core.engine import Engine
from core.license import Feature
from core.model import results
from core.model.operation import Effect, Params
from core.model.principal import Caller, Role
from core.operations.registry import operation

MOST_IGNORED = 100
Ignore = Annotated[
    str,
    StringConstraints(
        pattern=r"^job:(\*|[A-Za-z0-9][A-Za-z0-9_.:-]{0,199})(/(state|worker|version|document(/.*)?))?$", max_length=500
    ),
]


class DeploymentReconcile(Params):
    name: str = Field(max_length=64)
    """The deployment."""
    dry_run: bool = False
    """Only show the drift and the steps."""
    release: bool = False
    """Run again what is quarantined because its workers died again and again while it was at work."""
    wait_seconds: int = Field(default=10, ge=0, le=300)
    """How long to wait until the workloads have settled."""


@operation(
    summary="Bring what runs back to what was applied.",
    http="POST /api/deployments/{name}/reconcile",
    toolset="deployments",
    feature=Feature.DEPLOYMENTS,
    effect=Effect.WRITE,
    role=Role.OPERATOR,
    idempotent=True,
)
async def deployment_reconcile(
    engine: Engine, caller: Caller, params: DeploymentReconcile
) -> results.deployments.Reconciled:
    """Find drift and mend it: resend what workers should run, and move replicas off workers that stay away.

    A worker that has just gone is given some seconds to come back. Nothing is changed when there is no drift. Takes
    no newer version, and leaves muted drift alone.
    """
    found = await engine.healer.heal(
        caller,
        params.name,
        patience_seconds=engine.settings.reconcile_patience_seconds,
        wait_seconds=params.wait_seconds,
        dry_run=params.dry_run,
        release=params.release,
    )
    state, reason, _ = observed.observe(engine.fleet, caller.tenant, found.row, engine.now_ns())
    return {
        "drift": [one.to_dict() for one in found.drift[: observed.SHOWN_DRIFT]],
        "steps": [step.to_dict() for step in found.steps[: observed.SHOWN_DRIFT]],
        "warnings": [finding.to_dict() for finding in found.warnings],
        "state": state,
        "reason": reason,
        "revision": found.row.revision,
    }


class DeploymentSet(Params):
    name: str = Field(max_length=64)
    """The deployment."""
    reconcile: Literal["auto", "manual"] | None = None
    """auto heals drift by itself; manual only shows it. As before when left out; auto at first."""
    interval_seconds: int | None = Field(default=None, ge=0, le=86_400)
    """How often it is compared with what runs; 0: as often as the engine is set to. As before when left out."""
    ignore: list[Ignore] | None = Field(default=None, max_length=MOST_IGNORED)
    """Known drift to leave alone, in place of the list before: job:NAME (or job:* for all) with /state, /worker,
    /version, /document or a JSON pointer below it, e.g. job:demo--print/document/output; without: all of its drift."""


@operation(
    summary="Set how a deployment is reconciled: auto or manual, interval, muted drift.",
    http="PATCH /api/deployments/{name}",
    toolset="workers",
    feature=Feature.DEPLOYMENTS,
    effect=Effect.WRITE,
    offline=True,
    role=Role.ADMIN,
    idempotent=True,
)
async def deployment_set(engine: Engine, caller: Caller, params: DeploymentSet) -> results.deployments.DeploymentKept:
    """Say how a deployment is kept: whether drift is healed by itself, how often it is looked for, and which drift is
    known and left alone (it is still shown, as muted). Makes no new revision."""
    kept = await records.set_keeping(
        engine.database, engine.ids, caller, params.name, params.reconcile, params.interval_seconds, params.ignore
    )
    return {
        "name": params.name,
        "reconcile": kept.mode,
        "interval_seconds": kept.interval_seconds or engine.settings.reconcile_interval_seconds,
        "ignore": kept.ignored,
        "changed": kept.changed,
    }
