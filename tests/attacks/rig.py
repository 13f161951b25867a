"""One engine behind its HTTP door on a real port, and identities that call it: what the attacks are aimed at."""

from __future__ import annotations

import asyncio
import hashlib
import sqlite3
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx
import orjson

from core import accepting, clock
from core.documents import canonical
from core.engine import Engine
from core.model.principal import Caller, Principal, Role, Surface
from core.settings import Settings
from mcp_server import attach, session
from mcp_server.http import app, auth, oauth, serving
from tests.engines import ADMIN, EXAMPLES, deploy

TRIGGER = orjson.loads((EXAMPLES / "smoke_trigger.json").read_bytes())
HANDLER = (EXAMPLES / "smoke_trigger_handler.yaml").read_text(encoding="utf-8")
IDENTITIES = {  # token name -> (username, role, tenants)
    "admin": ("ada", "admin", ["tenant-a"]),
    "user": ("bob", "user", ["tenant-a"]),
    "second": ("cid", "user", ["tenant-a"]),
    "other": ("eve", "admin", ["tenant-b"]),
}
_TLS = ssl.create_default_context()  # which takes longer to make than most requests


def params_digest(call: dict[str, Any]) -> bytes:
    """What a request asks for, as it is compared under an idempotency key."""
    return canonical.params_digest(call)


@dataclass
class Target:
    """The server under attack."""

    url: str
    port: int
    engine: Engine
    home: Path
    authenticator: auth.TokenAuth
    visitors: accepting.Room
    tokens: dict[str, str] = field(default_factory=dict)

    def forgive(self) -> None:
        """Forget how many bad credentials came from this address, so that the next one is looked at."""
        self.authenticator._failures = auth.Failures(clock.monotonic)

    @asynccontextmanager
    async def client(self, who: str | None = "admin", **headers: str) -> AsyncIterator[httpx.AsyncClient]:
        """A client with the token of one of IDENTITIES; None sends none."""
        own = {"authorization": f"Bearer {self.tokens[who]}"} if who else {}
        async with httpx.AsyncClient(
            base_url=self.url, headers={**own, **headers}, timeout=60, trust_env=False, verify=_TLS
        ) as made:
            yield made

    async def call(self, method: str, path: str, body: Any = None, who: str | None = "admin", **headers: str) -> Any:
        """One request and its answer."""
        async with self.client(who, **headers) as client:
            if isinstance(body, bytes):
                return await client.request(method, path, content=body, headers={"content-type": "application/json"})
            return await client.request(method, path, json=body)

    async def raw(self, data: bytes, seconds: float = 5.0) -> bytes:
        """Bytes as they are; what came back until the server closed or fell silent, at most 64 KiB."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        parts: list[bytes] = []
        try:
            writer.write(data)
            async with asyncio.timeout(seconds):
                await writer.drain()
                while sum(map(len, parts)) < 65536 and (part := await reader.read(65536)):
                    parts.append(part)
                    if b"\r\n\r\n" in part:
                        break
        except (TimeoutError, ConnectionError):
            pass  # what there is says it
        finally:
            writer.close()
        return b"".join(parts)

    def rows(self, query: str) -> list[Any]:
        """The first column of a query on the store."""
        connection = sqlite3.connect(f"file:{self.home / 'sluice.db'}?mode=ro", uri=True)
        try:
            return [row[0] for row in connection.execute(query)]
        finally:
            connection.close()

    def digest(self) -> dict[str, str]:
        """A digest of each table, but for what a refusal may write too, and what the engine writes by itself."""
        connection = sqlite3.connect(f"file:{self.home / 'sluice.db'}?mode=ro", uri=True)
        try:
            found = {"tokens": hashlib.sha256()}
            for line in connection.iterdump():
                table = line.split('"')[1] if line.startswith('INSERT INTO "') else ""
                if table not in _CHANGES_ANYWAY:
                    found.setdefault(table, hashlib.sha256()).update(line.encode())
            for row in connection.execute("SELECT id, hash, revoked_at_ns FROM tokens ORDER BY id"):
                found["tokens"].update(str(row).encode())
        finally:
            connection.close()
        return {table: digest.hexdigest() for table, digest in found.items()}


_CHANGES_ANYWAY = {
    *("audit", "tokens"),  # denials, and when a token was last used
    "usage_counted",  # how far the engine has counted what is kept
    *("engine_signs", "run_minutes"),  # every 30 s, and 10 s after a run that came before
    *("conditions", "transitions", "outages"),  # what it sees of itself and of what runs
}


@asynccontextmanager
async def target(home: Path, *, mcp: bool = False, **settings: Any) -> AsyncIterator[Target]:
    """A running server with the smoke trigger in tenant-a, and its handler deployed when there are workers."""
    chosen = Settings(home=home, **{"workers": 0, "drain_seconds": 0.5, **settings})
    listener = serving.bind("127.0.0.1", 0)
    try:
        async with attach.open_session(chosen, serve_workers=chosen.workers) as way:
            engine: Engine = way.engine
            authenticator = auth.TokenAuth(way)
            visitors = serving.room(chosen)
            served = app.create(
                way,
                authenticator,
                mcp=_mcp(way, authenticator) if mcp else None,
                rooms=lambda: [visitors],
                trouble=way.trouble,
            )
            async with serving.running(served, [listener], visitors, drain_seconds=1):
                port = listener.getsockname()[1]
                made = Target(serving.url(listener), port, engine, home, authenticator, visitors)
                for name, (username, role, tenants) in IDENTITIES.items():
                    wanted = {"name": name, "username": username, "role": role, "tenants": tenants}
                    made.tokens[name] = (await engine.call("token_create", wanted, ADMIN))["token"]
                if chosen.workers:
                    await deploy(engine, HANDLER)
                await engine.call("trigger_publish", {**TRIGGER, "tenant_id": "tenant-a"}, ADMIN)
                yield made
    finally:
        listener.close()


def _mcp(way: session.EngineSession, authenticator: auth.Authenticator, public_url: str = "") -> Any:
    """MCP at /mcp over the same engine, as `sluice serve` puts it there."""
    from mcp_server import server

    async def authenticate(headers: Any) -> Caller:
        identity = await authenticator.principal(headers.get("authorization"))
        return replace(auth.caller(identity, headers.get("x-sluice-tenant")), surface=Surface.MCP)

    async def open_session() -> session.EngineSession:
        return _Shared(way)

    local = Caller(Principal("op", Role.ADMIN), surface=Surface.MCP)
    options = session.Options(caller=local, allow_write=True, toolsets=("all",))
    needed = oauth.needed(way.operations, public_url) if public_url else None
    return server.http_app(open_session, options, authenticate=authenticate, host="127.0.0.1", needed=needed)


class _Shared:
    """The engine session, lent to the MCP door, which must not close it."""

    def __init__(self, way: session.EngineSession) -> None:
        self.operations, self.call, self.subscribe = way.operations, way.call, way.subscribe

    async def aclose(self) -> None:
        """Leave the engine running."""
