"""One MCP server process without its protocol: its session with the engine, its tool lists, its calls and counters.

server.py puts the protocol in front of this.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import anyio
import structlog

from core import clock, errors
from core.denials import MOST_NAME
from core.model import notices
from core.model.operation import Operation, Params, Registry
from core.model.principal import Caller, Principal, Role, Surface
from core.model.trigger import TOOL_PREFIX
from mcp_server import absent, directions, results, toolcall, tools, wording
from mcp_server.activity import Forwarder
from mcp_server.live import Live
from mcp_server.session import EngineSession, Options, SessionFactory
from mcp_server.toolcall import ToolCall
from mcp_server.wording import Steps, Use

log = structlog.get_logger("mcp_server.door")

IDENTITIES = 256
"""How many callers' lists and counts are kept."""


@dataclass
class Tally:
    """What one identity called in one tenant. The names of tools tell which triggers there are, so everyone is told of
    his own calls alone."""

    calls: Counter[str] = field(default_factory=Counter)
    errors: int = 0
    timed_out: int = 0


class UnknownTool(LookupError):
    """There is no tool of that name for this caller; the text says why, and what opens it."""


@dataclass
class Listing:
    """The tools of one caller at one version of the trigger registry.

    `pages` holds the finished wire form by (protocol version, cursor); `cursors` are the ones handed out, so that
    nobody can fill the memory with made-up cursors.
    """

    version: int
    tools: list[tools.Tool]
    slugs: dict[str, str]
    headers: dict[str, dict[str, Any]] = field(default_factory=dict)  # input schemas with arguments that are headers
    pages: dict[tuple[str, str | None], dict[str, Any]] = field(default_factory=dict)
    cursors: set[str | None] = field(default_factory=lambda: {None})


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a call comes from."""

    caller: Caller
    protocol: str = ""


LOCAL = Registry()
"""Operations that the door answers itself; they have no HTTP route."""


class Door:
    """Serves one engine session to any number of MCP connections."""

    def __init__(
        self, open_session: SessionFactory, options: Options, transport: str, live: Live | None = None
    ) -> None:
        self.live = live  # the long answers of a server that is there for many
        self.options = options
        self.transport = transport
        self._open_session = open_session
        self._opening = anyio.Lock()
        self._session: EngineSession | None = None
        self._unsubscribe: Callable[[], None] | None = None
        self._operations: dict[str, Operation] = {}
        self._listings: dict[Caller, Listing] = {}
        self._listeners: list[Callable[[str, dict[str, Any]], None]] = []
        self._started = clock.monotonic()
        self._tallies: dict[tuple[str, Principal], Tally] = {}
        self._active: Counter[tuple[str, str]] = Counter()  # calls in flight, by tenant and user
        self._peak = 0
        self._activity: Forwarder | None = None
        if options.activity_forward:
            self._activity = Forwarder(self.session, {"label": options.label[:100], "transport": transport})

    async def session(self) -> EngineSession:
        """The engine session, opened by the first one who asks.

        Raises SluiceError when it cannot be opened; the next request tries again.
        """
        if self._session is None:
            async with self._opening:
                if self._session is None:
                    session = await self._open_session()
                    self._operations = {o.name: o for o in (*session.operations, *LOCAL)}
                    self._unsubscribe = session.subscribe(self._noticed)
                    self._session = session
        return self._session

    async def aclose(self) -> None:
        """Leave the engine, if the session was ever opened."""
        if self._activity is not None:
            await self._activity.aclose()
        session, self._session = self._session, None
        if self._unsubscribe is not None:
            self._unsubscribe()
        if session is not None:
            await session.aclose()

    def on_notice(self, listener: Callable[[str, dict[str, Any]], None]) -> None:
        """Have `listener` called for every notice of the engine, after the lists it concerns were dropped."""
        self._listeners.append(listener)

    def _noticed(self, topic: str, data: dict[str, Any]) -> None:
        if topic == "registry":
            for caller in [caller for caller in self._listings if self.hears(caller, topic, data)]:
                del self._listings[caller]
        for listener in self._listeners:
            listener(topic, data)

    def hears(self, caller: Caller, topic: str, data: Mapping[str, Any]) -> bool:
        """Whether a notice of the engine is for this caller: what it could ask for, and nothing else."""
        return self._session is not None and notices.hears(self._session.operations, caller, topic, data)

    def effective(self, caller: Caller) -> Caller:
        """The caller as this server lets it act: --allow-write never raises what the identity may do."""
        options = self.options
        return replace(
            caller,
            surface=Surface.MCP,
            allow_write=caller.allow_write and options.allow_write,
            label=options.label or caller.label,
        )

    async def listing(self, caller: Caller, *, verified: bool = True) -> Listing:
        """The tools of a caller.

        A verified list is compared with the registry's version now; otherwise one that no notice has thrown away will
        do, which spares a call of an attached session the way to the owner.
        """
        session = await self.session()
        known = self._listings.get(caller)
        if known is not None and not verified:
            return known
        version, triggers = 0, None
        if caller.allow_write and self.options.offers("triggers"):
            answer = await session.call("trigger_tools", {"known_version": known.version if known else None}, caller)
            version, triggers = int(answer["version"]), answer.get("tools")
        if known is not None and known.version == version:
            return known
        triggers = triggers or []
        listing = Listing(
            version,
            tools.listing(self._operations, triggers, caller, self.options),
            {str(trigger["name"]): str(trigger["slug"]) for trigger in triggers},
        )
        schemas = ((str(tool["name"]), tool["inputSchema"]) for tool in listing.tools)
        listing.headers = {name: schema for name, schema in schemas if tools.has_headers(schema)}
        self._listings.pop(caller, None)
        self._listings[caller] = listing
        while len(self._listings) > IDENTITIES:
            self._listings.pop(next(iter(self._listings)))
        return listing

    def has_tool(self, name: str, caller: Caller) -> bool:
        """Whether the operation of this name is a tool of this caller. Only with an open session."""
        return tools.has(self._operations, name, caller, self.options)

    def header_schema(self, name: str, caller: Caller) -> dict[str, Any] | None:
        """The input schema of a tool, if arguments of it are repeated as HTTP headers that have to agree with them.

        None also for a tool that this caller does not see: whether others have one of that name is not told.
        """
        listing = self._listings.get(caller)
        return None if listing is None else listing.headers.get(name)

    async def call(self, call: ToolCall, origin: Origin) -> dict[str, Any]:
        """Run a tool and return a CallToolResult in its wire form; every fault is a result with isError."""
        self._tally(origin.caller).calls[call.tool] += 1
        started = clock.monotonic()
        try:
            result = await self._run(call.operation, call.arguments, origin)
        except errors.SluiceError as error:
            self._ended(call, error.code, started, origin)
            return results.failure(self._steps(origin.caller, {}).fault(call.as_tool_error(error)))
        except Exception:  # the boundary: a bug of ours must reach the log and not end the session
            log.exception("tool_raised", tool=call.tool)
            self._ended(call, errors.Internal.code, started, origin)
            return results.failure(errors.Internal(hint="This is a fault of Sluice; its log (stderr) says more."))
        if result.get("state") == "timed_out":
            self._tally(origin.caller).timed_out += 1
        self._ended(call, "ok", started, origin)
        if wording.concerned(result):
            result = await self._with_steps(result, origin.caller)
        if call.operation.name == "deployment_plan" and not result["saved"]:
            result = wording.unsaved(result, call.arguments)
        return results.success(result)

    async def _with_steps(self, answer: dict[str, Any], caller: Caller) -> dict[str, Any]:
        """The answer with directions that this caller can follow."""
        slugs: Mapping[str, str] = {}
        if directions.steps(answer) and caller.allow_write and self.options.offers("triggers"):
            try:
                slugs = (await self.listing(caller, verified=False)).slugs
            except errors.SluiceError as error:  # the answer is there, and says the less for it
                log.info("triggers_not_listed", error=error.code)
        return self._steps(caller, slugs).answer(answer)

    def _steps(self, caller: Caller, slugs: Mapping[str, str]) -> Steps:
        """How this caller makes a call, with the triggers that are tools of it."""

        def find(operation: str, arguments: Mapping[str, Any]) -> Use | None:
            if operation != tools.GENERIC_INVOKE:
                return Use(operation, arguments) if self.has_tool(operation, caller) else None
            tool = TOOL_PREFIX + str(arguments.get("slug"))
            own = toolcall.flat(arguments) if tool in slugs else None
            if own is not None:
                return Use(tool, own)
            return Use(operation, arguments) if len(slugs) > self.options.trigger_tools_max else None

        return Steps(find)

    def _ended(self, call: ToolCall, outcome: str, started: float, origin: Origin) -> None:
        seconds = clock.monotonic() - started
        if self.live is not None:
            self.live.calls.observe(call, seconds)
        if outcome != "ok":
            self._tally(origin.caller).errors += 1
        if self._activity is not None:
            self._activity.note(origin.caller, origin.protocol, call.tool, outcome, seconds)

    def _tally(self, caller: Caller) -> Tally:
        key = (caller.tenant, caller.principal)
        tally = self._tallies.pop(key, None) or Tally()
        self._tallies[key] = tally  # the one that was used last stands last
        while len(self._tallies) > IDENTITIES:
            self._tallies.pop(next(iter(self._tallies)))
        return tally

    async def _run(self, operation: Operation, arguments: dict[str, Any], origin: Origin) -> dict[str, Any]:
        who, most = (origin.caller.tenant, origin.caller.username), self.options.concurrency
        if self._active[who] >= most:
            raise errors.Busy(
                f"{origin.caller.username} has {most} calls in flight, as many as one user may have at an MCP server.",
                hint="Wait for an answer before the next call.",
            )
        self._active[who] += 1
        self._peak = max(self._peak, self._active[who])
        try:
            if operation.name in LOCAL:
                answer: dict[str, Any] = await operation.handler(self, origin, operation.validate(arguments))
                return answer
            return await (await self.session()).call(operation.name, arguments, origin.caller)
        finally:
            self._active[who] -= 1
            if not self._active[who]:
                del self._active[who]

    async def resolve(self, name: str, arguments: Mapping[str, Any], caller: Caller) -> ToolCall:
        """The operation behind a tool name, with its arguments. Raises UnknownTool, SluiceError.

        The write gate is checked here as well as in the engine, so that no engine is asked to run what this server does
        not offer; the engine keeps the refusal on record.
        """
        await self.session()
        operation = self._operations.get(name)
        if operation is not None and (tools.offered(operation, self.options) or name == tools.GENERIC_INVOKE):
            if not tools.may_run(operation, caller):
                raise await self._write_disabled(operation, arguments, caller)
            return ToolCall(name, operation, toolcall.as_json(arguments, self.options.argument_bytes))
        if operation is not None and operation.tool:
            raise UnknownTool(absent.toolset(operation, caller, self.options))
        invoke = self._operations.get(tools.GENERIC_INVOKE)
        if invoke is None or not name.startswith(TOOL_PREFIX):
            raise UnknownTool(absent.unheard_of(name, self._operations))
        if not self.options.offers(invoke.toolset):
            raise UnknownTool(absent.toolset(invoke, caller, self.options))
        slug = (await self.listing(caller, verified=False)).slugs.get(name)
        if slug is None:
            slug = (await self.listing(caller)).slugs.get(name)
        if slug is None:
            raise await self._without_tool(name, caller, invoke)
        return toolcall.of_trigger(name, invoke, slug, toolcall.as_json(arguments, self.options.argument_bytes))

    async def _without_tool(self, name: str, caller: Caller, invoke: Operation) -> Exception:
        """Why a name like that of a trigger's tool is none of this caller."""
        slug = name.removeprefix(TOOL_PREFIX)
        none = UnknownTool(absent.unpublished(slug, caller.tenant))
        if len(slug) > absent.SLUG_MAX:
            return none
        try:
            trigger = await (await self.session()).call("trigger_get", {"slug": slug}, caller)
        except (errors.NotFound, errors.Forbidden):
            return none
        except errors.InvalidParams as error:  # several tenants have it
            return UnknownTool(f"{error.message} {error.hint}")
        if trigger["active"] and not tools.may_run(invoke, caller):
            return await self._write_disabled(invoke, {"slug": slug}, caller, name)
        return UnknownTool(absent.of_trigger(trigger))

    async def _write_disabled(
        self, operation: Operation, arguments: Mapping[str, Any], caller: Caller, tool: str = ""
    ) -> errors.WriteDisabled:
        """The refusal of a change, which the engine has on record: it refuses the call of a read-only caller before
        it looks at the arguments."""
        name = tool or operation.name
        if operation.name not in LOCAL:
            names = {
                key: value for key, value in arguments.items() if isinstance(value, str) and len(value) <= MOST_NAME
            }
            try:
                await (await self.session()).call(operation.name, names, replace(caller, allow_write=False))
            except errors.SluiceError as error:
                if not isinstance(error, errors.WriteDisabled):
                    log.info("refusal_not_recorded", tool=name, error=error.code)
        if self.options.allow_write:
            return errors.WriteDisabled(f"{name} changes things, and this identity may only read.")
        return errors.WriteDisabled(
            f"{name} changes things, and this MCP session is read-only.",
            hint="Ask the person who runs the server to start it with --allow-write.",
        )

    def metrics(self, origin: Origin) -> dict[str, Any]:
        """What mcp_server_metrics answers."""
        caller = origin.caller
        tally = self._tally(caller)
        return {
            "transport": self.transport,
            "allow_write": caller.allow_write,
            "toolsets": list(self.options.toolsets),
            "identity": {"username": caller.username, "role": caller.role.value, "tenant": caller.tenant},
            "protocol": origin.protocol,
            "uptime_seconds": round(clock.monotonic() - self._started, 1),
            "calls": {
                "total": tally.calls.total(),
                "errors": tally.errors,
                "by_tool": dict(tally.calls.most_common(20)),
            },
            "timeouts": {
                "wait_default_seconds": 15,
                "wait_max_seconds": 300,
                "heartbeat_seconds": self.options.heartbeat_seconds,
                "timed_out": tally.timed_out,
            },
            "concurrency": {
                "active": self._active[caller.tenant, caller.username],
                "peak": self._peak,
                "limit": self.options.concurrency,
            },
            **({} if self.live is None else {"long_answers": self.live.usage_of(caller)}),
            "session_label": self.options.label,
            "activity": {
                "forward": self._activity is not None,
                "sent": 0 if self._activity is None else self._activity.sent,
                "dropped": 0 if self._activity is None else self._activity.dropped,
            },
            "limits": {
                "argument_bytes": self.options.argument_bytes,
                "page_bytes": self.options.page_bytes,
                "trigger_tools_max": self.options.trigger_tools_max,
            },
        }


class NoParams(Params):
    pass


@LOCAL.operation(
    summary="Tell how this session is set up: transport, allow_write, toolsets, identity, protocol, calls so far.",
    http="",
    toolset="session",
    role=Role.VIEWER,
)
async def mcp_server_metrics(door: Door, origin: Origin, params: NoParams) -> dict[str, Any]:
    return door.metrics(origin)
