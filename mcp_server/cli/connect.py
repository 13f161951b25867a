"""What every command shares: its common flags, the identity of whoever types, and the way to the engine."""

from __future__ import annotations

import contextlib
import getpass
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from core import logs
from core import settings as engine_settings
from core.model import principal
from mcp_server import attach, session

DEFAULT_TENANT = "default"


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Common:
    """The flags that every command takes."""

    home: Path | None = None
    "The data directory of the engine."
    json: Annotated[bool, Parameter(negative=())] = False
    "Print the result as JSON."
    tenant: str = DEFAULT_TENANT
    "The tenant to act in."
    url: str | None = None
    "Work on a remote engine at this address instead of the one in the home directory."
    api_key: Annotated[str | None, Parameter(show_default=False)] = None
    "The token for a remote engine."

    def settings(self, **overrides: object) -> engine_settings.Settings:
        """The engine's settings from these flags and the environment."""
        return engine_settings.from_environment(home=self.home, **overrides)


DEFAULTS = Common()


@dataclass(frozen=True, slots=True)
class Client:
    """An engine and the one who calls it."""

    session: session.EngineSession
    caller: principal.Caller

    async def call(self, operation: str, /, **arguments: Any) -> dict[str, Any]:
        """Do an operation; arguments that are None were not given and are left out."""
        given = {name: value for name, value in arguments.items() if value is not None}
        return await self.session.call(operation, given, self.caller)


def local_caller(tenant: str = DEFAULT_TENANT) -> principal.Caller:
    """The OS user, who owns the home directory and so administers what is in it."""
    identity = principal.Principal(getpass.getuser(), principal.Role.ADMIN, (principal.EVERY_TENANT,))
    return principal.Caller(identity, tenant, principal.Surface.CLI)


@contextlib.asynccontextmanager
async def engine(common: Common, *, workers: int = 0) -> AsyncIterator[Client]:
    """The engine of the home directory: the running one, or one of our own for as long as this command takes.

    `workers` is how many workers an engine of our own starts.
    """
    settings = common.settings()
    logs.configure(settings.log_level)
    async with attach.open_session(settings, url=common.url, api_key=common.api_key, serve_workers=workers) as opened:
        yield Client(opened, local_caller(common.tenant))


def note(text: str) -> None:
    """Say something beside the result, on stderr."""
    sys.stderr.write(text + "\n")
