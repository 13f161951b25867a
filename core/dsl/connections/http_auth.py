"""How an outgoing request proves who sends it: the `auth` block of the HTTP inputs and outputs.

Values come from templates (`${secret|scope/name}`, `${dyn|NAME}`), are filled in for each request, and are never
written to a log or a message.
"""

from __future__ import annotations

import base64
from typing import Annotated, ClassVar, Literal, Protocol, Self
from urllib.parse import quote, urlencode

import orjson
from pydantic import AfterValidator, Field, model_validator

from core import clock
from core.dsl.component import Config, Env, Event, Run
from core.dsl.connections.retry import Temporary
from core.dsl.language import needs, templates
from core.errors import Forbidden, JobFailed, shorten
from core.guard import addresses, dialing, egress

MOST_TOKEN_BYTES = 256 * 1024  # of the answer of a token endpoint
EARLY_SECONDS = 30.0  # a token is replaced this long before it ends
UNTOLD_SECONDS = 300.0  # how long a token is used whose answer does not tell its end


def check_static_url(url: str) -> str:
    """Validate what can be known of an address before it is filled in.

    Raises ValueError when it can never be allowed.
    """
    if templates.parse(url) == [url] and "{{" not in url:
        try:
            addresses.check_url(url)
        except Forbidden as error:
            raise ValueError(error.message) from error
    return url


Url = Annotated[templates.Text, AfterValidator(check_static_url), needs.URL]
"""A document key that holds an address to send requests to."""


class Basic(Config):
    """HTTP basic authentication."""

    username: templates.Text
    """The user name."""
    password: templates.Text
    """The password; give it as `${secret|…}` or `${dyn|…}`, not as text."""


class Bearer(Config):
    """A bearer token."""

    scalar: ClassVar[str] = "token"

    token: templates.Text
    """The token; give it as `${secret|…}` or `${dyn|…}`, not as text."""


class ApiKey(Config):
    """A key in a header or in a parameter of the address."""

    scalar: ClassVar[str] = "key"

    key: templates.Text
    """The key; give it as `${secret|…}` or `${dyn|…}`, not as text."""
    name: str = Field(default="x-api-key", min_length=1, max_length=256)
    """The name of the header or parameter."""
    in_: Literal["header", "query"] = "header"
    """Where the other side expects it."""
    prefix: str = Field(default="", max_length=64)
    """What stands before the key, as in `Token `."""


class OAuth2(Config):
    """A bearer token that is fetched with a client's own credentials, kept until it ends, and fetched again."""

    token_url: Url
    """The token endpoint."""
    client_id: templates.Text
    """The id of the client."""
    client_secret: templates.Text
    """The secret of the client; give it as `${secret|…}` or `${dyn|…}`, not as text."""
    scopes: tuple[str, ...] = ()
    """The scopes to ask for."""
    parameters: dict[str, templates.Text] = Field(default_factory=dict)
    """Further parameters of the token request, as `audience`."""
    credentials_in: Literal["header", "body"] = "header"
    """Send id and secret by basic authentication, or in the body."""


class Auth(Config):
    """How to authenticate: exactly one of basic, bearer, api-key and oauth2."""

    basic: Basic | None = None
    """User name and password."""
    bearer: Bearer | None = None
    """A token."""
    api_key: ApiKey | None = None
    """A key in a header or parameter."""
    oauth2: OAuth2 | None = None
    """A token of an OAuth 2.0 server (client credentials grant)."""

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if sum(one is not None for one in (self.basic, self.bearer, self.api_key, self.oauth2)) != 1:
            raise ValueError("auth has exactly one of basic, bearer, api-key and oauth2")
        return self


class Proof(Protocol):
    """What an opened `auth` block does."""

    async def put(self, headers: dict[str, str], query: dict[str, str], event: Event, run: Run) -> None:
        """Add what proves the sender. Raises like a request."""

    def refused(self) -> bool:
        """The other side answered 401; whether a second try would send something else."""


def open_auth(auth: Auth | None, env: Env, client: egress.Egress, deadline_seconds: float) -> Proof:
    """The opened form of a block."""
    if auth is None:
        return _Nothing()
    if auth.oauth2 is not None:
        return _Token(auth.oauth2, env, client, deadline_seconds)
    return _Filled(auth, env)


def basic(username: str, password: str) -> str:
    """The value of the header for basic authentication."""
    return f"Basic {base64.b64encode(f'{username}:{password}'.encode()).decode()}"


