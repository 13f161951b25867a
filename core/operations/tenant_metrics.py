"""The measures of the jobs and deployments of a tenant, for whoever watches them from outside."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from core import clock
from core.engine import Engine
from core.model import results
from core.model.condition import Health, Kind, Subject
from core.model.measure import MOST_JOBS, OTHER, Family, Sample
from core.model.operation import Params
from core.model.principal import Caller, Role
from core.model.typed_condition import Status
from core.operations.registry import operation

MOST_DEPLOYMENTS = 500


class TenantMetrics(Params):
    pass


@operation(
    summary="The measures of the jobs and deployments of a tenant: runs, backlog, conditions.",
    http="GET /api/jobs/measures",
    toolset="jobs",
    tool=False,
    offline=False,
    role=Role.USER,
)
async def tenant_metrics(engine: Engine, caller: Caller, params: TenantMetrics) -> results.engine.Measures:
    """Families of samples as in the Prometheus text format, which `/metrics` shows besides what job_metrics says: how
    long runs took, how many messages wait for jobs, the conditions of deployments that are true (1) or false (0), and
    since when those are as they are that are not healthy."""
    families = (*_jobs(engine, caller.tenant), *_deployments(engine, caller.tenant))
    return {"families": [family.to_dict() for family in families]}


def _jobs(engine: Engine, tenant: str) -> Iterator[Family]:
    took = [Sample(one, {"tenant": tenant, "job": job}) for job, one in engine.fleet.run_times.of(tenant)]
    help = "How long runs took that were told one by one."
    yield Family("job_run_duration_seconds", "histogram", help, took)
    waiting = sorted(engine.fleet.backlogs(tenant).items())
    samples = [Sample(number, {"tenant": tenant, "job": job}) for job, number in waiting[:MOST_JOBS]]
    if len(waiting) > MOST_JOBS:
        samples.append(Sample(sum(number for _, number in waiting[MOST_JOBS:]), {"tenant": tenant, "job": OTHER}))
    yield Family("job_backlog_events", "gauge", "Messages that wait for a job and that no replica has taken.", samples)


def _deployments(engine: Engine, tenant: str) -> Iterator[Family]:
    kept = engine.fleet.conditions
    names = sorted(name for owner, name in kept.names(Kind.DEPLOYMENT) if owner == tenant)
    conditions, unhealthy = [], []
    for name in islice(names, MOST_DEPLOYMENTS):
        subject = Subject(Kind.DEPLOYMENT, tenant, name)
        labels = {"tenant": tenant, "deployment": name}
        conditions += [
            Sample(int(one.status is Status.TRUE), {**labels, "type": one.type.value})
            for one in kept.typed(subject)
            if one.status is not Status.UNKNOWN
        ]
        found = kept.of(subject)
        if found is not None and found.health is not Health.HEALTHY:
            unhealthy.append(Sample(found.since_ns / clock.NANOSECONDS, labels))
    yield Family("deployment_condition", "gauge", "Whether a condition of a deployment is true.", conditions)
    help = "Since when a deployment is not healthy in the way it is now."
    yield Family("deployment_unhealthy_since_timestamp_seconds", "gauge", help, unhealthy)
