"""How far a call is, told to a client that asked for it: counts where the engine announces them, and signs of life.

The engine announces `("progress", {tenant, id, done, total, text})`, where `id` is what the call was given: a plan,
a deployment. So whoever waits for the same thing hears the same, in whichever process it waits.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import anyio

from core.model.principal import Caller
from mcp_server.beside import beside
from mcp_server.session import Hears

Report = Callable[[float, float | None, str], Awaitable[None]]
"""Sends (progress, total, message) to the client."""

STEP = 0.001  # what a sign of life without news adds, for a progress has to grow


class Progress:
    """Who waits for what. Use from one event loop."""

    def __init__(self, hears: Hears) -> None:
        self._hears = hears
        self._waiting: dict[str, list[Callable[[dict[str, Any]], None]]] = {}

    def noticed(self, kind: str, data: dict[str, Any]) -> None:
        """A notice of the engine."""
        if kind == "progress":
            for hear in tuple(self._waiting.get(str(data.get("id")), ())):
                hear(data)

    @asynccontextmanager
    async def reported(
        self, report: Report, name: str, arguments: Mapping[str, Any], caller: Caller, seconds: float
    ) -> AsyncIterator[None]:
        """While the body runs, pass on what is announced about the things that the arguments name; and without news,
        every few seconds, that it still runs."""
        news = anyio.Event()
        last: dict[str, Any] = {}

        def hear(data: dict[str, Any]) -> None:
            if self._hears(caller, "progress", data):
                last.update(data)
                news.set()

        async def tell() -> None:
            nonlocal news
            shown = waited = 0.0
            while True:
                with anyio.move_on_after(seconds) as quiet:
                    await news.wait()
                news = anyio.Event()
                if quiet.cancelled_caught:
                    waited += seconds
                if not last:
                    shown = waited
                    await report(shown, None, f"{name} is running, {waited:g} s so far")
                    continue
                shown = max(shown + STEP, float(last["done"]))
                await report(shown, max(float(last["total"]), shown), str(last["text"]))

        ids = {value for value in arguments.values() if isinstance(value, str)}
        for id in ids:
            self._waiting.setdefault(id, []).append(hear)
        try:
            async with beside(tell()):
                yield
        finally:
            for id in ids:
                self._waiting[id].remove(hear)
                if not self._waiting[id]:
                    del self._waiting[id]
