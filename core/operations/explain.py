"""Explain: why something that Sluice keeps is as it is, and what to do next."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from core.admission import no_engine
from core.engine import Engine
from core.model import results
from core.model.operation import Params
from core.model.principal import Caller, Role
from core.operations.registry import operation


class Explain(Params):
    kind: Literal["deployment", "invocation", "trigger", "workload", "job", "worker", "plan"]
    """What sort of thing."""
    id: str = Field(min_length=1, max_length=200)
    """Its name, slug or id; of a workload, JOB#REPLICA, or JOB when it has one replica."""


@operation(
    summary="Tell why something is as it is, and what to do next.",
    http="GET /api/explain/{kind}/{id}",
    toolset="session",
    outline=("state", "summary", "because", "next"),
    role=Role.VIEWER,
)
async def explain(engine: Engine, caller: Caller, params: Explain) -> results.explaining.Explanation:
    """Tell why something is as it is: `because`, its causes by time (who applied what, which worker was lost and what
    was down, which job failed since when and why); `next`, the calls that help."""
    if params.kind == "worker" and not engine.running:  # workers are known to a running engine alone
        raise no_engine(engine.settings.home)
    found = await engine.explainer.explain(caller, params.kind, params.id)
    return found.to_dict()
