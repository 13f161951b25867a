"""A session with an engine on another host, over its HTTP API: the same operations, answers, errors and notices."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import orjson
import structlog

from core import backoff, errors, httpclient
from core.model import trace_context
from core.model.operation import Registry
from core.model.principal import DEFAULT_TENANT, Caller, Principal, Role
from mcp_server import credentials, logins
from mcp_server.session import Notice, Sent, repeatable, safe_to_repeat

log = structlog.get_logger("mcp_server.remote")

TRIES = 4
PAUSE_SECONDS = 0.1  # before the second try; doubled for each further one
CONNECT_SECONDS = 10.0
ANSWER_SECONDS = 660.0  # the longest wait that an operation offers is 600 s
SILENCE_SECONDS = 60.0  # of a stream of notices, which says every 15 s that it is alive
RETURN_SECONDS = 15.0  # the longest pause between two tries
KEEP_ALIVE_SECONDS = 4.0  # servers close idle connections after 5 s; a request must not meet one that is closing
OPERATIONS = "/api/operations/"
NOTICES = "/api/notices"
MINT = "/api/auth/token"
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


@dataclass(frozen=True, slots=True)
class Target:
    """Which engine, as whom, and whom to trust. Of the credentials, `jwt` goes before `api_key` before a login."""

    url: str
    profile: str = ""
    jwt: str | None = None
    api_key: str | None = None
    ttl_seconds: int | None = None
    tls_ca: Path | None = None
    tls_insecure: bool = False


class RemoteSession:
    """One way to a remote engine; see mcp_server.session.EngineSession. Made by `open_remote`."""

    def __init__(self, target: Target, operations: Registry, client: httpx.AsyncClient) -> None:
        self.operations = operations
        self._target = target
        self._client = client
        self._credential = _credential(target, self._mint)
        self._identity: Principal | None = None
        self._tenant = ""
        self._subscribers: list[Notice] = []
        self._listening: asyncio.Task[None] | None = None

    async def identify(self, caller: Caller) -> None:
        """Ask the engine who this is. Raises Unauthenticated, or Busy when it cannot be reached."""
        said = await self.call("whoami", {}, caller)
        self._identity = Principal(
            str(said["username"]),
            Role(said["role"]),
            tuple(said["tenants"]),
            bool(said["platform"]),
            tuple(said["scopes"]),
        )
        self._tenant = str(said["tenant"])

    def acting(self, caller: Caller) -> Caller:
        """The caller as the engine knows it: its token says who that is, and not this process."""
        if self._identity is None:
            return caller
        return replace(caller, principal=self._identity, tenant=self._tenant)

    async def call(self, operation: str, arguments: dict[str, Any], caller: Caller) -> dict[str, Any]:
        """Do one operation on the remote engine.

        Raises the operation's SluiceError, Unauthenticated, Busy when the engine cannot be reached, or Unconfirmed when
        a call that was sent got no answer and cannot be repeated safely.
        """
        sent = Sent(self.operations, operation, repeatable(operation, arguments))
        try:
            body = orjson.dumps(sent.arguments)
        except TypeError as error:
            raise errors.InvalidParams(
                f"The arguments of {operation} cannot be carried as JSON: {errors.shorten(str(error), 100)}."
            ) from error
        return await sent.answered(self._post(sent, body, self._headers(operation, caller)))

    def _headers(self, operation: str, caller: Caller) -> dict[str, str]:
        """What goes with a call; one that makes a credential shows the API key itself, since a JWT makes none."""
        known, target = self.operations.get(operation), self._target
        itself = target.api_key if known is not None and known.told_once and not target.jwt else None
        return {**_about(caller), **({"authorization": f"Bearer {itself.strip()}"} if itself else {})}

    async def _post(self, sent: Sent, body: bytes, headers: dict[str, str]) -> dict[str, Any]:
        again = safe_to_repeat(self.operations, sent.operation, sent.arguments)
        path, url = OPERATIONS + sent.operation, self._target.url
        for attempt in range(TRIES):
            token = await self._credential.bearer()
            try:
                answer = await self._client.post(
                    path, content=body, headers={"authorization": f"Bearer {token}", **headers}
                )
            except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.InvalidURL) as error:
                if _untrusted(error):  # nothing was sent
                    raise self._not_trusted(error) from None
                if attempt == TRIES - 1:
                    raise self._unreachable(error) from None
            except httpx.TransportError as error:
                sent.lost = "The engine went away while this call was under way."
                if not again or attempt == TRIES - 1:
                    raise errors.Busy(sent.lost) from error
            else:
                if answer.status_code != 401:
                    if answer.is_server_error and _said(answer) is None:  # of something between us and an engine
                        sent.lost = f"{url} answered {answer.status_code}, which is no answer of an engine."
                    return _result(answer, url)
                if attempt == TRIES - 1 or not await self._credential.refused(token):
                    raise self._credential.explain()
                continue
            await asyncio.sleep(backoff.pause(attempt + 1, PAUSE_SECONDS, RETURN_SECONDS))
        raise self._credential.explain()

    async def _mint(self, api_key: str, ttl_seconds: int | None) -> dict[str, Any]:
        wanted = {} if ttl_seconds is None else {"ttl_seconds": ttl_seconds}
        headers = {"authorization": f"Bearer {api_key}", "content-type": "application/json"}
        for attempt in range(TRIES):
            try:
                answer = await self._client.post(MINT, content=orjson.dumps(wanted), headers=headers)
            except httpx.TransportError as error:  # minting twice does no harm
                if _untrusted(error):
                    raise self._not_trusted(error) from None
                if attempt == TRIES - 1:
                    raise self._unreachable(error) from None
                await asyncio.sleep(backoff.pause(attempt + 1, PAUSE_SECONDS, RETURN_SECONDS))
            else:
                break
        if answer.status_code == 401:
            raise self._credential.explain()
        return _result(answer, self._target.url)

    async def mint(self) -> dict[str, Any]:
        """A fresh JWT from the API key of the target, as POST /api/auth/token answers."""
        return await self._mint(self._target.api_key or "", self._target.ttl_seconds)

    # -- notices -------------------------------------------------------------------------------------------

    def subscribe(self, callback: Notice) -> Callable[[], None]:
        """See mcp_server.session.EngineSession.subscribe; the stream is opened for the first one who asks."""
        self._subscribers.append(callback)
        if self._listening is None:
            self._listening = asyncio.get_running_loop().create_task(self._listen())
        return lambda: self._subscribers.remove(callback)

    def _tell(self, kind: str, data: dict[str, Any]) -> None:
        for callback in tuple(self._subscribers):
            callback(kind, data)

    async def _listen(self) -> None:
        """Hear notices until the session is closed; whenever the stream ends, open the next one."""
        tries, first = 0, True  # in a row that heard nothing
        while True:
            try:
                async for kind, data in self._notices():
                    tries = 0
                    if kind == "connected":
                        if not first:
                            self._missed()
                        first = False
                    else:
                        self._tell(kind, data)
            except (httpx.TransportError, errors.SluiceError) as error:
                log.info("notices_interrupted", error=errors.shorten(str(error)))
            tries += 1
            await asyncio.sleep(backoff.pause(tries, PAUSE_SECONDS, RETURN_SECONDS))

    def _missed(self) -> None:
        self._tell("registry", {"tenant": "", "version": -1})  # what was missed in between is unknown

    async def _notices(self) -> AsyncIterator[tuple[str, dict[str, Any]]]:
        token = await self._credential.bearer()
        headers = {"authorization": f"Bearer {token}"}
        if self._tenant:
            headers["x-sluice-tenant"] = self._tenant
        timeout = httpx.Timeout(CONNECT_SECONDS, read=SILENCE_SECONDS)
        async with self._client.stream("GET", NOTICES, headers=headers, timeout=timeout) as answer:
            if answer.status_code == 401:
                await self._credential.refused(token)
                raise self._credential.explain()
            if answer.status_code != 200:
                await answer.aread()
                _result(answer, self._target.url)
                raise errors.Busy(f"The engine has no stream of notices (it answered {answer.status_code}).")
            event = ""
            async for line in answer.aiter_lines():
                if line == ": connected":
                    yield "connected", {}
                elif line.startswith("event: "):
                    event = line[7:]
                elif line.startswith("data: ") and event == "missed":
                    self._missed()
                elif line.startswith("data: ") and event == "end":
                    if orjson.loads(line[6:])["reason"] in ("revoked", "expired"):
                        await self._credential.refused(token)
                    return
                elif line.startswith("data: "):
                    said = orjson.loads(line[6:])
                    yield str(said["kind"]), said["data"]

    async def aclose(self) -> None:
        """Leave the engine. Safe to call twice."""
        listening, self._listening = self._listening, None
        if listening is not None:
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)
        await self._client.aclose()

    # -- faults --------------------------------------------------------------------------------------------

    def _unreachable(self, error: Exception) -> errors.Busy:
        return errors.Busy(
            f"The engine at {self._target.url} cannot be reached: {errors.shorten(str(error) or type(error))}.",
            hint="Compare --url with the address that 'sluice serve' printed.",
        )

    def _not_trusted(self, error: Exception) -> errors.Forbidden:
        return errors.Forbidden(
            f"The certificate of {self._target.url} is not trusted: {errors.shorten(str(error), 160)}.",
            hint="Give the certificate of the engine (tls/cert.pem in its home), or its authority's: --tls-ca FILE.",
        )


def _about(caller: Caller) -> dict[str, str]:
    """What the engine is told of a call besides the token; see mcp_server.http.auth.caller."""
    headers = {"content-type": "application/json", "x-sluice-surface": caller.surface.value}
    if caller.tenant != DEFAULT_TENANT:  # without a wish it is the only tenant of the identity, or this one
        headers["x-sluice-tenant"] = caller.tenant.encode("ascii", "replace").decode()
    if not caller.allow_write:
        headers["x-sluice-read-only"] = "1"
    if trace_context.parse(caller.traceparent) is not None:
        headers["traceparent"] = caller.traceparent
    if caller.label:
        headers["x-sluice-session-label"] = caller.label.encode("ascii", "replace").decode()
    return {name: "".join(c if c.isprintable() else " " for c in value) for name, value in headers.items()}


def _result(answer: httpx.Response, url: str) -> dict[str, Any]:
    """The result in an answer. Raises the error that it tells, or Busy for an answer that no engine gives."""
    said = _said(answer)
    if said is not None and answer.is_success:
        return said
    if said is not None:
        raise errors.from_dict({**said, "message": said.get("detail", "")})
    raise errors.Busy(
        f"{url} answered {answer.status_code}, which is no answer of an engine.",
        hint="Compare --url with the address that 'sluice serve' printed; a proxy may stand in between.",
    )


def _said(answer: httpx.Response) -> dict[str, Any] | None:
    """What an engine said in an answer: a result, or an error; None for an answer that no engine gives."""
    try:
        said = orjson.loads(answer.content)
    except orjson.JSONDecodeError:
        return None
    ours = isinstance(said, dict) and (answer.is_success or said.get("code") in errors.BY_CODE)
    return said if ours else None


def _untrusted(error: BaseException | None) -> bool:
    """Whether a connection failed for the certificate that the other side showed."""
    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError) or "CERTIFICATE_VERIFY_FAILED" in str(error):
            return True
        error = error.__cause__ or error.__context__
    return False


def _credential(target: Target, mint: credentials.Mint) -> credentials.Credential:
    if target.jwt:
        return credentials.Given(target.jwt)
    if target.api_key:
        return credentials.Minted(target.api_key, target.ttl_seconds, mint)
    return credentials.Cached(target.url, target.profile)


def client_for(target: Target) -> httpx.AsyncClient:
    """The HTTP client of a target; redirects are not followed, so a token goes nowhere else.

    Raises Forbidden for plain HTTP to another host, over which a token would travel in the clear.
    """
    parts = httpx.URL(target.url)
    local = parts.host in LOOPBACK
    if parts.scheme == "http" and not local and not target.tls_insecure:
        raise errors.Forbidden(
            f"{target.url} is plain HTTP to another host: everyone on the way could read the credentials.",
            hint="Use https://. On a network that you trust, --tls-insecure allows it.",
        )
    return httpclient.open_client(
        base_url=target.url,
        verify=_trust(target) if parts.scheme == "https" else False,
        timeout=httpx.Timeout(ANSWER_SECONDS, connect=CONNECT_SECONDS, pool=None),
        limits=httpx.Limits(max_connections=None, max_keepalive_connections=64, keepalive_expiry=KEEP_ALIVE_SECONDS),
        trust_env=not local,
    )


def _trust(target: Target) -> ssl.SSLContext:
    if target.tls_insecure:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return context
    if target.tls_ca is None:
        return httpx.create_ssl_context()
    try:
        return ssl.create_default_context(cafile=target.tls_ca)
    except (OSError, ssl.SSLError) as error:
        raise errors.InvalidParams(
            f"--tls-ca {target.tls_ca} cannot be read as certificates: {errors.shorten(str(error), 100)}.",
            hint="It takes a PEM file, such as tls/cert.pem in the home of the engine.",
        ) from None


async def mint(target: Target) -> dict[str, Any]:
    """A JWT from the API key of the target, as `sluice login` keeps it: the answer of POST /api/auth/token."""
    target = replace(target, url=logins.address(target.url))
    session = RemoteSession(target, Registry(), client_for(target))
    try:
        return await session.mint()
    finally:
        await session.aclose()


@asynccontextmanager
async def open_remote(target: Target, caller: Caller) -> AsyncIterator[RemoteSession]:
    """A session with a remote engine, which has said who this is before it is yielded.

    Raises InvalidParams (the address), Unauthenticated, Forbidden (its certificate), Busy (it cannot be reached).
    """
    from core.operations import REGISTRY  # imports every room; needed for the schemas and effects

    target = replace(target, url=logins.address(target.url))
    session = RemoteSession(target, REGISTRY, client_for(target))
    try:
        await session.identify(caller)
        yield session
    finally:
        await session.aclose()
