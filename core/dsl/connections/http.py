"""Outgoing requests as a document declares them: the keys of every HTTP input and output, and how they are sent."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from urllib.parse import quote, urlencode

from pydantic import Field, field_validator

from core import clock
from core.dsl.component import Config, Env, Event, Run
from core.dsl.connections.http_auth import Auth, Url, open_auth
from core.dsl.connections.retry import Retry, Temporary, attempt
from core.dsl.language import templates
from core.dsl.language.duration import Duration
from core.errors import Forbidden, JobFailed, shorten
from core.guard import dialing, egress
from core.guard.addresses import MOST_URL_CHARACTERS
from core.model.letter import Code

Texts = Callable[[Event, Run], dict[str, str]]
Judge = Callable[[egress.Reply, str], None]  # the answer and the address for messages
MOST_QUERY = templates.MAX_TEXT // 12  # characters that are short enough, however they are encoded
FAULT_BYTES = 64 * 1024  # of an answer that is only looked at when it tells a fault


class Requests(Config):
    """The keys of a component that sends requests."""

    url: Url
    """The address, http or https, without user name and password. A value that is filled in behind the host is
    percent-encoded, so that it cannot change which resource is meant; a placeholder that is the beginning of the text
    gives the address as it is."""
    headers: dict[str, templates.Text] = Field(default_factory=dict)
    """Headers of the request; their values are never logged."""
    query: dict[str, templates.Text] = Field(default_factory=dict)
    """Parameters that are added to the address."""
    timeout: Duration = 30.0
    """Give up a request after this time."""
    retry: Retry | None = None
    """Try again on connection faults and on the statuses 408, 429 and 5xx, not before the time that the other side
    asks for with Retry-After."""
    insecure: bool = False
    """Accept any TLS certificate."""

    @field_validator("headers")
    @classmethod
    def _names(cls, headers: dict[str, str]) -> dict[str, str]:
        for name in headers:
            try:
                egress.check_headers({name: ""} if "{{" not in name else {})
            except Forbidden as error:
                raise ValueError(error.message) from error
        return headers


class Authenticated(Requests):
    """The same with authentication."""

    auth: Auth | None = None
    """How to authenticate: basic, bearer, api-key or oauth2."""


class Unsendable(JobFailed):
    """The values of an event make no request: nothing was sent, and nobody but that event is at fault."""

    def __init__(self, message: str, refused: Code = Code.TOO_LARGE) -> None:
        super().__init__(message)
        self.refused = refused


class BadAnswer(JobFailed):
    """What came is no answer that can be read: too long, or compressed in a way that nobody asked for."""


class Client:
    """Sends the requests of one opened component.

    With `whole_answers` the body of an answer is read to its end (and unpacked when it is gzip) if it has at most
    `most_bytes`, otherwise only as much as a message about a fault needs.
    """

    def __init__(
        self,
        config: Requests,
        env: Env,
        what: str,
        *,
        auth: Auth | None = None,
        whole_answers: bool = False,
        most_bytes: int = egress.MOST_RESPONSE_BYTES,
        lanes: bool = False,
    ) -> None:
        """`lanes`: each request that is under way at the same time as others has a connection of its own."""
        self._config = config
        self._env = env
        self._what = what
        self._whole = whole_answers
        self._most_bytes = most_bytes if whole_answers else FAULT_BYTES
        self._http = egress.Egress(env.limits.egress_allow, insecure=config.insecure)
        # A pool looks at all of its connections for every request: with 16 that is half of what a request costs.
        self._lanes: list[egress.Egress] | None = [] if lanes else None  # those that are free; the last one used last
        self._headers = texts({name.lower(): value for name, value in config.headers.items()}, env)
        self._query = texts(config.query, env)
        self._proof = open_auth(auth, env, self._http, config.timeout)
        lookups = [part for part in templates.parse(config.url) if isinstance(part, templates.Lookup)]
        self._secret_url = any(lookup.source in ("secret", "cred") for lookup in lookups)
        self._url = url_template(config.url, env)
        self._of_events = [name.lower() for name, value in config.headers.items() if templates.reads_event(value)]

    def url(self, event: Event, run: Run) -> str:
        """The address for an event. Raises Unsendable."""
        try:
            return self._url(event, run)
        except templates.TextTooLong as error:
            raise Unsendable(f"the address: {error}") from error

    async def send(
        self,
        method: str,
        url: str,
        event: Event,
        run: Run,
        *,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        query: Mapping[str, str] | None = None,
        judge: Judge | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 - one of the request, as the key of that name
    ) -> egress.Reply:
        """Send a request, again as `retry` says; arguments and faults are those of `exchange`."""
        once = partial(
            self.exchange,
            method,
            url,
            event,
            run,
            content=content,
            headers=headers,
            query=query,
            judge=judge,
            timeout=timeout,
        )
        return await attempt(self._config.retry, self._env, self._what, once)

    async def exchange(
        self,
        method: str,
        url: str,
        event: Event,
        run: Run,
        *,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        query: Mapping[str, str] | None = None,
        judge: Judge | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 - one of the request, as the key of that name
    ) -> egress.Reply:
        """Send a request once (and once more when its token has ended early).

        `headers` are defaults for what the document does not set, `query` is added to what it sets, `timeout` in
        seconds goes before the document's. `judge` raises for an answer that is no success, by default as
        `check_success`. Raises JobFailed or Forbidden, Unsendable for the event, and Temporary for what may be gone at
        the next try.
        """
        for again in (True, False):
            try:
                sent = {**(headers or {}), **self._headers(event, run)}
                params = {**self._query(event, run), **(query or {})}
                await self._proof.put(sent, params, event, run)
            except templates.TextTooLong as error:
                raise Unsendable(str(error)) from error
            self._check(sent, params, event)
            reply = await self._request(method, url, sent, params, content, timeout)
            if not (reply.status == 401 and again and self._proof.refused()):
                break
        (judge or check_success)(reply, self.without_secrets(url))
        return reply

    def _check(self, headers: Mapping[str, str], params: Mapping[str, str], event: Event) -> None:
        """Raise Unsendable for what the event alone has made impossible; what is the document's is told later."""
        for name in self._of_events if event else ():
            try:
                egress.check_headers({name: headers[name]})
            except Forbidden as error:
                long = len(headers[name]) > egress.MOST_HEADER_CHARACTERS
                raise Unsendable(error.message, Code.TOO_LARGE if long else Code.NO_FIELD) from error
        if sum(map(len, params.values())) > MOST_QUERY and len(urlencode(params)) > templates.MAX_TEXT:
            raise Unsendable(f"the parameters of the address have more than {templates.MAX_TEXT} characters")

    async def _request(
        self,
        method: str,
        url: str,
        headers: dict[str, str],
        params: dict[str, str],
        content: bytes | None,
        seconds: float | None,
    ) -> egress.Reply:
        started = clock.monotonic()
        lane = self._lane()
        try:
            return await lane.request(
                method,
                url,
                headers=headers,
                params=params,
                content=content,
                deadline_seconds=self._config.timeout if seconds is None else seconds,
                max_bytes=self._most_bytes,
                cut=not self._whole,
                inflate=self._whole,
            )
        except dialing.Unreachable as error:
            raise Temporary(
                f"{error.message} (after {clock.monotonic() - started:.1f} s)",
                hint=error.hint,
                undone=error.undone,
            ) from error
        except JobFailed as error:
            raise BadAnswer(error.message, hint=error.hint) from error
        finally:
            if self._lanes is not None:
                self._lanes.append(lane)

    def _lane(self) -> egress.Egress:
        if self._lanes is None:
            return self._http
        if self._lanes:
            return self._lanes.pop()
        return egress.Egress(self._env.limits.egress_allow, insecure=self._config.insecure, connections=1)

    def without_secrets(self, url: str) -> str:
        """An address for messages: without its parameters, and without its path when a secret is part of it."""
        plain = url.split("?")[0].split("#")[0]
        return shorten("/".join(plain.split("/", 3)[:3]) if self._secret_url else plain, 120)

    async def aclose(self) -> None:
        for one in (self._http, *(self._lanes or ())):
            await one.aclose()


