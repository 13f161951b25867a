"""The OpenID Connect provider: its metadata, its keys, and what it answers. All I/O with it is here.

Reached as everything is that Sluice reaches (core.guard): no redirects, bounded answers, deadlines. Nothing that it
answers is believed before `idtokens` has looked at it.
"""

from __future__ import annotations

import asyncio
import base64
import os
import ssl
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote, quote_plus, urlencode, urlsplit

import orjson

from core import clock, errors
from core.identity import idtokens
from core.settings import Settings

if TYPE_CHECKING:
    from core.guard import egress

MOST_BYTES = 64 * 1024
SECONDS = 10.0
METADATA_SECONDS = 3600.0
KEYS_SECONDS = 300.0
UNKNOWN_SECONDS = 30.0  # between two looks for a key that was not there
MOST_SECRET_BYTES = 4096
_ENDPOINTS = ("authorization_endpoint", "token_endpoint", "jwks_uri")


class Metadata(NamedTuple):
    """What a provider says of itself, as far as it is used (OpenID Connect Discovery 1.0)."""

    issuer: str
    authorization: str
    token: str
    keys: str
    userinfo: str
    answers_issuer: bool
    """Whether its answers say `iss` (RFC 9207)."""
    takes_basic: bool
    """Whether a client may show its secret in the Authorization header."""


class Answer(NamedTuple):
    """What the token endpoint gave."""

    id_token: str
    access_token: str
    refresh_token: str


class Provider:
    """The one that the settings name. `now` is the monotonic clock."""

    def __init__(self, settings: Settings, now: Callable[[], float] = clock.monotonic) -> None:
        self._settings = settings
        self._now = now
        self._http: egress.Egress | None = None
        self._metadata: tuple[float, Metadata] | None = None
        self._keys: tuple[float, list[idtokens.Key]] | None = None
        self._looked_at = float("-inf")
        self._lock = asyncio.Lock()

    @property
    def wanted(self) -> bool:
        """Whether there is one."""
        return bool(self._settings.oidc_issuer)

    async def metadata(self) -> Metadata:
        """Raises TargetUnavailable when the provider cannot be reached or is not the one that is set."""
        if self._metadata is None or self._metadata[0] <= self._now():
            issuer = self._settings.oidc_issuer
            said = await self._json("GET", issuer.rstrip("/") + "/.well-known/openid-configuration", {})
            self._metadata = (self._now() + METADATA_SECONDS, _metadata(said, issuer))
        return self._metadata[1]

    async def authorization_url(self, query: Mapping[str, str]) -> str:
        """The address at which a browser signs in. Raises TargetUnavailable."""
        where = (await self.metadata()).authorization
        return where + ("&" if urlsplit(where).query else "?") + urlencode(query, quote_via=quote)

    async def exchange(self, code: str, verifier: str, redirect_uri: str) -> Answer:
        """What a code is exchanged for. Raises idtokens.Refused, TargetUnavailable."""
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": redirect_uri}
        return await self._token({**form, "code_verifier": verifier})

    async def refresh(self, refresh_token: str) -> Answer:
        """The same of a refresh token; without a new one the old one goes on. Raises idtokens.Refused,
        TargetUnavailable."""
        found = await self._token({"grant_type": "refresh_token", "refresh_token": refresh_token})
        return found if found.refresh_token else found._replace(refresh_token=refresh_token)

    async def claims(self, token: str, audience: str | None = None) -> dict[str, Any]:
        """The claims of a token that this provider signed for an audience, which is this client unless another one is
        given. Raises idtokens.Refused, TargetUnavailable."""
        algorithm, kid = idtokens.header_of(token)
        key = idtokens.fitting(await self._public_keys(), algorithm, kid)
        if key is None:
            key = idtokens.fitting(await self._public_keys(unknown=True), algorithm, kid)
        if key is None:
            raise idtokens.Refused("The provider signed with a key that it does not publish.")
        wanted = self._settings.oidc_client_id if audience is None else audience
        return idtokens.read(token, key, algorithm, self._settings.oidc_issuer, wanted, clock.now_ns())

    async def userinfo(self, access_token: str) -> dict[str, Any]:
        """What it tells of whom an access token is for; nothing when it has no such endpoint. Raises like `claims`."""
        where = (await self.metadata()).userinfo
        if not where or not access_token:
            return {}
        return await self._json("GET", where, {"authorization": f"Bearer {access_token}"})

    async def aclose(self) -> None:
        if self._http is not None:
            await self._http.aclose()

    # -- requests ------------------------------------------------------------------------------------------

    async def _public_keys(self, *, unknown: bool = False) -> list[idtokens.Key]:
        """Its keys, at most KEYS_SECONDS old; with `unknown` looked for again, but not for every stranger's token."""
        async with self._lock:
            stale = self._keys is None or self._keys[0] <= self._now()
            if stale or (unknown and self._looked_at + UNKNOWN_SECONDS <= self._now()):
                found = await self._json("GET", (await self.metadata()).keys, {})
                self._looked_at = self._now()
                self._keys = (self._now() + KEYS_SECONDS, idtokens.keys_of(found))
            assert self._keys is not None
            return self._keys[1]

    async def _token(self, form: dict[str, str]) -> Answer:
        known = await self.metadata()
        client, secret = self._settings.oidc_client_id, await asyncio.to_thread(self._secret)
        headers = {"content-type": "application/x-www-form-urlencoded"}
        if secret and known.takes_basic:
            pair = f"{quote_plus(client)}:{quote_plus(secret)}"
            headers["authorization"] = "Basic " + base64.b64encode(pair.encode()).decode()
        else:
            form = {**form, "client_id": client, **({"client_secret": secret} if secret else {})}
        said = await self._json("POST", known.token, headers, urlencode(form).encode())
        return Answer(*(_text(said, name) for name in ("id_token", "access_token", "refresh_token")))

    async def _json(
        self, method: str, url: str, headers: Mapping[str, str], content: bytes | None = None
    ) -> dict[str, Any]:
        """A JSON object. Raises idtokens.Refused when the provider says no (4xx), TargetUnavailable for all else."""
        place = f"The provider at {urlsplit(url).netloc}"
        try:
            reply = await self._client().request(
                method,
                url,
                headers={"accept": "application/json", **headers},
                content=content,
                deadline_seconds=SECONDS,
                max_bytes=MOST_BYTES,
            )
        except (errors.JobFailed, errors.Forbidden) as error:
            raise errors.TargetUnavailable(
                f"{place} cannot be asked: {error.message}.",
                hint="Compare oidc_issuer; an address of a private network takes oidc_allow, a certificate of your own"
                " oidc_ca_file.",
            ) from error
        try:
            said = orjson.loads(reply.body)
        except orjson.JSONDecodeError:
            said = None
        if 400 <= reply.status < 500 and reply.status not in (404, 408, 429):
            why = _text(said, "error") if isinstance(said, dict) else ""
            raise idtokens.Refused(f"{place} refuses: {errors.shorten(why or str(reply.status), 60)}.")
        if reply.status != 200 or not isinstance(said, dict):
            raise errors.TargetUnavailable(
                f"{place} answered {reply.status} where it should tell of itself.", hint="Compare oidc_issuer."
            )
        return said

    def _client(self) -> egress.Egress:
        if self._http is None:
            from core.guard import egress

            self._http = egress.Egress(
                (*self._settings.egress_allow, *self._settings.oidc_allow), tls=_tls(self._settings.oidc_ca_file)
            )
        return self._http

    def _secret(self) -> str:
        path = self._settings.oidc_client_secret_file
        if path is None:
            return ""
        try:
            with path.open("rb") as file:
                if os.fstat(file.fileno()).st_mode & 0o077:
                    raise errors.TargetUnavailable(
                        f"Others can read the secret of oidc_client_secret_file ({path}).", hint=f"chmod 600 {path}"
                    )
                return file.read(MOST_SECRET_BYTES).decode().strip()
        except (OSError, ValueError) as error:
            raise errors.TargetUnavailable(
                f"The file of oidc_client_secret_file cannot be read ({path}).", hint="Look at the file."
            ) from error