def filled(secret: templates.Render, where: str, event: Event, run: Run) -> str:
    """A secret as text. Raises JobFailed when it is empty: a variable that is not set would only be told as a 401."""
    text = secret(event, run)
    if not text:
        raise JobFailed(f"{where}: the secret is empty", hint="is the variable set that it is read from?")
    return text


class _Nothing:
    async def put(self, headers: dict[str, str], query: dict[str, str], event: Event, run: Run) -> None:
        pass

    def refused(self) -> bool:
        return False


class _Filled(_Nothing):
    """Basic, bearer and api-key: templates."""

    def __init__(self, auth: Auth, env: Env) -> None:
        self._basic = None
        self._in, self._name, self._prefix = "header", "authorization", "Bearer "
        if auth.basic is not None:
            self._basic = templates.template(auth.basic.username, env)
            secret = auth.basic.password
        elif auth.bearer is not None:
            secret = auth.bearer.token
        else:
            assert auth.api_key is not None
            self._in, self._name, self._prefix = auth.api_key.in_, auth.api_key.name, auth.api_key.prefix
            secret = auth.api_key.key
        self._secret = templates.template(secret, env)

    async def put(self, headers: dict[str, str], query: dict[str, str], event: Event, run: Run) -> None:
        secret = filled(self._secret, "auth", event, run)
        if self._basic is not None:
            headers["authorization"] = basic(self._basic(event, run), secret)
        elif self._in == "header":
            headers[self._name.lower()] = self._prefix + secret
        else:
            query[self._name] = self._prefix + secret


class _Token:
    """OAuth 2.0 client credentials: one token for all requests of an input or output."""

    def __init__(self, config: OAuth2, env: Env, client: egress.Egress, deadline_seconds: float) -> None:
        self._config = config
        self._client = client
        self._deadline_seconds = deadline_seconds
        self._url = templates.template(config.token_url, env)
        self._id = templates.template(config.client_id, env)
        self._secret = templates.template(config.client_secret, env)
        self._parameters = {name: templates.template(value, env) for name, value in config.parameters.items()}
        self._token = ""
        self._until = 0.0  # monotonic

    async def put(self, headers: dict[str, str], query: dict[str, str], event: Event, run: Run) -> None:
        if not self._token or clock.monotonic() >= self._until:
            await self._fetch(event, run)
        headers["authorization"] = f"Bearer {self._token}"

    def refused(self) -> bool:
        self._token = ""
        return True

    async def _fetch(self, event: Event, run: Run) -> None:
        form = {"grant_type": "client_credentials"}
        if self._config.scopes:
            form["scope"] = " ".join(self._config.scopes)
        form.update({name: fill(event, run) for name, fill in self._parameters.items()})
        headers = {"content-type": "application/x-www-form-urlencoded", "accept": "application/json"}
        client_id, secret = self._id(event, run), filled(self._secret, "auth", event, run)
        if self._config.credentials_in == "header":  # RFC 6749 2.3.1: both are form-encoded first
            headers["authorization"] = basic(quote(client_id, safe=""), quote(secret, safe=""))
        else:
            form |= {"client_id": client_id, "client_secret": secret}
        try:
            reply = await self._client.request(
                "POST",
                self._url(event, run),
                headers=headers,
                content=urlencode(form).encode(),
                deadline_seconds=self._deadline_seconds,
                max_bytes=MOST_TOKEN_BYTES,
            )
        except dialing.Unreachable as error:
            raise Temporary(f"the token endpoint: {error.message}", hint=error.hint, undone=True) from error
        self._take(reply)

    def _take(self, reply: egress.Reply) -> None:
        if reply.status in (408, 429) or reply.status >= 500:
            raise Temporary(f"the token endpoint answered {reply.status}", undone=True)
        try:
            answer = orjson.loads(reply.body)
        except orjson.JSONDecodeError:
            answer = None
        answer = answer if isinstance(answer, dict) else {}
        if reply.status != 200:
            why = shorten(answer.get("error") or "no error code", 80)
            raise JobFailed(f"the token endpoint answered {reply.status}: {why}", hint="see client-id and secret")
        token, seconds = answer.get("access_token"), answer.get("expires_in")
        if not isinstance(token, str) or not token:
            raise JobFailed("the answer of the token endpoint has no access_token")
        lasts = float(seconds) if isinstance(seconds, int | float) and seconds > 0 else UNTOLD_SECONDS
        self._token, self._until = token, clock.monotonic() + max(lasts - EARLY_SECONDS, lasts / 2)
