"""What commands that follow what happens have in common: they go on with the next engine when one ends."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import anyio

from core import errors
from mcp_server.cli import connect

RETURN_SECONDS = 0.5  # between two looks whether the engine is back
GONE = (errors.Busy, errors.NoEngine, errors.StorageUnavailable)  # what an engine that ends, or begins, answers


async def ask(question: Callable[[], Awaitable[dict[str, Any]]]) -> dict[str, Any]:
    """The answer to a question that changes nothing; while no engine gives one, that is said once, and it is asked
    again and again, until the command ends. Raises what an engine refuses it with."""
    away = False
    while True:
        try:
            answer = await question()
        except GONE as error:
            if not away:
                connect.note(f"note: {error.message} This goes on when there is an engine again.")
            away = True
            await anyio.sleep(RETURN_SECONDS)
            continue
        if away:
            connect.note("note: there is an engine again")
        return answer
