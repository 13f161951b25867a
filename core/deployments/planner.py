"""Compute a plan from what somebody asks for: reads what was applied, the catalog, contexts and workers; saves nothing.

The rest of the way is pure: compute.py.
"""

from __future__ import annotations

import asyncio
import dataclasses
import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from core import clock, errors
from core.catalog import items
from core.contexts.layers import Layers
from core.contexts.secrets import Vault
from core.contexts.values import layers_of
from core.deployments import closed, compute, expand, history, leveling, observed, placement, remnants, resets
from core.deployments.records import unknown
from core.deployments.surroundings import Surroundings
from core.dsl.language import compile as compiler
from core.dsl.language import mentions
from core.fleet.fleet import Fleet
from core.fleet.reach import Reach
from core.guard.openings import Candidate
from core.guard.pathrules import Locator
from core.licensing import Licensing
from core.model import secret
from core.model.catalog import Graph, LibraryJob
from core.model.deployment import EMPTY, DeploymentRow, Reset, State
from core.model.plan import Finding, Plan
from core.model.states import DeploymentState
from core.model.workload import WorkloadView
from core.settings import Settings
from core.store import contexts as context_table
from core.store import deployments as table
from core.store import workflows as documents
from core.store.database import Database
from core.workflows.library import Library


@dataclass(frozen=True, slots=True)
class Ask:
    """What somebody asks of a deployment; what is None or not among the keys stays as it was applied."""

    name: str
    source: str | None = None  # workflow:SLUG[@VERSION] or blueprint:SLUG[@VERSION]
    worker_group: str | None = None
    values: Mapping[str, Any] = field(default_factory=dict)
    placement: Mapping[str, str] = field(default_factory=dict)  # step -> worker group
    replicas: Mapping[str, int] = field(default_factory=dict)  # step -> copies
    environment: str | None = None
    resets: Mapping[str, Reset] = field(default_factory=dict)  # job -> from where it is to read
    exact: bool = False  # what is given is all: nothing stays
    recompute_placement: bool = False


