"""An MCP client of both protocol eras whose requests are bytes, so that it can say what no SDK would."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import httpx
import orjson
from mcp.shared.inbound import encode_header_value

from mcp_server import tasks

ERAS = ("2025-11-25", "2026-07-28")
ACCEPT = "application/json, text/event-stream"
NAMED = {"tools/call": "name", "prompts/get": "name", "resources/read": "uri"}
NAMED |= dict.fromkeys(("tasks/get", "tasks/cancel", "tasks/update"), "taskId")  # what the header Mcp-Name repeats
CAPABILITIES = {"extensions": {tasks.EXTENSION: {}}}


def modern(params: dict[str, Any]) -> dict[str, Any]:
    """The params of a request of 2026-07-28, which says of itself what a session said once before."""
    meta = {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": CAPABILITIES,
        "io.modelcontextprotocol/clientInfo": {"name": "peer", "version": "1"},
    }
    return {**params, "_meta": {**meta, **params.get("_meta", {})}}


@dataclass
class Peer:
    """One client of /mcp with one credential; of the earlier era with a session, which `greet` opens."""

    client: httpx.AsyncClient
    era: str
    headers: dict[str, str] = field(default_factory=dict)
    _id: int = 0

    async def greet(self) -> None:
        if self.era == ERAS[1]:
            return
        hello = {"protocolVersion": self.era, "capabilities": {}, "clientInfo": {"name": "peer", "version": "1"}}
        answer = await self.client.post("/mcp", **self.request("initialize", hello))
        assert answer.status_code == 200, answer.text
        self.headers["mcp-session-id"] = answer.headers["mcp-session-id"]
        said = {"jsonrpc": "2.0", "method": "notifications/initialized"}
        await self.client.post("/mcp", json=said, headers={"accept": ACCEPT, **self.headers})

    def request(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        """The arguments of a POST to /mcp."""
        self._id += 1
        headers = {"accept": ACCEPT, **self.headers}
        if self.era == ERAS[1]:
            params = modern(params)
            headers |= {"mcp-method": method, "mcp-protocol-version": self.era}
            if method in NAMED and NAMED[method] in params:
                headers["mcp-name"] = encode_header_value(str(params[NAMED[method]]))
        elif method != "initialize":
            headers["mcp-protocol-version"] = self.era
        body = {"jsonrpc": "2.0", "id": self._id, "method": method, "params": params}
        return {"json": body, "headers": headers}

    async def ask(self, method: str, params: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """The HTTP status and the message, without its id."""
        answer = await self.client.post("/mcp", **self.request(method, params))
        text = answer.text
        if answer.headers["content-type"].startswith("text/event-stream"):
            text = [line[5:] for line in text.splitlines() if line.startswith("data:") and '"id"' in line][-1]
        message: dict[str, Any] = orjson.loads(text)
        message.pop("id", None)
        return answer.status_code, message
