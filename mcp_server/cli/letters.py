"""`sluice letters export`: dead letters with their events, one a line."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import orjson

from mcp_server.cli import connect

PAGE = 200


async def export(given: dict[str, Any], beside: Mapping[str, Any], common: connect.Common) -> int:
    """Print every letter that fits as a line of JSON, the oldest first."""
    wanted = {name: value for name, value in given.items() if name != "cursor"}
    async with connect.engine(common) as engine:
        async for page in engine.pages("dead_letter_export", **{"limit": PAGE, **wanted}):
            sys.stdout.writelines(orjson.dumps(item).decode() + "\n" for item in page["items"])
            sys.stdout.flush()
    return 0