def _metadata(said: Mapping[str, Any], issuer: str) -> Metadata:
    """Raises TargetUnavailable for a document of another issuer, or with addresses that are none of it."""
    if said.get("issuer") != issuer:
        raise errors.TargetUnavailable(
            f"The provider calls itself {errors.shorten(ascii(said.get('issuer')), 100)}, and the setting oidc_issuer"
            f" {errors.shorten(issuer, 100)}.",
            hint="Both have to be alike, down to a last slash.",
        )
    places = {name: _text(said, name) for name in (*_ENDPOINTS, "userinfo_endpoint")}
    secure = urlsplit(issuer).scheme == "https"
    for name, place in places.items():
        if (place or name in _ENDPOINTS) and not place.startswith(("https://",) if secure else ("https://", "http://")):
            raise errors.TargetUnavailable(f"The {name} of the provider is not an https:// address.")
    methods = said.get("token_endpoint_auth_methods_supported", ["client_secret_basic"])
    return Metadata(
        issuer,
        places["authorization_endpoint"],
        places["token_endpoint"],
        places["jwks_uri"],
        places["userinfo_endpoint"],
        said.get("authorization_response_iss_parameter_supported") is True,
        isinstance(methods, list) and "client_secret_basic" in methods,
    )


def _text(said: Mapping[str, Any], name: str) -> str:
    found = said.get(name)
    return found if isinstance(found, str) else ""


def _tls(ca_file: Path | None) -> ssl.SSLContext | None:
    if ca_file is None:
        return None
    context = ssl.create_default_context()
    try:
        context.load_verify_locations(cafile=ca_file)
    except (OSError, ssl.SSLError) as error:
        raise errors.TargetUnavailable(
            f"The setting oidc_ca_file names {ca_file}, which holds no certificates: {error}.",
            hint="It is a PEM file with the certificate of the provider or of its authority.",
        ) from error
    return context
