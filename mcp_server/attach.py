"""The way of a front door to the engine: own it, attach to the one that owns the home, or take over when it dies.

Servers stay: they are the engine when nobody else is. A command visits: it attaches to the engine that runs, or does in
the home by itself what needs none; it never becomes the engine.

A session keeps working across the death of the owner: the next call, or the closed channel itself, makes it attach to
the new owner or become it. A call that was under way then is repeated when that is safe (reads, idempotent
operations, invocations with an idempotency key); for any other write the caller is told `unconfirmed`: its outcome is
open. `busy` says that nothing of a call was done.
"""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core import channel, clock, errors, homes, ownership, readiness
from core.model.principal import Caller
from core.readiness import Readiness
from mcp_server.session import Notice, Operations, Sent, repeatable, safe_to_repeat

if TYPE_CHECKING:
    from core import accepting
    from core.external.line import Line
    from core.model.operation import Registry
    from core.settings import Settings

KINDS = ("registry", "invocation", "deployment", "workflow", "progress", "tokens", "message", "job")
TRIES = 4
RETURN_SECONDS = 10.0  # for how long a visitor waits for the next engine when the one that it was attached to has gone
SILENCE_SECONDS = 10.0  # an owner that says nothing for so long while a call waits is stopped, or might as well be


class Session:
    """One way to the engine of a home directory. Made by `open_session` or `open_visit`; use from one event loop."""

    def __init__(self, home: Path, read: Callable[[], Settings], known: Operations, *, visits: bool = False) -> None:
        """`read` gives the settings that count when this session opens the home itself, which may be long after its
        start; of an engine that it attaches to, that one's own count."""
        self._home = home
        self._known = known
        self._read = read
        self._visits = visits
        self._attached_once = False
        self._engine: Any = None  # core.engine.Engine: imported only by the session that becomes the owner
        self._engine_stack = AsyncExitStack()
        self._nowhere = False  # the engine is on an empty home of its own, for what needs none
        self._link: channel.Channel | None = None
        self._lock = asyncio.Lock()
        self._subscribers: list[Notice] = []
        self._closing = False
        self._returning: asyncio.Task[None] | None = None
        self._watch: asyncio.Task[None] | None = None

    @property
    def operations(self) -> Registry:
        """See mcp_server.session.EngineSession.operations."""
        from core.operations import REGISTRY

        return REGISTRY

    @property
    def owner(self) -> bool:
        """Whether the engine runs in this process."""
        return self._engine is not None and not self._visits

    @property
    def running(self) -> bool:
        """Whether an engine runs: in this process, or in the one that it is attached to."""
        return self.owner or (self._link is not None and not self._link.closed.is_set())

    @property
    def home(self) -> Path:
        """The home directory."""
        return self._home

    @property
    def engine(self) -> Any:
        """The engine itself, for the owner's own use (benchmarks, the serve command); None when attached."""
        return self._engine

    def rooms(self) -> list[accepting.Room]:
        """Who is attached to the engine, when that is in this process."""
        return [] if self._engine is None else [self._engine.sessions]

    async def call(self, operation: str, arguments: dict[str, Any], caller: Caller) -> dict[str, Any]:
        """Do one operation on whichever engine owns the home now.

        Raises the operation's SluiceError, Busy when no engine can be reached, or Unconfirmed when the engine that
        took the call went away, or fell silent, before it answered.
        """
        if self._nowhere and not self._homeless(operation):
            await self._leave_nowhere()
        if self._engine is not None:
            result: dict[str, Any] = await self._engine.call(operation, arguments, caller)
            return result
        sent = Sent(self._known, operation, repeatable(operation, arguments))
        return await sent.answered(self._ask(sent, caller))

    async def _ask(self, sent: Sent, caller: Caller) -> dict[str, Any]:
        operation, arguments = sent.operation, sent.arguments
        for attempt in range(TRIES):
            link = await self._connected(operation)
            if link is None:
                return await self.call(operation, arguments, caller)
            request = {"operation": operation, "arguments": arguments, "caller": caller.to_dict()}
            try:
                answer: dict[str, Any] = await link.call("call", request)
                return answer
            except channel.ChannelSilent as error:
                sent.lost, hint = self._silent()
                raise errors.Busy(sent.lost, hint=hint) from error
            except channel.ChannelClosed as error:
                sent.lost = "The engine went away while this call was under way."
                if attempt == TRIES - 1 or not safe_to_repeat(self._known, operation, arguments):
                    raise errors.Busy(sent.lost) from error
            except TypeError as error:
                raise errors.InvalidParams(
                    f"The arguments of {operation} cannot be carried as JSON: {errors.shorten(str(error), 100)}."
                ) from error
        raise errors.Busy("No engine could be reached.", hint="Try again.")

    async def trouble(self) -> str:
        """What keeps the engine from its work, in sentences; empty when nothing does."""
        try:
            async with asyncio.timeout(SILENCE_SECONDS):
                link = await self._connected()
                if link is None:
                    return str(self._engine.trouble())
                return str((await link.call("about", {})).get("trouble", ""))
        except TimeoutError:
            return f"The engine says nothing for {SILENCE_SECONDS:g} s."
        except errors.SluiceError as error:
            return error.message

    async def readiness(self) -> Readiness:
        """Whether the engine takes work now."""
        try:
            async with asyncio.timeout(SILENCE_SECONDS):
                link = await self._connected()
                if link is None:
                    can: Readiness = self._engine.readiness()
                    return can
                said = await link.call("about", {})
        except TimeoutError:
            return Readiness().but(readiness.ENGINE, f"The engine says nothing for {SILENCE_SECONDS:g} s.")
        except errors.SluiceError as error:
            return Readiness().but(readiness.ENGINE, error.message)
        if "readiness" not in said:  # an engine of an earlier version
            return readiness.judge(str(said.get("trouble", "")), (), 0)
        return Readiness.from_dict(said["readiness"])

    async def meet(self, line: Line, address: str) -> None:
        """Work with a worker of another machine on a line until it is gone. Raises Busy where this is not the engine's
        own process: its records would pass through one process more, and end with it."""
        if self._engine is None:
            pid = ownership.owner_pid(self._home)
            raise errors.Busy(
                f"Workers join the engine's own server, and the engine is process {pid}.",
                hint="End that one, which is an MCP session or another server; then this server takes over.",
            )
        await self._engine.gateway.meet(line, address)

    async def dismiss_workers(self, seconds: float) -> None:
        """Have the workers of other machines finish what they have, before the way to them is closed."""
        if self._engine is not None:
            await self._engine.gateway.dismiss(seconds)

    async def pulse(self) -> None:
        """Return when the engine has really done something; raises a SluiceError when it cannot. Without a deadline."""
        link = await self._connected()
        if link is None:
            await self._engine.pulse()
        else:
            await link.call("about", {})

    def acting(self, caller: Caller) -> Caller:
        """The caller itself: whoever can reach the home directory says who calls."""
        return caller

    def subscribe(self, callback: Notice) -> Callable[[], None]:
        """See mcp_server.session.EngineSession.subscribe; survives a change of owner."""
        self._subscribers.append(callback)
        return lambda: self._subscribers.remove(callback)

    def _tell(self, kind: str, data: dict[str, Any]) -> None:
        for callback in tuple(self._subscribers):
            callback(kind, data)

    async def _connected(self, operation: str = "") -> channel.Channel | None:
        """The channel to the owner; None when this session is (or has just become) the owner itself, or when it does a
        visitor's operation on the home alone. Raises NoEngine when that operation needs a running one."""
        if self._link is not None and not self._link.closed.is_set():
            return self._link
        async with self._lock:
            if self._engine is not None:
                return None
            if self._link is not None and not self._link.closed.is_set():
                return self._link
            if self._closing:
                raise errors.Busy("This session is closing.")
            return await self._reach(operation)

    async def _reach(self, operation: str) -> channel.Channel | None:
        for _ in range(TRIES):
            reached = await self._found(operation)
            if isinstance(reached, ownership.Ownership):
                await self._own(reached)
                return None
            try:
                async with asyncio.timeout(SILENCE_SECONDS):
                    await reached.call("subscribe", {"kinds": KINDS})
            except channel.ChannelClosed:
                continue  # the owner died between the connection and the answer: the next round finds the next owner
            except TimeoutError as error:
                reached.abort()
                why, hint = self._silent()
                raise errors.Busy(f"{why} Nothing was asked of it.", hint=hint) from error
            self._link, self._attached_once = reached, True
            self._watch = asyncio.get_running_loop().create_task(_watch(reached))
            return reached
        raise errors.Busy("The engine keeps going away.", hint="Try again; 'sluice doctor' shows who owns the home.")

    async def _found(self, operation: str) -> ownership.Ownership | channel.Channel:
        """A channel to the engine that runs, or the right to the home. Raises NoEngine as `_connected` does."""
        home = self._home

        def notice(_: channel.Channel, kind: str, data: dict[str, Any]) -> None:
            self._tell(kind, data)

        def closed(_: channel.Channel) -> None:
            self._lost()

        if not self._visits:
            if self._attached_once and not homes.begun(home):  # it was moved: an empty one would be ready, and another
                raise errors.StorageUnavailable(
                    f"The home {home} is not there any more.", hint="Put it back, or name where it is now with --home."
                )
            return await ownership.own_or_connect(home, on_notice=notice, on_close=closed)
        until = clock.monotonic() + (RETURN_SECONDS if self._attached_once else 0.0)
        while (link := await ownership.running(home, on_notice=notice, on_close=closed)) is None:
            if clock.monotonic() >= until:
                break
            await asyncio.sleep(0.1)
        if link is not None:
            return link
        known = self._known.get(operation)
        if self._attached_once or known is None or known.needs_engine:
            from core.admission import no_engine

            raise no_engine(home)
        if known.reads and not homes.begun(home):
            # A home of its own would be right for what is asked, and be there from then on, wherever that is.
            if not self._homeless(operation):
                from core.admission import no_home

                raise no_home(home)
            home = Path(self._engine_stack.enter_context(tempfile.TemporaryDirectory(prefix="sluice-")))
            self._nowhere = True
        return await ownership.own_or_connect(home, on_notice=notice, on_close=closed)

    async def _own(self, owned: ownership.Ownership) -> None:
        from core import engine as engines  # the engine costs time to import; who attaches never pays for it

        self._link = None
        opening = engines.open_offline if self._visits else engines.open_engine
        try:
            engine = await self._engine_stack.enter_async_context(opening(self._read(), self.operations, owned))
        except BaseException:
            owned.release()
            raise
        engine.subscribe(self._tell)
        self._engine = engine

    def _homeless(self, operation: str) -> bool:
        known = self._known.get(operation)
        return known is not None and known.homeless

    async def _leave_nowhere(self) -> None:
        """Have the next call find the home itself, where what it does stays."""
        async with self._lock:
            self._engine, self._nowhere = None, False
            await self._engine_stack.aclose()

    def _silent(self) -> tuple[str, str]:
        """What is wrong, and where to look."""
        pid = ownership.owner_pid(self._home)
        return (
            f"The engine of {self._home} has said nothing for {SILENCE_SECONDS:g} s.",
            f"Process {pid} is the engine: see whether it is stopped or its machine overloaded.",
        )

    def _lost(self) -> None:
        """The owner is gone: attach or take over at once, so that notices and jobs go on without a call.

        A visitor sees at its next call whether there is another one.
        """
        if self._visits or self._closing or (self._returning is not None and not self._returning.done()):
            return
        self._returning = asyncio.get_running_loop().create_task(self._return())

    async def _return(self) -> None:
        try:
            await self._connected()
        except errors.SluiceError as error:
            import structlog  # a visitor, which never gets here, does without

            structlog.get_logger("mcp_server.attach").warning("engine_not_reached", error=str(error))
            return
        self._tell("registry", {"tenant": "", "version": -1})  # what was missed in between is unknown

    async def aclose(self) -> None:
        """Leave: the owner stops its engine and workers, others close their channel. Safe to call twice."""
        self._closing = True
        if self._returning is not None:
            await asyncio.gather(self._returning, return_exceptions=True)
        if self._watch is not None:
            self._watch.cancel()
        if self._link is not None:
            await self._link.close()
        self._engine = None
        await self._engine_stack.aclose()


