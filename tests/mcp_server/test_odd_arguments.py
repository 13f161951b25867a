"""Every tool of the real engine with arguments that nobody should send: a clear error, never a fault of ours."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anyio
import pytest

from core import errors
from core.settings import Settings
from mcp_server import attach, results
from mcp_server.door import Door, Origin
from mcp_server.session import EngineSession
from tests.mcp_server import fake

pytestmark = pytest.mark.anyio

ODD: list[Any] = [
    *(None, True, 0, -1, 2**63, 10**30, 1.5, float("nan")),
    *("", "x", "\x00", "\ud800", "x" * 200_000, "../../etc/passwd", "a'; drop table x; --", "${a}", "{{x}}", "💥" * 50),
    *([], {}, [[]], {"a": {"b": [1]}}),
]


async def test_odd_arguments_are_told_and_never_an_internal_error(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    async with attach.open_session(Settings(home=home, workers=0)) as session:

        async def open_session() -> EngineSession:
            return session

        door = Door(open_session, fake.options(allow_write=True, toolsets=("all",)), "memory")
        origin = Origin(door.effective(fake.CALLER))
        for tool in (await door.listing(origin.caller)).tools:
            schema = tool["inputSchema"]
            required = dict.fromkeys(schema.get("required", []), "x")
            cases = [{**required, name: odd} for name in schema.get("properties", {}) for odd in ODD]
            for arguments in [{}, *({"unknown": odd} for odd in ODD), *cases]:
                with anyio.fail_after(5):
                    try:
                        answer = await door.call(await door.resolve(tool["name"], arguments, origin.caller), origin)
                    except errors.InvalidParams as error:
                        answer = results.failure(error)
                if answer["isError"]:
                    error = answer["structuredContent"]["error"]
                    assert error["code"] != "internal", (tool["name"], str(arguments)[:200])
                    assert error["message"] and len(str(error)) < 16_000
