"""The http action: an HTTP call for each event, whose answer becomes a field."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial
from typing import Annotated, Any, ClassVar, Literal, Self

import orjson
from pydantic import Field, WithJsonSchema, field_validator, model_validator

from core.dsl.component import REGISTRY, Config, Env, Event, Run
from core.dsl.connections import calls, http, resource
from core.dsl.connections.answers import Answer
from core.dsl.connections.calls import Caller, CallFailed, Calling, Why
from core.dsl.connections.http_auth import Auth
from core.dsl.connections.retry import Temporary, attempt
from core.dsl.events import select, values
from core.dsl.events.codegen import Warn
from core.dsl.events.select import MISSING, Selector
from core.dsl.language import templates
from core.dsl.language.action import Each, EventFault, Settled, Waiter, WaitingAction
from core.errors import Forbidden, JobFailed, shorten
from core.guard import egress
from core.model.letter import Code

_METHODS = "get post put patch delete options head GET POST PUT PATCH DELETE OPTIONS HEAD".split()
_REPEATABLE = frozenset(("get", "put", "delete", "options", "head"))  # RFC 9110 9.2.2
_WITH_BODY = frozenset(("post", "put", "patch"))


class Response(Config):
    """Where the parts of the answer go in the event."""

    body_field: Selector = "response"
    """Put the body here: JSON as its value, anything else as text, null for none."""
    status_field: Selector | None = None
    """Put the status here; then every status is an answer and none a fault, 408, 429 and 5xx after their retries."""
    headers_field: Selector | None = None
    """Put the headers here, as an object; of a header that comes several times the values are joined by commas."""
    format: Literal["auto", "json", "text"] = "auto"
    """How to read the body: `auto` by its content type, `json` (anything else is a fault), `text`."""


class Together(Config):
    """Several events in one request, whose bodies are a JSON array."""

    fixed_size: int = Field(default=20, ge=1, le=1000)
    """The most events of one request. What is at hand goes out at once; nothing waits for more."""
    answers_field: Selector | None = None
    """The field of the answer with the array of answers, one for each event in their order. Left out: the answer is
    that array."""


def _reads_event(value: Any) -> bool:
    """Whether something of an event or a message is filled in somewhere in a value."""
    if isinstance(value, str):
        return any(isinstance(p, templates.Lookup) and p.source in ("event", "msg") for p in templates.parse(value))
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
    return any(_reads_event(one) for one in inner)


@REGISTRY.register("http")
class Http(http.Authenticated, Calling, WaitingAction):
    """Make an HTTP request for each event, and put the answer into a field of it.

    Several calls are in flight at once, among the events that came in together; the events keep their order. The host
    is the document's: a value in the path fills one segment, percent-encoded, and an event is refused whose value is
    empty there, `.` or `..`. Secrets may stand in `headers` and `auth` alone. Redirects are not followed.

    `retry` tries again after connection faults and the statuses 408, 429 and 5xx, not before the time that the other
    side asks for with Retry-After: with `get`, `head`, `options`, `put` and `delete`, and with `post` and `patch` when
    there is an `idempotency-key`, otherwise only after a 429 or when there was no connection. 401, 403, 407 and what is
    still down then are outages, of which no event is at fault; another 3xx or 4xx, an answer that is too long or not
    what `format` says, and values that make no request are faults of that event: see `on-error`. A call may be made
    twice for one event: when its run fails, its events come again. A trace makes no call, and says which it would make.
    """

    elsewhere: ClassVar = {
        "output-field": "response: {body-field: NAME}",
        "response-field": "response: {body-field: NAME}",
        "status-field": "response: {status-field: NAME}",
    }
    spellings: ClassVar = {"address": "url"}
    connects_to: ClassVar[str] = "HTTP server"
    example: ClassVar[str] = """
name: owners
input: {echo: {event: '{"host": "db1"}', json: true}}
actions:
  - http:
      url: "https://example.com/hosts/${host}"
      headers: {accept: application/json}
      response: {body-field: owner, format: json}
      concurrency: 8
      rate-limit: 50/s
      cache: {ttl: 10m, max-entries: 5000}
      retry: {retries: 3}
      on-error: field
      error-field: owner_error