async def _watch(link: channel.Channel) -> None:
    """Give up the calls of a link whose owner does not even say who it is: nobody waits for a stopped process."""
    while not link.closed.is_set():
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SILENCE_SECONDS / 2):
                await link.closed.wait()
        if link.waiting:
            try:
                async with asyncio.timeout(SILENCE_SECONDS):
                    await link.call("about", {})
            except TimeoutError:
                link.give_up()
            except errors.SluiceError:
                continue  # it has answered, or is gone: the loop says which


@asynccontextmanager
async def open_visit(
    home: Path, read: Callable[[], Settings], known: Operations, *, follows: bool = False
) -> AsyncIterator[Session]:
    """A session of a command on a home directory: attached, if an engine runs.

    Without an engine, operations that need none are done on the home itself, which nobody else can open meanwhile, with
    the settings that are read then; the others raise NoEngine. A command that `follows` what happens needs an engine
    from the start. Who asks an engine that runs imports none of it, nor its settings: what is `known` of the operations
    says which calls may be repeated. Raises NoEngine, Busy (the owner of the home does not answer).
    """
    session = Session(home, read, known, visits=True)
    try:
        try:
            await session._connected()
        except errors.NoEngine:
            if follows:
                raise
        yield session
    finally:
        await session.aclose()


@asynccontextmanager
async def open_session(
    settings: Settings, *, serve_workers: int | None = None, read: Callable[[], Settings] | None = None
) -> AsyncIterator[Session]:
    """A session on the home directory of `settings`; connected before it is yielded.

    `serve_workers` is how many workers the engine starts if this session becomes its owner (None: as in settings).
    `read`: see Session.
    Raises StorageUnavailable (the home cannot be used), Busy (its owner does not answer).
    """
    from core.operations import REGISTRY  # imports every room; an attached session needs it for the schemas only

    if serve_workers is not None:
        settings = settings.model_copy(update={"workers": serve_workers})
    session = Session(settings.home, read or (lambda: settings), REGISTRY)
    try:
        await session._connected()
        yield session
    finally:
        await session.aclose()
