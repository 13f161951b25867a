"""What is known about each sort of thing, read from the store and the fleet; the explanation itself is pure."""

from __future__ import annotations

from collections.abc import Sequence

import orjson

from core import clock, errors
from core.deployments import history, observed, records, status
from core.dsl.language import answering
from core.explain import (
    chain,
    conditions,
    deployment_facts,
    deployments,
    invocations,
    jobs,
    saved_plans,
    targets,
    triggers,
    worker_facts,
    workers,
)
from core.explain.chain import Cause
from core.explain.responsible import Fault
from core.explain.schedules import Timing
from core.explain.targets import Mismatch
from core.fleet.fleet import Fleet
from core.fleet.reach import Reach
from core.fleet.workforce import Workforce
from core.letters.keeping import DeadLetters
from core.model import invocation
from core.model.enrolment import EnrolmentState
from core.model.message import Type
from core.model.principal import Caller
from core.model.states import DeploymentState, WorkerState
from core.model.trigger import Definition
from core.model.workload import WorkloadView, parse
from core.store import audit, messages
from core.store import conditions as condition_table
from core.store import deployments as table
from core.store import enrolment as enrolment_table
from core.store import invocations as invocation_table
from core.store import jobs as job_table
from core.store import triggers as trigger_table
from core.store.database import Database
from core.triggers.pending import Pending
from core.triggers.registry import Trigger, TriggerRegistry
from core.workflows.library import Library

MOST_FAILURES = 3
LOOKED_THROUGH = 50  # of the newest failures
MOST_WORKER_NOTES = 4
_AWAY = (WorkerState.OFFLINE, WorkerState.LOST)


