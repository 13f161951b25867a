"""The description of the HTTP API without a server: `python packaging/openapi.py FILE` writes what
GET /api/openapi.json answers. The types of the console are made from it."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

from core.model import principal
from core.operations import REGISTRY
from mcp_server.http import app, auth


class Described:
    """A session that is never called: the description needs what there is, not what it does."""

    operations = REGISTRY

    async def call(self, name: str, arguments: dict[str, Any], caller: principal.Caller) -> dict[str, Any]:
        raise NotImplementedError

    def subscribe(self, hear: Callable[[str, dict[str, Any]], None]) -> Callable[[], None]:
        return lambda: None

    def acting(self, caller: principal.Caller) -> principal.Caller:
        return caller

    async def aclose(self) -> None:
        """There is nothing to close."""


async def described() -> bytes:
    """What a server answers."""
    served = app.create(Described(), auth.NoAuth(principal.SYSTEM.principal))
    transport = httpx.ASGITransport(app=served)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
        answer = await client.get("/api/openapi.json")
    return answer.raise_for_status().content


if __name__ == "__main__":
    target = Path(sys.argv[1])
    target.parent.mkdir(exist_ok=True)
    target.write_bytes(asyncio.run(described()))
