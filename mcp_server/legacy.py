"""Sessions of earlier protocols over HTTP (`Mcp-Session-Id`): counted as long answers, and ended with what allows them.

The SDK keeps a session until its client ends it. Here each one belongs to the credential that opened it, in the tenant
that it was opened in, and ends with it, when its user has other rights, or when nobody has used it for a while. It is
ended as a client ends one: by DELETE, which closes its streams and makes what waits in it an error.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from typing import Any

import pydantic_core
from mcp.server.streamable_http import MCP_SESSION_ID_HEADER
from mcp.shared.inbound import MCP_PROTOCOL_VERSION_HEADER
from mcp_types import INVALID_REQUEST
from mcp_types.version import HANDSHAKE_PROTOCOL_VERSIONS
from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import Message, Receive, Scope, Send

from core import clock
from core.model.principal import Caller
from mcp_server.live import IDLE_SECONDS, Answer, Live, Reason

Handle = Callable[[Scope, Receive, Send], Awaitable[None]]
MOST_BYTES = 4 * 1024 * 1024
OPERATION = "whoami"  # what a session without any request in it is like


def owner(caller: Caller) -> str:
    """Whose a session is: of one credential, as one user in one tenant, for whom it is counted as well."""
    return f"{caller.tenant}/{caller.username}/{caller.principal.credential}"


class _Session(Answer):
    """One session; `scope` is that of the request that opened it."""

    kind = "session"
    why_until = Reason.IDLE
    id = ""  # until the SDK has made one
    busy = 0  # requests in flight, an open stream among them

    def __init__(self, caller: Caller, scope: Scope, delete: Callable[[_Session], None]) -> None:
        super().__init__(OPERATION, caller)
        self.scope = scope
        self.asked: set[str | None] = set()  # the ids of the requests in flight, as the SDK tells them apart
        self._delete = delete

    def end(self, reason: Reason) -> None:
        if self.id:  # otherwise there is nothing to end yet
            self._delete(self)


class Sessions:
    """The open sessions in front of the SDK's transport."""

    def __init__(self, handle: Handle, live: Live, now: Callable[[], float] = clock.monotonic) -> None:
        self._handle = handle
        self._live = live
        self._now = now
        self._open: dict[str, _Session] = {}
        self._ending: set[asyncio.Task[None]] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send, caller: Caller) -> None:
        """Serve one request. Raises RateLimited for a session too many."""
        headers = Headers(scope=scope)
        if headers.get(MCP_PROTOCOL_VERSION_HEADER) not in (None, *HANDSHAKE_PROTOCOL_VERSIONS):
            await self._handle(scope, receive, send)
            return
        id = headers.get(MCP_SESSION_ID_HEADER)
        if id is None and scope["method"] == "POST":
            await self._begin(scope, receive, send, caller)
            return
        session = self._open.get(id or "")
        if session is None or owner(session.caller) != owner(caller):
            await self._handle(scope, receive, send)  # which says that there is none
            return
        asked = None
        if scope["method"] == "POST":
            asked, receive = await _read(receive)
            if asked in session.asked:  # the SDK would answer one of the two, and never the other
                await _TWICE(scope, receive, send)
                return
        session.caller = caller  # a later JWT of the same key prolongs what an earlier one opened
        session.busy += 1
        if asked is not None:
            session.asked.add(asked)
        session.until = math.inf
        status = _Status(send)
        try:
            await self._handle(scope, receive, status.send)
        finally:
            session.busy -= 1
            session.asked.discard(asked)
            if not session.busy:
                session.until = self._now() + IDLE_SECONDS
        if status.code == 404 or (scope["method"] == "DELETE" and status.code < 400):
            self._forget(session)

    async def _begin(self, scope: Scope, receive: Receive, send: Send, caller: Caller) -> None:
        """Serve the request that would open a session, and keep the session if it did."""
        session = _Session(caller, scope, self._delete)
        self._live.open(session)
        status = _Status(send)
        try:
            await self._handle(scope, receive, status.send)
        finally:
            if status.session is None:
                self._live.close(session)
            else:
                session.id, session.until = status.session, self._now() + IDLE_SECONDS
                self._open[session.id] = session
                if session.reason is not None:  # it had to end before there was anything to end
                    self._delete(session)

    def _delete(self, session: _Session) -> None:
        task = asyncio.get_running_loop().create_task(self._deleted(session))
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    async def _deleted(self, session: _Session) -> None:
        if session.id not in self._open:  # its client was faster
            return
        self._forget(session)
        names = (b"host", MCP_PROTOCOL_VERSION_HEADER.encode())
        kept = [(name, value) for name, value in session.scope["headers"] if name in names]
        own = [*kept, (MCP_SESSION_ID_HEADER.encode(), session.id.encode("ascii"))]
        await self._handle({**session.scope, "method": "DELETE", "headers": own}, _nothing, _unheard)

    def _forget(self, session: _Session) -> None:
        self._open.pop(session.id, None)
        self._live.close(session)


_TWICE = JSONResponse(
    {
        "jsonrpc": "2.0",
        "id": None,
        "error": {
            "code": INVALID_REQUEST,
            "message": "A request with this id is under way in this session: give each one an id of its own.",
        },
    },
    400,
)


class _Status:
    """Passes an answer on, and remembers its status, and the session that it opened."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.code = 0
        self.session: str | None = None

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.code = message["status"]
            if self.code < 400:
                self.session = Headers(raw=message["headers"]).get(MCP_SESSION_ID_HEADER)
        await self._send(message)


async def _read(receive: Receive) -> tuple[str | None, Receive]:
    """The id of the request that a body holds, and a receive that gives the body once more.

    None for what is no request, and for a body beyond MOST_BYTES, which is refused behind us.
    """
    messages: list[Message] = []
    body = b""
    while len(body) <= MOST_BYTES:
        messages.append(await receive())
        body += messages[-1].get("body", b"")
        if not messages[-1].get("more_body", False):  # its end, or that of the connection
            break
    given = iter(messages)

    async def again() -> Message:
        message = next(given, None)
        return await receive() if message is None else message

    return _id(body), again


def _id(body: bytes) -> str | None:
    try:
        message = pydantic_core.from_json(body)  # what the SDK reads it with
    except ValueError:
        return None
    id = message.get("id") if isinstance(message, dict) and "method" in message else None
    return None if id is None else str(id)


async def _nothing() -> Message:
    return {"type": "http.request", "body": b"", "more_body": False}


async def _unheard(message: Any) -> None:
    """Nobody waits for the answer."""
