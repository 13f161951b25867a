"""Worker KV: small values, sets and work queues that outlive runs and replicas, as what every implementation promises.

Words: a *namespace* is a separate space of keys, fully qualified as `tenant:namespace`. A *value* is text (JSON unless
its writer meant a raw string). A *set* is a key with members; a set and a value of the same key do not meet. Each
namespace also has one *queue*. What is popped from it is *leased*: it comes again when the lease has run out before
`ack`, and after so many attempts it is *dead* (a dead letter). A *revision* is a number that grows with every write
of the store. Times are milliseconds.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple, Protocol

from core import errors

MAX_NAMESPACE_BYTES = 256
MAX_KEY_BYTES = 512
MAX_VALUE_BYTES = 1024 * 1024
MAX_OPS = 1024  # of one apply; they keep the one writer for a few milliseconds
MAX_APPLY_CHARACTERS = 4 * 1024 * 1024  # of keys and values of one apply; escaped, they still fit in one frame
MAX_TTL_MS = 10 * 366 * 86_400_000
MAX_LEASE_MS = 86_400_000
MAX_POP = 1000
MAX_PAGE_CHARACTERS = 4 * 1024 * 1024  # of values in one answer; a batch or a page ends before it has more
MAX_LIST = 1000
MAX_WATCHED = 10_000  # changed keys that a watch remembers; one that lags further has to list anew
ATTEMPTS = 10  # an item that was handed out so often and never acknowledged is dead, unless the consumer says else
LEASE_MS = 30_000

_TENANT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}").fullmatch


class Verb(StrEnum):
    """What one operation does."""

    GET = "get"
    SET = "set"
    SET_IF_ABSENT = "set-if-absent"
    ACQUIRE = "acquire"
    COMPARE_AND_SET = "compare-and-set"
    DELETE = "delete"
    ADD = "add"
    REMOVE = "remove"
    MEMBERS = "members"
    PUSH = "push"
    ACK = "ack"
    RELEASE = "release"


_VERBS = frozenset(Verb)
READS = frozenset((Verb.GET, Verb.MEMBERS))


class Op(NamedTuple):
    """One operation. `value` is the value, the member of a set, or the item of a queue; `key` of ack is the lease.

    set: always. set-if-absent: only when the key is not there. acquire: also when the key holds this very value, whose
    TTL then starts anew (a lock that its holder keeps). compare-and-set: only at this revision, 0 for an absent key.
    delete: the value and the set of a key. add and remove: a member; `ttl_ms` is the member's own.
    release: the items of a lease at once instead of at its end. `ttl_ms` 0: for ever.
    """

    verb: str
    key: str = ""
    value: str = ""
    ttl_ms: int = 0
    revision: int = 0


class Result(NamedTuple):
    """What one operation did.

    `done`: found, written, deleted, added, or acknowledged. `revision`: of what is there now (0: nothing). `value`: of
    get. `members`: of members, sorted, at most MAX_LIST. `affected`: items that were acknowledged or released.
    """

    done: bool
    revision: int = 0
    value: str | None = None
    members: tuple[str, ...] = ()
    affected: int = 0


class Entry(NamedTuple):
    """A value with its key; `expires_at_ms` is None for one that stays."""

    key: str
    value: str
    revision: int
    expires_at_ms: int | None


class Listing(NamedTuple):
    """A page of values by key; `more`: there are further ones after the last."""

    entries: tuple[Entry, ...]
    more: bool


class Item(NamedTuple):
    """One item of a queue; `attempt` counts from 1."""

    id: int
    value: str
    attempt: int


class Lease(NamedTuple):
    """Items that were popped together. Nobody else gets them until `expires_at_ms`."""

    id: str
    expires_at_ms: int
    items: tuple[Item, ...]


class Depth(NamedTuple):
    """What is in a queue: ready to be popped, leased, dead."""

    ready: int
    leased: int
    dead: int


class Change(NamedTuple):
    """A key under watch is not what it was. Its value is read with get; `deleted` also when its time was over."""

    key: str
    deleted: bool


class Anchor(NamedTuple):
    """How the clock of a store stands to the machine's: see core.kv.timekeeping.

    `boot_ms`: when this was written, since the start of the machine that is named `boot_id`. `ahead_of_...`: what has
    to be added to the time since that start, and to the wall clock, for the time of the store.
    """

    boot_id: str
    boot_ms: int
    ahead_of_boot_ms: int
    ahead_of_wall_ms: int


@dataclass(frozen=True, slots=True)
class Changes:
    """What has changed since the last call; `lagged`: more than the watch could remember, so list anew."""

    changes: tuple[Change, ...] = ()
    lagged: bool = False


class Watch(Protocol):
    """A standing look at the keys with one prefix, from the moment it was made."""

    async def next(self, wait_seconds: float) -> Changes:
        """What has changed since the last call, each key once and in its last state; empty after `wait_seconds`."""

    async def close(self) -> None:
        """Stop looking. Safe to call twice."""


class KV(Protocol):
    """A store of namespaces. Everything raises StorageUnavailable when nothing can be written, InvalidParams for
    what is beyond the bounds; what was answered is durable."""

    async def apply(self, namespace: str, ops: Sequence[Op]) -> list[Result]:
        """Do operations of one namespace in order and in one transaction: all or none.

        Raises InvalidParams (see `check`; also when what is read has more than MAX_PAGE_CHARACTERS).
        """

    async def list(self, namespace: str, prefix: str, after: str, limit: int) -> Listing:
        """Values whose key begins with `prefix` and comes after `after`, by key.

        At most `limit`, and at most MAX_PAGE_CHARACTERS of them.
        """

    async def pop_batch(
        self, namespace: str, size: int, lease_ms: int, max_attempts: int, wait_seconds: float
    ) -> Lease | None:
        """Lease the oldest items, at most `size`; None when nothing came within `wait_seconds`.

        Items whose lease has run out are ready again, before all younger ones, or dead after `max_attempts`.
        """

    async def depth(self, namespace: str) -> Depth:
        """How many items the queue has."""

    async def watch(self, namespace: str, prefix: str) -> Watch:
        """Look at the keys with this prefix (values, not sets). Hints from here on; what is there now is `list`."""


@dataclass(frozen=True, slots=True)
class Namespace:
    """One namespace of a store, with a name for everything that can be done to it."""

    kv: KV
    name: str  # fully qualified

    async def apply(self, ops: Sequence[Op]) -> list[Result]:
        """Many operations, in pieces that fit; each piece is one transaction."""
        out: list[Result] = []
        for piece in pieces(ops):
            out += await self.kv.apply(self.name, piece)
        return out

    async def _one(self, op: Op) -> Result:
        return (await self.kv.apply(self.name, [op]))[0]

    async def get(self, key: str) -> Result:
        return await self._one(Op(Verb.GET, key))

    async def set(self, key: str, value: str, ttl_ms: int = 0) -> Result:
        return await self._one(Op(Verb.SET, key, value, ttl_ms))

    async def set_if_absent(self, key: str, value: str, ttl_ms: int = 0) -> Result:
        return await self._one(Op(Verb.SET_IF_ABSENT, key, value, ttl_ms))

    async def acquire(self, key: str, value: str, ttl_ms: int = 0) -> Result:
        return await self._one(Op(Verb.ACQUIRE, key, value, ttl_ms))

    async def compare_and_set(self, key: str, value: str, revision: int, ttl_ms: int = 0) -> Result:
        return await self._one(Op(Verb.COMPARE_AND_SET, key, value, ttl_ms, revision))

    async def delete(self, key: str) -> Result:
        return await self._one(Op(Verb.DELETE, key))

    async def add(self, key: str, member: str, ttl_ms: int = 0) -> Result:
        return await self._one(Op(Verb.ADD, key, member, ttl_ms))

    async def remove(self, key: str, member: str) -> Result:
        return await self._one(Op(Verb.REMOVE, key, member))

    async def members(self, key: str) -> tuple[str, ...]:
        return (await self._one(Op(Verb.MEMBERS, key))).members

    async def push(self, *values: str) -> None:
        await self.apply([Op(Verb.PUSH, value=value) for value in values])

    async def ack(self, lease: str) -> Result:
        return await self._one(Op(Verb.ACK, lease))

    async def release(self, lease: str) -> Result:
        return await self._one(Op(Verb.RELEASE, lease))

    async def pop_batch(
        self,
        size: int = 1,
        lease_ms: int = LEASE_MS,
        max_attempts: int = ATTEMPTS,
        wait_seconds: float = 0.0,
    ) -> Lease | None:
        return await self.kv.pop_batch(self.name, size, lease_ms, max_attempts, wait_seconds)

    async def list(self, prefix: str = "", after: str = "", limit: int = MAX_LIST) -> Listing:
        return await self.kv.list(self.name, prefix, after, limit)

    async def depth(self) -> Depth:
        return await self.kv.depth(self.name)

    async def watch(self, prefix: str = "") -> Watch:
        return await self.kv.watch(self.name, prefix)


def qualify(tenant: str, namespace: str) -> str:
    """The fully qualified name of a namespace that somebody of `tenant` means.

    Raises Forbidden for another tenant's, InvalidParams for what is no name.
    """
    owner, colon, rest = namespace.partition(":")
    if not colon:
        owner, rest = tenant, namespace
    if owner != tenant:
        raise errors.Forbidden(
            f"The namespace {errors.shorten(namespace, 100)} belongs to another tenant than {tenant}.",
            hint=f"Name it without a tenant, or as {tenant}:{errors.shorten(rest, 100)}.",
        )
    name = f"{owner}:{rest}"
    if not rest or not rest.isprintable() or not _TENANT(owner) or len(name.encode()) > MAX_NAMESPACE_BYTES:
        raise _refused(
            f"{errors.shorten(namespace, 100)!r} is not a namespace", "/namespace", "must be `name` or `tenant:name`"
        )
    return name


def fault(op: Op) -> str:
    """What is beyond the bounds in one operation; empty when nothing is."""
    verb, key, value, ttl_ms, revision = op
    key_bytes, value_bytes = _bytes(key), _bytes(value)
    if verb not in _VERBS:
        return f"{errors.shorten(verb, 40)!r} is no operation"
    if not key and verb != Verb.PUSH:
        return "the key is empty"
    if key_bytes > MAX_KEY_BYTES:
        return f"the key has {key_bytes} bytes; at most {MAX_KEY_BYTES} are allowed"
    if value_bytes > MAX_VALUE_BYTES:
        return f"the value has {value_bytes} bytes; at most {MAX_VALUE_BYTES} are allowed"
    if value_bytes > MAX_KEY_BYTES and verb in (Verb.ADD, Verb.REMOVE):
        return f"the member has {value_bytes} bytes; at most {MAX_KEY_BYTES} are allowed"
    if not 0 <= ttl_ms <= MAX_TTL_MS:
        return f"a TTL of {ttl_ms} ms is not between 0 and {MAX_TTL_MS}"
    if not 0 <= revision < 2**63:
        return "that is not a revision"
    if key_bytes < 0 or value_bytes < 0:
        return "a key or value holds half a character (a lone surrogate)"
    return ""


def _bytes(text: str) -> int:
    """How long a text is in UTF-8; negative when it has no such form."""
    if text.isascii():
        return len(text)
    try:
        return len(text.encode())
    except UnicodeEncodeError:
        return -1


def check(ops: Sequence[Op]) -> None:
    """Refuse operations that are beyond the bounds. Raises InvalidParams with the first one's place."""
    if len(ops) > MAX_OPS:
        raise _refused(f"{len(ops)} operations are too many at once", "/ops", f"at most {MAX_OPS} are allowed")
    total = 0
    for number, op in enumerate(ops):
        if wrong := fault(op):
            raise _refused(f"The KV store cannot take this: {wrong}", f"/ops/{number}", wrong)
        total += len(op[1]) + len(op[2])
    if total > MAX_APPLY_CHARACTERS:
        limit = f"at most {MAX_APPLY_CHARACTERS} characters are allowed"
        raise _refused(f"{total} characters are too many at once", "/ops", limit)


