"""The composition root: opens the store, the bus, the triggers and the fleet, and answers every operation.

`Engine.call` is the one way to an operation: what `admission` refuses is kept on record, calls are timed, faults of
ours are logged and not told. What it opens it closes, in reverse order.
"""

from __future__ import annotations

import asyncio
import functools
import os
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec
import structlog

from core import accepting, adoption, clock, collector, errors, ownership, readiness, spans
from core.admission import Admission
from core.attached import Attached, Notice
from core.backup import copying, schedule, staging
from core.bus.base import Delivery
from core.bus.local import LocalBus
from core.bus.told import Told
from core.catalog.portals import Portals
from core.confinement import process, sandbox
from core.contexts.envelopes import Envelopes
from core.contexts.secrets import Vault
from core.contexts.variables import Variables
from core.denials import Denials
from core.deployments.apply import Applier
from core.deployments.draining import Drainer
from core.deployments.healing import Healer
from core.deployments.keeper import Keeper
from core.deployments.planner import Planner
from core.deployments.rollout import Rollouts
from core.deployments.watcher import Watcher
from core.explain.facts import Explainer
from core.external import identity as identities
from core.external.enrolment import Enrolment
from core.external.gateway import Gateway
from core.fleet import child
from core.fleet.connection import LOCAL
from core.fleet.fleet import Fleet
from core.fleet.reach import Reach
from core.fleet.runs import Runs as JobRuns
from core.fleet.sampling import Sampler
from core.fleet.schedules import Schedules
from core.fleet.secrets import Secrets
from core.fleet.traffic import Traffic
from core.fleet.unmanaged import Unmanaged
from core.fleet.workforce import Workforce
from core.forever import Loops
from core.gitops.diff import Differ
from core.gitops.promoting import Promoter
from core.gitops.reading import Reader
from core.gitops.runs import Runs
from core.gitops.steps import Steps
from core.guard import filepolicy
from core.identity.devices import Devices
from core.identity.links import Links
from core.identity.mcp_grants import McpGrants
from core.identity.outside import Outside
from core.identity.roles import Roles
from core.identity.signing_in import SigningIn
from core.identity.tokens import Tokens
from core.jobs.registry import JobRegistry
from core.jobs.tracing import Tracer
from core.kv.local import LocalKV
from core.kv.lookouts import Lookouts
from core.letters.keeping import DeadLetters
from core.letters.replaying import Replays as LetterReplays
from core.licensing import Licensing
from core.measures import Ends, LoopLag
from core.model.operation import Effect, Registry
from core.model.principal import Caller
from core.replays import Replays
from core.retention import Retention
from core.settings import Settings
from core.store import conditions, gitops, invocations
from core.store import license as license_table
from core.store import owed as owed_table
from core.store import triggers as trigger_table
from core.store.database import Database, open_database
from core.store.letterbox import Bounds as LetterBounds
from core.store.letterbox import Letterbox
from core.store.logbook import Bounds, Logbook
from core.triggers.canceling import Canceler
from core.triggers.deliveries import Deliveries
from core.triggers.invoke import Invoker
from core.triggers.pending import Pending
from core.triggers.quota import MIB, Quota
from core.triggers.registry import Trigger, TriggerRegistry
from core.workflows.installer import Installer
from core.workflows.library import Library
from core.workflows.registry import WorkflowRegistry

if TYPE_CHECKING:
    from core.external import broker as brokers  # only an engine with NATS pays for it

log = structlog.get_logger("core.engine")

RETENTION_SECONDS = 60.0
MOST_SESSIONS = 1024  # attached processes, and at most an eighth of the files that this one may open


@dataclass(slots=True)
class Timing:
    """What the calls of one operation cost."""

    calls: int = 0
    errors: int = 0
    seconds: float = 0.0


