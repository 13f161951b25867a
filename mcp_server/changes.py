"""Tells connected clients that the list of tools, or an invocation, has changed; in both protocol eras.

Clients of 2026-07-28 open `subscriptions/listen` and are served from a bus; clients of earlier protocols get a bare
notification on each live session. Tenants are kept apart: nobody hears of changes that are not theirs.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Any

import anyio
import mcp_types as types
from mcp.server import ServerRequestContext
from mcp.server.session import ServerSession
from mcp.server.subscriptions import (
    InMemorySubscriptionBus,
    ListenHandler,
    ResourceUpdated,
    ServerEvent,
    ToolsListChanged,
)

from mcp_server import resources

MAX_SUBSCRIPTIONS = 1024
SEND_SECONDS = 5.0
"""How long one slow client may take to accept a notification."""


class Audience:
    """The connected clients of one tenant."""

    def __init__(self) -> None:
        self.bus = InMemorySubscriptionBus()
        self.listen = ListenHandler(self.bus, max_subscriptions=MAX_SUBSCRIPTIONS)
        self.watched: Counter[str] = Counter()  # resource URIs that an open stream asked for
        self.sessions: dict[object, ServerSession] = {}
        self.pending: set[ServerEvent] = set()


class Changes:
    """Turns notices of the engine into notifications."""

    def __init__(self) -> None:
        self._audiences: dict[str, Audience] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def audience(self, tenant: str) -> Audience:
        return self._audiences.setdefault(tenant, Audience())

    async def serve_listen(
        self, ctx: ServerRequestContext[Any, Any], params: types.SubscriptionsListenRequestParams, tenant: str
    ) -> types.SubscriptionsListenResult:
        """Serve one `subscriptions/listen` stream until the client leaves."""
        audience = self.audience(tenant)
        uris = params.notifications.resource_subscriptions or []
        audience.watched.update(uris)
        try:
            return await audience.listen(ctx, params)
        finally:
            audience.watched.subtract(uris)
            audience.watched += Counter()  # drops the ones nobody watches any more

    def remember(self, session: ServerSession, tenant: str) -> None:
        """Notify this session of an earlier protocol from now on, until its connection closes."""
        sessions = self.audience(tenant).sessions
        key = object()
        sessions[key] = session
        when_closed(session, lambda: sessions.pop(key, None))

    def noticed(self, topic: str, data: dict[str, Any]) -> None:
        """Take a notice of the engine. Runs on the event loop and does not block.

        Notices that arrive before the clients were told are merged into one.
        """
        tenant = data.get("tenant")
        audiences = [a for name, a in self._audiences.items() if tenant in (None, name)]
        event: ServerEvent
        if topic == "registry":
            event = ToolsListChanged()
        elif topic == "invocation":
            uri = resources.invocation_uri(str(data.get("invocation_id")))
            audiences = [audience for audience in audiences if uri in audience.watched]
            event = ResourceUpdated(uri=uri)
        else:
            return
        for audience in audiences:
            audience.pending.add(event)
            if len(audience.pending) == 1:
                task = asyncio.get_running_loop().create_task(self._tell(audience))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

    async def _tell(self, audience: Audience) -> None:
        events, audience.pending = audience.pending, set()
        for event in events:
            await audience.bus.publish(event)
        if ToolsListChanged() in events:
            async with anyio.create_task_group() as group:
                for session in list(audience.sessions.values()):
                    group.start_soon(_send_list_changed, session)

    def close(self) -> None:
        """End every open listen stream in good order."""
        for audience in self._audiences.values():
            audience.listen.close()


async def _send_list_changed(session: ServerSession) -> None:
    # A connection that broke has been or will be forgotten by `when_closed`; there is nobody to tell.
    try:
        with anyio.move_on_after(SEND_SECONDS):
            await session.send_tool_list_changed()
    except (anyio.BrokenResourceError, anyio.ClosedResourceError):
        return


def when_closed(session: ServerSession, callback: Callable[[], object]) -> None:
    """Have `callback` called when the connection of a session closes.

    The only use of private API: the SDK has no public way to learn of the end of a session.
    """
    session._connection.exit_stack.callback(callback)
