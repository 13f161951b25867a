"""The processes that are attached to an engine over its socket: what they may call, and what they hear."""

from __future__ import annotations

import asyncio
import importlib.metadata
import os
from collections.abc import Awaitable, Callable
from typing import Any

import orjson

from core import accepting, channel, errors
from core.model.principal import Caller
from core.readiness import Readiness

Notice = Callable[[str, dict[str, Any]], None]


class Attached:
    """Processes of the same user: the socket is 0600 in a 0700 directory.

    `call` does an operation (name, arguments, caller), `subscribe` has notices told until what it returns is called,
    `trouble` says what keeps the engine from its work, `readiness` whether it can take any now, `copy` copies the store
    for a backup, and `around` says what that has to know of the engine's settings before.
    """

    def __init__(
        self,
        call: Callable[[str, dict[str, Any], Caller], Awaitable[dict[str, Any]]],
        subscribe: Callable[[Notice], Callable[[], None]],
        trouble: Callable[[], str],
        copy: Callable[[], Awaitable[dict[str, Any]]],
        around: Callable[[], dict[str, Any]],
        readiness: Callable[[], Readiness] = Readiness,
    ) -> None:
        self._call = call
        self._subscribe = subscribe
        self._trouble = trouble
        self._copy = copy
        self._around = around
        self._readiness = readiness
        self._links: set[channel.Channel] = set()

    def join(self, guest: accepting.Guest) -> channel.Channel:
        """Our end of the channel to one that comes; who never says anything has to make room for others."""

        def opened(link: channel.Channel) -> None:
            self._links.add(link)
            guest.leave = lambda _: link.abort()

        def closed(link: channel.Channel) -> None:
            self._links.discard(link)
            guest.gone()

        return channel.Channel(on_call=self._answer, on_open=opened, on_close=closed, on_tick=lambda _: guest.works())

    def abort(self) -> None:
        """End all of them."""
        for link in tuple(self._links):
            link.abort()

    async def _answer(self, link: channel.Channel, name: str, args: Any) -> Any:
        match name:
            case "call":
                return await self._call(args["operation"], args["arguments"], Caller.from_dict(args["caller"]))
            case "subscribe":
                kinds = frozenset(args["kinds"])
                forget = self._subscribe(lambda kind, data: _forward(link, kinds, kind, data))
                asyncio.get_running_loop().create_task(_until_closed(link, forget))
                return {}
            case "about":
                version = importlib.metadata.version("sluice-mcp")
                can = self._readiness().to_dict()
                return {"version": version, "pid": os.getpid(), "trouble": self._trouble(), "readiness": can}
            case "copy":
                return await self._copy()
            case "around":
                return self._around()
        raise errors.NotFound(f"There is no call {errors.shorten(name, 60)}.")


def _forward(link: channel.Channel, kinds: frozenset[str], kind: str, data: dict[str, Any]) -> None:
    if kind in kinds:
        if "event" in data:
            data = {**data, "event": orjson.Fragment(data["event"])}
        link.notice(kind, data)


async def _until_closed(link: channel.Channel, forget: Callable[[], None]) -> None:
    await link.closed.wait()
    forget()
