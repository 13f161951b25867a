"""Tells connected clients that the list of tools, or a resource, has changed; in both protocol eras.

Clients of 2026-07-28 open `subscriptions/listen` and are served from a bus; clients of earlier protocols get a bare
notification on each live session. Callers are kept apart: nobody hears of what he could not ask for.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import anyio
import mcp_types as types
from mcp import MCPError
from mcp.server import ServerRequestContext
from mcp.server.connection import Connection
from mcp.server.session import ServerSession
from mcp.server.subscriptions import (
    InMemorySubscriptionBus,
    ListenHandler,
    ResourceUpdated,
    ServerEvent,
    ToolsListChanged,
)

from core.model.principal import Caller
from mcp_server import resources
from mcp_server.session import Hears

MAX_SUBSCRIPTIONS = 1024
"""How many resources one listen stream, or one earlier session, may follow."""
SETTLE_SECONDS = 0.05
"""How long a change of the list waits for the next one: ten triggers published at once, or an owner that comes and
goes in a take-over, are one notification."""
SEND_SECONDS = 5.0
"""How long one slow client may take to accept a notification."""


@dataclass
class Client:
    """A session of an earlier protocol and the resources that it follows."""

    session: ServerSession
    uris: set[str] = field(default_factory=set)


class Audience:
    """The connected clients of one caller."""

    def __init__(self, caller: Caller) -> None:
        self.caller = caller
        self.bus = InMemorySubscriptionBus()
        self.listen = ListenHandler(self.bus)
        self.clients: dict[Connection, Client] = {}
        self.watched: Counter[str] = Counter()  # resources that any stream or session follows
        self.pending: set[ServerEvent] = set()

    def watch(self, *uris: str) -> None:
        self.watched.update(uris)

    def unwatch(self, *uris: str) -> None:
        self.watched.subtract(uris)
        self.watched += Counter()  # drops what nobody follows any more


class Changes:
    """Turns notices of the engine into notifications; `hears` says which of them are for a caller."""

    def __init__(self, hears: Hears) -> None:
        self._hears = hears
        self._audiences: dict[Caller, Audience] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def audience(self, caller: Caller) -> Audience:
        audience = self._audiences.get(caller)
        if audience is None:
            audience = self._audiences[caller] = Audience(caller)
        return audience

    async def serve_listen(
        self, ctx: ServerRequestContext[Any, Any], params: types.SubscriptionsListenRequestParams, caller: Caller
    ) -> types.SubscriptionsListenResult:
        """Serve one `subscriptions/listen` stream until the client leaves."""
        audience = self.audience(caller)
        uris = params.notifications.resource_subscriptions or []
        if len(uris) > MAX_SUBSCRIPTIONS:
            raise MCPError(types.INVALID_PARAMS, f"A stream can follow {MAX_SUBSCRIPTIONS} resources.")
        audience.watch(*uris)
        try:
            return await audience.listen(ctx, params)
        finally:
            audience.unwatch(*uris)

    def remember(self, session: ServerSession, caller: Caller) -> Client:
        """Notify this session of an earlier protocol from now on, until its connection closes."""
        audience = self.audience(caller)
        connection = connection_of(session)
        if connection not in audience.clients:
            client = audience.clients[connection] = Client(session)

            def forget() -> None:
                audience.clients.pop(connection, None)
                audience.unwatch(*client.uris)

            connection.exit_stack.callback(forget)
        return audience.clients[connection]

    def follow(self, session: ServerSession, caller: Caller, uri: str) -> None:
        """Tell this session of an earlier protocol when the resource changes."""
        client = self.remember(session, caller)
        if len(client.uris) >= MAX_SUBSCRIPTIONS:
            raise MCPError(types.INVALID_REQUEST, f"A session can follow {MAX_SUBSCRIPTIONS} resources.")
        if uri not in client.uris:
            client.uris.add(uri)
            self.audience(caller).watch(uri)

    def unfollow(self, session: ServerSession, caller: Caller, uri: str) -> None:
        """Stop `follow`."""
        client = self.remember(session, caller)
        if uri in client.uris:
            client.uris.remove(uri)
            self.audience(caller).unwatch(uri)

    def noticed(self, topic: str, data: dict[str, Any]) -> None:
        """Take a notice of the engine. Runs on the event loop and does not block.

        Notices that arrive before the clients were told are merged into one.
        """
        audiences = [a for a in self._audiences.values() if self._hears(a.caller, topic, data)]
        uris = resources.changed(topic, data)
        for audience in audiences:
            events: set[ServerEvent] = {ResourceUpdated(uri=uri) for uri in uris if uri in audience.watched}
            if topic == "registry":
                events.add(ToolsListChanged())
            idle = not audience.pending
            audience.pending |= events
            if idle and events:
                task = asyncio.get_running_loop().create_task(_tell(audience))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)


async def _tell(audience: Audience) -> None:
    if ToolsListChanged() in audience.pending:
        await anyio.sleep(SETTLE_SECONDS)
    events, audience.pending = audience.pending, set()
    for event in events:
        await audience.bus.publish(event)
    async with anyio.create_task_group() as group:
        for client in list(audience.clients.values()):
            group.start_soon(_tell_client, client, events)


async def _tell_client(client: Client, events: set[ServerEvent]) -> None:
    # A connection that broke has been or will be forgotten when it closes; there is nobody to tell.
    try:
        with anyio.move_on_after(SEND_SECONDS):
            for event in events:
                match event:
                    case ToolsListChanged():
                        await client.session.send_tool_list_changed()
                    case ResourceUpdated(uri=uri) if uri in client.uris:
                        await client.session.send_resource_updated(uri)
    except (anyio.BrokenResourceError, anyio.ClosedResourceError):
        return


def connection_of(session: ServerSession) -> Connection:
    """The connection behind a session, which lives as long as the client is there.

    The only use of private API: the SDK hands out one session object for each request, and has no public way to tell
    two requests of one connection from those of two, or to learn that a connection closed.
    """
    return session._connection
