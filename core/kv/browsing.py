"""What people see of a namespace: one key with its set, and the keys that a watch tells of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import orjson

from core import clock, errors
from core.kv.lookouts import Lookouts
from core.model.kv import MAX_LIST, Depth, Entry, Item, Namespace

if TYPE_CHECKING:
    from core.model.results import kv as results

SHOWN = 200  # characters of a value in a list


class Changes(NamedTuple):
    """What a watch has to tell: (key, its entry, or None when it is gone), and whether more changed than it tells."""

    watch: str
    keys: list[tuple[str, Entry | None]]
    lagged: bool


async def entry(space: Namespace, key: str) -> Entry | None:
    """The value of a key."""
    found = next(iter((await space.list(key, "", 1)).entries), None)
    return found if found is not None and found.key == key else None


async def changes(
    lookouts: Lookouts, space: Namespace, prefix: str, watch: str, wait_seconds: float, username: str
) -> Changes:
    """Begin a watch (an empty `watch`), which first tells what is there; or go on with one, waiting for a change.

    Raises RateLimited for too many watches, NotFound for one that has ended.
    """
    if not watch:
        id = await lookouts.begin(space.name, prefix, username)
        page = await space.list(prefix, "", MAX_LIST)
        return Changes(id, [(one.key, one) for one in page.entries], page.more)
    changed, lagged = await lookouts.next(watch, space.name, wait_seconds)
    keys = [(key, None if deleted else await entry(space, key)) for key, deleted in changed[:MAX_LIST]]
    return Changes(watch, keys, lagged or len(changed) > MAX_LIST)


def parsed(text: str) -> tuple[Any, str]:
    """The value that a text is, and in which format: json, or raw-string."""
    try:
        return orjson.loads(text), "json"
    except orjson.JSONDecodeError:
        return text, "raw-string"


def encoded(value: Any, format: str) -> str:
    """The text that is kept for a value. Raises InvalidParams for a raw string that is none."""
    if format == "json":
        return orjson.dumps(value).decode()
    if not isinstance(value, str):
        problem = errors.Problem("/value", "must be a text with format raw-string")
        raise errors.InvalidParams("A raw string must be a text.", errors=[problem])
    return value


def to_answer(entry: Entry) -> results.KvEntry:
    """An entry as a list shows it."""
    return {
        "key": entry.key,
        "value": entry.value[:SHOWN],
        "characters": len(entry.value),
        "revision": entry.revision,
        "expires_at": expiry(entry.expires_at_ms),
    }


def change(key: str, entry: Entry | None) -> results.KvChange:
    """What a watch tells of a key."""
    if entry is None:
        return {"key": key, "deleted": True}
    return {
        "key": key,
        "deleted": False,
        "value": entry.value[:SHOWN],
        "characters": len(entry.value),
        "revision": entry.revision,
        "expires_at": expiry(entry.expires_at_ms),
    }


def depth(name: str, depth: Depth) -> results.KvNamespace:
    """A namespace with its queue."""
    return {"namespace": name, "depth": depth.ready, "leased": depth.leased, "dead": depth.dead}


def dead(item: Item) -> results.KvDeadItem:
    """A dead item of a queue."""
    return {"value": item.value[:SHOWN], "characters": len(item.value), "attempts": item.attempt}


def expiry(ms: int | None) -> str | None:
    """When a key goes."""
    return None if ms is None else clock.iso(ms * 1_000_000)
