"""Run & Trace: a job document over given or sampled events, action by action, without an effect."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from core import errors
from core.engine import Engine
from core.model import results
from core.model.operation import Params
from core.model.principal import Caller, Role
from core.operations.registry import JobDocument, operation

TRACED = ("events_in", "steps", "events_out", "would_emit", "errors", "counts")


class JobTrace(Params):
    document: JobDocument | None = None
    """The job document as YAML or JSON text."""
    name: str | None = Field(default=None, max_length=200)
    """Instead of a document: a job of this tenant, its draft if it has one."""
    version: int | None = Field(default=None, ge=1, le=2**31)
    """With name: a staged version."""
    events: list[dict[str, Any]] | None = Field(default=None, max_length=1000)
    """The events to run it over."""
    message: dict[str, Any] | None = None
    """The payload for ${msg|…}, e.g. {"job_event": {"params": {…}}}."""
    sample: int | None = Field(default=None, ge=1, le=100)
    """Instead of events: take up to so many from the real input; nothing is acknowledged or remembered."""


@operation(
    summary="Run a job over a few events and show what each action does; nothing is sent or stored.",
    http="POST /api/jobs/trace",
    toolset="jobs",
    role=Role.ADMIN,
    open_world=True,
    outline=TRACED,
    homeless=True,
)
async def job_trace(engine: Engine, caller: Caller, params: JobTrace) -> results.jobs.Trace:
    """Run & Trace: steps[] show the events before and after each action, what was dropped, and warnings.

    would_emit[] is what its output and messages would have sent; errors[] have step, event and message. The input
    echo needs no events; other inputs need events or sample. Secrets are masked. Long answers are cut: see counts.
    """
    if params.events is not None and params.sample is not None:
        raise _together("/sample", "Give events or sample, not both.")
    document = await _document(engine, caller, params)
    return await engine.tracer.trace(
        {
            "document": document,
            "tenant": caller.tenant,
            "events": params.events,
            "message": params.message,
            "sample": params.sample or 0,
            "variables": engine.fleet.variables(caller.tenant),
        }
    )


async def _document(engine: Engine, caller: Caller, params: JobTrace) -> dict[str, Any]:
    """The staged document to trace."""
    if params.document is not None:
        if params.name is not None:
            raise _together("/name", "Give a document or the name of a job, not both.")
        return (await engine.jobs.stage(caller.tenant, params.document)).data
    if params.name is None:
        raise _together("/document", "Give a document, or the name of a job.")
    return await engine.jobs.traceable(caller.tenant, params.name, params.version)


def _together(pointer: str, message: str) -> errors.InvalidParams:
    return errors.InvalidParams(message, errors=[errors.Problem(pointer, message)])
