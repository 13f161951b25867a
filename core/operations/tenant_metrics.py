"""The measures of the jobs and deployments of a tenant, for whoever watches them from outside."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from core import clock
from core.engine import Engine
from core.model import results, typed_condition
from core.model.condition import Condition, Health, Kind, Subject
from core.model.measure import MOST_JOBS, OTHER, Family, Sample
from core.model.operation import Params
from core.model.principal import Caller, Role
from core.model.typed_condition import Status, Typed
from core.model.workload import WorkloadView
from core.operations.registry import operation

MOST_DEPLOYMENTS = 500
MOST_SINGLE = 500  # jobs without a deployment


class TenantMetrics(Params):
    pass


@operation(
    summary="The measures of the jobs and deployments of a tenant: runs, backlog, conditions.",
    http="GET /api/jobs/measures",
    toolset="jobs",
    tool=False,
    offline=False,
    role=Role.VIEWER,
)
async def tenant_metrics(engine: Engine, caller: Caller, params: TenantMetrics) -> results.engine.Measures:
    """Families of samples as in the Prometheus text format, which `/metrics` shows besides what job_metrics says: how
    long runs took, how many messages wait for jobs, the conditions of deployments and of single jobs that are true (1)
    or false (0), and since when those are as they are that are not healthy."""
    tenant = caller.tenant
    families = (*_jobs(engine, tenant), *_deployments(engine, tenant), *_single_jobs(engine, tenant))
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
            unhealthy.append(Sample(_unhealthy_since(found, kept.typed(subject)) / clock.NANOSECONDS, labels))
    yield Family("deployment_condition", "gauge", "Whether a condition of a deployment is true.", conditions)
    help = "Since when a deployment is not healthy in the way it is now, or what it warns of holds."
    yield Family("deployment_unhealthy_since_timestamp_seconds", "gauge", help, unhealthy)


def _unhealthy_since(found: Condition, typed: Typed) -> int:
    """A warning is interrupted by each end of its engine or worker, and what it warns of is not."""
    wrong = typed_condition.wrong_since(typed)
    return found.since_ns if wrong is None else min(found.since_ns, wrong)


def _single_jobs(engine: Engine, tenant: str) -> Iterator[Family]:
    """Those of jobs that belong to no deployment: the worst of their replicas."""
    replicas: dict[str, list[WorkloadView]] = {}
    for view in engine.fleet.workload_views(tenant=tenant, deployment=""):
        replicas.setdefault(view.job, []).append(view)
    conditions, unhealthy = [], []
    for job in islice(sorted(replicas), MOST_SINGLE):
        labels, true = {"tenant": tenant, "job": job}, dict[str, bool]()
        for view in replicas[job]:
            for one in view.typed:
                if one.status is not Status.UNKNOWN:
                    true[one.type.value] = true.get(one.type.value, True) and one.status is Status.TRUE
        conditions += [Sample(int(value), {**labels, "type": type}) for type, value in sorted(true.items())]
        since = [
            _unhealthy_since(view.condition, view.typed)
            for view in replicas[job]
            if view.condition is not None and view.condition.health is not Health.HEALTHY
        ]
        if since:
            unhealthy.append(Sample(min(since) / clock.NANOSECONDS, labels))
    yield Family("job_condition", "gauge", "Whether a condition of a job without a deployment is true.", conditions)
    help = "Since when a job without a deployment is not healthy in the way it is now, or what it warns of holds."
    yield Family("job_unhealthy_since_timestamp_seconds", "gauge", help, unhealthy)
