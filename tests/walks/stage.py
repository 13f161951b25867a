"""Where walks happen: a home with an engine and workers, and sessions of sluice-mcp, processes over real pipes.

A tenant for each eye, so that the same names may be used; sessions that have the same tools share a process.
"""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import mcp
import mcp_types as types
import orjson
from mcp.client.stdio import StdioServerParameters, stdio_client

from core.model.principal import EVERY_TENANT, Caller, Principal, Role, Surface
from core.settings import Settings, data_root_of
from mcp_server import attach
from mcp_server.cli import arguments, stage
from tests import engines

TOOLS: Mapping[str, tuple[str, ...]] = {
    "default": ("--allow-write",),
    "all": ("--allow-write", "--toolsets", "all"),
    "read-only": (),
}
WORKERS = "default=1,spare=2"
YES = types.ElicitResult(action="accept", content={"confirm": True})


@dataclass(slots=True)
class Session:
    """A session of sluice-mcp, and the engine behind it for what happens beside."""

    client: mcp.Client
    tenant: str
    behind: attach.Session
    asked: list[str]
    """What the user was asked, and said yes to."""
    home: Path

    @property
    def data(self) -> Path:
        """The data directory of the tenant."""
        place = data_root_of(self.home) / self.tenant
        place.mkdir(parents=True, exist_ok=True)
        return place

    async def introduction(self) -> str:
        """What a model is given at the start: the instructions and the tools."""
        parts, cursor = [self.client.instructions or ""], None
        while True:
            page = await self.client.list_tools(cursor=cursor, cache_mode="refresh")
            parts += [orjson.dumps(tool.model_dump(mode="json")).decode() for tool in page.tools]
            if (cursor := page.next_cursor) is None:
                return "\n".join(parts)

    async def engine(self, operation: str, arguments: dict[str, Any], username: str = "maria") -> dict[str, Any]:
        """Do something as a colleague does."""
        caller = Caller(Principal(username, Role.ADMIN, (EVERY_TENANT,)), self.tenant, Surface.INTERNAL)
        return await self.behind.call(operation, arguments, caller)


class Stage:
    """An engine that serves, and sessions with it. Made by `open_stage`; use from one task."""

    def __init__(self, home: Path, behind: attach.Session, stack: AsyncExitStack, errors: TextIO) -> None:
        self._home = home
        self._behind = behind
        self._stack = stack
        self._errors = errors
        self._sessions: dict[tuple[str, str], Session] = {}

    async def session(self, tenant: str, tools: str) -> Session:
        """The session of a tenant with these tools; it lasts as long as the stage."""
        key = (tenant, tools)
        if key not in self._sessions:
            self._sessions[key] = await self._stack.enter_async_context(self._opened(tenant, tools))
        return self._sessions[key]

    @asynccontextmanager
    async def _opened(self, tenant: str, tools: str) -> AsyncIterator[Session]:
        arguments = ["--home", str(self._home), "--tenant", tenant, *TOOLS[tools]]
        command = StdioServerParameters(command=stage.program("sluice-mcp"), args=arguments, env=dict(os.environ))
        asked: list[str] = []

        async def answer(context: Any, params: types.ElicitRequestParams) -> types.ElicitResult:
            asked.append(params.message)
            return YES

        pipes = stdio_client(command, errlog=self._errors)
        async with mcp.Client(pipes, elicitation_callback=answer) as client:
            yield Session(client, tenant, self._behind, asked, self._home)


@asynccontextmanager
async def open_stage(place: Path) -> AsyncIterator[Stage]:
    """A stage with a new home below `place`."""
    with engines.served(place / "home", WORKERS), (place / "errors.log").open("w") as errors:
        async with (
            attach.open_visit(place / "home", lambda: Settings(home=place / "home"), arguments.DECLARED) as behind,
            AsyncExitStack() as stack,
        ):
            yield Stage(place / "home", behind, stack, errors if "-s" not in sys.argv else sys.stderr)
