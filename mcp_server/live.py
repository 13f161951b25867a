"""The long answers that are open now, so that each ends with what allowed it: waits, event streams, MCP sessions.

A short call is authorised when it comes. An answer that stays open is authorised when it begins, as the operation that
tells the same; this registry ends it when its credential is revoked (at once), expires, or has other rights than when
it began, and when it has gone on for as long as one may. What is ended is told why (`Reason`). Notices of revocations
are hints, which may be lost: each credential is asked about again every CHECK_SECONDS, and after every change of owner.
"""

from __future__ import annotations

import asyncio
import math
import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from enum import StrEnum
from typing import Any

import structlog

from core import clock, errors
from core.model.operation import Effect
from core.model.principal import SYSTEM, Caller, Principal, Role, roles_of
from core.settings import Settings
from mcp_server import limits, session
from mcp_server.times import CallTimes

log = structlog.get_logger("mcp_server.live")

CHECK = "credential_check"
ONCE = "call_once"  # does another operation, under an idempotency key
AT_ONCE = 500  # credentials that are asked about in one call
TICK_SECONDS = 0.5  # how exactly ends are kept
CHECK_SECONDS = 30.0
GRACE_SECONDS = 0.5  # how long an answer may take to say its last word before it is cut off
MAX_AGE_SECONDS = 900.0  # of an event stream that a credential opened; +- 10 %, so that not all come back at once
IDLE_SECONDS = 1800.0  # after its last request, a session ends
REMEMBERED = 10_000  # revoked credentials that are known to be so


class Reason(StrEnum):
    """Why a long answer was ended."""

    REVOKED = "revoked"  # its credential was withdrawn
    EXPIRED = "expired"  # its credential came to its end
    FORBIDDEN = "forbidden"  # its credential has other rights now: who asks again gets what they allow
    MAX_AGE = "max_age"  # it went on for as long as a stream may: ask again
    IDLE = "idle"  # nobody used it
    SLOW = "slow"  # it reads more slowly than things happen: ask again from the last id


class Answer:
    """One long answer. `operation` is the one that it is like.

    A class for each way to end one: what is not set in an instance is said by the class, for most of them are waits of
    a moment, one for every run of a trigger.
    """

    kind: limits.Kind
    until: float = math.inf  # by the monotonic clock
    why_until: Reason = Reason.MAX_AGE
    reason: Reason | None = None  # why it was ended
    ended_at: float = 0.0
    was_cut: bool = False

    def __init__(self, operation: str, caller: Caller) -> None:
        self.operation = operation
        self.caller = caller

    def end(self, reason: Reason) -> None:
        """Bring it to its end; called once, if it has to end before its time."""
        raise NotImplementedError

    def cut(self) -> None:
        """Called when it is still open GRACE_SECONDS after `end`."""


class Stream(Answer):
    """Events for one client, told in the task that opens it."""

    kind = "stream"

    def __init__(self, operation: str, caller: Caller, end: Callable[[Reason], None]) -> None:
        super().__init__(operation, caller)
        self._end = end
        self._task = asyncio.current_task()

    def end(self, reason: Reason) -> None:
        self._end(reason)

    def cut(self) -> None:
        """End the task: the client does not even read the last word."""
        if self._task is not None:
            self._task.cancel()


