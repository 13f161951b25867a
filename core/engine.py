"""The composition root: opens the store, the bus, the triggers and the fleet, and answers every operation.

`Engine.call` is the one place where arguments are validated, rights are checked, the write gate holds, denials are
audited and calls are timed. What it opens it closes, in reverse order.
"""

from __future__ import annotations

import asyncio
import functools
import gc
import importlib.metadata
import os
import re
import traceback
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
import structlog
from pydantic import BaseModel

from core import accepting, adoption, channel, clock, denials, errors, license, ownership
from core.bus.base import Delivery
from core.bus.local import LocalBus
from core.catalog.portals import Portals
from core.confinement import process, sandbox
from core.contexts.secrets import Vault
from core.contexts.variables import Variables
from core.denials import Denials
from core.deployments.apply import Applier
from core.deployments.draining import Drainer
from core.deployments.healing import Healer
from core.deployments.keeper import Keeper
from core.deployments.planner import Planner
from core.deployments.rollout import Rollouts
from core.explain.facts import Explainer
from core.fleet import child
from core.fleet.fleet import Fleet
from core.fleet.reach import Reach
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
from core.identity.tokens import Tokens
from core.jobs.registry import JobRegistry
from core.jobs.tracing import Tracer
from core.kv.local import LocalKV
from core.kv.lookouts import Lookouts
from core.licensing import Licensing
from core.model.operation import MAX_BYTES, Effect, Operation, Registry
from core.model.principal import PLATFORM, Caller, Surface
from core.model.scopes import permits
from core.replays import Replays
from core.retention import Retention
from core.settings import Settings, default_home
from core.store import gitops, invocations
from core.store import license as license_table
from core.store import owed as owed_table
from core.store import triggers as trigger_table
from core.store.database import Database, open_database
from core.triggers.deliveries import Deliveries
from core.triggers.invoke import Invoker
from core.triggers.pending import Pending
from core.triggers.quota import MIB, Quota
from core.triggers.registry import Trigger, TriggerRegistry
from core.workflows.installer import Installer
from core.workflows.library import Library
from core.workflows.registry import WorkflowRegistry

if TYPE_CHECKING:
    from core.external import gateway as gateways  # only an engine with NATS pays for it

log = structlog.get_logger("core.engine")

RETENTION_SECONDS = 60.0
MOST_SESSIONS = 1024  # attached processes, and at most an eighth of the files that this one may open
_TENANT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}").fullmatch

