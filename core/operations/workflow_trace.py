"""Run & Trace for all steps of a workflow: events go along its channels, and nothing runs."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, StringConstraints, model_validator

from core import errors
from core.deployments import walk
from core.deployments.planner import Ask
from core.engine import Engine
from core.license import Feature
from core.model import results
from core.model.deployment import Job
from core.model.operation import Params
from core.model.principal import Caller, Role
from core.operations.registry import WorkflowDocument, operation
from core.workflows import unpublished

REFUSED = ("unknown_value", "wrong_value", "invalid_parameter")
"""Blockers that say that a value was given which is not taken: a trace without it would show something else."""
NAME = "trace"  # of the deployment that nobody makes; it stands in the names of the jobs


class WorkflowTraceParams(Params):
    source: str | None = Field(default=None, max_length=200)
    """workflow:SLUG[@VERSION] or blueprint:SLUG[@VERSION]; with the version `draft` the draft as it is."""
    document: WorkflowDocument | None = None
    """In place of source: the text of a workflow, with blueprints of its own as further documents of it. Nothing of it
    is saved."""
    values: dict[str, Any] = Field(default_factory=dict)
    """Wizard fields (or parameters of a blueprint)."""
    environment: str | None = Field(default=None, max_length=200)
    """Whose context values {{name}} sees."""
    events: list[dict[str, Any]] | None = Field(default=None, max_length=200)
    """The events; without any, inputs that make their own do."""
    step: Annotated[str, StringConstraints(max_length=200)] | None = None
    """Where the events go in; the first steps when left out."""

    @model_validator(mode="after")
    def _one(self) -> WorkflowTraceParams:
        if (self.source is None) == (self.document is None):
            raise ValueError("give either source or document")
        return self


@operation(
    summary="Take events through all steps of a workflow and show what each does; nothing is sent or stored.",
    http="POST /api/workflows/trace",
    toolset="workflows",
    feature=Feature.DEPLOYMENTS,
    role=Role.ADMIN,
    tool=False,
    homeless=True,
)
async def workflow_trace(
    engine: Engine, caller: Caller, params: WorkflowTraceParams
) -> results.workflows.WorkflowTrace:
    """Trace every step in the order of the channels: what one would hand over goes into the next ones.

    Values that nothing asks for are refused. Messages between steps are not followed; a step that waits for them is
    passed over, unless `step` names it.
    """
    source, catalog = await unpublished.catalog(
        engine.library, engine.workflows, caller.tenant, params.source, params.document
    )
    ask = Ask(NAME, source, values=params.values, environment=params.environment, exact=True)
    made = await engine.planner.plan_within(caller.tenant, ask, catalog)
    if refused := [one for one in made.blockers if one.code in REFUSED]:
        raise errors.PlanBlocked(
            f"{made.source} does not take the values as they are.",
            hint=refused[0].hint,
            errors=[errors.Problem(one.pointer, one.message) for one in refused],
        )
    if params.step and params.step not in {job.step for job in made.desired.jobs.values()}:
        raise errors.NotFound(f"{made.source} has no step {errors.shorten(params.step, 63)}.")
    variables = engine.fleet.variables(caller.tenant)

    async def trace(job: Job, events: walk.Events | None) -> results.jobs.Trace:
        asked = {"document": job.document, "tenant": caller.tenant, "events": events, "message": None, "sample": 0}
        return await engine.tracer.trace({**asked, "variables": variables})

    steps = await walk.through(made.desired, params.events, params.step, trace)
    if not steps:
        raise errors.PlanBlocked(
            f"{made.source} has no jobs to trace as it is.",
            hint="Mend what the plan of it is blocked by.",
            errors=[errors.Problem("", one.message) for one in made.blockers],
        )
    return {"source": made.source, "steps": steps}
