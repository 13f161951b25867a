"""The KV store of the workers: what jobs keep in it, for people who look, mend and clear."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from core import errors
from core.engine import Engine
from core.kv import browsing
from core.model import kv, results
from core.model.kv import Namespace, Op, Verb
from core.model.operation import Effect, Loss, Params
from core.model.principal import Caller, Role
from core.operations.losses import counted
from core.operations.registry import MAX_PAGE, PAGE, operation, rows_page
from core.store import audit, kv_usage
from core.store import kv as table
from core.store.audit import AuditRow


class InNamespace(Params):
    namespace: str = Field(min_length=1, max_length=kv.MAX_NAMESPACE_BYTES)
    """The namespace: `name`, or `tenant:name` as jobs may write it."""


class InPages(Params):
    cursor: str | None = Field(default=None, max_length=2 * kv.MAX_KEY_BYTES)
    """`next_cursor` of the page before."""
    limit: int = Field(default=PAGE, ge=1, le=MAX_PAGE)
    """Rows a page."""


LISTED = ("items", "next_cursor")


class KvNamespaces(InPages):
    pass


@operation(
    summary="List the KV namespaces that hold anything.",
    http="GET /api/kv",
    toolset="kv",
    outline=LISTED,
    role=Role.VIEWER,
)
async def kv_namespaces(engine: Engine, caller: Caller, params: KvNamespaces) -> results.kv.KvNamespaces:
    """List the KV namespaces of this tenant that hold values, sets or queue items, each with its queue.

    `used_bytes` of `most_bytes`: what all of them keep, and may keep.
    """
    names = await engine.database.read(table.namespaces, caller.tenant, params.cursor or "", params.limit + 1)
    deep = [browsing.depth(name, await engine.kv.depth(name)) for name in names[: params.limit]]
    more = len(names) > params.limit
    return {
        **rows_page(deep, params.limit, lambda row: row, lambda row: row["namespace"], more=more),
        "used_bytes": await engine.database.read(kv_usage.used, caller.tenant),
        "most_bytes": engine.kv.tenant_bytes,
    }


class KvList(InNamespace, InPages):
    prefix: str = Field(default="", max_length=kv.MAX_KEY_BYTES)
    """Only keys that begin with this."""


@operation(
    summary="List keys and values of a KV namespace.",
    http="GET /api/kv/keys",
    toolset="kv",
    outline=LISTED,
    role=Role.VIEWER,
)
async def kv_list(engine: Engine, caller: Caller, params: KvList) -> results.Page[results.kv.KvEntry]:
    """List the values of a namespace by key: key, the beginning of the value, size, revision, expires_at.

    Sets are not listed; kv_get shows the one of a key.
    """
    space = _space(engine, caller, params.namespace)
    page = await space.list(params.prefix, params.cursor or "", params.limit)

    return rows_page(page.entries, params.limit, browsing.to_answer, lambda entry: entry.key, more=page.more)


class InKey(InNamespace):
    key: str = Field(min_length=1, max_length=kv.MAX_KEY_BYTES)
    """The key."""


@operation(summary="Show the value, and the set, of a key.", http="GET /api/kv/value", toolset="kv", role=Role.VIEWER)
async def kv_get(engine: Engine, caller: Caller, params: InKey) -> results.kv.KvValue:
    """Show one key: value (text that is no JSON as text), revision, expires_at, and the members of its set."""
    space = _space(engine, caller, params.namespace)
    found = await browsing.entry(space, params.key)
    members = await space.members(params.key)
    if found is None and not members:
        raise errors.NotFound(
            f"There is no key {errors.shorten(params.key, 100)} in {space.name}.", hint="kv_list shows the keys."
        )
    answer: results.kv.KvValue = {"namespace": space.name, "key": params.key, "members": list(members)}
    if found is not None:
        answer["value"], answer["format"] = browsing.parsed(found.value)
        answer["revision"] = found.revision
        answer["expires_at"] = browsing.expiry(found.expires_at_ms)
    return answer


class KvSet(InKey):
    value: Any
    """The value: any JSON."""
    format: Literal["json", "raw-string"] = "json"
    """`raw-string` keeps a text as it is, for jobs that read it with value-format raw-string."""
    ttl_ms: int | None = Field(default=None, ge=1, le=kv.MAX_TTL_MS)
    """Forget it after so many milliseconds."""
    if_revision: int | None = Field(default=None, ge=0, le=2**63 - 1)
    """Only when the key is at this revision; 0: only when it is absent."""


@operation(
    summary="Set the value of a key.",
    http="POST /api/kv/set",
    toolset="kv",
    effect=Effect.WRITE,
    offline=True,
    role=Role.ADMIN,
    idempotent=True,
)
async def kv_set(engine: Engine, caller: Caller, params: KvSet) -> results.kv.KvSet:
    """Set a value, with if_revision only when nobody has changed it: done tells whether, revision what is there."""
    space = _space(engine, caller, params.namespace)
    text = browsing.encoded(params.value, params.format)
    verb = Verb.SET if params.if_revision is None else Verb.COMPARE_AND_SET
    op = Op(verb, params.key, text, params.ttl_ms or 0, params.if_revision or 0)
    (result,) = await engine.kv.apply(space.name, [op], _note(engine, caller, "kv_set", space, params.key))
    return {"namespace": space.name, "key": params.key, "done": result.done, "revision": result.revision}


async def _key_goes(engine: Engine, caller: Caller, params: InKey) -> Loss | None:
    space = _space(engine, caller, params.namespace)
    found = await browsing.entry(space, params.key)
    members = await space.members(params.key)
    gone = [f"its value ({len(found.value)} characters)"] if found is not None else []
    gone += [f"its set of {counted('member', members)}"] if members else []
    where = f"key {errors.shorten(params.key, 100)} of {space.name}"
    return Loss(f"Of {where} goes: {'; '.join(gone)}.") if gone else None


@operation(
    summary="Delete a key: its value and its set.",
    http="POST /api/kv/delete",
    toolset="kv",
    effect=Effect.DESTRUCTIVE,
    destroys=_key_goes,
    offline=True,
    role=Role.ADMIN,
    idempotent=True,
)
async def kv_delete(engine: Engine, caller: Caller, params: InKey) -> results.kv.KvDeleted:
    """Delete the value and the set of a key; done tells whether there was anything."""
    space = _space(engine, caller, params.namespace)
    op = Op(Verb.DELETE, params.key)
    (result,) = await engine.kv.apply(space.name, [op], _note(engine, caller, "kv_delete", space, params.key))
    return {"namespace": space.name, "key": params.key, "done": result.done}


class KvWatch(InNamespace):
    prefix: str = Field(default="", max_length=kv.MAX_KEY_BYTES)
    """Only keys that begin with this; it counts when a watch begins."""
    watch: str = Field(default="", max_length=64)
    """`watch` of the answer before; left out: begin, and tell what is there now."""
    wait_seconds: int = Field(default=0, ge=0, le=60)
    """Wait this long for a change when there is none."""


@operation(
    summary="Follow the keys of a KV namespace.",
    http="GET /api/kv/watch",
    toolset="kv",
    offline=False,
    role=Role.VIEWER,
)
async def kv_watch(engine: Engine, caller: Caller, params: KvWatch) -> results.kv.KvChanges:
    """Follow values as they change: first those that are there (the first 1,000), then each key that changed since
    the answer before, in its last state. Pass `watch` back within two minutes. `lagged`: some are left out; kv_list."""
    space = _space(engine, caller, params.namespace)
    found = await browsing.changes(
        engine.lookouts, space, params.prefix, params.watch, params.wait_seconds, caller.username
    )
    return {
        "watch": found.watch,
        "items": [browsing.change(key, entry) for key, entry in found.keys],
        "lagged": found.lagged,
    }


class KvQueue(InNamespace):
    dead_items: int = Field(default=10, ge=0, le=MAX_PAGE)
    """How many dead items to show."""


@operation(summary="Show the work queue of a namespace.", http="GET /api/kv/queue", toolset="kv", role=Role.VIEWER)
async def kv_queue(engine: Engine, caller: Caller, params: KvQueue) -> results.kv.KvQueue:
    """Show a queue: depth (items that wait), leased, dead, and the oldest dead items with their attempts."""
    space = _space(engine, caller, params.namespace)
    items = await engine.database.read(table.dead_items, space.name, params.dead_items)
    return {
        **browsing.depth(space.name, await engine.kv.depth(space.name)),
        "dead_items": list(map(browsing.dead, items)),
    }


class KvDeadItems(InNamespace):
    action: Literal["requeue", "discard"]
    """requeue: hand them out again, as if for the first time. discard: delete them."""
    limit: int = Field(default=1000, ge=1, le=10_000)
    """At most so many, the oldest first."""


async def _dead_items_go(engine: Engine, caller: Caller, params: KvDeadItems) -> Loss | None:
    space = _space(engine, caller, params.namespace)
    items = await engine.database.read(table.dead_items, space.name, params.limit)
    text = f"Of the queue of {space.name} go, the oldest first, {counted('dead item', (item.value for item in items))}."
    return Loss(text, {"limit": len(items)}, where="kv_queue") if items else None


@operation(
    summary="Requeue or discard the dead items of a queue.",
    http="POST /api/kv/dead-items",
    toolset="kv",
    effect=Effect.DESTRUCTIVE,
    destroys=_dead_items_go,
    effect_by=lambda params: Effect.DESTRUCTIVE if params.action == "discard" else Effect.WRITE,
    offline=True,
    role=Role.ADMIN,
)
async def kv_dead_items(engine: Engine, caller: Caller, params: KvDeadItems) -> results.kv.KvDeadEnded:
    """Requeue or discard items that were handed out too often without an acknowledgement."""
    space = _space(engine, caller, params.namespace)
    note = _note(engine, caller, "kv_dead_items", space, params.action)
    count = await engine.kv.end_dead(space.name, params.limit, params.action == "requeue", note)
    return {"namespace": space.name, "action": params.action, "items": count}


def _space(engine: Engine, caller: Caller, name: str) -> Namespace:
    return Namespace(engine.kv, kv.qualify(caller.tenant, name))


def _note(engine: Engine, caller: Caller, operation: str, space: Namespace, what: str) -> AuditRow:
    return audit.row(engine.ids.next(), caller, operation, f"{space.name} {errors.shorten(what, 100)}")