Notice = Callable[[str, dict[str, Any]], None]


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
        self.settings = settings
        self.operations = operations
        self.database = database
        self.ids = ids
        self.started_at_ns = clock.now_ns()
        self.age = clock.Age()
        self.licensing = licensing
        self.denials = Denials(database, ids)
        self.tokens = Tokens(settings, database, ids, clock.Steady(), operations, self.announce)
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
        self.replays = Replays(database, self.vault, ids, self.age, self.started_at_ns)
        self.variables = Variables(database)
        self.kv = LocalKV(database, tenant_bytes=settings.kv_tenant_mb * 1024 * 1024)
        self.lookouts = Lookouts(self.kv)
        self.portals = Portals(settings, database)
        self.library = Library(database, self.portals, licensing)
        self.workflows = WorkflowRegistry(database, ids, self.library, self.announce)
        self.installer = Installer(database, ids, self.library, self.portals)
        self.triggers = TriggerRegistry(database, self.announce)
        self.deliveries = Deliveries(database, self.vault, settings.egress_allow)
        self.quota = Quota(settings.invocation_tenant_mb * MIB, settings.invocation_user_mb * MIB)
        self.retention = Retention(settings, database, self.quota)
        self.pending = Pending(database, self.bus, self.announce, self.deliveries, ids, self.quota)
        self.invoker = Invoker(database, self.bus, ids, self.pending, self.announce, self.deliveries, self.quota)
        self.traffic = Traffic(database, self.bus, ids, self.pending, self.announce, self.variables)
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
        )
        self.reach = Reach(self.settings, self.fleet, running)
        self.jobs = JobRegistry(database, ids, licensing, self.fleet, self.reach.of)
        self.secrets = Secrets(ids, self.vault, self.fleet)
        self.workforce = Workforce(database, ids, self.fleet)
        self.unmanaged = Unmanaged(database, ids, self.fleet, self.jobs, self.vault, self.reach)
        self.rollouts = Rollouts(database, self.fleet, self.traffic, ids, self.announce)
        self.healer = Healer(database, ids, self.fleet, self.rollouts)
        self.drainer = Drainer(self.settings, database, ids, self.fleet, self.reach, self.healer)
        self.applier = Applier(database, self.vault, self.fleet, self.rollouts)
        self.planner = Planner(self.settings, database, licensing, self.library, self.vault, self.fleet, self.reach)
        self.keeper = Keeper(settings, database, self.healer, licensing)
        self.explainer = Explainer(database, self.fleet, self.pending, self.triggers, self.library, self.reach)
        self.tracer = Tracer(settings)
        self.gateway: gateways.Gateway | None = None
        if settings.nats:
            from core.external.gateway import Gateway

            self.gateway = Gateway(settings, self.fleet, database, licensing, ids, self.loops)
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
            operation, params, caller = self.admit(name, arguments, caller)
            return await operation.handler(self, caller, params)
        except errors.SluiceError as error:
            timing.errors += 1
            await self._audit_refusal(name, arguments, caller, error)
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

    def admit(self, name: str, arguments: dict[str, Any], caller: Caller) -> tuple[Operation, BaseModel, Caller]:
        """All that is asked of a call before anything of it is done: (operation, params, caller in its tenant).

        Raises NotFound, Forbidden, WriteDisabled, NotLicensed, InvalidParams, NoEngine.
        """
        operation = self.operations.get(name)
        if operation is None:
            raise errors.NotFound(f"There is no operation {errors.shorten(name, 60)}.")
        self._authorise(operation, caller, arguments)
        if operation.needs_engine and not self.running:
            raise no_engine(self.settings.home)
        if not caller.operator and not caller.member_of(caller.tenant):
            raise _NoTenant(caller, caller.tenant)
        check_tenant(caller)
        check_size(name, arguments, operation.max_bytes)
        params = operation.validate(arguments)
        tenant = getattr(params, "tenant_id", None)
        if tenant and tenant != caller.tenant:
            caller = self.in_tenant(caller, tenant)
        return operation, params, caller

    async def refusal(self, name: str, arguments: dict[str, Any], caller: Caller) -> errors.SluiceError | None:
        """Why a call would be refused before anything of it is done, or None; told and recorded as by the call itself.

        Doors ask this before they look at what an earlier call was answered.
        """
        try:
            self.admit(name, arguments, caller)
        except errors.SluiceError as error:
            timing = self.timings.setdefault(name, Timing())
            timing.calls += 1
            timing.errors += 1
            await self._audit_refusal(name, arguments, caller, error)
            return error
        return None

    def _authorise(self, operation: Operation, caller: Caller, arguments: Any) -> None:
        if not operation.allows(caller.principal.role):
            needed = f"the role {operation.role}" if operation.role else "a role, and no rule names one"
            raise errors.Forbidden(
                f"{operation.name} needs {needed}; {caller.username} has the role {caller.principal.role.value}.",
                hint="Ask an admin.",
            )
        if operation.platform and not caller.administers_all:
            raise errors.Forbidden(
                f"{operation.name} is about what all tenants share, and {caller.username} administers only"
                f" {', '.join(caller.principal.tenants) or 'none'}.",
                hint="Ask an admin of every tenant.",
            )
        scopes = caller.principal.scopes
        if scopes and not permits(scopes, operation, arguments if isinstance(arguments, dict) else {}):
            raise errors.Forbidden(
                f"The scopes of this credential do not include this call of {operation.name}.",
                hint=f"Its scopes: {', '.join(scopes)}. Ask an admin for a key with another one.",
            )
        if operation.told_once and caller.principal.minted:
            raise errors.Forbidden(
                f"{operation.name} makes a credential, and a JWT makes none: it would outlive the JWT.",
                hint="Send the API key itself: Authorization: Bearer API_KEY, or --api-key on the command line.",
            )
        if caller.surface is Surface.MCP:
            self.licensing.current.require(license.Feature.MCP_SERVER, "The MCP server")
        if operation.feature is not None:
            self.licensing.current.require(operation.feature, operation.name)
        if operation.effect is not Effect.READ and operation.gated and not caller.allow_write:
            raise errors.WriteDisabled(
                f"{operation.name} changes something, and this session is read-only.",
                hint="Start the MCP server with --allow-write to allow it.",
            )

    def in_tenant(self, caller: Caller, tenant: str) -> Caller:
        """The caller acting in another of its tenants. Raises NotFound for one that it is not a member of."""
        if not caller.member_of(tenant):
            raise _NoTenant(caller, tenant)
        moved = replace(caller, tenant=tenant)
        check_tenant(moved)
        return moved

    async def _audit_refusal(self, name: str, arguments: Any, caller: Caller, error: errors.SluiceError) -> None:
        """Keep a refusal on record; a fault, and what a read answers to a wrong question, are none."""
        operation = self.operations.get(name)
        if operation is None or not denials.is_refusal(operation, error, elsewhere=isinstance(error, _NoTenant)):
            return
        if isinstance(error, _NoTenant):  # for the admins of whoever tried: nobody writes into another tenant's log
            target, own = f"tenant {error.tenant}", caller.principal.tenants
            if not caller.member_of(caller.tenant):
                caller = replace(caller, tenant=own[0] if own else PLATFORM)
        else:
            target = denials.thing(operation, arguments if isinstance(arguments, dict) else {}, caller.tenant)
        await self.denials.note(caller, name, target, error.code)

    def now_ns(self) -> int:
        return clock.now_ns()

    def trouble(self) -> str:
        """What keeps this engine from its work, in sentences; empty when nothing does."""
        loss = self.database.loss
        return self.database.unwritable if loss is None else f"{loss.refusal().message} {loss.refusal().hint}"

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
        for listener in self.workload_listeners:
            listener(tenant, deployment)

    # -- the bus's owner -----------------------------------------------------------------------------------

    def retried(self, delivery: Delivery) -> None:
        self.traffic.retried(delivery)

    def exhausted(self, delivery: Delivery) -> None:
        self.traffic.give_up(delivery, f"{delivery.deaths} workers died with its message")

    # -- recovery and retention ----------------------------------------------------------------------------

    async def load(self) -> None:
        """Read what is kept in memory; starts nothing."""
        await self.quota.load(self.database)
        await self.triggers.load()
        await self.vault.load()
        await self.variables.load()
        await self.kv.start()
        await self.fleet.load()

    async def recover(self) -> None:
        """Take up what an earlier owner left: open invocations and deliveries that are still owed."""
        await self.load()
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

    async def _owed_runs(self) -> list[Delivery]:
        """Watch over the runs that an earlier owner left open; the messages that they owe."""
        owed = []
        for run, body in await self.database.read(owed_table.open_runs):
            found = await self.database.read(trigger_table.revision, run.tenant, run.slug, run.revision)
            trigger = Trigger.from_row(found) if found is not None else None
            self.pending.resume(run, trigger)
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
        return await self.retention.prune(self.age.now_ns(), self.ids.next())

    # -- attached processes --------------------------------------------------------------------------------

    async def serve_call(self, link: channel.Channel, name: str, args: Any) -> Any:
        """Answer one call of an attached process of the same user (the socket is 0600 in a 0700 directory)."""
        match name:
            case "call":
                return await self.call(args["operation"], args["arguments"], Caller.from_dict(args["caller"]))
            case "subscribe":
                kinds = frozenset(args["kinds"])
                forget = self.subscribe(lambda kind, data: _forward(link, kinds, kind, data))
                asyncio.get_running_loop().create_task(_until_closed(link, forget))
                return {}
            case "about":
                version = importlib.metadata.version("sluice-mcp")
                return {"version": version, "pid": os.getpid(), "trouble": self.trouble()}
        raise errors.NotFound(f"There is no call {errors.shorten(name, 60)}.")