class Engine:
    """One engine on one home directory. Made by `open_engine`; use from one event loop."""

    def __init__(
        self,
        settings: Settings,
        operations: Registry,
        database: Database,
        spawn: child.Spawn,
        licensing: Licensing,
        ids: clock.Ids,
        *,
        running: bool = True,
    ) -> None:
        """`ids` go on from the latest one in the store. An engine that is not `running` only reads and records: see
        open_offline."""
        self.running = running
        self.before_change: Callable[[], Awaitable[None]] | None = None
        """What comes before each change that is asked for, where no engine runs. It may refuse it."""
        self.settings = settings
        self.operations = operations
        self.database = database
        self.ids = ids
        self.started_at_ns = clock.now_ns()
        self.age = clock.Age()
        self.licensing = licensing
        self.denials = Denials(database, ids)
        self.admission = Admission(operations, licensing, self.denials, settings.home, running=running)
        self.tokens = Tokens(settings, database, ids, clock.Steady(), operations, self.announce)
        self.links = Links(database, ids)
        self.devices = Devices(database, ids, self.tokens)
        self.mcp_grants = McpGrants(settings, database, ids, self.tokens, self.announce)
        self.roles = Roles(settings, database, ids, self.tokens, self.announce)
        self.timings: dict[str, Timing] = {}
        self.loops = Loops()
        self._subscribers: list[Notice] = []
        most = max(4, min(MOST_SESSIONS, accepting.raise_limit_of_files() // 8))
        self.sessions = accepting.Room("engine.sock", most, max(2, most // 4))
        allowed = licensing.current.limits.workers
        if allowed is not None:  # what a license allows, it allows to the settings as well
            settings = settings.model_copy(update={"workers": min(settings.workers, allowed)})
        self.bus = LocalBus(self)
        self.vault = Vault(database, settings.home)
        seals = Envelopes(self.vault, "logins")
        self.signing_in = SigningIn(settings, database, ids, self.tokens, seals, self.announce)
        self.outside = Outside(settings, database, ids, self.signing_in.provider)
        self.replays = Replays(database, self.vault, ids, self.age, self.started_at_ns)
        self.variables = Variables(database)
        self.kv = LocalKV(database, tenant_bytes=settings.kv_tenant_mb * 1024 * 1024)
        self.lookouts = Lookouts(self.kv)
        self.portals = Portals(settings, database)
        self.library = Library(database, self.portals, licensing)
        self.workflows = WorkflowRegistry(database, ids, self.library, self.announce)
        self.installer = Installer(database, ids, self.library, self.portals)
        self.triggers = TriggerRegistry(database, self.announce)
        self.deliveries = Deliveries(database, self.vault, (*settings.egress_allow, *settings.callback_allow))
        self.quota = Quota(settings.invocation_tenant_mb * MIB, settings.invocation_user_mb * MIB)
        self.retention = Retention(settings, database, self.quota)
        told = Told(self.announce)
        self.ends, self.lag = Ends(), LoopLag()
        self.spans = spans.from_environment(settings.otel_ratio) if running else None
        self.pending = Pending(database, self.bus, self.announce, self.deliveries, ids, self.quota, self.ends)
        self.invoker = Invoker(
            database,
            self.bus,
            ids,
            self.pending,
            self.announce,
            told,
            self.deliveries,
            self.quota,
            self.ends,
            self.spans,
        )
        self.traffic = Traffic(database, self.bus, ids, self.pending, self.announce, told, self.variables, self.spans)
        self.canceler = Canceler(database, self.bus, ids, self.pending, self.traffic.tell)
        logs = Bounds(
            settings.log_retention_mb, settings.log_retention_hours, settings.log_job_mb, settings.disk_reserve_mb
        )
        self.logbook = Logbook(settings.job_logs, logs)
        letters = LetterBounds(
            settings.letter_job_count,
            settings.letter_job_mb,
            settings.letter_tenant_mb,
            settings.letter_retention_hours,
            settings.disk_reserve_mb,
        )
        self.letterbox = Letterbox(settings.dead_letters, letters)
        self.fleet = Fleet(
            settings,
            database,
            self.bus,
            self.traffic,
            self.kv,
            spawn,
            self._workload_changed,
            self.vault,
            self.variables,
            self.loops,
            self.logbook,
            self.letterbox,
            JobRuns(database, self.bus, ids, self.canceler, self.traffic.record, self.traffic.flush),
        )
        self.letters = DeadLetters(database, ids, self.letterbox)
        self.letter_replays = LetterReplays(database, ids, self.letterbox, self.fleet)
        self.sampler = Sampler(settings.series, self.fleet.figures)
        self.reach = Reach(self.settings, self.fleet, running)
        self.jobs = JobRegistry(database, ids, licensing, self.fleet, self.reach.of)
        self.secrets = Secrets(ids, self.vault, self.fleet)
        self.schedules = Schedules(ids, self.fleet.timetables)
        self.workforce = Workforce(database, ids, self.fleet)
        self.unmanaged = Unmanaged(database, ids, self.fleet, self.jobs, self.vault, self.reach)
        self.rollouts = Rollouts(database, self.fleet, self.traffic, ids, self.announce)
        self.healer = Healer(database, ids, self.fleet, self.rollouts)
        self.drainer = Drainer(self.settings, database, ids, self.fleet, self.reach, self.healer)
        self.applier = Applier(database, self.vault, self.fleet, self.rollouts)
        self.planner = Planner(self.settings, database, licensing, self.library, self.vault, self.fleet, self.reach)
        self.keeper = Keeper(settings, database, self.healer, licensing)
        self.watcher = Watcher(database, self.fleet)
        self.explainer = Explainer(
            database, self.fleet, self.pending, self.triggers, self.library, self.reach, self.workforce, self.letters
        )
        self.tracer = Tracer(settings)
        self.backups = schedule.Backups(self.settings)
        identity = functools.cache(functools.partial(identities.of_home, settings.home))
        self.enrolment = Enrolment(database, ids, identity, self.fleet.starts)
        self.gateway = Gateway(settings, self.fleet, database, licensing, ids, self.enrolment, identity)
        self.broker: brokers.Broker | None = None
        if settings.nats:
            from core.external import broker as brokers

            self.broker = brokers.of(settings, self.gateway, self.enrolment, self.loops)
        reader = Reader(database, self.library, self.planner, self.reach)
        self.differ = Differ(database, self.triggers, reader)
        self.promoter = Promoter(database, self.fleet, self.differ)
        steps = functools.partial(Steps, database, ids, self.library, self.triggers, self.fleet, self.call)
        self.gitops_runs = Runs(database, ids, steps)
        self.workload_listeners: list[Callable[[str, str], None]] = []

    # -- calls ---------------------------------------------------------------------------------------------

    async def call(self, name: str, arguments: dict[str, Any], caller: Caller) -> dict[str, Any]:
        """Do one operation.

        Raises InvalidParams (with every fault), Forbidden, WriteDisabled, or what the operation raises; any other
        fault is logged here and told as Internal.
        """
        started = clock.monotonic()
        timing = self.timings.get(name)
        if timing is None:
            timing = self.timings[name] = Timing()
        timing.calls += 1
        try:
            operation, params, caller = self.admission.admit(name, arguments, caller)
            if self.before_change is not None and operation.effect is not Effect.READ:
                await self.before_change()
            if self.spans is not None and operation.starts_runs:
                with self.spans.serving(operation, caller) as caller:
                    answer: dict[str, Any] = await operation.handler(self, caller, params)
            else:
                answer = await operation.handler(self, caller, params)
            return answer
        except errors.SluiceError as error:
            timing.errors += 1
            await self.admission.keep(name, arguments, caller, error)
            raise
        except Exception as error:  # the boundary: a fault of ours is logged with its cause and told without it
            timing.errors += 1
            # As text: a renderer that shows the locals of each frame would show what was sent.
            log.error("operation_failed", operation=name, traceback=traceback.format_exc())
            raise errors.Internal(
                f"{name} failed inside Sluice.", hint="The log of the engine says why; please report it."
            ) from error
        finally:
            timing.seconds += clock.monotonic() - started

    async def refusal(self, name: str, arguments: dict[str, Any], caller: Caller) -> errors.SluiceError | None:
        """Why a call would be refused before anything of it is done, or None; told and recorded as by the call itself.

        Doors ask this before they look at what an earlier call was answered.
        """
        try:
            self.admission.admit(name, arguments, caller)
        except errors.SluiceError as error:
            timing = self.timings.setdefault(name, Timing())
            timing.calls += 1
            timing.errors += 1
            await self.admission.keep(name, arguments, caller, error)
            return error
        return None

    def now_ns(self) -> int:
        return clock.now_ns()

    def trouble(self) -> str:
        """What keeps this engine from its work, in sentences; empty when nothing does."""
        loss = self.database.loss
        return self.database.unwritable if loss is None else f"{loss.refusal().message} {loss.refusal().hint}"

    async def copy_store(self) -> dict[str, Any]:
        """Copy the databases into the staging directory of a backup, for the process that has made it there."""
        copied = await copying.while_running(self.database, self.settings.home, self.settings.home / staging.DIRECTORY)
        return {"copied": msgspec.to_builtins(copied), "around": self.around()}

    def around(self) -> dict[str, Any]:
        """What a backup has to know that only the settings of this engine tell: core.backup.copying.Around."""
        found: dict[str, Any] = msgspec.to_builtins(copying.around(self.settings, dict(os.environ)))
        return found

    def readiness(self) -> readiness.Readiness:
        """Whether work that comes now is accepted and done."""
        workers = self.fleet.workers.values()
        taking = (worker.online and worker.connected and not worker.drained for worker in workers)
        return readiness.judge(self.trouble(), taking, sum(worker.kind == LOCAL for worker in workers))

    async def pulse(self) -> None:
        """Return when the loop and the store have both done something. Raises StorageUnavailable.

        A disk that is full lets it pass, since no new start would help there and the engine writes on as soon as there
        is room; files that are gone do not, since a new start is the help.
        """
        if self.database.loss is not None:
            raise self.database.loss.refusal()
        try:
            await self.database.touch()
        except errors.StorageUnavailable:
            if self.database.loss is not None or not self.database.unwritable:
                raise

    # -- notices -------------------------------------------------------------------------------------------

    def subscribe(self, callback: Notice) -> Callable[[], None]:
        """Have `callback(kind, data)` called for every notice.

        Kinds are registry, invocation, message, job, deployment, workflow, progress and tokens. Notices are hints; the
        store is the guarantee.
        """
        self._subscribers.append(callback)
        return lambda: self._subscribers.remove(callback)

    def announce(self, kind: str, data: dict[str, Any]) -> None:
        for callback in tuple(self._subscribers):
            try:
                callback(kind, data)
            except Exception:  # a boundary: who listens must not end what it listens to
                log.exception("notice_not_heard", kind=kind)

    def _workload_changed(self, tenant: str, deployment: str) -> None:
        if deployment:
            self.announce("deployment", {"tenant": tenant, "name": deployment})
            self.watcher.changed(tenant, deployment)
        for listener in self.workload_listeners:
            listener(tenant, deployment)

    # -- the bus's owner -----------------------------------------------------------------------------------

    def retried(self, delivery: Delivery) -> None:
        self.traffic.retried(delivery)

    def owes(self, delivery: Delivery) -> bool:
        id = delivery.invocation_id
        return id is None or not delivery.of_open_run or self.pending.owes(id)

    def exhausted(self, delivery: Delivery) -> None:
        reason = f"{delivery.deaths} workers died with its message"
        deployed = self.fleet.deployed(delivery.group[0]).get(delivery.group[1])
        if deployed is None or not delivery.deaths or delivery.invocation_id is not None:  # whose caller hears of it
            self.traffic.give_up(delivery, reason)
            return
        told = self.letters.given_up(delivery.group, deployed.deployment, deployed.document, delivery.body, reason)
        told.add_done_callback(lambda _: self.traffic.give_up(delivery, reason))

    # -- recovery and retention ----------------------------------------------------------------------------

    async def load(self) -> None:
        """Read what is kept in memory; starts nothing."""
        await self.quota.load(self.database)
        await self.triggers.load()
        await self.vault.load()
        await self.variables.load()
        await self.kv.start()
        await self.fleet.load()

    async def recover(self, alive_ns: int) -> None:
        """Take up what an earlier owner left, which was alive until then: open invocations and deliveries that are
        still owed."""
        await self.load()
        await self.fleet.conditions.begin()
        self.fleet.timetables.begin()
        for run in await self.fleet.runs.load(alive_ns):
            self.fleet.timetables.cut_off(run.workload, run.ended_ns)
        self.fleet.start()
        await self.rollouts.recover()
        await self.database.write(gitops.interrupt, clock.now_ns(), ())
        owed = await self._owed_runs()
        for row, body in await self.database.read(owed_table.deliveries):
            owed.append(Delivery(row.id, (row.tenant, row.job), body, row.attempt, invocation_id=row.invocation_id))
        for delivery in sorted(owed, key=lambda one: one.id):
            delivery.attempt += 1
            self.traffic.retried(delivery)
            self.bus.release(delivery)
        if owed:
            log.warning("deliveries_resumed", count=len(owed))
        await self.deliveries.start()
        await self.letter_replays.recover()

    async def _owed_runs(self) -> list[Delivery]:
        """Watch over the runs that an earlier owner left open; the messages that they owe."""
        owed = []
        for run, body in await self.database.read(owed_table.open_runs):
            found = await self.database.read(trigger_table.revision, run.tenant, run.slug, run.revision)
            trigger = Trigger.from_row(found) if found is not None else None
            entry = self.pending.resume(run, trigger)
            if self.canceler.resume(entry):
                continue
            if body and trigger is not None and run.message_id is not None:
                group = (run.tenant, trigger.definition.target_job_name)
                owed.append(Delivery(run.message_id, group, body, run.attempts, invocation_id=run.id, of_open_run=True))
        return owed

    async def keep_retention(self) -> None:
        """Prune what is kept for a while, a bounded piece at a time; look whether the license is another one; wait."""
        await self.denials.fold()
        await self.prune()
        await self.licensing.read()
        await asyncio.sleep(RETENTION_SECONDS)

    async def prune(self) -> int:
        """One pass of the retention; returns how many rows went."""
        now = self.age.now_ns()
        return await self.retention.prune(now, self.ids.next()) + await self.fleet.runs.prune(now)


async def _prepared(
    stack: AsyncExitStack,
    settings: Settings,
    operations: Registry,
    owned: ownership.Ownership,
    spawn: child.Spawn,
    *,
    running: bool,
) -> Engine:
    """An engine over the store of a home, with nothing loaded or started; the stack closes both and frees the lock."""
    stack.callback(owned.release)
    process.hide_memory()  # from here on it holds the keys of the home
    adoption.refuse_without_database(owned, settings)
    database = open_database(settings.database, [owned.lock])
    stack.push_async_callback(database.close)
    if running:
        if settings.workers:
            sandbox.check(settings.sandbox)
        await adoption.settle(database, owned, settings)
        filepolicy.prepare(settings)
        if staging.clear(settings.home):
            log.warning(
                "backup_cut_off", home=str(settings.home), hint="What it left was removed; see when the last was."
            )
    licensing = Licensing(settings, database, await database.read(license_table.kept))
    await licensing.keep()
    ids = clock.Ids(await database.read(invocations.latest_id))
    engine = Engine(settings, operations, database, spawn, licensing, ids, running=running)
    engine.fleet.conditions.alive_ns = owned.alive_ns
    if running:
        engine.logbook.open()
        stack.push_async_callback(engine.logbook.close)
        engine.letterbox.open()
        stack.push_async_callback(engine.letterbox.close)
    stack.callback(engine.pending.close)
    stack.callback(engine.canceler.close)
    stack.push_async_callback(engine.deliveries.close)
    stack.push_async_callback(engine.tracer.close)
    stack.push_async_callback(engine.portals.close)
    stack.push_async_callback(engine.signing_in.aclose)
    stack.push_async_callback(engine.mcp_grants.aclose)
    return engine


@asynccontextmanager
async def open_offline(settings: Settings, operations: Registry, owned: ownership.Ownership) -> AsyncIterator[Engine]:
    """What a home without a running engine can answer, for as long as a command takes; releases the lock at the end.

    It reads, and it keeps records that need nobody else (a token, a secret, a document). It starts no worker, takes up
    no run, posts nothing, heals nothing and listens nowhere; operations that need an engine are refused with NoEngine.
    Raises StorageUnavailable when the store cannot be opened. Of a copy nothing is changed before an engine has adopted
    it: such operations raise HomeCopied.
    """

    async def before_change() -> None:
        await adoption.refuse_copy(engine.database, owned, engine.settings)
        await engine.database.write(conditions.settle_sign)

    async with AsyncExitStack() as stack:
        alone = settings.model_copy(update={"home": owned.home, "workers": 0, "nats": ""})
        engine = await _prepared(stack, alone, operations, owned, child.spawn, running=False)
        engine.before_change = before_change
        await engine.load()
        yield engine


@asynccontextmanager
async def open_engine(
    settings: Settings, operations: Registry, owned: ownership.Ownership, *, spawn: child.Spawn = child.spawn
) -> AsyncIterator[Engine]:
    """Run an engine on a home directory whose lock `owned` holds; releases the lock at the end.

    Raises StorageUnavailable when the store cannot be opened, HomeCopied (one of those) when the home is a copy,
    InvalidParams for settings that open to jobs what is closed to them, TargetUnavailable when its workers have to have
    a sandbox that this kernel lacks.
    """
    async with AsyncExitStack() as stack:
        settings = settings.model_copy(update={"home": owned.home})
        engine = await _prepared(stack, settings, operations, owned, spawn, running=True)
        if engine.spans is not None:
            stack.push_async_callback(engine.spans.close)  # after the last word of the workers
        stack.push_async_callback(engine.gateway.close)
        if engine.broker is not None:
            stack.push_async_callback(engine.broker.close)
        stack.push_async_callback(engine.fleet.stop)
        stack.push_async_callback(engine.letter_replays.close)
        stack.push_async_callback(engine.rollouts.close)
        stack.push_async_callback(engine.gitops_runs.close)
        await engine.recover(owned.alive_ns or clock.now_ns())
        stack.callback(engine.sampler.close)
        stack.push_async_callback(lambda: engine.retention.end(engine.ids.next()))
        stack.push_async_callback(lambda: engine.denials.fold(all=True))
        if engine.broker is not None:
            engine.broker.open()
        steps = {"retention": engine.keep_retention, "kv": engine.kv.keep, "reconcile": engine.keeper.keep}
        steps |= {
            "watcher": engine.watcher.keep,
            "health": engine.fleet.age,
        }
        steps |= {"schedules": engine.fleet.timetables.keep, "alive": owned.keep_alive}
        if engine.backups.wanted:
            engine.backups.home_id = owned.home_id
            steps["backups"] = engine.backups.keep
        else:
            engine.backups.retire()
        steps |= {"lag": engine.lag.measure, "series": engine.sampler.keep}
        if engine.spans is not None:
            steps["spans"] = engine.spans.keep
        if engine.signing_in.provider.wanted:
            steps["logins"] = engine.signing_in.keep
        for name, step in steps.items():
            stack.callback(engine.loops.start(name, step).cancel)
        attached = Attached(
            engine.call, engine.subscribe, engine.trouble, engine.copy_store, engine.around, engine.readiness
        )
        server = accepting.Acceptor(owned.listen(), engine.sessions, attached.join)
        stack.callback(attached.abort)
        stack.callback(engine.sessions.close)
        stack.callback(server.close)
        collector.settle()
        yield engine
