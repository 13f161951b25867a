"""Tells a client on its `subscriptions/listen` stream when tasks that it named change: `notifications/tasks`.

The SDK serves the stream and the notifications of the core protocol. This adds the `taskIds` of the tasks extension:
to the acknowledgement those that are tasks of this caller, and after it each of them, as `tasks/get` would answer,
whenever the engine says that it changed, and once at the start if it is over already.
"""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any, Literal

import anyio
import mcp_types as types
from mcp import MCPError
from mcp.server.session import ServerSession
from mcp.server.subscriptions import SUBSCRIPTION_ID_META_KEY

from core.model.principal import Caller
from mcp_server import tasks
from mcp_server.beside import beside
from mcp_server.session import Hears

MAX_TASKS = 256
"""How many tasks one stream may name."""


@dataclasses.dataclass(eq=False)
class Stream:
    """One listen stream and the tasks that it follows."""

    caller: Caller
    ids: frozenset[str]
    changed: set[str] = dataclasses.field(default_factory=set)
    news: anyio.Event = dataclasses.field(default_factory=anyio.Event)

    def note(self, ids: Iterable[str]) -> None:
        """Tell the client of these, if it follows them."""
        self.changed |= self.ids.intersection(ids)
        if self.changed:
            self.news.set()


class TaskUpdates:
    """The streams that follow tasks. Use from one event loop."""

    def __init__(self, methods: tasks.Methods, hears: Hears) -> None:
        self._methods = methods
        self._hears = hears
        self._streams: set[Stream] = set()

    def noticed(self, topic: str, data: dict[str, Any]) -> None:
        """Take a notice of the engine. Runs on the event loop and does not block."""
        for stream in self._streams:
            if topic == "invocation" and self._hears(stream.caller, topic, data):
                stream.note([str(data.get("invocation_id"))])
            elif not data.get("tenant"):  # another owner: nobody knows what was missed
                stream.note(stream.ids)

    @asynccontextmanager
    async def followed(self, ctx: Any, task_ids: object, caller: Caller) -> AsyncIterator[Any]:
        """While the body serves the stream with the context that this yields, send what happens to the tasks.

        Raises MCPError for a client that does not declare the extension, and for task ids that are no list of texts;
        what the engine refuses goes on as it is.
        """
        if not tasks.declared(ctx):
            raise tasks.undeclared("taskIds")
        if not isinstance(task_ids, list) or not all(isinstance(id, str) for id in task_ids):
            raise MCPError(types.INVALID_PARAMS, "taskIds has to be a list of task ids.")
        if len(task_ids) > MAX_TASKS:
            raise MCPError(types.INVALID_PARAMS, f"A stream can follow {MAX_TASKS} tasks.")
        known = {id: task for id in task_ids if (task := await self._methods.find(id, caller)) is not None}
        stream = Stream(caller, frozenset(known))
        session = _Acknowledging(ctx.session, sorted(known))
        self._streams.add(stream)
        try:
            async with beside(self._tell(ctx, session, stream)):
                # What ended before the stream was open will not change any more, so it is told now.
                stream.note(id for id, task in known.items() if task["status"] in tasks.OVER)
                yield dataclasses.replace(ctx, session=session)
        finally:
            self._streams.discard(stream)

    async def _tell(self, ctx: Any, session: _Acknowledging, stream: Stream) -> None:
        await session.acknowledged.wait()  # it has to be the first thing on the stream
        meta = {SUBSCRIPTION_ID_META_KEY: ctx.request_id}
        while True:
            await stream.news.wait()
            stream.news = anyio.Event()
            changed, stream.changed = stream.changed, set()
            for id in sorted(changed):
                task = await self._methods.find(id, stream.caller)
                if task is not None:
                    told = Notification(method="notifications/tasks", params={**task, "_meta": meta})
                    await ctx.session.send_notification(told, related_request_id=ctx.request_id)


class Notification(types.Notification[dict[str, Any], Literal["notifications/tasks"]]):
    """What has become of a task, as a DetailedTask in its wire form."""


class _Acknowledging:
    """A session that adds the tasks to the acknowledgement of the stream."""

    def __init__(self, session: ServerSession, task_ids: list[str]) -> None:
        self._session = session
        self._task_ids = task_ids
        self.acknowledged = anyio.Event()

    async def send_notification(
        self, notification: types.ServerNotification, related_request_id: types.RequestId | None = None
    ) -> None:
        if not isinstance(notification, types.SubscriptionsAcknowledgedNotification):
            await self._session.send_notification(notification, related_request_id)
            return
        if self._task_ids:
            honored = notification.params.notifications.model_copy(update={"taskIds": self._task_ids})
            params = notification.params.model_copy(update={"notifications": honored})
            notification = notification.model_copy(update={"params": params})
        await self._session.send_notification(notification, related_request_id)
        self.acknowledged.set()