def texts(values: Mapping[str, str], env: Env) -> Texts:
    """A map whose values are templates, compiled."""
    fills = {name: templates.template(value, env) for name, value in values.items()}
    return lambda event, run: {name: fill(event, run) for name, fill in fills.items()}


def url_template(text: str, env: Env) -> templates.Render:
    """An address as a template, whose values are percent-encoded unless the first of them is its beginning.

    In the path a slash of a value stays a slash; in the parameters nothing of a value has a meaning.
    """
    parts = templates.pieces(text, env)
    if len(parts) < 2 or not isinstance(parts[0], str):
        return templates.template(text, env)
    made: list[tuple[str, templates.Render | None, str]] = []  # literal text, or a value and what stays in it
    before = ""
    for part in parts:
        if isinstance(part, str):
            before += part
            made.append((part, None, ""))
        else:
            behind = before.partition("://")[2]
            made.append(("", part, "" if "?" in behind or "#" in behind else "/" if "/" in behind else ":[]"))

    def render(event: Event, run: Run) -> str:
        filled = [literal if value is None else quote(value(event, run), safe=safe) for literal, value, safe in made]
        url = "".join(filled)
        if len(url) > MOST_URL_CHARACTERS:
            raise templates.TextTooLong(f"it has more than {MOST_URL_CHARACTERS} characters")
        return url

    return render


def check_success(reply: egress.Reply, where: str) -> None:
    """Raise for a status that is not a success.

    Temporary for 408, 429 and 5xx (with the pause the other side asks for), JobFailed for the others; redirects are
    not followed and so are no success.
    """
    if 200 <= reply.status < 300:
        return
    check_temporary(reply, where)
    if 300 <= reply.status < 400:
        target = shorten(reply.header("location"), 120)
        raise JobFailed(f"{where} redirects to {target} and redirects are not followed", hint="use the final address")
    raise JobFailed(f"{where} answered {reply.status}: {shorten(reply.body.decode(errors='replace'), 120)}")


def check_temporary(reply: egress.Reply, where: str) -> None:
    """Raise Temporary for the statuses 408, 429 and 5xx."""
    if reply.status in (408, 429) or reply.status >= 500:
        raise Temporary(
            f"{where} answered {reply.status}",
            after_seconds=egress.retry_after(reply.header("retry-after")),
            undone=reply.status == 429,  # RFC 6585 4: refused for their number, so nothing was done
            status=reply.status,
        )


def joined(headers: list[tuple[str, str]]) -> dict[str, str]:
    """The headers of an answer by name; of one that comes several times the values are joined by commas."""
    out: dict[str, str] = {}
    for name, value in headers:
        out[name] = f"{out[name]}, {value}" if name in out else value
    return out
