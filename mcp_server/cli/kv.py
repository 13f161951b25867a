"""`sluice kv watch` and `set`, and what `queue` prints."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from typing import Annotated, Any

import anyio
import orjson
from cyclopts import Parameter

from mcp_server.cli import connect, render

WATCH_SECONDS = 20


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
    raw: Annotated[bool, Parameter(negative=())] = False,
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
    render.one(result, as_json=common.json)
    return 0 if result["done"] else 1


def _json(text: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return text


def queue(found: dict[str, Any], given: Mapping[str, Any]) -> None:
    """Print how long a queue is, and its dead items."""
    render.text(f"{found['namespace']}: {found['depth']} waiting, {found['leased']} leased, {found['dead']} dead")
    render.section("Dead items", found["dead_items"], ("attempts", "value"))
