"""What every command shares: its common flags, the identity of whoever types, and the way to the engine."""

from __future__ import annotations

import contextlib
import getpass
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from core import logs
from core import settings as engine_settings
from core.model import principal
from mcp_server import attach, session

if TYPE_CHECKING:
    from mcp_server import remote  # it brings an HTTP client, which only remote sessions pay for

DEFAULT_TENANT = "default"
QUIET = "error"
"""What a command logs unless a log level is asked for: it tells its result, and whoever serves tells the rest."""


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
    profile: str = ""
    "Which login to use, when there are several for one address."
    jwt: Annotated[str | None, Parameter(show_default=False)] = None
    "The bearer token for a remote engine; it is not refreshed."
    api_key: Annotated[str | None, Parameter(show_default=False)] = None
    "The API key for a remote engine, from which short-lived tokens are minted."
    ttl: int | None = None
    "How many seconds a minted token shall be valid."
    tls_ca: Path | None = None
    "A PEM file with the certificate of the remote engine, or of its authority."
    tls_insecure: Annotated[bool, Parameter(negative=())] = False
    "Do not check the certificate of the remote engine."

    def settings(self, **overrides: object) -> engine_settings.Settings:
        """The engine's settings from these flags and the environment."""
        return engine_settings.from_environment(home=self.home, **overrides)

    def target(self) -> remote.Target | None:
        """The remote engine that these flags name, if any."""
        if self.url is None:
            return None
        ca = None if self.tls_ca == Path() else self.tls_ca  # an empty variable is one that is not set
        from mcp_server import remote

        return remote.Target(self.url, self.profile, self.jwt, self.api_key, self.ttl, ca, self.tls_insecure)


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
    tenants = (principal.EVERY_TENANT,)
    identity = principal.Principal(getpass.getuser(), principal.Role.ADMIN, tenants, platform=True)
    return principal.Caller(identity, tenant, principal.Surface.CLI)


@contextlib.asynccontextmanager
async def engine(common: Common, *, workers: int = 0) -> AsyncIterator[Client]:
    """The engine at --url; or that of the home directory: the running one, or one of our own for this command.

    `workers` is how many workers an engine of our own starts.
    """
    settings = common.settings()
    logs.configure(settings.log_level if "log_level" in settings.model_fields_set else QUIET, plain=True)
    caller = local_caller(common.tenant)
    async with opened(common, settings, caller, workers=workers) as session:
        forget = session.subscribe(_tell_take_over(session))
        try:
            yield Client(session, session.acting(caller))
        finally:
            forget()


def _tell_take_over(session: session.EngineSession) -> session.Notice:
    """A listener that says so when the engine that this command was attached to is gone, and the command is it now."""
    before = bool(getattr(session, "owner", False))

    def hear(kind: str, data: dict[str, Any]) -> None:
        nonlocal before
        now = bool(getattr(session, "owner", False))
        if now and not before:
            note("The engine that was running has gone; this command goes on with one of its own until it ends.")
        before = now

    return hear


def opened(
    common: Common, settings: engine_settings.Settings, caller: principal.Caller, *, workers: int | None = None
) -> contextlib.AbstractAsyncContextManager[session.EngineSession]:
    """The session that the common flags ask for: remote, or on the home directory."""
    target = common.target()
    if target is None:
        return attach.open_session(settings, serve_workers=workers)
    from mcp_server import remote

    return remote.open_remote(target, caller)


def note(text: str) -> None:
    """Say something beside the result, on stderr."""
    sys.stderr.write(text + "\n")
