"""The worker: holds workloads, runs each one with restarts, and answers to its engine. Store-blind.

The same runtime serves a child process (over a socketpair) and, in unit tests only, a thread of the test.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterable
from dataclasses import asdict, astuple, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import orjson
import structlog

from core import backoff, channel, clock, errors
from core.confinement.sandbox import OFF, Sandbox
from core.dsl.component import Limits, Tally
from core.dsl.connections.retry import Temporary
from core.dsl.language import compile as compiler
from core.dsl.language import hops
from core.dsl.language.action import JobAborted
from core.guard.filepolicy import CLOSED, FilePolicy
from core.guard.openings import Openings
from core.model import deployment, frames, secret
from core.model.canceling import Stopped
from core.model.log_line import NO_RUN
from core.model.states import WorkloadState
from core.model.workload import directory_name, parse
from core.witness import Witness
from core.worker.channels import Channels
from core.worker.contacts import Contacts
from core.worker.environment import Environment, channel_name
from core.worker.executor import Executor
from core.worker.forwarding import forwarder
from core.worker.journal import Journal
from core.worker.lease import Lease
from core.worker.letters import Outbox
from core.worker.link import Link
from core.worker.orders import Orders
from core.worker.redact import Redactor
from core.worker.replaying import Outcome
from core.worker.runs import Delivery, Metrics
from core.worker.timetable import Now
from core.worker.turnbook import Turnbook
from core.worker.turns import Turns
from core.worker.vitals import Vitals

log = structlog.get_logger("core.worker")

UNCONFINED = Sandbox(OFF)
FIRST_BACKOFF_SECONDS = 0.5
LONGEST_BACKOFF_SECONDS = 30.0
REPLAY_SECONDS = 10.0  # for letters that one call brings
STEADY_SECONDS = 60.0  # a job that ran this long starts its back-off anew


@dataclass(frozen=True, slots=True)
class Options:
    """What an engine tells its worker at start."""

    name: str
    home: str
    heartbeat_seconds: float = 1.0
    drain_seconds: float = 5.0
    allow_exec: bool = False
    sandbox: str = "off"
    egress_allow: tuple[str, ...] = ()
    listen_allow: tuple[str, ...] = ()
    closed_ports: tuple[int, ...] = ()
    files: FilePolicy = CLOSED
    disk_reserve_mb: int = 0
    job_memory_mb: int = 64
    memory_mb: int = 0
    log_level: str = "warning"
    nats: str = field(default="", repr=False)  # it may hold a password
    stream_replicas: int = 1
    cloud: dict[str, str] | None = field(default=None, repr=False)
    lease_seconds: float = 0.0  # after that long a silence its engine counts it as lost; 0: the engine kills it then

    @property
    def limits(self) -> Limits:
        """What its jobs may do."""
        return Limits(
            allow_exec=self.allow_exec,
            confined=self.sandbox != OFF,
            files=self.files,
            egress_allow=self.egress_allow,
            listen_allow=self.listen_allow,
            closed_ports=frozenset(self.closed_ports),
            lua_memory_mb=self.job_memory_mb,
            nats=self.nats,
            stream_replicas=self.stream_replicas,
            cloud=self.cloud,
        )

    @property
    def openings(self) -> Openings:
        """The same as its engine is told."""
        listens = (self.listen_allow, self.closed_ports)
        return Openings(self.allow_exec, self.egress_allow, *listens, self.cloud is not None, bool(self.nats))

    @staticmethod
    def from_json(text: str) -> Options:
        values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in orjson.loads(text).items()}
        files = FilePolicy.from_dict(values.pop("files"))
        return Options(**values, files=files)


@dataclass(slots=True, eq=False)
class _Workload:
    id: str
    tenant: str
    job: str
    version: str
    document: dict[str, Any]
    number: int = 0  # what the engine calls it in the witness
    fingerprint: str = ""  # of what the engine told to run
    task: asyncio.Task[None] | None = None
    executor: Executor | None = None
    before: _Workload | None = None  # the one whose place it takes, until that one has ended
    metrics: Metrics = field(default_factory=Metrics)
    contacts: Contacts = field(default_factory=Contacts)
    tally: Tally = field(default_factory=Tally)
    state: WorkloadState = WorkloadState.ASSIGNED
    outbox: Outbox | None = None  # of its refused events
    restarts: int = 0
    stopping: bool = False
    early: list[Delivery] = field(default_factory=list)  # deliveries that came before the job was compiled
    told: frames.Figures | None = None  # as last reported
    orders: Orders = field(default_factory=Orders)

    @property
    def reader(self) -> str:
        return parse(self.id).reader

    def again(self) -> _Workload:
        """The same workload, not started yet."""
        known = (self.id, self.tenant, self.job, self.version, self.document, self.number, self.fingerprint)
        return _Workload(*known, orders=self.orders)


class Runtime:
    """One worker."""

    def __init__(
        self,
        options: Options,
        lease: Lease | None = None,
        witness: Witness | None = None,
        confined: Sandbox = UNCONFINED,
    ) -> None:
        self._options = options
        self._lease = lease
        self._turnbook = Turnbook(witness)
        self._sandbox = confined
        self._limits = options.limits
        self._channels = Channels()
        self._turns = Turns()
        self._journal = Journal(lambda: self._link)
        self._vitals = Vitals()
        self._workloads: dict[str, _Workload] = {}
        self._retiring: dict[str, _Workload] = {}  # no longer wanted, and not yet ended
        self._orders: dict[str, Orders] = {}  # by workload id
        self._variables: dict[tuple[str, str], str] = {}
        self._secrets: dict[str, dict[str, str]] = {}  # workload id -> full name -> value; never on a disk
        self.redactors: dict[str, Redactor] = {}  # by tenant
        self._link: Link
        self._draining: asyncio.Task[None] | None = None
        self._stopped = asyncio.Event()
        self._stop_tasks: set[asyncio.Task[None]] = set()

    async def serve(self, sock: socket.socket) -> None:
        """Work for the engine at the other end of `sock` until it goes away or says drain."""
        link = await channel.over_socket(
            sock, codec=frames.OF_ENGINE, on_frame=self._hear, on_call=self._call, on_close=lambda _: self.drain()
        )
        self._link = Link(link, self.redactors)
        self._turnbook.inherit(asyncio.get_running_loop())
        files, opened = asdict(self._options.files), self._options.openings.to_dict()
        link.send(frames.encode(frames.Hello(self._options.name, files, self._sandbox.state, opened)))
        beat = asyncio.create_task(self._beat(link))
        try:
            await self._stopped.wait()
        finally:
            beat.cancel()
            self._journal.close()
            self._link.close()
            link.send(frames.encode(frames.Bye()))
            await link.close()

    def drain(self) -> None:
        """Finish what is in flight within the deadline, then end `serve`. Safe to call twice."""
        if self._draining is None:
            self._draining = asyncio.create_task(self._drain())

    async def _drain(self) -> None:
        # With the stream: who fills a channel ends before who empties it, so that nothing is left in between.
        deadline = clock.monotonic() + self._options.drain_seconds
        for stage in _downstream(list(self._workloads.values())):
            left = max(0.0, deadline - clock.monotonic())
            await asyncio.gather(*(self._stop(workload, left) for workload in stage))
        self._stopped.set()

    # -- what the engine says ------------------------------------------------------------------------------

    def _hear(self, frame: frames.FromEngine) -> None:
        match frame:
            case frames.Deliver():
                self._deliver(frame)
            case frames.Published():
                self._link.confirmed(frame.sequence)
            case frames.Logged():
                self._journal.taken(frame.sequence)
            case frames.Assign():
                self._assign(frame)
            case frames.Unassign():
                self._unassign(frame.workload)
            case frames.Channels():
                self._configure(frame.drivers)
            case frames.Variable():
                self._set_variable(frame.tenant, frame.name, frame.value)
            case frames.Secrets():
                self._set_secrets(frame.workload, frame.values)
            case frames.Schedule():
                self._orders_of(frame.workload).heard(frame, Now.read())
            case frames.Fire():
                self._orders_of(frame.workload).add(frame)
            case frames.Drain():
                self.drain()
            case frames.Refused():
                log.error("frame_refused", by="engine", reason=errors.shorten(frame.reason, 300))
                self.drain()

    def _set_variable(self, tenant: str, name: str, value: str | None) -> None:
        if value is None:
            self._variables.pop((tenant, name), None)
        else:
            self._variables[tenant, name] = value

    def _set_secrets(self, workload_id: str, values: dict[str, str]) -> None:
        """What a workload may read of the secrets; what it could read before stays masked."""
        self._secrets[workload_id] = values
        for value in values.values():
            self._redactor(workload_id).learn(value)

    def _redactor(self, workload_id: str) -> Redactor:
        return self.redactors.setdefault(parse(workload_id).tenant, Redactor())

    def _secret(self, workload_id: str, source: str, text: str) -> str:
        """The value behind `${source|text}`. Raises JobFailed when this workload does not have it."""
        wanted = secret.parse(source, text)
        value = self._secrets.get(workload_id, {}).get(wanted.secret)
        if value is None:
            raise errors.JobFailed(
                f"the secret {wanted.secret} is not set or cannot be read", hint=f"sluice secret set {wanted.secret}"
            )
        if wanted.field:
            value = secret.part(value, wanted)
            self._redactor(workload_id).learn(value)
        return value

    async def _call(self, link: channel.Channel, name: str, args: Any) -> Any:
        if name == "report":
            return {**self._vitals.report(), "channels": self._channels.depths()}
        if name == "holdings":
            return {workload.id: workload.fingerprint for workload in self._workloads.values()}
        if name == "cancel":
            return await self._cancel(*args)
        if name == "replay":
            return await self._replay(*args)
        if name == "cancel_run":
            workload = self._workloads.get(args[0])
            executor = None if workload is None else workload.executor
            return Stopped.OVER if executor is None else await executor.cancel_run(args[1])
        raise errors.NotFound(f"A worker does not know the call {name}.")

    async def _replay(self, workload_id: str, letters: list[Any], assign: list[Any] | None) -> list[Any]:
        """Take dead letters, [step, event, message] each, through a job, the first ones at least.

        With `assign` (see frames.Assign) it is one that has completed, whose output is opened for them alone. Raises
        Busy when the job does not run.
        """
        workload = self._workloads.get(workload_id)
        found: list[Outcome] = []
        if workload is not None and workload.executor is not None and workload.executor.open:
            await self._turnbook.noted(workload.number, _replay_all(workload.executor, letters, found))
            return [tuple(one) for one in found]
        if assign is None or (workload is not None and workload.state is not WorkloadState.COMPLETED):
            raise errors.Busy("The job does not run now.")
        told = frames.Assign(*assign)
        alone = _Workload(told.workload, told.tenant, told.job, told.version, orjson.loads(told.document), told.number)
        alone.state, alone.outbox = WorkloadState.COMPLETED, workload.outbox if workload is not None else None
        if workload is not None:  # told with the next beat
            alone.metrics, alone.tally = workload.metrics, workload.tally
        alone.before = self._retiring.get(workload_id)
        await self._succeed(alone)
        executor = self._prepare(alone)
        alone.task = asyncio.create_task(self._turnbook.noted(alone.number, _replay_alone(executor, letters, found)))
        self._retiring[workload_id] = alone  # the next one of this id waits for its end
        try:
            await asyncio.wait({alone.task})
            if alone.task.cancelled():
                raise errors.Busy("The job was started anew meanwhile.")
            alone.task.result()
        finally:
            if self._retiring.get(workload_id) is alone:
                del self._retiring[workload_id]
        return [tuple(one) for one in found]

    def _configure(self, told: list[frames.ChannelDriver]) -> None:
        """The drivers of channels. Jobs at a channel that gets another driver start anew, so that none is left at
        the old one; what was in it and not accepted comes again."""
        moved = {one.channel for one in told if self._channels.configure(one.channel, one.driver, one.readers)}
        for workload in list(self._workloads.values()) if moved else ():
            ends = {hops.reads(workload.document), *hops.writes(workload.document)} - {""}
            if any(channel_name(workload.tenant, name) in moved for name in ends):
                self._start(workload.again())

    def _deliver(self, told: frames.Deliver) -> None:
        workload = self._workloads.get(told.workload)
        if workload is None:
            return  # it was just unassigned: the engine takes the delivery back when it hears of that
        link = self._link
        delivery = Delivery(
            told.delivery,
            told.attempt,
            frames.value(told.message),
            lambda reason: link.settle(told.workload, told.delivery, reason, delivery.spans),
        )
        if workload.executor is None:
            workload.early.append(delivery)
        else:
            self._turnbook.call(workload.number, workload.executor.deliver, delivery)

    async def _cancel(self, workload_id: str, delivery_id: int) -> Stopped:
        """End the run of one message, wherever its workload has it."""
        workload = self._workloads.get(workload_id) or self._retiring.get(workload_id)
        while workload is not None:
            for delivery in workload.early:
                if delivery.id == delivery_id:
                    workload.early.remove(delivery)
                    delivery.settle(None)
                    return Stopped.STOPPED
            if workload.executor is not None:
                answer = await workload.executor.cancel(delivery_id)
                if answer is not Stopped.OVER:
                    return answer
            workload = workload.before
        return Stopped.OVER

    def _orders_of(self, workload_id: str) -> Orders:
        """The orders of a workload, which may not be assigned yet."""
        known = self._orders.get(workload_id)
        if known is None:
            known = self._orders[workload_id] = Orders(workload_id, self._link.timetable)
        return known

    def _assign(self, told: frames.Assign) -> None:
        fingerprint = deployment.fingerprint(told.version, told.document)
        known = (told.workload, told.tenant, told.job, told.version, orjson.loads(told.document))
        self._start(_Workload(*known, told.number, fingerprint, orders=self._orders_of(told.workload)))

    def _start(self, workload: _Workload) -> None:
        """Run a workload, behind the one of its name that runs or is just ending."""
        workload.before = self._workloads.get(workload.id) or self._retiring.get(workload.id)
        self._workloads[workload.id] = workload
        workload.task = asyncio.create_task(self._turnbook.noted(workload.number, self._run(workload)))

    def _unassign(self, workload_id: str) -> None:
        workload = self._workloads.pop(workload_id, None)
        if workload is not None:
            self._retiring[workload_id] = workload
            task = asyncio.create_task(self._retire(workload))
            self._stop_tasks.add(task)
            task.add_done_callback(self._stop_tasks.discard)

    async def _retire(self, workload: _Workload) -> None:
        await self._stop(workload, self._options.drain_seconds)
        if self._retiring.get(workload.id) is workload:
            del self._retiring[workload.id]
        if all(other.reader != workload.reader for other in self._workloads.values()):
            self._channels.detach(workload.reader)
        if workload.outbox is not None:
            workload.outbox.close()
        if workload.id not in self._workloads:
            self._journal.forget(workload.id)
            self._orders.pop(workload.id, None)
            self._secrets.pop(workload.id, None)

    # -- the life of a workload ----------------------------------------------------------------------------

    async def _run(self, workload: _Workload) -> None:
        await self._succeed(workload)
        failures = 0  # in a row, without a steady run between them
        while True:
            started = clock.monotonic()
            try:
                self._say(workload, WorkloadState.STARTING)
                executor = self._prepare(workload)
                self._say(workload, WorkloadState.RUNNING)
                await executor.run()
                # A drained job also comes to an end, but only one that was left alone is complete.
                self._say(workload, WorkloadState.STOPPED if workload.stopping else WorkloadState.COMPLETED)
                return
            except asyncio.CancelledError:
                self._say(workload, WorkloadState.STOPPED)
                raise
            except Exception as error:  # the boundary of a job: its fault is told, and never the worker's end
                failed_in = NO_RUN if workload.executor is None else workload.executor.failed_in
                asked = error.after_seconds if isinstance(error, Temporary) else 0.0
                reason = f"{_reason(error)} (not tried again for {asked:.0f} s, as asked)" if asked else _reason(error)
                self._journal.write(workload.id, "error", reason, of_run=failed_in)
                self._say(workload, WorkloadState.FAILED, reason)
                aborted = isinstance(error, JobAborted)
            _take_over(workload, workload, failed=True)
            workload.executor = None
            if aborted:  # its document says that it must not go on; whoever deploys it again says that it may
                return
            workload.restarts += 1
            failures = 1 if clock.monotonic() - started > STEADY_SECONDS else failures + 1
            await asyncio.sleep(max(asked, backoff.pause(failures, FIRST_BACKOFF_SECONDS, LONGEST_BACKOFF_SECONDS)))

    async def _succeed(self, workload: _Workload) -> None:
        """End the version before, so that two never share their state directory, and take what it leaves."""
        before = workload.before
        if before is not None:
            await self._stop(before, self._options.drain_seconds)
            if workload.before is before:  # not yet done by who stopped this one meanwhile
                workload.before = None
                _take_over(workload, before, failed=False)

    def _prepare(self, workload: _Workload) -> Executor:
        environment = Environment(
            job=workload.job,
            worker=self._options.name,
            tenant=workload.tenant,
            workload=workload.id,
            limits=self._limits,
            state_dir=Path(self._options.home) / "state" / directory_name(workload.id),
            log=self._journal.of(workload.id),
            publish=lambda message: self._link.publish(workload.id, message),
            variable=lambda name: self._variables.get((workload.tenant, name)),
            channels=self._channels,
            reveal=lambda source, text: self._secret(workload.id, source, text),
            store=self._link.kv(workload.id),
            contacts=workload.contacts,
            tally=workload.tally,
        )
        job = compiler.compile_job(workload.document, environment)
        if workload.outbox is None:
            workload.outbox = Outbox(
                job.on_error,
                workload.version,
                {"/input": job.input.name, "/output": job.output.name},
                workload.metrics,
                environment.log,
                partial(self._link.letters, workload.id),
                partial(self._link.redactor, workload.id),
                None if job.on_error.send is None else forwarder(job.on_error.send, environment),
            )
        executor = Executor(
            job,
            environment,
            on_run=lambda report: self._link.run_ended(workload.id, report),
            turns=self._turns,
            metrics=workload.metrics,
            lease=self._lease,
            orders=workload.orders,
            outbox=workload.outbox,
        )
        workload.executor = executor
        early, workload.early = workload.early, []
        for delivery in early:
            executor.deliver(delivery)
        return executor

    async def _stop(self, workload: _Workload, seconds: float) -> None:
        workload.stopping = True
        if workload.before is not None and workload.task is not None:  # it waits for the end of another one
            workload.task.cancel()
            await self._succeed(workload)
        task = workload.task
        if task is None or task.done():
            return
        if workload.executor is not None:
            await workload.executor.drain(seconds)
        task.cancel()
        await asyncio.wait({task})
        if workload.state is not WorkloadState.COMPLETED:  # it was between two tries
            self._say(workload, WorkloadState.STOPPED)

    def _say(self, workload: _Workload, state: WorkloadState, reason: str = "") -> None:
        if workload.state is state:
            return
        workload.state = state
        if state in (WorkloadState.COMPLETED, WorkloadState.STOPPED, WorkloadState.FAILED):
            self._link.beat(self._figures([workload], Now.read()))  # the last ones must not wait for a heartbeat
            self._journal.flush()  # nor do the lines that say why
        self._link.status(workload.id, workload.version, state, reason, workload.restarts)

    def _figures(self, workloads: Iterable[_Workload], now: Now) -> dict[str, frames.Figures]:
        """The figures of those workloads for which they have changed since they were told."""
        changed = {}
        for workload in workloads:
            figures = _figures(workload, now)
            if figures != workload.told:
                workload.told = changed[workload.id] = figures
        return changed

    async def _beat(self, link: channel.Channel) -> None:
        while not link.closed.is_set():
            if self._lease is not None:
                self._lease.renew()
            now = Now.read()
            self._link.beat(self._figures(self._workloads.values(), now))
            for workload in self._workloads.values():
                if workload.executor is not None:
                    for begun in workload.executor.under_way.long_ones(now.wall_ns):
                        self._link.run_began(workload.id, begun)
            if path := self._sandbox.outdated():
                log.warning(
                    "worker_starts_again", reason=f"{path} was replaced, and this process cannot read the new one"
                )
                self.drain()
            await asyncio.sleep(self._options.heartbeat_seconds)
            self._vitals.loop_lag_seconds = clock.monotonic() - now.monotonic - self._options.heartbeat_seconds


async def _replay_all(executor: Executor, letters: list[Any], found: list[Outcome]) -> None:
    """As many as are through in a while; at least one, unless it cannot be done now."""
    until = clock.monotonic() + REPLAY_SECONDS
    try:
        for step, event, msg in letters:
            found.append(await executor.replay(step, orjson.loads(event), None if msg is None else orjson.loads(msg)))
            if clock.monotonic() >= until:
                return
    except errors.SluiceError:
        raise
    except Exception as error:  # the boundary of a replay: the fault is its answer
        raise errors.JobFailed(_reason(error)) from error


async def _replay_alone(executor: Executor, letters: list[Any], found: list[Outcome]) -> None:
    try:
        async with executor.for_replays():
            await _replay_all(executor, letters, found)
    except OSError as error:  # its output could not be opened
        raise errors.JobFailed(_reason(error)) from error


def _downstream(workloads: list[_Workload]) -> list[list[_Workload]]:
    """The workloads in stages, each after those that write into the channels that it reads; a cycle ends together."""
    writers: dict[tuple[str, str], list[str]] = {}
    for workload in workloads:
        for name in hops.writes(workload.document):
            writers.setdefault((workload.tenant, name), []).append(workload.id)
    waits = {w.id: set(writers.get((w.tenant, hops.reads(w.document)), ())) for w in workloads}
    stages = []
    left = {workload.id: workload for workload in workloads}
    while left:
        free = [id for id in left if not (waits[id] & left.keys() - {id})] or list(left)
        stages.append([left.pop(id) for id in free])
    return stages


def _take_over(workload: _Workload, before: _Workload, *, failed: bool) -> None:
    """Keep the messages that an ended instance had not settled: the engine still counts them as held by this one."""
    left = before.executor.unsettled(failed=failed) if before.executor is not None else []
    if before is not workload:
        left, before.early = [*left, *before.early], []
    workload.early[:0] = left


def _figures(workload: _Workload, now: Now) -> frames.Figures:
    m, lag = workload.metrics, 0.0
    if workload.executor is not None:
        workload.executor.count()
        lag = round(workload.executor.lag_seconds(now), 3)
    return frames.Figures(
        m.events_in,
        m.events_out,
        m.bytes_in,
        m.bytes_out,
        m.errors,
        m.runs,
        m.runs_failed,
        m.last_event_at,
        lag,
        m.refused_by_input,
        m.refused_by_actions,
        m.refused_by_output,
        m.letters_dropped,
        workload.contacts.outage("input"),
        workload.contacts.outage("output"),
        m.conditions_failed,
        *astuple(workload.tally),
    )


def _reason(error: BaseException) -> str:
    text = error.message if isinstance(error, errors.SluiceError) else f"{type(error).__name__}: {error}"
    if isinstance(error, errors.SluiceError) and error.errors:
        text += " " + "; ".join(f"{p.pointer}: {p.message}" for p in error.errors[:5])
    elif isinstance(error, errors.SluiceError) and error.hint and error.hint not in text:
        text += f" ({error.hint})"
    return errors.shorten(text, 1000)
