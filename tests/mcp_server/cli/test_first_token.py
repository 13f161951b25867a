"""The token of the operator that the first start of `sluice serve` makes, when several start at once."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import anyio
import pytest

from mcp_server.cli import connect, serve

pytestmark = pytest.mark.anyio


class Engine:
    """Answers when both servers could have asked, and counts the tokens that were made."""

    def __init__(self) -> None:
        self.asked = 0
        self.both = asyncio.Event()
        self.made = 0

    async def call(self, operation: str, arguments: dict[str, Any], caller: Any) -> dict[str, Any]:
        if operation == "token_list":
            self.asked += 1
            if self.asked == 2:
                self.both.set()
            with anyio.move_on_after(0.5):  # without a lock, the other one is here by then
                await self.both.wait()
            return {"items": []}
        self.made += 1
        return {"token": f"token-{self.made}"}


async def test_two_servers_that_start_at_once_make_one_token(tmp_path: Path) -> None:
    engine: Any = Engine()
    with anyio.fail_after(30):
        async with anyio.create_task_group() as both:
            for _ in range(2):
                both.start_soon(serve._first_token, engine, tmp_path, connect.local_caller())
    assert engine.made == 1
    assert (tmp_path / "admin.token").read_text() == "token-1\n"
    assert (tmp_path / "admin.token").stat().st_mode & 0o777 == 0o600
