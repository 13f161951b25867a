"""What people see of a namespace: one key with its set, and the keys that a watch tells of."""

from __future__ import annotations

from typing import Any, NamedTuple

import orjson

from core import errors
from core.kv.lookouts import Lookouts
from core.model.kv import MAX_LIST, Entry, Namespace


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
