"""How many long answers one user, and one tenant, may have open at a time: pure counting.

A user is a name within a tenant, as it is for the rate limits of triggers: all credentials of one user share what he
may have, and the users of a tenant what the tenant may have, so that nobody takes another tenant's room.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Literal, NamedTuple, get_args

from core import errors
from core.model.principal import Caller
from core.settings import Settings

Kind = Literal["wait", "stream", "session"]
"""The sorts of long answers: a call that waits (wait_seconds); server-sent events, `subscriptions/listen` of MCP among
them; an MCP session of an earlier protocol over HTTP."""
KINDS: tuple[Kind, ...] = get_args(Kind)
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


class _Open(NamedTuple):
    """What is open of one kind. Names are not kept beyond what they have open."""

    of_user: dict[tuple[str, str], int]  # by tenant and user
    of_tenant: dict[str, int]


class Limiter:
    """What is open, by kind, tenant and user. `take` and `give` come in pairs."""

    def __init__(self, most: All) -> None:
        self.most = most
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

    def _refusal(self, kind: Kind, whose: Whose, name: str, most: int) -> errors.RateLimited:
        self.refused[kind, whose] += 1
        words, limit = _WORDS[kind], setting(kind, whose)
        return errors.RateLimited(
            f"The {whose} {errors.shorten(name, 100)} has {most} {words.plural} open, as many as one {whose} may have.",
            hint=f"{words.hint} Try again in {words.retry_seconds} s. The setting {limit} is the limit.",
            details={"limit": limit, "most": most, "retry_after_seconds": words.retry_seconds},
        )
