"""All workers of one engine: started, watched, and told what to run; what they say goes to hearing.

Level-triggered: `sync` reads what the store wants and brings every connected worker to it; a worker that (re)connects
is brought to it as well. So a crash at any moment, of a worker or of the owner, needs no special way back.
"""

from __future__ import annotations

import asyncio
import math
import socket
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import structlog

from core import channel, clock, errors
from core.bus.base import Bus, GroupKey
from core.contexts.secrets import Vault
from core.contexts.variables import Variables
from core.fleet import health_changes
from core.fleet.child import Child, Spawn
from core.fleet.conditions import Conditions
from core.fleet.connection import EXTERNAL, LOCAL, Replica, Worker
from core.fleet.deaths import Death, Ended
from core.fleet.disclosures import Disclosures
from core.fleet.groups import Groups
from core.fleet.health_changes import HealthChanges
from core.fleet.hearing import Hearing
from core.fleet.holdings import Holdings, ask
from core.fleet.inquest import Inquest
from core.fleet.judge import Judge
from core.fleet.kv_calls import KvCalls
from core.fleet.letter_calls import LetterCalls
from core.fleet.logs import JobLogs
from core.fleet.processes import Processes
from core.fleet.runs import Runs
from core.fleet.secret_needs import Needs
from core.fleet.timetables import Timetables
from core.fleet.traffic import Traffic
from core.fleet.workloads import Deployed, Workloads
from core.forever import Loops
from core.guard import filepolicy, openings
from core.guard.filepolicy import FilePolicy
from core.measures import RunTimes
from core.model import deployment, frames
from core.model.condition import Health, Kind, Outage, Subject
from core.model.kv import KV
from core.model.message import Filter, Type
from core.model.principal import DEFAULT_TENANT
from core.model.states import WorkerState, WorkloadState
from core.model.worker_group import External
from core.model.workload import WorkloadRow, WorkloadView, parse
from core.settings import Settings
from core.store import external_workers, series
from core.store.database import Database
from core.store.letterbox import Letterbox
from core.store.logbook import Logbook

if TYPE_CHECKING:
    from core.model.results import jobs, workers

log = structlog.get_logger("core.fleet")

REPLY_SECONDS = 2.0
AGE_SECONDS = 10.0  # between two looks at what time alone may change of workloads