class Explainer:
    """Use from the engine's loop."""

    def __init__(
        self,
        database: Database,
        fleet: Fleet,
        pending: Pending,
        triggers: TriggerRegistry,
        library: Library,
        reach: Reach,
        workforce: Workforce,
        letters: DeadLetters,
    ) -> None:
        self._database = database
        self._triggers = triggers
        self._library = library
        self._reach = reach
        self._workforce = workforce
        self._letters = letters
        self._fleet = fleet
        self._pending = pending

    async def mismatches(self, definition: Definition) -> list[Mismatch]:
        """What does not fit between a trigger and the rest as it is now, each with the calls that mend it."""
        tenant, job = definition.tenant_id, definition.target_job_name
        deployed = self._fleet.deployed(tenant)
        own, message = deployed.pop(job, None), targets.message(definition)
        staged = await self._database.read(job_table.newest, tenant, job)
        target = targets.Target(
            own.document if own is not None else None,
            own.filter if own is not None else None,
            own.deployment if own is not None else "",
            orjson.loads(staged["document"]) if staged is not None else None,
            [name for name, one in deployed.items() if one.filter is not None and one.filter.matches(message)],
            any(definition.response_slot in answering.of(one.document).slots for one in deployed.values()),
        )
        return targets.mismatches(definition, target)

    async def explain(self, caller: Caller, kind: str, id: str) -> chain.Explanation:
        """Why a deployment, invocation, trigger, workload, job, worker or plan of a tenant is as it is. Raises
        NotFound."""
        match kind:
            case "deployment":
                return await self._deployment(caller, id)
            case "invocation":
                return await self._invocation(caller, id)
            case "trigger":
                return await self._trigger(caller, id)
            case "workload":
                return await self._workload(caller, id)
            case "job":
                return await self._job(caller, id)
            case "worker":
                row = self._workforce.worker(caller, id)
                return workers.explain(await worker_facts.find(self._database, self._fleet, caller, row))
            case "plan":
                return await self._plan(caller, id)
        raise ValueError(kind)

    async def _deployment(self, caller: Caller, name: str) -> chain.Explanation:
        row = await records.deployment(self._database, caller.tenant, name)
        state, reason, drift = observed.observe(self._fleet, caller.tenant, row, clock.now_ns())
        entries = await self._database.read(lambda db: table.history(db, caller.tenant, name, limit=20))
        there = observed.alive(self._fleet, tenant=caller.tenant, deployment=name)
        failed = [one for one in there if one.state in deployments.FAULTY or one.failing][:2]
        failed = failed or [one for one in there if not status.well(one)][:1]
        applied_at = entries[0].id if entries else 0
        # What failed before a version was taken back is what explains it.
        since = entries[1].id if len(entries) > 1 and entries[0].action == "rollback" else applied_at
        ran = ("apply", "rollback", "reconcile")
        earlier = next((one.revision for one in entries if one.action in ran and one.revision < row.revision), None)
        back_to = clock.now_ns() - conditions.LOOKED_BACK_NS
        down = await self._database.read(
            lambda db: condition_table.outages(db, caller.tenant, back_to, deployment=name)
        )
        faults = [Fault(one.job, one.failing or one.reason) for one in there if not status.up(one)]
        return deployments.explain(
            deployments.Facts(
                name,
                row.revision,
                state.value,
                reason or ("" if state is DeploymentState.RUNNING else row.reason),
                entries,
                there,
                [one.to_dict() for one in drift],
                await self._failures(caller.tenant, {one.job for one in there}, failed, since),
                await self._workers(caller.tenant, {one.worker for one in there}, applied_at),
                earlier,
                row.source,
                await deployment_facts.find_responsible(self._database, self._library, self._reach, row, faults),
                observed.condition(self._fleet, caller.tenant, row),
                conditions.outages(down),
                self._absent(there),
                clock.now_ns(),
                observed.typed(self._fleet, caller.tenant, name),
                [one for job in sorted({one.job for one in there}) if (one := self._timing(caller.tenant, job))],
            )
        )

    async def _invocation(self, caller: Caller, id: str) -> chain.Explanation:
        parsed = invocation.parse_id(id)
        record = await self._pending.get(parsed[0], 0) if parsed is not None else None
        if record is None or record["invocation_id"] != id or not caller.member_of(record["tenant_id"]):
            raise errors.NotFound(
                f"There is no invocation {errors.shorten(id, 64)}.",
                hint="trigger_invocation_list shows the recent ones.",
            )
        tenant = record["tenant_id"]
        slug, revision = record["trigger_slug"], record["trigger_revision"]
        row = await self._database.read(trigger_table.revision, tenant, slug, revision)
        definition = Trigger.from_row(row).definition if row is not None else None
        job = definition.target_job_name if definition is not None else ""
        there = observed.alive(self._fleet, tenant=tenant, job=job) if job else []
        well = record["state"] == "succeeded"
        since = record["requested_at_ns"]
        until = record["finished_at_ns"] or clock.now_ns()
        failures = [] if well or not job else await self._failures(tenant, {job}, there[:1], since)
        on = {one.worker for one in there}
        lost = [] if well and record["attempts"] <= 1 else await self._workers(tenant, on, since)
        present = self._triggers.get(tenant, slug)
        return invocations.explain(
            invocations.Facts(
                record,
                job,
                there,
                [one for one in failures if since <= one.at_ns],
                [one for one in lost if one.at_ns <= until],
                definition.response_slot if definition is not None else "",
                await self.mismatches(definition) if definition is not None and not well else (),
                await self._end(tenant, job, parsed[0]) if parsed is not None and job and not well else None,
                caller.allow_write
                and present is not None
                and present.definition.annotations.idempotent
                and present.invokable_by(caller),
            )
        )

    async def _end(self, tenant: str, job: str, id: int) -> invocations.RunEnd | None:
        """How the job's run with the message of an invocation ended; None while it has not, as far as we know."""
        run = await self._database.read(invocation_table.get, id)
        if run is None or run.settled_at_ns is None:
            return None
        found = await self._database.read(messages.recent, tenant, Type.JOB_RUN_ENDED, job, LOOKED_THROUGH)
        ends = [event.get("message_data") or {} for event in found]
        mine = [
            end
            for end in ends
            if end.get("started_at_ns", 0) <= run.settled_at_ns and run.requested_at_ns <= end.get("ended_at_ns", 0)
        ]
        own = self._fleet.deployed(tenant).get(job)
        return invocations.RunEnd(
            run.settled_at_ns,
            sum(end["events_out"] for end in mine),
            sum(end["runs"] for end in mine),
            targets.output(own.document) if own is not None else "its output",
        )

    async def _trigger(self, caller: Caller, slug: str) -> chain.Explanation:
        trigger = self._triggers.find(caller, slug)
        definition, tenant = trigger.definition, trigger.tenant
        there = observed.alive(self._fleet, tenant=tenant, job=definition.target_job_name)
        deeds = [Cause(f"{trigger.created_by} published revision {trigger.revision}", trigger.created_at_ns)]
        if not trigger.active:
            wanted = {"operation": "trigger_deactivate", "target": f"{tenant}/{slug}", "decision": "allowed"}
            rows, _ = await self._database.read(
                lambda db: audit.search(db, tenant, wanted, None, trigger.created_at_ns, None, None, 1)
            )
            deeds += [Cause(f"{row.username} deactivated it through {row.surface}", row.id) for row in rows]
        return triggers.explain(
            triggers.Facts(
                definition,
                trigger.revision,
                trigger.active,
                deeds,
                await self.mismatches(definition),
                len(there),
                sum(status.up(one) for one in there),
                caller.allow_write and caller.is_admin,
            )
        )

    async def _workload(self, caller: Caller, id: str) -> chain.Explanation:
        tenant, slash, rest = id.partition("/")
        name = rest if slash and tenant == caller.tenant else id
        job = name.rpartition("#")[0]
        of_job = observed.alive(self._fleet, tenant=caller.tenant, job=job or name)
        if not job and len(of_job) == 1:
            job, name = name, parse(of_job[0].id).name
        there = [one for one in of_job if one.id.endswith(f"/{name}")]
        if not there and of_job:
            known = ", ".join(parse(one.id).name for one in of_job[:10])
            raise errors.NotFound(
                f"There is no workload {errors.shorten(id, 100)} in tenant {caller.tenant}.",
                hint=f"Workloads of job {job or name}: {known}.",
            )
        if not there:
            raise errors.NotFound(
                f"There is no workload {errors.shorten(id, 100)} in tenant {caller.tenant}.",
                hint="deployment_get and job_get list workloads; an id is JOB#REPLICA.",
            )
        return jobs.explain(await self._job_facts(caller, job, there, name))

    async def _job(self, caller: Caller, name: str) -> chain.Explanation:
        there = observed.alive(self._fleet, tenant=caller.tenant, job=name)
        facts = await self._job_facts(caller, name, there, "")
        if not there and facts.staged is None:
            raise errors.NotFound(
                f"There is no job {errors.shorten(name, 100)} in tenant {caller.tenant}.",
                hint="job_list shows what there is.",
            )
        return jobs.explain(facts)

    async def _job_facts(self, caller: Caller, name: str, there: Sequence[WorkloadView], workload: str) -> jobs.Facts:
        tenant = caller.tenant
        newest = await self._database.read(job_table.newest, tenant, name)
        managed = next((one.deployment for one in there if one.deployment), "")
        if managed:
            entries = await self._database.read(lambda db: table.history(db, tenant, managed, limit=2))
            deeds = [Cause(f"{managed}: {deployments.applied(entry)}", entry.id) for entry in entries]
        else:
            rows = await self._database.read(audit.about, tenant, f"{tenant}/{name}", 3)
            deeds = [Cause(f"{row.username} called {row.operation} through {row.surface}", row.id) for row in rows]
        since = max((deed.at_ns for deed in deeds), default=0)
        back_to = clock.now_ns() - conditions.LOOKED_BACK_NS
        down = await self._database.read(condition_table.outages_of_job, tenant, name, back_to)
        return jobs.Facts(
            name,
            there,
            deeds,
            await self._failures(tenant, {name}, there),
            await self._workers(caller.tenant, {one.worker for one in there}, since),
            newest["version"] if newest is not None else None,
            workload,
            conditions.outages([one for one in down if workload in ("", one.workload)]),
            self._absent(there),
            self._letters.of(tenant, [name]),
            clock.now_ns(),
            self._timing(tenant, name),
            any(one.worker not in self._fleet.workers for one in there if not status.up(one)),
        )

    def _timing(self, tenant: str, job: str) -> Timing | None:
        """The schedule of a job that shall run by one."""
        timetables = self._fleet.timetables
        schedule, punctuality = timetables.get(tenant, job), timetables.punctuality(tenant, job)
        brief = timetables.brief(tenant, job)
        if schedule is None or punctuality is None or brief is None:
            return None
        return Timing(schedule, punctuality, brief["next"] or "")

    def _absent(self, there: Sequence[WorkloadView]) -> list[str]:
        """The workers of these that are known and not there."""
        on = {one.worker for one in there if not status.up(one)}
        return [row["name"] for row in self._fleet.worker_rows() if row["name"] in on and row["state"] in _AWAY]

    async def _plan(self, caller: Caller, id: str) -> chain.Explanation:
        saved = await records.saved_plan(self._database, caller.tenant, id, clock.now_ns())
        row = await self._database.read(table.get, caller.tenant, saved.name)
        since = await self._database.read(table.history, caller.tenant, saved.name, saved.base_revision)
        said = await history.changed(
            self._database, caller.tenant, saved.name, {one.revision for one in since[: saved_plans.SHOWN]}
        )
        return saved_plans.explain(saved_plans.Facts(saved, row.revision if row is not None else 0, since, said))

    async def _failures(
        self, tenant: str, names: set[str], there: Sequence[WorkloadView], since_ns: int = 0
    ) -> list[Cause]:
        """What jobs said when they failed since a time, and what these workloads wrote last."""
        job = next(iter(names)) if len(names) == 1 else ""
        found = await self._database.read(messages.recent, tenant, Type.JOB_FAILED, job, LOOKED_THROUGH)
        causes, last = [], ""
        for event in found:
            what = f"{event.get('job_name', '')} failed: {(event.get('message_data') or {}).get('reason', '')}"
            if event.get("job_name") in names and event["nanoseconds_since_epoch"] >= since_ns and what != last:
                causes.append(Cause(what, event["nanoseconds_since_epoch"]))
                last = what
        causes = causes[:MOST_FAILURES]
        for one in there[:2]:
            lines = [
                {"at_ns": line.at_ns, "level": line.level, "text": line.text}
                for line in self._fleet.logs.of(one.id)
                if line.level != "error"  # a failure is told already
            ]
            causes += chain.log(parse(one.id).name, lines)
        return causes

    async def _workers(self, tenant: str, names: set[str], since_ns: int) -> list[Cause]:
        """Which of these workers were lost, or came back, since a time; and which are not there now."""
        causes = []
        for type, what in ((Type.WORKER_LOST, "was lost"), (Type.WORKER_ONLINE, "came online")):
            found = await self._database.read(messages.recent, tenant, type, "", 20)
            mine = [
                Cause(f"worker {event['worker_id']} {what}", event["nanoseconds_since_epoch"])
                for event in found
                if event.get("worker_id") in names and event["nanoseconds_since_epoch"] >= since_ns
            ]
            causes += mine[:MOST_WORKER_NOTES]
        for row in self._fleet.worker_rows():
            if row["name"] in names and row["state"] != "online":
                seen = row["last_heartbeat_at"]
                causes.append(
                    Cause(f"worker {row['name']} is {row['state']}" + (f", last heard of at {seen}" if seen else ""))
                )
        for name in sorted(names - self._fleet.workers.keys()):
            ended = await self._database.read(enrolment_table.newest, name)
            if ended is not None and ended.state is EnrolmentState.REVOKED:
                causes.append(Cause(f"worker {name} is shut out: its credential was revoked", ended.decided_at_ns or 0))
        return causes