class _NoTenant(errors.NotFound):
    """A caller asked for a tenant that it is no member of; it is told as one that is not there, and is on record."""

    def __init__(self, caller: Caller, tenant: str) -> None:
        self.tenant = errors.shorten(tenant, 64)
        own = ", ".join(caller.principal.tenants) or "none"
        super().__init__(
            f"There is no tenant {self.tenant} for {caller.username}.",
            hint=f"Your tenants: {own}.".replace("*", "every one"),
        )


def _attached(engine: Engine, links: set[channel.Channel], guest: accepting.Guest) -> channel.Channel:
    """Our end of the channel to an attached process; one that never says anything has to make room for others."""

    def opened(link: channel.Channel) -> None:
        links.add(link)
        guest.leave = lambda _: link.abort()

    def closed(link: channel.Channel) -> None:
        links.discard(link)
        guest.gone()

    return channel.Channel(on_call=engine.serve_call, on_open=opened, on_close=closed, on_tick=lambda _: guest.works())


def _abort_all(links: set[channel.Channel]) -> None:
    for link in tuple(links):
        link.abort()


def _forward(link: channel.Channel, kinds: frozenset[str], kind: str, data: dict[str, Any]) -> None:
    if kind in kinds:
        if "event" in data:
            data = {**data, "event": orjson.Fragment(data["event"])}
        link.notice(kind, data)


