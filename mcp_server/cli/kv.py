"""`sluice kv watch` and `set`, and what `queue` prints."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from typing import Any

import anyio
import orjson

from mcp_server.cli import connect, render

WATCH_SECONDS = 20


async def watch(given: dict[str, Any], beside: Mapping[str, Any], common: connect.Common) -> int:
    """Print the values of a namespace, and each key that changes, until interrupted or the time is over."""
    with anyio.move_on_after(beside.get("seconds", math.inf)):
        async with connect.engine(common) as engine:
            result = await engine.call("kv_watch", **given)
            while True:
                if result["lagged"]:
                    connect.note("note: some keys are left out; sluice kv list shows all")
                for item in result["items"]:
                    _tell(item, as_json=common.json)
                sys.stdout.flush()
                result = await engine.call(
                    "kv_watch", namespace=given["namespace"], watch=result["watch"], wait_seconds=WATCH_SECONDS
                )
    return 0


def _tell(item: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        sys.stdout.write(orjson.dumps(item).decode() + "\n")
        return
    render.text(f"{item['key']}  " + ("(deleted)" if item["deleted"] else f"{item['value']}  @{item['revision']}"))


def with_value(given: dict[str, Any], beside: Mapping[str, Any], common: connect.Common) -> dict[str, Any]:
    """A value is JSON where it reads as JSON, or a text as it is."""
    raw = {"format": "raw-string"} if beside.get("raw") else {"value": _json(given["value"])}
    return {**given, **raw}


def _json(text: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return text


def queue(found: dict[str, Any], typed: Mapping[str, Any]) -> None:
    """Print how long a queue is, and its dead items."""
    render.text(f"{found['namespace']}: {found['depth']} waiting, {found['leased']} leased, {found['dead']} dead")
    render.section("Dead items", found["dead_items"], ("attempts", "value"))