class Live:
    """The registry of one server process. Use from one event loop; it costs nothing while nothing is open."""

    def __init__(
        self,
        most: limits.All | None = None,
        now: Callable[[], float] = clock.monotonic,
        *,
        connections: int | None = None,
    ) -> None:
        self.limiter = limits.Limiter(limits.of(Settings()) if most is None else most, connections)
        self.turns = limits.Turns()
        self.ended: Counter[tuple[limits.Kind, Reason]] = Counter()
        self.calls = CallTimes()  # those of the MCP door, for the other doors of this server
        self._now = now
        self._open: dict[Answer, None] = {}
        self._revoked: dict[str, None] = {}
        self._engine: session.EngineSession | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._check_at = 0.0
        self._checks: set[asyncio.Task[None]] = set()

    @property
    def engine(self) -> session.EngineSession | None:
        """The engine itself, for what is told within a long answer: its calls that wait are none of their own."""
        return self._engine

    def watched(self, engine: session.EngineSession) -> Watched:
        """The engine session with its waits in this registry, which from now on hears of revocations there."""
        if self._engine is None:
            self._engine = engine
            engine.subscribe(self._noticed)
        return Watched(engine, self)

    # -- opening and closing -------------------------------------------------------------------------------

    def open(self, answer: Answer) -> None:
        """Take in a long answer that begins; `close` it in any case.

        Raises RateLimited, and Unauthenticated when its credential was revoked a moment ago.
        """
        if answer.caller.principal.credential in self._revoked:
            raise over(Reason.REVOKED)
        self.limiter.take(answer.kind, answer.caller)
        self._open[answer] = None
        if self._timer is None:
            self._check_at = self._now() + CHECK_SECONDS
            self._timer = asyncio.get_running_loop().call_later(TICK_SECONDS, self._tick)

    def close(self, answer: Answer) -> None:
        """A long answer is over, whoever ended it. Safe to call twice."""
        if self._open.pop(answer, self) is None:
            self.limiter.give(answer.kind, answer.caller)

    @contextmanager
    def stream(
        self, operation: str, caller: Caller, end: Callable[[Reason], None], *, ages: bool = True
    ) -> Iterator[Answer]:
        """An event stream for as long as the body runs: it is told to `end`, and cut off if it does not.

        The streams of a credential age, unless `ages` is false. Raises like `open`.
        """
        answer = Stream(operation, caller, end)
        if ages and caller.principal.credential:
            answer.until = self._now() + MAX_AGE_SECONDS * random.uniform(0.9, 1.1)
        self.open(answer)
        try:
            yield answer
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if not answer.was_cut or task is None or task.uncancel() > 0:  # not by us, or by others as well
                raise
        finally:
            self.close(answer)

    # -- ending --------------------------------------------------------------------------------------------

    def end(self, answer: Answer, reason: Reason) -> None:
        """End a long answer, once."""
        if answer.reason is None and answer in self._open:
            answer.reason = reason
            answer.ended_at = self._now()
            self.ended[answer.kind, reason] += 1
            log.info("long_answer_ended", kind=answer.kind, operation=answer.operation, reason=reason.value)
            answer.end(reason)

    def _noticed(self, topic: str, data: Mapping[str, Any]) -> None:
        if topic == "tokens" or not data.get("tenant"):  # a revocation, or a new owner: some may have been missed
            self._check()

    def _tick(self) -> None:
        self._timer = None
        now = self._now()
        for answer in tuple(self._open):
            if answer.reason is not None:
                if not answer.was_cut and answer.ended_at + GRACE_SECONDS <= now:
                    answer.was_cut = True
                    answer.cut()
            elif (ends := answer.caller.principal.ends_at) is not None and ends <= now:
                self.end(answer, Reason.EXPIRED)
            elif answer.until <= now:
                self.end(answer, answer.why_until)
        if self._open:
            self._timer = asyncio.get_running_loop().call_later(TICK_SECONDS, self._tick)
            if self._check_at <= now:
                self._check()

    def _check(self) -> None:
        """Ask the engine about every credential that has something open."""
        self._check_at = self._now() + CHECK_SECONDS
        if self._engine is not None and any(answer.caller.principal.credential for answer in self._open):
            task = asyncio.get_running_loop().create_task(self._checked(self._engine))
            self._checks.add(task)
            task.add_done_callback(self._checks.discard)

    async def _checked(self, engine: session.EngineSession) -> None:
        ids = sorted({answer.caller.principal.credential for answer in self._open} - {""})
        for start in range(0, len(ids), AT_ONCE):
            try:
                found = (await engine.call(CHECK, {"ids": ids[start : start + AT_ONCE]}, SYSTEM))["items"]
            except errors.SluiceError as error:
                log.warning("credentials_not_checked", error=errors.shorten(error))
                self._check_at = self._now() + 2 * TICK_SECONDS  # the next tick but one asks again
                return
            self._judge(found)

    def _judge(self, found: Mapping[str, Mapping[str, Any]]) -> None:
        for id, now in found.items():
            if now["state"] == Reason.REVOKED:
                self._revoked[id] = None
        while len(self._revoked) > REMEMBERED:
            self._revoked.pop(next(iter(self._revoked)))
        for answer in tuple(self._open):
            state = found.get(answer.caller.principal.credential)
            if state is None:
                continue
            if state["state"] != "valid":
                self.end(answer, Reason(state["state"]))
            elif principal_of(state) != answer.caller.principal:
                self.end(answer, Reason.FORBIDDEN)

    # -- for people ----------------------------------------------------------------------------------------

    def usage_of(self, caller: Caller) -> dict[str, dict[str, int]]:
        """What a user has open, and may have, by kind."""
        return {
            kind: {
                "open": self.limiter.count(kind, caller),
                "most_of_user": most.user,
                "most_of_tenant": most.tenant,
            }
            for kind, most in self.limiter.most.items()
        }