def check_pop(size: int, lease_ms: int, max_attempts: int) -> None:
    """Refuse a pop that is beyond the bounds. Raises InvalidParams."""
    for name, value, most in (("size", size, MAX_POP), ("lease_ms", lease_ms, MAX_LEASE_MS)):
        if not 1 <= value <= most:
            raise _refused(f"{name} {value} is not between 1 and {most}", f"/{name}", f"must be between 1 and {most}")
    if not 1 <= max_attempts <= 1000:
        raise _refused(f"max_attempts {max_attempts} is not between 1 and 1000", "/max_attempts", "1 to 1000")


def pieces(ops: Sequence[Op]) -> list[Sequence[Op]]:
    """Operations cut into what one apply takes; none is cut that fits whole."""
    out: list[Sequence[Op]] = []
    start = size = 0
    for end, op in enumerate(ops):
        length = len(op.key) + len(op.value)
        if end > start and (end - start >= MAX_OPS or size + length > MAX_APPLY_CHARACTERS):
            out.append(ops[start:end])
            start, size = end, 0
        size += length
    if start < len(ops):
        out.append(ops[start:])
    return out


def _refused(message: str, pointer: str, problem: str) -> errors.InvalidParams:
    return errors.InvalidParams(f"{message}.", errors=[errors.Problem(pointer, problem)])