class Planner:
    """Use from the engine's loop."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        licensing: Licensing,
        library: Library,
        vault: Vault,
        fleet: Fleet,
        reach: Reach,
    ) -> None:
        self._settings = settings
        self._database = database
        self._licensing = licensing
        self._library = library
        self._vault = vault
        self._fleet = fleet
        self._reach = reach

    async def plan(self, tenant: str, ask: Ask) -> tuple[Plan, int]:
        """The plan and the revision that it is made on (0: none). Raises InvalidParams, NotFound."""
        row, current = await self._present(tenant, ask.name)
        return await self._plan(tenant, ask, current), row.revision if row is not None else 0

    async def plan_within(
        self, tenant: str, ask: Ask, catalog: Sequence[items.Entry], contexts: Layers | None = None
    ) -> Plan:
        """The plan if the catalog were this, and the contexts these."""
        _, current = await self._present(tenant, ask.name)
        return await self._plan(tenant, ask, current, catalog, contexts)

    async def plan_removal(self, tenant: str, name: str) -> tuple[Plan, int]:
        """The plan that removes a deployment, and the revision that it is made on. Raises NotFound."""
        row, current = await self._present(tenant, name)
        if row is None or row.state in (DeploymentState.REMOVED, DeploymentState.REMOVING):
            raise unknown(tenant, name)
        return await self._leaving(tenant, compute.remove(name, current)), row.revision

    async def plan_reset(self, tenant: str, name: str, step: str, to: str) -> tuple[Plan, int]:
        """The plan that has the readers of a step read from `to` on: beginning, end, or a time in ISO 8601.

        Raises NotFound; InvalidParams for a step that is not there, or that reads nothing of which it remembers how
        far it has come.
        """
        row, current = await self._present(tenant, name)
        if row is None or row.state in (DeploymentState.REMOVED, DeploymentState.REMOVING):
            raise unknown(tenant, name)
        found = resets.of_step(current, step, to, clock.iso(clock.now_ns()))
        made = await self._plan(tenant, Ask(name, resets=found), current)
        return dataclasses.replace(made, warnings=(*resets.meaning(found), *made.warnings)), row.revision

    async def plan_rebalance(self, tenant: str, group: str) -> list[tuple[Plan, int]]:
        """For each deployment that a levelled group moves something of, the plan and the revision that it is made on.

        Together they level it; each can be applied without the others. Nothing comes to a worker with context values
        of its own: what that would run was not worked out.
        """
        await observed.workers_started(self._fleet)
        special = await self._database.read(context_table.workers_with_values, tenant)
        there = [
            worker
            for worker in observed.workers(self._fleet, tenant, None)
            if worker.group == group and worker.name not in special
        ]
        rows = [
            row for row in await self._database.read(table.all_rows, tenant) if row.state != DeploymentState.REMOVED
        ]
        wishes = {row.name: await asyncio.to_thread(State.from_dict, row.desired) for row in rows}
        names = {worker.name for worker in there}
        movable = [seat for name, wish in wishes.items() for seat in leveling.seats(name, wish, group, names)]
        moves = leveling.by_deployment(leveling.level(there, movable))
        revisions = {row.name: row.revision for row in rows}
        return [
            (await asyncio.to_thread(self._moved, tenant, name, wishes[name], of_it), revisions[name])
            for name, of_it in moves.items()
        ]

    def _moved(self, tenant: str, name: str, wish: State, moves: Iterable[tuple[leveling.Seat, str]]) -> Plan:
        after = leveling.moved(wish, moves)
        found = _closed(wish, self._files(tenant), self._candidates(tenant))
        stays = [
            warning
            for job, workers in after.items()
            for warning in placement.files_of(wish.jobs[job], wish.assignments[job], workers)
        ]
        desired = dataclasses.replace(wish, assignments=after)
        return compute.compare(name, desired, wish, [*found.warnings, *stays], found.blockers)

    async def closed_to(self, tenant: str, job: str, views: Sequence[WorkloadView]) -> list[Finding]:
        """What is closed to a job that no deployment manages, where its workloads are: it runs, and is refused that."""
        by_group: dict[str, list[dict[str, Any]]] = {}
        for one in views:
            by_group.setdefault(one.group, []).append(self._fleet.document(one.id))
        files, candidates, out = self._files(tenant), self._candidates(tenant), list[Finding]()
        for group, running in by_group.items():
            told = await asyncio.to_thread(_closed_to, job, group, running, files, candidates)
            out += [*told.blockers, *told.warnings]
        return out

    async def plan_back(self, tenant: str, name: str, to_revision: int) -> tuple[Plan, int]:
        """The plan of an earlier wish, which the history holds whole: its source need not be in the catalog any more.

        Raises NotFound, InvalidParams for a revision that runs nothing.
        """
        row, current = await self._present(tenant, name)
        then = await history.wish(self._database, tenant, name, to_revision)
        wish = await asyncio.to_thread(State.from_dict, then)
        if not wish.jobs:
            raise errors.InvalidParams(
                f"Revision {to_revision} removed {name}, so there is nothing to go back to.",
                hint="Name another revision, or plan the removal with remove=true.",
                errors=[errors.Problem("/to_revision", "is a revision that runs nothing")],
            )
        await observed.workers_started(self._fleet)
        workers = observed.workers(self._fleet, tenant, name)
        needed = await asyncio.to_thread(_secrets, wish)
        present = self._vault.names(tenant)
        blockers = [
            Finding(
                "missing_secret",
                f"missing secret {one}: revision {to_revision} needs it.",
                f"Set it, then plan again: {secret.command(one, tenant)}",
            )
            for one in sorted(needed - set(present))
        ]
        found = await asyncio.to_thread(_closed, wish, self._files(tenant), self._candidates(tenant))
        blockers += found.blockers
        made = await asyncio.to_thread(
            compute.back, name, wish, workers, current, blockers, tuple(sorted(needed)), to_revision
        )
        made = dataclasses.replace(made, warnings=(*found.warnings, *made.warnings))
        made = await self._leaving(tenant, self._free(tenant, made))
        return made, row.revision if row is not None else 0

    async def _present(self, tenant: str, name: str) -> tuple[DeploymentRow | None, State]:
        row = await self._database.read(table.get, tenant, name)
        return row, EMPTY if row is None else await asyncio.to_thread(State.from_dict, row.desired)

    async def _plan(
        self,
        tenant: str,
        ask: Ask,
        current: State,
        catalog: Sequence[items.Entry] | None = None,
        contexts: Layers | None = None,
    ) -> Plan:
        source = ask.source or current.source
        if not source:
            raise errors.InvalidParams(
                f"{ask.name} is new, so the plan needs a source.",
                hint="Give source, e.g. workflow:quickstart-file-store-roundtrip@1; catalog_search finds others.",
                errors=[errors.Problem("/source", "required for a new deployment")],
            )
        catalog = await self._library.visible(tenant) if catalog is None else catalog
        one = await self._item(tenant, catalog, source)
        if isinstance(one.model, LibraryJob):
            raise errors.InvalidParams(
                f"{one.slug} is a library job, which is deployed on its own.",
                hint="Stage its document with job_put and run it with job_deploy.",
            )
        model = one.model
        request, environment = _request(tenant, ask, current, one)
        await observed.workers_started(self._fleet)
        around = self._surroundings(
            tenant, environment, await layers_of(self._database, tenant) if contexts is None else contexts
        )
        workers = observed.workers(self._fleet, tenant, ask.name)
        # Beside the loop: a plan of thousands of steps takes long enough to be felt by everyone else.
        made = await asyncio.to_thread(
            lambda: compute.make(
                model,
                request,
                items.finder(catalog),
                workers,
                current,
                surroundings=around,
                check_job=compiler.check_job,
                recompute=ask.recompute_placement,
            )
        )
        return await self._leaving(tenant, self._free(tenant, made))

    async def _leaving(self, tenant: str, made: Plan) -> Plan:
        """The plan with what the jobs that it takes away leave behind, and what those that come find of earlier ones
        of their names."""
        home = self._settings.home.expanduser().absolute()
        new = [job for job in made.desired.jobs.values() if job.name not in made.base.jobs and resets.remembers(job)]
        if new:
            found = await asyncio.to_thread(remnants.found, new, tenant, home)
            made = dataclasses.replace(made, warnings=(*made.warnings, *resets.goes_on(made.deployment, found)))
        gone = [name for name in made.base.jobs if name not in made.desired.jobs]
        if not gone:
            return made
        stays = await asyncio.to_thread(remnants.of, made.base, gone, tenant, self._files(tenant), home)
        return dataclasses.replace(made, stays=tuple(stays))

    def _surroundings(self, tenant: str, environment: str, contexts: Layers) -> Surroundings:
        licensed = frozenset(feature.value for feature in self._licensing.current.features)
        return Surroundings(
            contexts,
            environment,
            secrets=self._vault.names(tenant),
            features=licensed | ({"exec"} if self._reach.may_exec(tenant) else set()),
            nats=bool(self._settings.nats),
            groups=self._fleet.groups.names(tenant),
            files=self._files(tenant),
            candidates=self._candidates(tenant),
        )

    def _candidates(self, tenant: str) -> Callable[[str], Sequence[Candidate]]:
        return functools.cache(functools.partial(self._reach.candidates, tenant))

    def _files(self, tenant: str) -> Callable[[str], Locator]:
        return functools.cache(functools.partial(self._reach.of, tenant))

    async def _item(self, tenant: str, catalog: Sequence[items.Entry], source: str) -> items.Entry:
        """The item that a source names; of a mere draft, NotFound says how to publish it."""
        try:
            return _resolve(catalog, source)
        except errors.NotFound as error:
            kind, _, slug = source.partition("@")[0].partition(":")
            if await self._database.read(documents.draft, (tenant, kind, slug)) is not None:
                error.hint = f"It is a draft; publish it first: workflow_publish(slug='{slug}', type='{kind}')."
            raise

    def _free(self, tenant: str, made: Plan) -> Plan:
        """The plan with a blocker for each of its jobs whose name something else uses."""
        taken = [
            Finding(
                "name_taken",
                f"A job {one.job} exists already ({_owner(one)}).",
                "Undeploy it, or give the deployment another name.",
            )
            for one in self._fleet.workload_views(tenant=tenant)
            if one.job in made.desired.jobs and one.deployment != made.deployment
        ]
        return compute.with_blockers(made, taken) if taken else made


def _request(tenant: str, ask: Ask, current: State, one: items.Entry) -> tuple[expand.Request, str]:
    """What is wished for in full, and the environment: what was applied stays for what is left out, as long as it is
    the same item."""
    same = not ask.exact and current.source.rpartition("@")[0] == f"{one.type.value}:{one.slug}"
    asked = {question["field"] for question in items.wizard(one)}
    kept = {name: value for name, value in current.values.items() if same and name in asked}
    steps = {step.id for step in one.model.steps} if isinstance(one.model, Graph) else set()
    request = expand.Request(
        ask.name,
        f"{one.type.value}:{one.slug}@{one.version}",
        tenant,
        ask.worker_group or (current.group if same else "default"),
        {**kept, **ask.values},
        {**_still(current.placement, same, steps), **ask.placement},
        {**_still(current.replicas, same, steps), **ask.replicas},
        {**current.resets, **ask.resets},  # what was carried out stays so, whatever else is asked
    )
    return request, (current.environment if same else "") if ask.environment is None else ask.environment


def _still(given: Mapping[str, Any], same: bool, steps: set[str]) -> dict[str, Any]:
    return {step: value for step, value in given.items() if same and step.partition(".")[0] in steps}


_PLANNED = ("workflow", "blueprint")


def _resolve(catalog: Sequence[items.Entry], source: str) -> items.Entry:
    kind, colon, rest = source.partition(":")
    slug, _, version = rest.partition("@")
    if not colon or kind not in ("workflow", "blueprint", "perspective", "job") or not slug:
        bare = source.partition("@")[0]
        meant = sorted(
            {f"{one.type.value}:{source}" for one in catalog if one.slug == bare and one.type.value in _PLANNED}
        )
        raise errors.InvalidParams(
            f"{errors.shorten(source, 80)} is not a source.",
            hint=f"Write {' or '.join(meant) or 'workflow:SLUG@VERSION or blueprint:SLUG@VERSION'}.",
            errors=[errors.Problem("/source", "must be workflow:SLUG[@VERSION] or blueprint:SLUG[@VERSION]")],
        )
    return items.pick(catalog, slug, kind, version or None)


def _secrets(wish: State) -> set[str]:
    documents = [document for job in wish.jobs.values() for document in (job.document, *job.variants.values())]
    return {one.secret for document in documents for one in mentions.secrets(document)}


def _closed(
    wish: State, files: Callable[[str], Locator], candidates: Callable[[str], Sequence[Candidate]]
) -> closed.Told:
    """What of the jobs of an earlier wish is closed by now, and each job that is none any more."""
    each = [
        _closed_to(job.name, job.group, (job.document, *job.variants.values()), files, candidates)
        for job in wish.jobs.values()
    ]
    return closed.Told([one for told in each for one in told.blockers], [one for told in each for one in told.warnings])


def _closed_to(
    job: str,
    group: str,
    versions: Iterable[dict[str, Any]],
    files: Callable[[str], Locator],
    candidates: Callable[[str], Sequence[Candidate]],
) -> closed.Told:
    """What is closed on the workers of a group to a job in its versions there, each said once."""
    found, warnings = list[Finding](), list[Finding]()
    for document in versions:
        try:
            checked = compiler.check_job(document)
        except errors.InvalidDocument as error:
            found.append(Finding("invalid_job", f"Job {job}: {error.message}", error.hint))
            continue
        told = closed.of_checked(job, group, checked, candidates)
        found += [*expand.refused(job, checked, files(group)), *told.blockers]
        warnings += told.warnings
    return closed.Told(list(dict.fromkeys(found)), list(dict.fromkeys(warnings)))


def _owner(one: WorkloadView) -> str:
    return f"of deployment {one.deployment}" if one.deployment else "unmanaged"