class Watched:
    """An engine session for the doors of a server: its calls that wait are long answers of `live`."""

    def __init__(self, engine: session.EngineSession, live: Live) -> None:
        self.operations = engine.operations
        self.subscribe = engine.subscribe
        self._engine = engine
        self._live = live
        self._reads = {one.name for one in engine.operations if one.effect is Effect.READ}
        self._waits = {operation.name: operation.wait for operation in engine.operations if operation.wait is not None}

    async def call(self, operation: str, arguments: dict[str, Any], caller: Caller) -> dict[str, Any]:
        """See mcp_server.session.EngineSession.call. A wait whose credential ends meanwhile raises what `over` makes;
        what was begun goes on. Raises RateLimited for one wait too many. The reads of one user take turns."""
        name, given = operation, arguments
        if operation == ONCE:  # the wait is that of the call inside
            name, given = str(arguments["operation"]), arguments["arguments"]
        wait = self._waits.get(name)
        # Whoever is no member of a tenant is refused by the engine, and takes no room of it.
        if wait is None or not _positive(given, wait) or not (caller.owner or caller.member_of(caller.tenant)):
            if operation not in self._reads:
                return await self._engine.call(operation, arguments, caller)
            who = caller.tenant, caller.principal.username
            await self._live.turns.take(who)
            try:
                return await self._engine.call(operation, arguments, caller)
            finally:
                self._live.turns.give(who)
        with _Wait(self._live, name, caller, self.operations[name].effect is not Effect.READ):
            return await self._engine.call(operation, arguments, caller)

    def acting(self, caller: Caller) -> Caller:
        return self._engine.acting(caller)

    async def aclose(self) -> None:
        await self._engine.aclose()


def _positive(arguments: Any, wait: tuple[str, float]) -> bool:
    name, default = wait
    seconds = arguments.get(name, default) if isinstance(arguments, dict) else 0
    return not isinstance(seconds, int | float) or seconds > 0  # of another type: the schema says so


class _Wait(Answer):
    """A call that waits, as a context manager around it; it stands around every run of a trigger."""

    kind = "wait"
    _before = 0

    def __init__(self, live: Live, operation: str, caller: Caller, writes: bool) -> None:
        self.operation = operation
        self.caller = caller
        self._live = live
        self._writes = writes
        self._task: asyncio.Task[Any] = asyncio.current_task()  # type: ignore[assignment]

    def __enter__(self) -> None:
        self._live.open(self)

    def end(self, reason: Reason) -> None:
        self._before = self._task.cancelling()
        self._task.cancel()

    def __exit__(self, kind: type[BaseException] | None, *_: Any) -> None:
        self._live.close(self)
        # Like asyncio.timeout: a cancellation by others, which came as well, goes on.
        if self.reason is not None and self._task.uncancel() <= self._before and kind is asyncio.CancelledError:
            raise over(self.reason, writes=self._writes)


def over(reason: Reason, *, writes: bool = False) -> errors.SluiceError:
    """What a caller is told whose long answer was ended; of one that `writes`, nobody knows how far it came."""
    how = {
        Reason.EXPIRED: "The credential of this call has expired meanwhile.",
        Reason.FORBIDDEN: "The rights of this credential have changed meanwhile.",
    }.get(reason, "The credential of this call was revoked meanwhile.")
    if writes:
        return errors.Unconfirmed(
            f"{how} This call may or may not have been recorded.",
            hint="Look at the present state, or ask again with the same idempotency key, when you are logged in anew.",
        )
    if reason is Reason.FORBIDDEN:
        return errors.Forbidden(how, hint="Ask again for what they allow now.")
    return errors.Unauthenticated(how, hint="Log in anew, then ask again.")


def principal_of(state: Mapping[str, Any]) -> Principal:
    """The principal in an answer about a credential."""
    scopes: Sequence[str] = state.get("scopes", ())
    return Principal(
        str(state["username"]),
        Role(state["role"]),
        tuple(state["tenants"]),
        bool(state["platform"]),
        tuple(scopes),
        roles_of(state.get("roles")),
    )
