"""The http-poll input: the answer of an HTTP request as events, once or at every firing."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from typing import Annotated, Any, ClassVar, Literal, Self
from urllib.parse import urlencode

import orjson
from pydantic import AfterValidator, Field, field_validator, model_validator

from core.dsl import egress, expand, http, select
from core.dsl.component import REGISTRY, Batch, Config, Env, Event, Run
from core.dsl.duration import Duration
from core.dsl.inputs import lines
from core.dsl.retry import Retry, attempt
from core.dsl.select import Selector
from core.errors import JobFailed, shorten


class Response(Config):
    """What of the answer goes into the events besides the body."""

    status_field: Selector | None = None
    """Put the status here; then every status is an event and none is a fault."""
    headers_field: Selector | None = None
    """Put the headers here, as an object."""


@REGISTRY.register("http-poll")
class HttpPoll(lines.TextInput):
    """Request a URL and make events of the answer. Without a trigger it does so once.

    A JSON object is one event, a JSON array one for each element, text one for each line. When the other side cannot
    be reached or answers with anything but a success, and `retry` does not help, the job fails and is restarted.
    """

    spellings: ClassVar = {"ignore-line-breaks": "ignore-linebreaks", "address": "url"}
    example: ClassVar[str] = """
name: poll
input:
  http-poll: {url: "https://example.com/status.json", trigger: {interval: 60s}, retry: {retries: 3}}
output: {print: STDOUT}
"""

    url: Annotated[expand.Text, AfterValidator(http.check_static_url)]
    """The address, http or https, without user name and password."""
    method: Literal["get", "post", "put", "patch", "delete", "options", "head"] = "get"
    """The method of the request."""
    headers: dict[str, expand.Text] = Field(default_factory=dict)
    """Headers of the request."""
    query: dict[str, expand.Text] = Field(default_factory=dict)
    """Parameters that are added to the address."""
    body: expand.Text | None = None
    """The body as text."""
    form_urlencoded_body: dict[str, expand.Text] | None = None
    """The body as a form."""
    auth: http.Auth | None = None
    """Basic or bearer authentication."""
    response: Response = Response()
    """What of the answer goes into the events besides the body."""
    payload_mode: Literal["auto", "json", "raw", "binary"] = "auto"
    """How to read the body: by its content type, as JSON, as text, or as base64 in `_raw`."""
    document_mode: bool = False
    """The whole answer is one document, which ends a batch of the output with `mode: document`."""
    events_field: Selector | None = None
    """The field of a JSON answer that holds the array of events."""
    timeout: Duration = 30.0
    """Give up a request after this time."""
    retry: Retry | None = None
    """Try again on connection faults and on the statuses 408, 429 and 5xx."""
    insecure: bool = False
    """Accept any TLS certificate."""

    @field_validator("method", mode="before")
    @classmethod
    def _lower(cls, value: object) -> object:
        return value.lower() if isinstance(value, str) else value

    @model_validator(mode="after")
    def _one_body(self) -> Self:
        if self.body is not None and self.form_urlencoded_body is not None:
            raise ValueError("there can be one of body and form-urlencoded-body")
        return self

    def open(self, env: Env) -> HttpPollSource:
        return HttpPollSource(self, env)


class HttpPollSource:
    """One request for each firing; the answer is bounded and in memory."""

    def __init__(self, config: HttpPoll, env: Env) -> None:
        self._config = config
        self._env = env
        self._client = egress.Egress(env.limits.egress_allow, insecure=config.insecure)
        self._url = expand.template(config.url, env)
        self._headers = http.headers(config.headers, config.auth, env)
        self._query = http.texts(config.query, env)
        self._body = expand.template(config.body, env) if config.body is not None else None
        self._form = http.texts(config.form_urlencoded_body, env) if config.form_urlencoded_body is not None else None

    async def batches(self, run: Run) -> AsyncIterator[Batch]:
        reply = await attempt(self._config.retry, self._env, "http-poll", lambda: self._request(run))
        run.bytes_in += len(reply.body)
        events = self._events(reply, run)
        self._add_response(events, reply, run)
        size = len(events) or 1 if self._config.document_mode else 1000
        for at in range(0, max(len(events), 1), size):
            yield Batch(events[at : at + size], document_end=at + size >= len(events))

    async def _request(self, run: Run) -> egress.Reply:
        config = self._config
        headers, content = self._headers({}, run), None
        if self._body is not None:
            content = self._body({}, run).encode()
        elif self._form is not None:
            content = urlencode(self._form({}, run)).encode()
            headers.setdefault("content-type", "application/x-www-form-urlencoded")
        url = self._url({}, run)
        reply = await http.send(
            self._client,
            config.method.upper(),
            url,
            headers=headers,
            content=content,
            deadline_seconds=config.timeout,
            params=self._query({}, run),
        )
        if config.response.status_field is None:
            http.judge(reply, url)
        return reply

    def _events(self, reply: egress.Reply, run: Run) -> list[Event]:
        config, body = self._config, reply.body
        if config.payload_mode == "binary":
            return [{lines.RAW: base64.b64encode(body).decode()}]
        kind = reply.header("content-type").split(";")[0].strip().lower()
        is_json = kind == "application/json" or kind.endswith("+json")
        if config.events_field is not None:
            return self._from_field(config.events_field, body)
        if config.payload_mode == "json" or config.json_ or (config.payload_mode == "auto" and is_json):
            try:
                value = orjson.loads(body)
            except orjson.JSONDecodeError:
                return lines.from_text(body, True, config.ignore_linebreaks, self._env, run, "http-poll")
            return [_as_event(one) for one in (value if type(value) is list else [value])]
        return lines.from_text(body, False, config.ignore_linebreaks, self._env, run, "http-poll")

    def _from_field(self, field: str, body: bytes) -> list[Event]:
        try:
            value = select.find(orjson.loads(body), select.parse(field))
        except orjson.JSONDecodeError as error:
            raise JobFailed(f"http-poll: the answer is not JSON: {error.msg}") from error
        if type(value) is not list:
            raise JobFailed(f"http-poll: the answer has no array in {shorten(field)}")
        return [_as_event(one) for one in value]

    def _add_response(self, events: list[Event], reply: egress.Reply, run: Run) -> None:
        response = self._config.response
        if response.status_field is None and response.headers_field is None:
            return
        if not events:  # an answer without a body still has a status
            events.append({})
        for field, value in ((response.status_field, reply.status), (response.headers_field, dict(reply.headers))):
            if field is None:
                continue
            put = select.setter(select.parse(field))
            for event in events:
                try:
                    put(event, value)
                except ValueError as error:
                    run.refuse(self._env, f"http-poll: {error}")

    async def close(self) -> None:
        await self._client.aclose()


def _as_event(value: Any) -> Event:
    return value if type(value) is dict else {lines.RAW: value}