async def _until_closed(link: channel.Channel, forget: Callable[[], None]) -> None:
    await link.closed.wait()
    forget()


def check_tenant(caller: Caller) -> None:
    """Refuse a tenant name that is none, before it becomes part of the names of things."""
    if not _TENANT(caller.tenant) or (caller.tenant == PLATFORM and not caller.principal.platform):
        raise errors.InvalidParams(
            f"{errors.shorten(caller.tenant, 64)!r} is not the name of a tenant.",
            hint="A tenant name has 1 to 64 of a-z, A-Z, 0-9, . _ and -, and starts with a letter or digit.",
            errors=[errors.Problem("/tenant_id", "is not the name of a tenant")],
        )


def check_size(name: str, arguments: Any, most: int = MAX_BYTES) -> None:
    """Refuse arguments that are no JSON object, too large, or hold what JSON cannot carry (NaN, 2^64, surrogates)."""
    if not isinstance(arguments, dict):
        raise errors.InvalidParams(f"The arguments of {name} must be a JSON object.")
    try:
        size = len(orjson.dumps(arguments))
    except (TypeError, orjson.JSONEncodeError, RecursionError) as error:
        raise errors.InvalidParams(
            f"The arguments of {name} cannot be carried as JSON: {errors.shorten(str(error), 100)}.",
            hint="Allowed: UTF-8 text, integers within 64 bits, finite numbers, at most 64 levels.",
        ) from error
    if size > most:
        raise errors.InvalidParams(
            f"The arguments of {name} take {size} bytes; at most {most} are allowed.",
            hint="Send less, or put the data where a job can read it.",
        )


def no_engine(home: Path) -> errors.NoEngine:
    """The refusal of what only a running engine can do."""
    place = "" if str(home) in (str(default_home()), os.environ.get("SLUICE_HOME")) else f" --home {home}"
    return errors.NoEngine(f"No engine is running on {home}.", hint=f"Start one: sluice serve{place}")


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
    licensing = Licensing(settings, database, await database.read(license_table.kept))
    await licensing.keep()
    ids = clock.Ids(await database.read(invocations.latest_id))
    engine = Engine(settings, operations, database, spawn, licensing, ids, running=running)
    stack.callback(engine.pending.close)
    stack.push_async_callback(engine.deliveries.close)
    stack.push_async_callback(engine.tracer.close)
    stack.push_async_callback(engine.portals.close)
    return engine


@asynccontextmanager
async def open_offline(settings: Settings, operations: Registry, owned: ownership.Ownership) -> AsyncIterator[Engine]:
    """What a home without a running engine can answer, for as long as a command takes; releases the lock at the end.

    It reads, and it keeps records that need nobody else (a token, a secret, a document). It starts no worker, takes up
    no run, posts nothing, heals nothing and listens nowhere; operations that need an engine are refused with NoEngine.
    Raises StorageUnavailable when the store cannot be opened.
    """
    async with AsyncExitStack() as stack:
        alone = settings.model_copy(update={"home": owned.home, "workers": 0, "nats": ""})
        engine = await _prepared(stack, alone, operations, owned, child.spawn, running=False)
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
        if engine.gateway is not None:
            stack.push_async_callback(engine.gateway.close)
        stack.push_async_callback(engine.fleet.stop)
        stack.push_async_callback(engine.rollouts.close)
        stack.push_async_callback(engine.gitops_runs.close)
        await engine.recover()
        stack.push_async_callback(lambda: engine.retention.end(engine.ids.next()))
        stack.push_async_callback(lambda: engine.denials.fold(all=True))
        if engine.gateway is not None:
            engine.gateway.open()
        steps = {"retention": engine.keep_retention, "kv": engine.kv.keep, "reconcile": engine.keeper.keep}
        for name, step in steps.items():
            stack.callback(engine.loops.start(name, step).cancel)
        links: set[channel.Channel] = set()
        server = accepting.Acceptor(owned.listen(), engine.sessions, lambda guest: _attached(engine, links, guest))
        stack.callback(_abort_all, links)
        stack.callback(engine.sessions.close)
        stack.callback(server.close)
        gc.collect()
        gc.freeze()
        gc.set_threshold(50_000, 20, 50)  # a call makes hundreds of objects and hardly a cycle
        yield engine
