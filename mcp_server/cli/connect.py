"""What every command shares: its common flags, the identity of whoever types, and the way to the engine."""

from __future__ import annotations

import contextlib
import getpass
import os
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from core import homes
from core.model import principal
from mcp_server import attach, session
from mcp_server.cli import reader, render
from mcp_server.cli.arguments import DECLARED

if TYPE_CHECKING:
    from core import settings as engine_settings
    from mcp_server import remote  # it brings an HTTP client, which only remote sessions pay for

DEFAULT_TENANT = "default"
ADMIN_TOKEN = "admin.token"
"""The file in the home with the token that the first `sluice serve` creates."""
QUIET = "error"
"""What a command logs unless a log level is asked for: it tells its result, and whoever serves tells the rest."""
_SINGULAR = {"file_root": "file_roots", "trusted_proxy": "trusted_proxies"}
"""Flags that are given once for each value of a setting."""
_from_variables: ContextVar[Mapping[str, str]] = ContextVar("from_variables")


def taken_from_variables(found: Mapping[str, str]) -> None:
    """Note which flags of this command were not given, and came from the environment: flag, as a word -> variable."""
    _from_variables.set(found)


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Common:
    """The flags that every command takes."""

    home: Path | None = None
    "The data directory of the engine."
    json: Annotated[bool, Parameter(negative=())] = False
    "Print the result as JSON: the same as -o json."
    output: Annotated[render.Output | None, Parameter(name=("--output", "-o"), show_default=False)] = None
    "How to print the result: wide shortens and drops nothing, name is for pipes; table when left out."
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

    def __post_init__(self) -> None:
        """Whoever asks for `json` asks whether the result is for programs."""
        object.__setattr__(self, "output", self.output or ("json" if self.json else "table"))
        object.__setattr__(self, "json", self.output in render.FOR_PROGRAMS)

    def settings(self) -> engine_settings.Settings:
        """What a command needs of settings: where the home is, and what to log."""
        from core import precedence  # the model of settings takes longer to import than a question to an engine takes

        return precedence.of_visitor(self.home)

    def of_operator(
        self, flags: Mapping[str, object], serve: Mapping[str, object] | None = None
    ) -> engine_settings.Settings:
        """The settings of what an operator starts with these flags; see core.precedence.of_operator."""
        from core import precedence

        variables = dict(_from_variables.get({}))
        variables |= {setting: variables[flag] for flag, setting in _SINGULAR.items() if flag in variables}
        return precedence.of_operator({"home": self.home, **flags}, serve, variables).hiding(self._ca)

    def of_home(self, **flags: object) -> engine_settings.Settings:
        """The settings of the home, for whoever opens it although no operator has started them."""
        from core import precedence

        return precedence.of_home(self.place, **flags).hiding(self._ca)

    @property
    def place(self) -> Path:
        """The home directory that these flags and the environment name."""
        return homes.named(self.home)

    @property
    def _ca(self) -> Path | None:
        return None if self.tls_ca == Path() else self.tls_ca  # an empty variable is one that is not set

    def target(self) -> remote.Target | None:
        """The remote engine that these flags name, if any."""
        if self.url is None:
            return None
        from mcp_server import remote

        return remote.Target(self.url, self.profile, self.jwt, self.api_key, self.ttl, self._ca, self.tls_insecure)


DEFAULTS = Common()


@dataclass(frozen=True, slots=True)
class Client:
    """An engine and the one who calls it."""

    session: session.EngineSession
    caller: principal.Caller
    runs: Callable[[], bool] = lambda: True
    """Whether an engine runs; else the home alone answers."""

    def tell_when_idle(self) -> None:
        """Say that no engine runs, before what the home has recorded is shown."""
        if not self.runs():
            note("No engine is running: this is what was recorded. Start one: sluice serve\n")

    async def trouble(self) -> str:
        """What keeps an engine of this machine from its work, in sentences; empty when nothing does."""
        return await self.session.trouble() if self.runs() and isinstance(self.session, attach.Session) else ""

    async def call(self, operation: str, /, **arguments: Any) -> dict[str, Any]:
        """Do an operation; arguments that are None were not given and are left out."""
        given = {name: value for name, value in arguments.items() if value is not None}
        declared = DECLARED.get(operation)
        if declared is None or not declared.reads:
            reader.acts()
        return await self.session.call(operation, given, self.caller)

    def pages(self, operation: str, /, **arguments: Any) -> AsyncIterator[dict[str, Any]]:
        """Every page of an operation that lists, as `call` takes its arguments."""
        return session.pages(lambda given: self.call(operation, **given), arguments)


def local_caller(tenant: str = DEFAULT_TENANT) -> principal.Caller:
    """The OS user, who owns the home directory and so administers what is in it."""
    tenants = (principal.EVERY_TENANT,)
    identity = principal.Principal(getpass.getuser(), principal.Role.ADMIN, tenants, platform=True)
    return principal.Caller(identity, tenant, principal.Surface.CLI)


@contextlib.asynccontextmanager
async def engine(common: Common, *, follows: bool = False) -> AsyncIterator[Client]:
    """The engine at --url, or the one that runs on the home directory.

    Without one, what needs no engine is done on the home itself. A command that `follows` what happens needs one from
    the start. Raises NoEngine.
    """
    caller = local_caller(common.tenant)
    target = common.target()
    if target is None:
        async with attach.open_visit(common.place, lambda: common.of_operator({}), DECLARED, follows=follows) as visit:
            if not visit.running or os.environ.get("SLUICE_LOG_LEVEL"):
                _log(common)  # else there is nothing to log, and the answer is there before logging is imported
            yield Client(visit, caller, lambda: visit.running)
        return
    _log(common)
    from mcp_server import remote

    async with remote.open_remote(target, caller) as session:
        yield Client(session, session.acting(caller))


def _log(common: Common) -> None:
    from core import logs

    settings = common.settings()
    logs.configure(settings.log_level if "log_level" in settings.model_fields_set else QUIET, plain=True)


def opened(
    common: Common, read: Callable[[], engine_settings.Settings], caller: principal.Caller
) -> contextlib.AbstractAsyncContextManager[session.EngineSession]:
    """The session of a server: remote, if the common flags say so, or on the home directory, whose engine it becomes
    when there is none, with the settings that it reads then."""
    target = common.target()
    if target is None:
        return attach.open_session(common.settings(), read=read)
    from mcp_server import remote

    return remote.open_remote(target, caller)


def note(text: str) -> None:
    """Say something beside the result, on stderr."""
    sys.stderr.write(text + "\n")
