"""`sluice serve`: the long-running engine with its workers, HTTP API and MCP over HTTP."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import socket
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal
from urllib.parse import urlsplit

import anyio
from cyclopts import Parameter

from core import accepting, clock, errors, keyfile, logs, ownership
from core.fileroots import FileMode
from core.model import principal
from core.operations.registry import MAX_PAGE
from core.settings import Serve, Settings
from mcp_server import attach, limits, live, loopback, session
from mcp_server.cli import connect, signals
from mcp_server.cli import console as links
from mcp_server.http import admission, app, console, forwarded, oauth, serving
from mcp_server.http import auth as identities
from mcp_server.service import notify, watch

if TYPE_CHECKING:
    from mcp_server.http import tls as tls_files

EVERY_ADDRESS = ("0.0.0.0", "::", "")

Many = Annotated[list[str] | None, Parameter(negative=())]


async def serve(
    *,
    host: str | None = None,
    port: int | None = None,
    workers: str | None = None,
    nats: str | None = None,
    adopt: Annotated[bool, Parameter(negative=())] = False,
    data_root: Path | None = None,
    file_root: Many = None,
    auth: Literal["token", "none"] | None = None,
    allow_write: Annotated[bool | None, Parameter(negative=())] = None,
    toolsets: str | None = None,
    allow_host: Many = None,
    allow_origin: Many = None,
    trusted_proxy: Many = None,
    tls: Annotated[bool | None, Parameter(negative=())] = None,
    tls_cert: Path | None = None,
    tls_key: Path | None = None,
    disable_tls: Annotated[bool | None, Parameter(negative=())] = None,
    common: connect.Common = connect.DEFAULTS,
) -> int:
    """Run the engine until it is told to stop (SIGTERM or Ctrl-C). Whatever a flag leaves out is as sluice.toml in the
    home says ('sluice settings').

    Parameters
    ----------
    host
        The address to listen on; 127.0.0.1, when nothing is said.
    port
        The port to listen on; 0 takes a free one. 3000, when nothing is said.
    workers
        How many worker processes to run, as a number, or by worker group: default=2,etl=1. 2, when nothing is said.
    nats
        The NATS server over which workers of other machines join, and that keeps channels with transport jetstream:
        nats://HOST:PORT. They join by the port of this server without it.
    adopt
        Run on a home that was copied from another place or machine, as a home of its own from then on.
    data_root
        Where the files of jobs are, in one directory for each tenant; the home with -data behind its name when left
        out.
    file_root
        One more directory for jobs, as [GROUP:][TENANT=]PATH[:ro]: of one worker group, of one tenant, only to read.
        May be repeated.
    auth
        token (when nothing is said) asks every request for a bearer token; none lets everyone in as you, and only
        works on loopback.
    allow_write
        Offer MCP clients at /mcp the tools that change something. The HTTP API always does, by role.
    toolsets
        Which groups of MCP tools to offer, comma-separated, or all.
    allow_host
        Another host name that requests may use; may be repeated.
    allow_origin
        A web origin, besides this server's own, whose pages may call it; may be repeated.
    trusted_proxy
        The address, or the network (CIDR), of a proxy in front of this server that is believed about who its clients
        are and whether they came over HTTPS (X-Forwarded-For, X-Forwarded-Proto, Forwarded); may be repeated.
    tls
        Serve HTTPS on loopback as well. On every other address it is HTTPS unless --disable-tls is given.
    tls_cert
        A PEM file with the certificate and its chain; without one, the server signs one itself at the first start.
    tls_key
        A PEM file with the key of the certificate.
    disable_tls
        Serve plain HTTP also on an address that others reach, behind a proxy that speaks HTTPS.
    """
    if common.url is not None:
        raise errors.InvalidFlags("'sluice serve' runs an engine, and --url names another one.")
    if port is not None:
        serving.check_port(port)
    settings = common.of_operator(
        {
            "workers": workers,
            "nats": nats,
            "adopt": adopt or None,
            "data_root": data_root,
            "file_roots": file_root,
            "trusted_proxies": trusted_proxy,
        },
        {
            "host": host,
            "port": port,
            "auth": auth,
            "allow_write": allow_write,
            "toolsets": None if toolsets is None else _words(toolsets),
            "allow_host": allow_host,
            "allow_origin": allow_origin,
            "tls": tls,
            "tls_cert": tls_cert,
            "tls_key": tls_key,
            "disable_tls": disable_tls,
        },
    )
    wanted = settings.serve
    assert wanted is not None
    _refuse_unfit(wanted)
    settings = settings.hiding(wanted.tls_cert, wanted.tls_key)
    logs.configure(settings.log_level)
    listener = serving.bind(wanted.host, wanted.port)
    settings = settings.closing(listener.getsockname()[1])
    manager = notify.manager(os.environ)
    manager.tell(STATUS=f"Opening {settings.home}")
    try:
        async with contextlib.AsyncExitStack() as running:
            engine = await running.enter_async_context(attach.open_session(settings, serve_workers=settings.workers))
            local = connect.local_caller(common.tenant)
            authenticator: identities.Authenticator
            if wanted.auth == "token":
                authenticator = identities.TokenAuth(engine)
                await _first_token(engine, settings.home, local)
            else:
                authenticator = identities.NoAuth(local.principal)
            watching = watch.Watch(engine, manager)
            visitors = serving.room(settings)
            answers = live.Live(limits.of(settings), connections=visitors.most)
            # The host's own name is one that nobody else's DNS can point here, so it is no way of rebinding.
            own = () if loopback.is_loopback(wanted.host) else (wanted.host, socket.gethostname().lower())
            public = urlsplit(settings.public_url).hostname
            hosts = (*wanted.allow_host, *own, *((public,) if public else ()))
            served = app.create(
                engine,
                authenticator,
                rooms=lambda: [visitors, *engine.rooms()],
                hosts=hosts,
                origins=wanted.allow_origin,
                mcp=_mcp(engine, authenticator, wanted, hosts, local, answers, settings.public_url),
                live=answers,
                connections=visitors.most,
                proxies=forwarded.Proxies(settings.trusted_proxies),
                shares=forwarded.Shares(
                    visitors.most_per_address, lambda share: visitors.count(accepting.Reason.ADDRESS, share)
                ),
                public_url=settings.public_url,
                mcp_writes=wanted.allow_write,
                authorization_server=settings.oidc_issuer if settings.mcp_auth == "external" else "",
                trouble=engine.trouble,
                readiness=watching.readiness,
                meet=engine.meet,
            )
            certificate = None
            if not wanted.disable_tls and (wanted.tls or wanted.tls_cert or not loopback.is_loopback(wanted.host)):
                certificate = _certificate(settings.home, wanted.tls_cert, wanted.tls_key, hosts)
            stop = running.enter_context(signals.StopRequest())  # before anybody can read that it listens
            doors = serving.running(
                served, [listener], visitors, drain_seconds=settings.drain_seconds, certificate=certificate
            )
            await running.enter_async_context(doors)
            address = serving.url(listener, secure=certificate is not None)
            connect.note(f"Sluice listens on {address} {_engine(engine, settings.workers)}, home {settings.home}")
            if wanted.host.strip("[]") in EVERY_ADDRESS:
                connect.note(f"  Open on every address of this machine ({wanted.host}), at the same port")
            connect.note(f"  Console {await _console(engine, local, address)}")
            connect.note(f"  API docs {address}/api/docs   MCP {address}/mcp")
            running.enter_context(_announced(settings.home / links.ADDRESS, address))
            connect.note(f"  {_files(engine, settings)}")
            if certificate is not None:
                connect.note(f"  Certificate {certificate.cert}   SHA-256 {certificate.fingerprint()}")
            await running.enter_async_context(watching.kept())
            number = await stop.taken()
            watching.stop(f"{number.name}: draining")
            connect.note(f"{number.name}: draining")
            await engine.dismiss_workers(settings.drain_seconds + 1.0)
    finally:
        listener.close()
    return 0


def _words(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def check(given: Mapping[str, Any]) -> None:
    """Look at values of flags by which a server would not start. Raises InvalidFlags, pydantic.ValidationError."""
    told = {name: value for name, value in given.items() if value is not None}
    if "port" in told:
        serving.check_port(told["port"])
    if "toolsets" in told:
        told["toolsets"] = _words(told["toolsets"])
    _refuse_unfit(Serve.model_validate({name: told[name] for name in Serve.model_fields if name in told}))
    Settings.model_validate({name: told[name] for name in ("workers", "nats") if name in told})
    Settings.model_validate({"trusted_proxies": told.get("trusted_proxy", ())})


def _refuse_unfit(wanted: Serve) -> None:
    """Raise for what does not go together, wherever it was said."""
    if wanted.auth == "none" and not loopback.is_loopback(wanted.host):
        raise errors.InvalidFlags(
            f"Without authentication the API is served on loopback only, not on {errors.shorten(wanted.host, 80)}.",
            hint="Leave --auth at token, or use --host 127.0.0.1.",
        )
    if (wanted.tls_cert is None) != (wanted.tls_key is None):
        raise errors.InvalidFlags("--tls-cert and --tls-key belong together.")
    if wanted.disable_tls and (wanted.tls or wanted.tls_cert):
        raise errors.InvalidFlags("--disable-tls excludes --tls and --tls-cert.")


@contextlib.contextmanager
def _announced(file: Path, address: str) -> Iterator[None]:
    """Leave in the home where this server listens, for `sluice console`."""
    file.touch(mode=0o600)
    file.write_text(f"{address}\n", encoding="utf-8")
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            if file.read_text(encoding="utf-8").strip() == address:  # else another one listens, and has told where
                file.unlink()


async def _console(engine: session.EngineSession, local: principal.Caller, address: str) -> str:
    """Where it is; with a link that signs in once, for whoever reads this."""
    if not console.available():
        return "is not built: make console"
    try:
        made = await engine.call("console_link_create", {}, local)
    except (errors.Busy, errors.Unconfirmed):  # the engine of another process ended just now; this one goes on
        return f"{address}{admission.CONSOLE}  (a link that signs in: sluice console)"
    return f"{address}{made['path']}  (once, for {made['expires_in'] // 60} minutes; another one: sluice console)"


def _certificate(home: Path, cert: Path | None, key: Path | None, hosts: tuple[str, ...]) -> tls_files.Certificate:
    from mcp_server.http import tls as tls_files

    if cert is not None and key is not None:
        return tls_files.given(cert, key)
    return tls_files.own(home, [name for name in hosts if name not in ("0.0.0.0", "::")], clock.now_ns())


def _files(engine: attach.Session, settings: Settings) -> str:
    """Where jobs read and write, in one line."""
    if not engine.owner:
        return "Files of jobs: as that engine was told"
    also = "".join(f", {root}" for root in settings.file_roots)
    match settings.file_access:
        case FileMode.TENANT:
            return f"Files of jobs: {settings.data_root}/TENANT{also}"
        case FileMode.ROOTS:
            return f"Files of jobs: {also.removeprefix(', ') or 'none, without a file root'}"
        case FileMode.ANYWHERE:
            return f"Files of jobs: nearly everywhere (file_access is anywhere), else {settings.data_root}/TENANT"


def _engine(engine: attach.Session, workers: int) -> str:
    """Whose engine this server works on: its own, or that of an MCP session (or another server) which came first."""
    if engine.owner:
        return f"with {workers} worker{'' if workers == 1 else 's'}"
    # It holds the home until it ends; then this server, or whoever else is attached, takes over at once.
    pid = ownership.owner_pid(engine.home)
    return f"through the engine of process {pid}, with its workers and settings until that one ends"


async def _first_token(engine: session.EngineSession, home: Path, local: principal.Caller) -> None:
    """Unless some admin has a token, make the operator's and leave it in the home directory (0600).

    Servers that start at once do it one after the other, by a lock of the directory: the engine that all of them work
    through may be that of an MCP session, which makes none.
    """
    lock = os.open(home, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        await asyncio.to_thread(fcntl.flock, lock, fcntl.LOCK_EX)
        await _make_token(engine, home / connect.ADMIN_TOKEN, local)
    finally:
        os.close(lock)


async def _make_token(engine: session.EngineSession, path: Path, local: principal.Caller) -> None:
    if await anyio.Path(path).exists():
        return
    listed = (await engine.call("token_list", {"limit": MAX_PAGE}, local))["items"]
    if any(token["role"] == "admin" and not token["revoked"] for token in listed):
        return
    wanted = {
        "name": "first start",
        "username": local.username,
        "role": "admin",
        "tenants": list(local.principal.tenants),
        "platform": local.principal.platform,
    }
    made = await engine.call("token_create", wanted, local)
    keyfile.keep(path, f"{made['token']}\n".encode("ascii"))
    connect.note(f"Wrote an administrator's token to {path}")


def _mcp(
    engine: session.EngineSession,
    authenticator: identities.Authenticator,
    wanted: Serve,
    hosts: tuple[str, ...],
    local: principal.Caller,
    answers: live.Live,
    public_url: str,
) -> Any:
    """The MCP application over the same engine; each request acts as its bearer."""
    from mcp_server import server

    async def authenticate(headers: Mapping[str, str]) -> principal.Caller:
        identity = await authenticator.principal(headers.get("authorization"))
        return replace(identities.caller(identity, headers.get("x-sluice-tenant")), surface=principal.Surface.MCP)

    async def open_session() -> session.EngineSession:
        return _Shared(engine)

    options = session.Options(
        caller=replace(local, surface=principal.Surface.MCP),
        allow_write=wanted.allow_write,
        toolsets=wanted.toolsets or session.DEFAULT_TOOLSETS,
    )
    return server.http_app(
        open_session,
        options,
        authenticate=authenticate,
        host=wanted.host,
        allowed_hosts=hosts,
        live=answers,
        needed=oauth.needed(engine.operations, public_url) if public_url else None,
    )


class _Shared:
    """The server's engine session, lent to the MCP door, which must not close it."""

    def __init__(self, engine: session.EngineSession) -> None:
        self.operations = engine.operations
        self.call = engine.call
        self.subscribe = engine.subscribe
        self.acting = engine.acting

    async def aclose(self) -> None:
        """Leave the engine running."""