class Fleet:
    """Use from the engine's loop."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        bus: Bus,
        traffic: Traffic,
        store: KV,
        spawn: Spawn,
        changed: Callable[[str, str], None],
        vault: Vault,
        variables: Variables,
        loops: Loops,
        logbook: Logbook,
        letterbox: Letterbox,
        runs: Runs,
    ) -> None:
        self._settings = settings
        self._database = database
        self._bus = bus
        self._traffic = traffic
        self.runs = runs
        self.run_times = RunTimes()
        self.conditions = Conditions(database)
        self.conditions.changes = HealthChanges(self._health_changed)
        self.timetables = Timetables(database, self._tell_of_job, self._send)
        self.logs = JobLogs(logbook)
        judge = Judge(
            bus, self.conditions, changed, self.logs.last_warning, self.timetables.punctuality, letterbox.is_full
        )
        self._workloads = Workloads(database, bus, self.conditions, changed, traffic.workload_state, self._wake, judge)
        self.hearing = Hearing(
            bus,
            traffic,
            self._workloads,
            self.conditions,
            self.timetables,
            runs,
            self.run_times,
            self.logs,
            KvCalls(store),
            LetterCalls(letterbox),
            came=self._came,
            stopping=lambda: self.processes.stopping,
            wake=self._wake,
        )
        self.timetables.listeners.append(self._timed)
        letterbox.listeners.append(self._workloads.letters_settled)
        letterbox.room_listeners.append(self._workloads.letters_went)
        self.disclosures = Disclosures(database)
        self._needs = Needs(vault, self.disclosures.given)
        self._variables = variables
        self._variables.listeners.append(self._variable_changed)
        self._waiters: set[asyncio.Future[None]] = set()
        self.changes = 0  # grows with whatever a waiter may wait for
        self._syncing = asyncio.Lock()
        self.groups = Groups(database)
        self.started = clock.monotonic()
        self.workers = {f"local-{n}": self._worker(n) for n in range(1, settings.workers + 1)}
        self.inquest = Inquest(
            database, bus, traffic, self._workloads, self._admits, self._note, self.deliver, self._died
        )
        self.processes = Processes(settings, spawn, self.workers, self._linked, self._gone, self.inquest.hold, loops)

    def _admits(self, worker: Worker, tenant: str) -> bool:
        """Whether a worker may be given jobs of a tenant: its group admits it, and so does what it was granted."""
        granted = worker.grant is None or worker.grant.serves(tenant)
        return granted and self.groups.admits(worker.group, tenant)

    def _note(self, workload: str, text: str) -> None:
        """Write a line of ours into the log of a workload."""
        row = self._workloads.get(workload)
        self.logs.add(self.hearing.source(workload, row.worker if row else ""), clock.now_ns(), "error", text, {})

    def _died(self, row: WorkloadRow, heard_ns: int, death: Death) -> None:
        """A run ended with its worker, which may have told nothing of it: it is told of with the first beat behind its
        first second."""
        trigger, restarts = self._workloads.trigger(row), self._workloads.restarts(row.id)
        self.runs.died(row, trigger, heard_ns, death.at_ns, restarts, str(death))

    def _worker(self, number: int) -> Worker:
        group = self._settings.group_of(number)
        own = self._settings.of_group(group)
        files, opened = filepolicy.of(own), openings.of(own)
        return Worker(f"local-{number}", group, own.worker_slots, files=files, openings=opened)

    def admitting(self, tenant: str) -> list[Worker]:
        """The workers that may be given the jobs of a tenant."""
        return [worker for worker in self.workers.values() if self._admits(worker, tenant)]

    def file_policies(self, tenant: str, group: str = "") -> list[FilePolicy]:
        """Where the workers of a group (or of every one that admits the tenant) let jobs read and write, as far as it
        is known."""
        there = self.admitting(tenant)
        found = [worker.files for worker in there if group in ("", worker.group) and worker.files is not None]
        return list(dict.fromkeys(found))

    # -- life ----------------------------------------------------------------------------------------------

    async def load(self) -> None:
        """Read which workers there are and what the store wants them to run."""
        for external in await self._database.read(external_workers.known):
            self.workers[external.name] = _external(external)
        await self.groups.load(self.workers.values())
        await self.timetables.load()
        await self.reread()
        await self.inquest.load()  # which looks at what was up
        self.deliver()

    def start(self) -> None:
        """Start the worker processes, once it is loaded; does not wait for them."""
        absent = Counter(row.worker for row in self._workloads if row.worker not in {*self.workers, ""})
        if absent:
            log.warning(
                "workers_missing",
                workloads=dict(absent),
                patience_seconds=self._settings.reconcile_patience_seconds,
                hint="Deployments run on workers that this engine was not started with: what can moves to others after "
                "the patience. With as many --workers as before nothing moves.",
            )
        self.processes.start()

    async def stop(self) -> None:
        """Drain every worker within the deadline, then make sure that no process is left."""
        await self.conditions.end()
        await self.processes.stop()
        await self.timetables.end()
        self.runs.close()
        self._traffic.flush()

    async def _linked(self, worker: Worker, sock: socket.socket) -> tuple[channel.Channel, asyncio.Event]:
        """Our end of the channel to a worker, and what is set when it has ended."""
        ended = asyncio.Event()
        link = await channel.over_socket(
            sock,
            on_call=lambda link, name, args: self.hearing.answer(worker, link, name, args),
            codec=frames.OF_WORKER,
            on_frame=lambda frame: self.hearing.take(worker, frame),
            on_tick=lambda _: self._read(worker),
            on_close=lambda _: ended.set(),
        )
        return link, ended

    def starts(self, name: str) -> bool:
        """Whether a name is one of the workers that this engine starts itself."""
        worker = self.workers.get(name)
        return (worker is not None and worker.kind == LOCAL) or name.startswith("local-")

    def admits(self, name: str) -> None:
        """Raises Busy when a worker of this name is connected, or is one that the engine starts itself, and when the
        engine ends: what would join then finds nobody."""
        if self.processes.stopping:
            raise errors.Busy("This engine is ending.", hint="The next one lets workers in.")
        worker = self.workers.get(name)
        if worker is not None and (worker.connected or worker.kind == LOCAL):
            raise errors.Busy(
                f"A worker {name} is connected already.",
                hint="Give each worker its own --name; one that was cut off is let in again after some seconds.",
            )

    async def joined(
        self, external: External, sock: socket.socket, child: Child, life: str = "", before: Ended | None = None
    ) -> None:
        """Work with a worker of another machine until it is gone; `child` stands for its process, `life` names that,
        and `before` is how an earlier one ended.

        Raises Busy like `admits`.
        """
        self.admits(external.name)
        worker = self.workers.setdefault(external.name, _external(external))
        worker.started_in, worker.started_slots, worker.grant = external.group, external.slots, external.grant
        await self.groups.load(self.workers.values())
        if before is not None and before.life != worker.judged:
            worker.judged = before.life
            worker.restarts += 1
            await self.inquest.hear(worker, before.life, before.cause, before.number, before.at_ns)
        link, ended = await self._linked(worker, sock)
        await self.processes.work(worker, link, child, ended, life)
        self.processes.forget(worker.name)

    def dismiss(self) -> list[str]:
        """Tell the workers of other machines to finish what they have and end; who they are."""
        there = [one for one in self.workers.values() if one.kind == EXTERNAL and one.connected]
        for worker in there:
            assert worker.channel is not None
            worker.channel.send(frames.encode(frames.Drain()))
        return [worker.name for worker in there]

    def shut_out(self, name: str, why: str) -> None:
        """The connection of a worker is about to be ended on purpose: it is not lost."""
        worker = self.workers.get(name)
        if worker is not None and worker.connected:
            worker.shut_out = why

    def forsake(self, name: str) -> None:
        """A worker will not come back: nobody waits for it."""
        worker = self.workers.get(name)
        if worker is not None and not worker.online:
            worker.away_since = -math.inf
            self._wake()

    def forget(self, name: str) -> None:
        """A worker of another machine was removed."""
        self.workers.pop(name, None)
        self.conditions.forget(Subject(Kind.WORKER, "", name))
        self._wake()

    def _gone(self, worker: Worker) -> None:
        was_online = worker.state is WorkerState.ONLINE
        meant = worker.left or bool(worker.shut_out)
        ended = self.processes.stopping or meant
        worker.state = WorkerState.OFFLINE if ended else WorkerState.LOST
        if was_online:
            worker.away_since = clock.monotonic()
        for id, replica in worker.replicas.items():
            self._bus.detach(parse(id).group, replica, died=not worker.left)
        self._bus.reach(worker.name, None)
        if not worker.left:  # lines that its jobs wrote last may have gone with it
            for row in self._workloads.up_on(worker.name):
                self.logs.broke_off(self.hearing.source(row.id, worker.name), worker.heartbeat_at_ns)
        self.timetables.gone(worker.sent)
        self._workloads.worker_gone(worker, Outage.WORKER_STOPPED if meant else Outage.WORKER_LOST)
        why = worker.shut_out or ("it said good-bye" if worker.left else "it fell silent or died")
        self.conditions.saw_worker(worker.name, Health.DOWN, why)
        self.runs.worker_gone(worker.name, f"its worker {'ended' if meant else 'was lost'}")
        worker.disconnect()  # at last: what a fault cuts short is done again
        if was_online and not ended:
            log.warning("worker_lost", worker=worker.name)
            self._tell_tenants(worker, Type.WORKER_LOST, {"worker": worker.name})
        self._traffic.flush()
        self._wake()

    # -- what workers shall run ----------------------------------------------------------------------------

    async def sync(self) -> None:
        """Read what the store wants and bring every connected worker to it."""
        await self.reread()
        self.deliver()

    async def reread(self) -> None:
        """Read what the store wants without sending it, to compare it with what was applied."""
        async with self._syncing:  # a reading that is older than another one must not be applied after it
            gone = await self._workloads.load()
            self.runs.forget(gone)
            for id in gone:
                self._needs.forget(id)

    def deliver(self) -> None:
        """Bring every connected worker to what the store wanted when it was read."""
        self._declare()
        self.timetables.adopt(self._workloads.scheduled())
        for worker in self.workers.values():
            self._bring(worker)
        self._wake()

    def _declare(self) -> None:
        wanted: dict[GroupKey, Filter] = {}
        for row in self._workloads:
            filter = self._workloads.filter(row)
            if filter is not None:
                wanted[row.tenant, row.job] = filter
        for group in self._bus.groups():
            if group not in wanted:
                for delivery in self._bus.withdraw(group):
                    self._traffic.give_up(delivery, f"job {group[1]} is no longer deployed")
        for group, filter in wanted.items():
            self._bus.declare(group, filter)
        self._traffic.flush()

    def _bring(self, worker: Worker) -> None:
        """Send a connected worker the difference between what it runs and what it should run."""
        if not worker.connected or worker.state is not WorkerState.ONLINE or worker.channel is None:
            return
        wanted = self._admitted(worker)
        for id in [id for id in worker.sent if id not in wanted]:
            del worker.sent[id]
            worker.given.pop(id, None)
            replica = worker.replicas.get(id)
            if replica is not None:
                self._bus.pause(parse(id).group, replica)
            worker.channel.send(frames.encode(frames.Unassign(id)))
        channels = self._workloads.channels(wanted.values())
        if channels != worker.channels:  # before the jobs that write into them
            worker.channels = channels
            worker.channel.send(frames.encode(frames.Channels(channels)))
        for id, row in wanted.items():
            self._needs.give(worker, worker.channel, row)
            fingerprint = deployment.fingerprint(row.version, row.document)
            if worker.sent.get(id) == fingerprint:
                continue
            worker.sent[id] = fingerprint
            self._entrust(worker, id, row.tenant)
            if (schedule := self.timetables.before_assignment(row.tenant, row.job, id)) is not None:
                worker.channel.send(frames.encode(schedule))
            version, document, number = row.version, row.document, worker.number(id, row.version)
            told = frames.Assign(id, row.tenant, row.job, version, row.replica, document, number)
            worker.channel.send(frames.encode(told))
            self.timetables.assigned(row.tenant, row.job, id)
            if self._workloads.filter(row) is not None:
                replica = worker.replicas.get(id)
                if replica is None:
                    replica = worker.replicas[id] = Replica(id, worker.name, worker.channel)
                self._bus.attach((row.tenant, row.job), replica)

    def _admitted(self, worker: Worker) -> dict[str, WorkloadRow]:
        """What a worker shall run of the tenants that its group admits; the rest stays with us, and says why."""
        wanted = {}
        for row in self._workloads.wanted_on(worker.name):
            if not self.groups.admits(worker.group, row.tenant):
                why = f"worker group {worker.group} does not admit tenant {row.tenant}"
            elif not self._admits(worker, row.tenant):
                why = f"worker {worker.name} was let in for other tenants than {row.tenant}"
            elif self.groups.admits_alone(worker.group, row.tenant):
                why = ""
            else:
                why = self.inquest.probation.withholds(row)
            if why:
                self._workloads.withheld(row, why)
            else:
                wanted[row.id] = row
        return wanted

    def _entrust(self, worker: Worker, workload: str, tenant: str) -> None:
        """From now on a worker speaks for a workload, and knows the variables of its tenant."""
        worker.entrusted.add(workload)
        if tenant not in worker.tenants:
            worker.tenants.add(tenant)
            for name, value in self.variables(tenant).items():
                self._tell(worker, tenant, name, value)

    async def regroup(self) -> None:
        """Something was said about groups or workers: read it, and take from workers what they must not have now."""
        await self.groups.load(self.workers.values())
        self.deliver()

    async def holdings(self) -> Holdings:
        """Ask every worker what it holds; a worker that does not answer is left out."""
        return await ask(tuple(self.workers.values()), self._bus, REPLY_SECONDS)

    def tell_again(self, wanted: Mapping[str, str]) -> None:
        """Forget that these workloads were told to the workers that should run them: the next sync tells them again.

        Another worker that was told one of them keeps that in mind, so that the sync tells it to stop.
        """
        for id, name in wanted.items():
            worker = self.workers.get(name)
            if worker is not None:
                worker.sent.pop(id, None)

    def stop_strays(self, strays: Mapping[str, str]) -> None:
        """Stop what workers run without having been told: workload id -> worker."""
        for id, name in strays.items():
            worker = self.workers.get(name)
            if worker is not None and worker.channel is not None and worker.online and id not in worker.sent:
                worker.channel.send(frames.encode(frames.Unassign(id)))

    def backlogs(self, tenant: str) -> dict[str, int]:
        """How many messages wait for each job of a tenant that waits for messages."""
        rows = (row for row in self._workloads if row.tenant == tenant and self._workloads.filter(row) is not None)
        return {row.job: self._bus.backlog((tenant, row.job))[0] for row in rows}

    def secrets_changed(self) -> None:
        """Secrets were set or removed: give them anew to the workloads that name them."""
        for worker in self.workers.values():
            self._bring(worker)

    def secret_users(self, tenant: str) -> dict[str, list[str]]:
        """Full name of a secret -> the deployed jobs that name it."""
        return self._needs.users(row for row in self._workloads if row.tenant == tenant)

    # -- what is told of them ------------------------------------------------------------------------------

    def _came(self, worker: Worker) -> None:
        """A worker is there now."""
        if worker.channel is not None:
            self._bus.reach(worker.name, worker.channel.call)
        self._tell_tenants(worker, Type.WORKER_ONLINE, {"pid": worker.pid})
        self._bring(worker)
        self._wake()

    def _read(self, worker: Worker) -> None:
        worker.heard()
        self._traffic.flush()

    def _health_changed(self, subject: Subject, data: dict[str, Any]) -> None:
        self._traffic.message(subject.tenant, type=Type.HEALTH_CHANGED, job=health_changes.job_of(subject), data=data)
        asyncio.get_running_loop().call_soon(self._traffic.flush)

    async def age(self) -> None:
        """Wait, and let time count for what is so of workloads."""
        await asyncio.sleep(AGE_SECONDS)
        self._workloads.age()

    def _timed(self, tenant: str, job: str) -> None:
        scheduled = self.timetables.scheduled(tenant, job)
        for id in scheduled.workloads if scheduled is not None else ():
            self._workloads.timed(id)

    def _tell_of_job(self, tenant: str, job: str, type: Type, data: dict[str, Any]) -> None:
        """A message about a job, at the end of this tick."""
        self._traffic.message(tenant, type=type, job=job, data=data)
        asyncio.get_running_loop().call_soon(self._traffic.flush)

    def _send(self, workload: str, frame: frames.Frame) -> None:
        """Tell the worker of a workload; one that is told to run it later is told with that."""
        for worker in self.workers.values():
            if workload in worker.sent and worker.connected and worker.channel is not None:
                worker.channel.send(frames.encode(frame))

    def _tell_tenants(self, worker: Worker, type: Type, data: dict[str, Any]) -> None:
        """A message about a worker for each tenant with something on it, and for the tenant of whoever operates."""
        tenants = {row.tenant for row in self._workloads.wanted_on(worker.name)} | {DEFAULT_TENANT}
        for tenant in sorted(tenants):
            if self._admits(worker, tenant):
                self._traffic.message(tenant, type=type, worker=worker.name, data=data)

    # -- variables -----------------------------------------------------------------------------------------

    def _variable_changed(self, tenant: str, name: str, value: str | None) -> None:
        for worker in self.workers.values():
            if tenant in worker.tenants:
                self._tell(worker, tenant, name, value)

    def variables(self, tenant: str) -> dict[str, str]:
        """The dynamic variables of a tenant."""
        return {name: value for owner, name, value in self._variables if owner == tenant}

    def _tell(self, worker: Worker, tenant: str, name: str, value: str | None) -> None:
        if worker.channel is not None:
            worker.channel.send(frames.encode(frames.Variable(tenant, name, value)))

    # -- what others may know ------------------------------------------------------------------------------

    def worker_rows(self, tenant: str | None = None) -> list[workers.Worker]:
        """Every worker as worker_list shows it; of a tenant, those that may be given its jobs."""
        jobs = self._workloads.per_worker()
        return [
            worker.row(jobs.get(worker.name, 0))
            for worker in self.workers.values()
            if tenant is None or self._admits(worker, tenant)
        ]

    def workload_views(
        self, *, tenant: str, deployment: str | None = None, job: str | None = None, worker: str | None = None
    ) -> list[WorkloadView]:
        """Wanted workloads of a tenant with what was observed of each; of a deployment, a job, a worker, if named."""
        return self._workloads.views(tenant=tenant, deployment=deployment, job=job, worker=worker)

    def figures(self) -> Iterator[tuple[series.Subject, Mapping[str, Any]]]:
        """The totals of every workload, as its worker told them last."""
        return self._workloads.figures()

    def stored(self, tenant: str, deployment: str) -> list[WorkloadRow]:
        """The rows of a deployment as they were last read; do not change them."""
        return [row for row in self._workloads if row.tenant == tenant and row.deployment == deployment]

    def on(self, worker: str) -> list[WorkloadRow]:
        """The rows of every tenant that a worker shall run; do not change them."""
        return self._workloads.wanted_on(worker)

    def row(self, workload: str) -> WorkloadRow | None:
        """The row of a wanted workload as it was last read; do not change it."""
        return self._workloads.get(workload)

    def wants(self, workload: str) -> bool:
        """Whether the store wants a workload of this id."""
        return self._workloads.get(workload) is not None

    def quarantined(self) -> list[tuple[str, str]]:
        """The quarantined jobs as (tenant, job), each once."""
        rows = (row for row in self._workloads if row.state == WorkloadState.QUARANTINED)
        return list(dict.fromkeys((row.tenant, row.job) for row in rows))

    def document(self, workload: str) -> dict[str, Any]:
        """The job document of a wanted workload; do not change it."""
        return self._workloads.document(workload)

    def deployed(self, tenant: str) -> dict[str, Deployed]:
        """The jobs of a tenant that shall run, by name."""
        return self._workloads.deployed(tenant)

    def origin(self, workload: str) -> jobs.JobOrigin | None:
        """What made a workload of a deployment, as `Workloads.origin` tells it; None for an unmanaged one."""
        return self._workloads.origin(workload)

    def settled(self, ids: Iterable[str]) -> bool:
        """Has every one of these workloads come up, completed or failed?"""
        return self._workloads.settled(ids)

    async def request(self, worker: str, name: str, arguments: Any, seconds: float = REPLY_SECONDS) -> Any:
        """Ask a worker over the bus (core.bus.base) and wait for its reply. Raises TargetUnavailable without one."""
        return await self._bus.request(worker, name, arguments, seconds)

    async def replay(self, row: WorkloadRow, letters: list[Any], seconds: float) -> Any:
        """Have the worker of a workload take dead letters through its job; also of one that has completed, which is
        given to it for that alone. Raises TargetUnavailable, Busy when the job does not run."""
        worker, again = self.workers.get(row.worker), None
        if row.state == WorkloadState.COMPLETED and worker is not None and worker.channel is not None:
            self._entrust(worker, row.id, row.tenant)
            self._needs.give(worker, worker.channel, row)
            number = worker.number(row.id, row.version)
            again = [row.id, row.tenant, row.job, row.version, row.replica, row.document, number]
        return await self._bus.request(row.worker, "replay", [row.id, letters, again], seconds)

    async def wait(self, until: Callable[[], bool], seconds: float) -> bool:
        """Wait until a condition over workers and workloads holds; false when it does not within `seconds`."""
        deadline = clock.monotonic() + seconds
        while not until():
            left = deadline - clock.monotonic()
            if left <= 0:
                return False
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiters.add(future)
            try:
                async with asyncio.timeout(left):
                    await future
            except TimeoutError:
                return until()
            finally:
                self._waiters.discard(future)
        return True

    def _wake(self) -> None:
        self.changes += 1
        for future in self._waiters:
            if not future.done():
                future.set_result(None)


def _external(external: External) -> Worker:
    return Worker(external.name, external.group, external.slots, EXTERNAL, grant=external.grant)
