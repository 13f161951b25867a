"""`sluice kv`: what jobs keep in the KV store."""

from __future__ import annotations

import math
import sys
from typing import Annotated, Any, Literal

import anyio
import orjson
from cyclopts import Parameter

from mcp_server.cli import connect, render

Flag = Annotated[bool, Parameter(negative=())]
WATCH_SECONDS = 20


async def namespaces(
    *, limit: int | None = None, cursor: str | None = None, common: connect.Common = connect.DEFAULTS
) -> int:
    """List the namespaces that hold anything.

    Parameters
    ----------
    limit
        How many rows.
    cursor
        Where the last page ended.
    """
    async with connect.engine(common) as engine:
        result = await engine.call("kv_namespaces", limit=limit, cursor=cursor)
    columns = ("namespace", "depth", "leased", "dead")
    return render.page(result, columns, empty="No job keeps anything.", as_json=common.json)


async def list_keys(
    namespace: str,
    /,
    *,
    prefix: str | None = None,
    limit: int | None = None,
    cursor: str | None = None,
    common: connect.Common = connect.DEFAULTS,
) -> int:
    """List the values of a namespace by key.

    Parameters
    ----------
    namespace
        The namespace.
    prefix
        Only keys that begin with this.
    limit
        How many rows.
    cursor
        Where the last page ended.
    """
    async with connect.engine(common) as engine:
        result = await engine.call("kv_list", namespace=namespace, prefix=prefix, limit=limit, cursor=cursor)
    return render.page(
        result, ("key", "value", "revision", "expires_at"), empty="There are no values.", as_json=common.json
    )


async def get(namespace: str, key: str, /, *, common: connect.Common = connect.DEFAULTS) -> int:
    """Show the value, and the set, of a key.

    Parameters
    ----------
    namespace
        The namespace.
    key
        The key.
    """
    async with connect.engine(common) as engine:
        result = await engine.call("kv_get", namespace=namespace, key=key)
    return render.one(result, as_json=common.json)


async def watch(
    namespace: str,
    /,
    *,
    prefix: str | None = None,
    seconds: int | None = None,
    common: connect.Common = connect.DEFAULTS,
) -> int:
    """Show the values of a namespace, and each key that changes, until interrupted.

    Parameters
    ----------
    namespace
        The namespace.
    prefix
        Only keys that begin with this.
    seconds
        Stop after this time.
    """
    with anyio.move_on_after(math.inf if seconds is None else seconds):
        async with connect.engine(common) as engine:
            result = await engine.call("kv_watch", namespace=namespace, prefix=prefix)
            while True:
                if result["lagged"]:
                    connect.note("note: some keys are left out; sluice kv list shows all")
                for item in result["items"]:
                    _tell(item, as_json=common.json)
                sys.stdout.flush()
                result = await engine.call(
                    "kv_watch", namespace=namespace, watch=result["watch"], wait_seconds=WATCH_SECONDS
                )
    return 0


def _tell(item: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        sys.stdout.write(orjson.dumps(item).decode() + "\n")
        return
    render.text(f"{item['key']}  " + ("(deleted)" if item["deleted"] else f"{item['value']}  @{item['revision']}"))


async def set_value(
    namespace: str,
    key: str,
    value: Annotated[str, Parameter(allow_leading_hyphen=True)],
    /,
    *,
    raw: Flag = False,
    ttl_ms: int | None = None,
    if_revision: int | None = None,
    common: connect.Common = connect.DEFAULTS,
) -> int:
    """Set the value of a key; exits 1 when --if-revision kept it from being done.

    Parameters
    ----------
    namespace
        The namespace.
    key
        The key.
    value
        JSON; what is no JSON is a text.
    raw
        Keep the text as it is.
    ttl_ms
        Forget it after so many milliseconds.
    if_revision
        Only at this revision; 0 for a key that is absent.
    """
    meant: dict[str, Any] = {"value": value, "format": "raw-string"} if raw else {"value": _json(value)}
    async with connect.engine(common) as engine:
        result = await engine.call(
            "kv_set", namespace=namespace, key=key, **meant, ttl_ms=ttl_ms, if_revision=if_revision
        )
    render.json(result) if common.json else render.facts(result, tuple(result))
    return 0 if result["done"] else 1


def _json(text: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return text


async def delete(namespace: str, key: str, /, *, common: connect.Common = connect.DEFAULTS) -> int:
    """Delete a key: its value and its set.

    Parameters
    ----------
    namespace
        The namespace.
    key
        The key.
    """
    async with connect.engine(common) as engine:
        result = await engine.call("kv_delete", namespace=namespace, key=key)
    return render.one(result, as_json=common.json)


async def queue(namespace: str, /, *, dead_items: int | None = None, common: connect.Common = connect.DEFAULTS) -> int:
    """Show the work queue of a namespace.

    Parameters
    ----------
    namespace
        The namespace.
    dead_items
        How many dead items to show.
    """
    async with connect.engine(common) as engine:
        result = await engine.call("kv_queue", namespace=namespace, dead_items=dead_items)
    if common.json:
        render.json(result)
        return 0
    render.text(f"{result['namespace']}: {result['depth']} waiting, {result['leased']} leased, {result['dead']} dead")
    if result["dead_items"]:
        render.heading("Dead items")
        render.rows(result["dead_items"], ("attempts", "value"), empty="")
    return 0


async def dead_items(
    namespace: str,
    action: Literal["requeue", "discard"],
    /,
    *,
    limit: int | None = None,
    common: connect.Common = connect.DEFAULTS,
) -> int:
    """Requeue or discard the dead items of a queue.

    Parameters
    ----------
    namespace
        The namespace.
    action
        Hand them out again, or delete them.
    limit
        At most so many.
    """
    async with connect.engine(common) as engine:
        result = await engine.call("kv_dead_items", namespace=namespace, action=action, limit=limit)
    return render.one(result, as_json=common.json)