output: {print: STDOUT}
"""

    url: resource.FixedHost
    """The address, http or https. The host is written out, or begins with `${dyn|NAME}`; no event fills it in."""
    method: Annotated[
        Literal["get", "post", "put", "patch", "delete", "options", "head"], WithJsonSchema({"enum": _METHODS})
    ] = "get"
    """The method of the request."""
    body: templates.Structure = None
    """The body: a text, or a JSON value with `${field}` in its texts, whose structure an inserted text cannot change. A
    text in a JSON value that is one `${…}` and nothing else keeps the type of its value. Left out with `post`, `put`
    and `patch`: the event itself."""
    input_field: Selector | None = None
    """Send only this field, as JSON, or a text as it is; an event without it is refused."""
    idempotency_key: templates.Text | None = None
    """The header `Idempotency-Key`, the same for each try of an event, as `${id}`: then `post` and `patch` are tried
    again as well, for the other side does them once."""
    batch: Together | None = None
    """Put several events into one request. Address, parameters and headers then have nothing of an event; when the
    other side refuses the request, each of its events is sent alone to see which."""
    response: Response = Response()
    """Where the parts of the answer go in the event."""
    max_response_bytes: int = Field(default=1024 * 1024, ge=1, le=egress.MOST_RESPONSE_BYTES)
    """The longest answer, also unpacked when it comes as gzip; a longer one is a fault."""

    @field_validator("method", mode="before")
    @classmethod
    def _lower(cls, value: object) -> object:
        return value.lower() if isinstance(value, str) else value

    @field_validator("body", "query", "idempotency_key")
    @classmethod
    def _no_secret(cls, value: Any) -> Any:
        return resource.refuse_secrets(value, "what is sent beside headers")

    @field_validator("auth")
    @classmethod
    def _in_headers(cls, value: Auth | None) -> Auth | None:
        if value is not None and value.api_key is not None and value.api_key.in_ == "query":
            raise ValueError("a key is not put into the address, which many write down; use in: header")
        return value

    @field_validator("timeout")
    @classmethod
    def _bounded(cls, value: float) -> float:
        if not 0 < value <= calls.LONGEST_SECONDS:
            raise ValueError(f"timeout is at most {calls.LONGEST_SECONDS:g}s, and more than nothing")
        return value

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.body is not None and self.input_field is not None:
            raise ValueError("there can be one of body and input-field")
        if self.concurrency * self.max_response_bytes > calls.HELD_BYTES:
            raise ValueError(f"concurrency times max-response-bytes is at most {calls.HELD_BYTES} bytes")
        if self.batch is not None:
            for name, value in (("url", self.url), ("query", self.query), ("headers", self.headers)):
                if _reads_event(value):
                    raise ValueError(f"{name} cannot be filled in from an event when several share a request (batch)")
            if self.idempotency_key is not None:
                raise ValueError("an idempotency-key is of one event, and with batch several share a request")
            if self.method not in _WITH_BODY:
                raise ValueError("batch is for post, put and patch")
        if self.cache is not None and self.auth is not None and _reads_event(self.auth.model_dump()):
            raise ValueError("with a cache, auth has nothing of an event: an answer for one would be given to others")
        return self

    @property
    def most_at_once(self) -> int:
        size = 1 if self.batch is None else self.batch.fixed_size
        return calls.most_at_once(self.concurrency, size, self.max_response_bytes)

    def open(self, env: Env, warn: Warn) -> Waiter:
        return _Calling(self, env, warn)

    def each(self, env: Env, warn: Warn) -> Each:
        """The dry form: tells which call would be made."""
        address, method, field = resource.address(self.url, env), self.method.upper(), self.response.body_field

        def tell(event: Event, run: Run) -> Event:
            try:
                url = address(event, run)
            except http.Unsendable as error:
                raise EventFault(error.message) from error
            told = f"would call {method} {shorten(url, 200)}; a trace makes no call, so {field} is not set"
            env.log("info", told, method=method, url=url)
            return event

        return tell


class _Calling:
    """The calls of one opened action."""

    def __init__(self, config: Http, env: Env, warn: Warn) -> None:
        self._config = config
        self._env = env
        self._caller = Caller(config, env, config.name)
        self._client = http.Client(
            config,
            env,
            config.name,
            auth=config.auth,
            whole_answers=True,
            most_bytes=config.max_response_bytes,
            lanes=True,
        )
        self._url = resource.address(config.url, env)
        self._query = http.texts(config.query, env)
        self._headers = http.texts(config.headers, env)
        filled = templates.template if isinstance(config.body, str) else templates.typed
        self._body = None if config.body is None else filled(config.body, env, warn)
        self._get = None if config.input_field is None else select.getter(select.parse(config.input_field))
        self._key = None if config.idempotency_key is None else templates.template(config.idempotency_key, env, warn)
        keyed = self._key is not None or any(name.lower() == "idempotency-key" for name in config.headers)
        self._repeatable = config.method in _REPEATABLE or keyed
        self._put = _putter(config.response)

    async def work(self, events: list[Event], run: Run, on_settled: Callable[[Settled], None]) -> list[Event | None]:
        size = 1 if self._config.batch is None else self._config.batch.fixed_size
        ask = partial(self._call, run, run.acting)
        return await self._caller.of_events(events, size, run, self._value, ask)

    async def _call(self, run: Run, acting: tuple[str, str], asked: list[tuple[Event, Any]]) -> list[Event | None]:
        status, headers, bodies = await self._answer(asked[0][0], [value for _, value in asked], run)
        out: list[Event | None] = []
        for (event, _), body in zip(asked, bodies, strict=True):
            try:
                self._put(event, (status, headers, body))
                out.append(event)
            except ValueError as error:
                run.fail(self._env, f"http: {error}; the event is refused", event, acting)
                out.append(None)
        return out

    def _value(self, event: Event, run: Run) -> Any:
        """What of an event is sent; MISSING: nothing. Raises Unsendable."""
        if self._body is not None:
            try:
                return self._body(event, run)
            except templates.TextTooLong as error:
                raise http.Unsendable(str(error)) from error
        if self._get is None:
            return event if self._config.method in _WITH_BODY else MISSING
        value = self._get(event)
        if value is MISSING:
            raise http.Unsendable(f"the event has no field {self._config.input_field}", Code.NO_FIELD)
        return value

    async def _answer(self, first: Event, sent: list[Any], run: Run) -> tuple[int, Any, list[Any]]:
        """Status, headers, and the body for each value that is sent. Raises JobFailed with what went wrong."""
        url, content = self._url(first, run), self._content(sent)
        if self._config.cache is None:
            found = (await self._ask(url, content, first, run)).value
        else:
            try:
                asked = [self._query(first, run), self._headers(first, run)]
            except templates.TextTooLong as error:
                raise http.Unsendable(str(error)) from error
            response = self._config.response
            shape = [response.format, response.headers_field is not None]  # others may share the namespace of the cache
            request = [self._config.method, url, *asked, None if content is None else content.decode(), shape]
            found = await self._caller.answer(request, partial(self._ask, url, content, first, run))
        status, headers, body = found
        if self._config.batch is None:
            return status, headers, [body]
        if not 200 <= status < 300:  # an answer to all of them, since there is a field for the status
            return status, headers, [copy.deepcopy(body) for _ in sent]
        return status, headers, self._split(body, len(sent))

    def _content(self, sent: list[Any]) -> bytes | None:
        if self._config.batch is not None:
            return _json(sent)
        (value,) = sent
        if value is MISSING:
            return None
        return value.encode() if type(value) is str else _json(value)

    def _idempotency_key(self, fill: templates.Render, event: Event, run: Run) -> str:
        """Raises Unsendable for one that is empty, and so would be that of many events, or that is no header."""
        try:
            key = fill(event, run).strip()
            egress.check_headers({"idempotency-key": key})
        except (templates.TextTooLong, Forbidden) as error:
            raise http.Unsendable(f"the idempotency-key: {error}") from error
        if not key:
            raise http.Unsendable("the idempotency-key is empty", Code.EMPTY_PLACEHOLDER)
        return key

    async def _ask(self, url: str, content: bytes | None, event: Event, run: Run) -> Answer:
        config = self._config
        headers = {} if content is None else {"content-type": "application/json"}
        if self._key is not None:
            headers["idempotency-key"] = self._idempotency_key(self._key, event, run)
        last: list[egress.Reply] = []

        def judge(reply: egress.Reply, where: str) -> None:
            last[:] = [reply]
            if config.response.status_field is None:
                calls.check_answer(reply, where)
            else:
                http.check_temporary(reply, where)

        async def once() -> egress.Reply:
            await self._caller.begin()
            last.clear()
            try:
                return await self._client.exchange(
                    config.method.upper(), url, event, run, content=content, headers=headers, judge=judge
                )
            except Temporary as fault:
                if self._repeatable or fault.undone:
                    raise
                raise CallFailed(Why.UNREACHABLE, fault.message, hint=fault.hint, status=fault.status) from fault

        try:
            reply = await attempt(config.retry, self._env, config.name, once)
        except JobFailed:
            if config.response.status_field is None or not last:
                raise
            reply = last[0]
        return Answer(self._parsed(reply), 200 <= reply.status < 300)

    def _parsed(self, reply: egress.Reply) -> list[Any]:
        """Status, headers if they are wanted, and the body as a value. Raises CallFailed."""
        response = self._config.response
        kind = reply.header("content-type").split(";")[0].strip().lower()
        body: Any = None
        if reply.body:
            if (
                response.format == "json"
                or (self._config.batch is not None and 200 <= reply.status < 300)
                or (response.format == "auto" and (kind == "application/json" or kind.endswith("+json")))
            ):
                try:
                    body = orjson.loads(reply.body)
                except orjson.JSONDecodeError as error:
                    text = f"the answer is not JSON: {shorten(error.msg, 80)}"
                    raise CallFailed(Why.UNUSABLE, text, status=reply.status) from error
            else:
                try:
                    body = reply.body.decode()
                except UnicodeDecodeError as error:
                    raise CallFailed(Why.UNUSABLE, "the answer is no text in UTF-8", status=reply.status) from error
        elif response.format == "json" and reply.status != 204 and self._config.method != "head":
            raise CallFailed(Why.UNUSABLE, "the answer is empty, and no JSON", status=reply.status)
        return [reply.status, None if response.headers_field is None else http.joined(reply.headers), body]

    def _split(self, body: Any, count: int) -> list[Any]:
        """The answers of a group, one for each event. Raises CallFailed."""
        assert self._config.batch is not None
        field = self._config.batch.answers_field
        found = body if field is None else select.find(body, select.parse(field))
        if type(found) is not list or len(found) != count:
            what = f"{len(found)} answers" if type(found) is list else "no array"
            place = "" if field is None else f" in {field}"
            raise CallFailed(Why.UNUSABLE, f"the answer has {what}{place} for {count} events")
        return found

    async def close(self) -> None:
        await self._client.aclose()


def _putter(response: Response) -> Callable[[Event, tuple[int, Any, Any]], None]:
    """A function that puts (status, headers, body) into an event. It raises ValueError where there is no place."""
    setters = [
        None if field is None else select.setter(select.parse(field))
        for field in (response.status_field, response.headers_field, response.body_field)
    ]

    def put(event: Event, answer: tuple[int, Any, Any]) -> None:
        for setter, value in zip(setters, answer, strict=True):
            if setter is not None:
                setter(event, value)

    return put


def _json(value: Any) -> bytes:
    try:
        return values.to_json(value)
    except ValueError as error:
        raise http.Unsendable(
            f"the body cannot be written as JSON: {shorten(str(error), 100)}", Code.NOT_JSON
        ) from error
