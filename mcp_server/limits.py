"""How many long answers one user, and one tenant, may have open at a time, and how many reads of one user run at once.

A user is a name within a tenant, as it is for the rate limits of triggers: all credentials of one user share what he
may have, and the users of a tenant what the tenant may have, so that nobody takes another tenant's room.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Mapping
from typing import Literal, NamedTuple, get_args

from core import errors
from core.model.principal import Caller
from core.settings import Settings

Kind = Literal["wait", "stream", "session"]
"""The sorts of long answers: a call that waits (wait_seconds); server-sent events, `subscriptions/listen` of MCP among
them; an MCP session of an earlier protocol over HTTP."""
KINDS: tuple[Kind, ...] = get_args(Kind)
HOLDS: tuple[Kind, ...] = ("wait", "stream")  # a connection for as long as they last
READS_AT_ONCE = 8  # of one user; the answers of all of them are in memory
READS_IN_LINE = 256
Whose = Literal["user", "tenant"]
WHOSE: tuple[Whose, ...] = get_args(Whose)


class Most(NamedTuple):
    """How many may be open at a time."""

    user: int
    tenant: int


All = Mapping[Kind, Most]


class _Words(NamedTuple):
    plural: str
    hint: str
    retry_seconds: int


_WORDS: Mapping[Kind, _Words] = {
    "wait": _Words("waiting calls", "Ask without waiting, or when one of them was answered.", 1),
    "stream": _Words("event streams", "Close one, or share one.", 5),
    "session": _Words("MCP sessions", "End one with DELETE; one that nobody uses ends by itself.", 30),
}


def setting(kind: Kind, whose: Whose) -> str:
    """The name of the setting that limits a kind."""
    return f"{kind}s_per_{whose}"


def of(settings: Settings) -> All:
    """The limits that the settings say."""
    return {
        kind: Most(getattr(settings, setting(kind, "user")), getattr(settings, setting(kind, "tenant")))
        for kind in KINDS
    }


def share(connections: int) -> Most:
    """How many of the connections of a server may be held by long answers of one user, and of one tenant."""
    return Most(max(1, connections // 4), max(1, connections // 2))


def within(most: All, connections: int) -> All:
    """These limits, none of them more than a server with so many connections can keep."""
    user, tenant = share(connections)
    return {kind: Most(min(one.user, user), min(one.tenant, tenant)) for kind, one in most.items()}


class _Open(NamedTuple):
    """What is open of one kind. Names are not kept beyond what they have open."""

    of_user: dict[tuple[str, str], int]  # by tenant and user
    of_tenant: dict[str, int]


class Limiter:
    """What is open, by kind, tenant and user. `take` and `give` come in pairs.

    With `connections`, waits and streams together hold no more of them than is one's `share`, whatever the settings
    say.
    """

    def __init__(self, most: All, connections: int | None = None) -> None:
        self.most = most if connections is None else within(most, connections)
        self._share = None if connections is None else share(connections)
        self.refused: Counter[tuple[Kind, Whose]] = Counter()
        self._open = {kind: _Open({}, {}) for kind in KINDS}

    def take(self, kind: Kind, caller: Caller) -> None:
        """Count one more. Raises RateLimited, which says which limit, of whom, and when to try again."""
        of_user, of_tenant = self._open[kind]
        of_one, of_all = self.most[kind]
        tenant = caller.tenant
        who = tenant, caller.principal.username
        his, theirs = of_user.get(who, 0), of_tenant.get(tenant, 0)
        if his >= of_one:
            raise self._refusal(kind, "user", who[1], of_one)
        if theirs >= of_all:
            raise self._refusal(kind, "tenant", tenant, of_all)
        if self._share is not None and kind in HOLDS:
            together = [self._open[one] for one in HOLDS]
            if sum(one.of_user.get(who, 0) for one in together) >= self._share.user:
                raise self._refusal(kind, "user", who[1], self._share.user, together=True)
            if sum(one.of_tenant.get(tenant, 0) for one in together) >= self._share.tenant:
                raise self._refusal(kind, "tenant", tenant, self._share.tenant, together=True)
        of_user[who] = his + 1
        of_tenant[tenant] = theirs + 1

    def give(self, kind: Kind, caller: Caller) -> None:
        """Count one less."""
        of_user, of_tenant = self._open[kind]
        tenant = caller.tenant
        who = tenant, caller.principal.username
        if of_user[who] > 1:
            of_user[who] -= 1
        else:
            del of_user[who]
        if of_tenant[tenant] > 1:
            of_tenant[tenant] -= 1
        else:
            del of_tenant[tenant]

    def count(self, kind: Kind, caller: Caller | None = None) -> int:
        """How many a user has open; without one, how many there are."""
        of_user, of_tenant = self._open[kind]
        return sum(of_tenant.values()) if caller is None else of_user.get((caller.tenant, caller.username), 0)

    def _refusal(self, kind: Kind, whose: Whose, name: str, most: int, *, together: bool = False) -> errors.RateLimited:
        self.refused[kind, whose] += 1
        words, limit = _WORDS[kind], setting(kind, whose)
        if together or (self._share is not None and most >= getattr(self._share, whose)):
            limit = "http_connections"  # of which this is the share
        plural = "waiting calls and event streams" if together else words.plural
        return errors.RateLimited(
            f"The {whose} {errors.shorten(name, 100)} has {most} {plural} open, as many as one {whose} may have.",
            hint=f"{words.hint} Try again in {words.retry_seconds} s. The setting {limit} is the limit.",
            details={"limit": limit, "most": most, "retry_after_seconds": words.retry_seconds},
        )


class Turns:
    """Whose reads run now: READS_AT_ONCE of one user, and the next ones in their order. `take` and `give` come in
    pairs, and cost nothing while there are few."""

    def __init__(self) -> None:
        self._running: dict[tuple[str, str], int] = {}
        self._line: dict[tuple[str, str], deque[asyncio.Future[None]]] = {}

    async def take(self, who: tuple[str, str]) -> None:
        """Wait for one's turn. Raises RateLimited when too many wait already."""
        running = self._running.get(who, 0)
        if running < READS_AT_ONCE:
            self._running[who] = running + 1
            return
        line = self._line.setdefault(who, deque())
        if len(line) >= READS_IN_LINE:
            raise errors.RateLimited(
                f"The user {errors.shorten(who[1], 100)} has {len(line)} reads waiting for their turn.",
                hint="Ask again when some of them were answered.",
                details={"most": READS_IN_LINE, "retry_after_seconds": 1},
            )
        turn = asyncio.get_running_loop().create_future()
        line.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():  # it was given the turn in the same moment
                self.give(who)
            raise

    def give(self, who: tuple[str, str]) -> None:
        """Leave the turn to the next one."""
        line = self._line.get(who, ())
        while line:
            turn = line.popleft()
            if not line:
                del self._line[who]
            if not turn.done():
                turn.set_result(None)
                return
        if self._running[who] > 1:
            self._running[who] -= 1
        else:
            del self._running[who]
