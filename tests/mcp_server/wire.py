"""Requests of protocol 2026-07-28 over HTTP as bytes, which no SDK shapes, to a server in this process."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import httpx
import orjson

from core.model.principal import Caller, Principal, Role
from mcp_server import server, tasks
from mcp_server.session import EngineSession
from tests.mcp_server import fake

EXTENSIONS: dict[str, Any] = {tasks.EXTENSION: {}}
SOMEBODY = {"ada": Role.ADMIN, "ada/2": Role.ADMIN, "eve": Role.ADMIN, "bob": Role.USER, "far": Role.ADMIN}
ELSEWHERE = {"far": "other"}  # the tenant of those who are not in `default`


class Wire:
    """Requests of protocol 2026-07-28 as bytes, which no SDK shapes; the bearer token is USER, or USER/KEY."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http
        self._id = 0

    async def ask(
        self,
        method: str,
        *,
        user: str = "ada",
        extensions: Any = None,
        header: str = "",
        headers: Any = None,
        **params: Any,
    ) -> tuple[int, dict[str, Any]]:
        """Send a request; returns the HTTP status and the JSON-RPC message."""
        self._id += 1
        capabilities = {
            "extensions": EXTENSIONS if extensions is None else extensions,
            **params.pop("capabilities", {}),
        }
        meta = {
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientCapabilities": capabilities,
            "io.modelcontextprotocol/clientInfo": {"name": "wire", "version": "1"},
        }
        answer = await self._http.post(
            "/mcp",
            json={"jsonrpc": "2.0", "id": self._id, "method": method, "params": {**params, "_meta": meta}},
            headers={
                "authorization": f"Bearer {user}",
                "accept": "application/json, text/event-stream",
                "mcp-protocol-version": "2026-07-28",
                "mcp-method": method,
                "mcp-name": header or str(params.get("taskId") or params.get("name") or ""),
                **(headers or {}),
            },
        )
        return answer.status_code, orjson.loads(answer.content)

    async def result(self, method: str, **more: Any) -> dict[str, Any]:
        _, message = await self.ask(method, **more)
        assert "result" in message, message
        result: dict[str, Any] = message["result"]
        return result

    async def fault(self, method: str, **more: Any) -> int:
        _, message = await self.ask(method, **more)
        return int(message["error"]["code"])


@asynccontextmanager
async def wire(session: EngineSession, **more: Any) -> AsyncIterator[Wire]:
    async def opened() -> EngineSession:
        return session

    async def authenticate(headers: Any) -> Caller:
        name = headers["authorization"].removeprefix("Bearer ")
        username, _, credential = name.partition("/")
        tenant = ELSEWHERE.get(username, "default")
        return Caller(Principal(username, SOMEBODY[name], (tenant,), credential=credential), tenant)

    app = server.http_app(opened, fake.options(allow_write=True, **more), authenticate=authenticate)
    transport = httpx.ASGITransport(app)
    with anyio.fail_after(20):
        async with app.router.lifespan_context(app):
            async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:1") as http:
                yield Wire(http)
