"""What is known of the settings of a deployment: reads its source, contexts and history, and asks `responsible`."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from core.contexts.values import layers_of
from core.deployments import answers
from core.explain import origins, responsible
from core.explain.origins import Kind
from core.explain.responsible import Fault, Responsible
from core.fleet.reach import Reach
from core.model.deployment import DeploymentRow, Job, State
from core.store import deployments as table
from core.store.database import Database
from core.workflows.library import Library

LOOKED_BACK = 20  # revisions


async def find_responsible(
    database: Database, library: Library, reach: Reach, row: DeploymentRow, faults: Sequence[Fault]
) -> list[Responsible]:
    """The settings that these failures of a deployment come from; none when its source is not in the catalog now."""
    if not faults:
        return []
    source = answers.source_of(await library.visible(row.tenant), row.source)
    if source is None:
        return []
    wish = State.from_dict(row.desired)
    layers = await layers_of(database, row.tenant)

    def origins_of(job: Job) -> list[origins.Origin]:
        worker = next(iter(wish.assignments.get(job.name, ())), "")
        contexts = layers.visible(job=job.name, worker=worker, group=job.group, environment=wish.environment)
        return origins.of_job(source, wish, job, contexts)

    found = responsible.find(faults, wish.jobs, origins_of, lambda job: reach.directory(row.tenant, job.group))
    if not any(one.setting.kind is Kind.FIELD for one in found):
        return found
    slug = row.source.partition("@")[0]
    then = await database.read(table.values_of, row.tenant, row.name, row.revision, LOOKED_BACK)
    earlier = [
        (revision, origins.answers(source, values)) for revision, of, values in then if of.partition("@")[0] == slug
    ]
    return [
        dataclasses.replace(
            one, change=responsible.change_of(one.setting.name, one.setting.value, earlier, row.revision)
        )
        if one.setting.kind is Kind.FIELD
        else one
        for one in found
    ]
