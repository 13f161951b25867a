"""The http-poll input: the answer of an HTTP request as events, once or at every firing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated, Any, ClassVar, Literal, Self
from urllib.parse import urlencode

import orjson
from pydantic import WithJsonSchema, field_validator, model_validator

from core.dsl.component import REGISTRY, Batch, Config, Env, Event, Run
from core.dsl.connections import http
from core.dsl.events import select
from core.dsl.events.select import MISSING, Selector
from core.dsl.inputs import lines
from core.dsl.inputs.groups import Group, marked
from core.dsl.inputs.pagination import Page, Pages, Pagination, Place
from core.dsl.language import templates
from core.errors import JobFailed, shorten
from core.guard import egress

EVENTS_PER_BATCH = 1000


class Response(Config):
    """Where the parts of the answer go in its events."""

    status_field: Selector | None = None
    """Put the status here; then every status makes events and none is a fault."""
    headers_field: Selector | None = None
    """Put the headers here, as an object; of a header that comes several times the values are joined by commas."""
    body_field: Selector | None = None
    """Put what the body gives here: each event then is an object with only this field (and those above)."""


_METHODS = "get post put patch delete options head GET POST PUT PATCH DELETE OPTIONS HEAD".split()


@REGISTRY.register("http-poll")
class HttpPoll(http.Authenticated, lines.TextInput):
    """Request a URL and make events of the answer. Without a trigger it does so once; it remembers nothing.

    A JSON object is one event, a JSON array one for each element (an element that is no object comes in `_raw`), text
    one for each line; an empty body gives none. A body that is not what `json` promises stays as text in `_raw`, and
    bytes that are not UTF-8 are replaced; both are counted as errors. An answer has at most 32 MiB, also unpacked
    when it comes as gzip. When the other side cannot be reached, breaks off (also within gzip), redirects, or answers
    with anything but a success, and `retry` does not help, the job fails and is restarted.
    """

    spellings: ClassVar = {"ignore-line-breaks": "ignore-linebreaks", "address": "url"}
    connects_to: ClassVar[str] = "HTTP server"
    example: ClassVar[str] = """
name: poll
input:
  http-poll:
    url: https://example.com/api/orders
    trigger: {interval: 60s}
    headers: {accept: application/json}
    events-field: items
    pagination: {cursor: {field: next_cursor}}
    retry: {retries: 3}
output: {print: STDOUT}
"""

    method: Annotated[
        Literal["get", "post", "put", "patch", "delete", "options", "head"],
        WithJsonSchema({"enum": _METHODS}),
    ] = "get"
    """The method of the request."""
    body: templates.Text | None = None
    """The body as text."""
    form_urlencoded_body: dict[str, templates.Text] | None = None
    """The body as a form."""
    response: Response = Response()
    """Where the parts of the answer go in its events."""
    payload_mode: Literal["auto", "json", "raw", "binary"] = "auto"
    """How to read the body: by its content type, as JSON, as text, or as base64 in `_raw`."""
    document_mode: bool = False
    """The whole answer is one document, which ends a batch of the output with `mode: document`."""
    events_field: Selector | None = None
    """The field of a JSON answer that holds the array of events. A missing field or one that is no array fails the
    job."""
    pagination: Pagination | None = None
    """Go on with the next pages of the answer."""
    batch: Group | None = None
    """Mark the events of each firing as a group."""

    @field_validator("method", mode="before")
    @classmethod
    def _lower(cls, value: object) -> object:
        return value.lower() if isinstance(value, str) else value

    @model_validator(mode="after")
    def _one_body(self) -> Self:
        if self.body is not None and self.form_urlencoded_body is not None:
            raise ValueError("there can be one of body and form-urlencoded-body")
        return self

    def effect_of_reading(self) -> str:
        return "" if self.method in ("get", "head", "options") else f"a {self.method} request may change something"

    def open(self, env: Env) -> HttpPollSource:
        return HttpPollSource(self, env)


class HttpPollSource:
    """One request for each page of each firing; one answer at a time is in memory."""

    def __init__(self, config: HttpPoll, env: Env) -> None:
        self._config = config
        self._env = env
        self._client = http.Client(config, env, "http-poll", auth=config.auth, whole_answers=True)
        self._body = templates.template(config.body, env) if config.body is not None else None
        self._form = http.texts(config.form_urlencoded_body, env) if config.form_urlencoded_body is not None else None

    def batches(self, run: Run) -> AsyncIterator[Batch]:
        return marked(self._config.batch, self._pages(run), run, self._env)

    async def _pages(self, run: Run) -> AsyncIterator[Batch]:
        pages = Pages(self._config.pagination, self._client.url({}, run))
        while pages.place is not None:
            reply = await self._request(pages.place, run)
            run.bytes_in += len(reply.body)
            document = self._document(reply)
            events = self._events(reply, document, run)
            pages.advance(Page(document, ", ".join(v for k, v in reply.headers if k == "link"), len(events)))
            if pages.cut_short:
                self._env.log("warning", "http-poll: there are more pages than max-pages; the rest was not read")
            self._add_response(events, reply, run)
            size = max(len(events), 1) if self._config.document_mode else EVENTS_PER_BATCH
            for at in range(0, max(len(events), 1), size):
                yield Batch(events[at : at + size], document_end=pages.place is None and at + size >= len(events))

    async def _request(self, place: Place, run: Run) -> egress.Reply:
        headers: dict[str, str] = {}
        content = None
        if self._body is not None:
            content = self._body({}, run).encode()
        elif self._form is not None:
            content = urlencode(self._form({}, run)).encode()
            headers["content-type"] = "application/x-www-form-urlencoded"
        return await self._client.send(
            self._config.method.upper(),
            place.url,
            {},
            run,
            content=content,
            headers=headers,
            query=place.query,
            judge=http.check_success if self._config.response.status_field is None else _take_any,
        )

    def _document(self, reply: egress.Reply) -> Any:
        """The JSON of an answer, or MISSING when it is to be read as anything else."""
        config = self._config
        kind = reply.header("content-type").split(";")[0].strip().lower()
        is_json = kind == "application/json" or kind.endswith("+json")
        needed = config.events_field is not None or (config.pagination is not None and config.pagination.reads_body)
        promised = config.payload_mode == "json" or config.json_ or (config.payload_mode == "auto" and is_json)
        if not (needed or promised):
            return MISSING
        try:
            return orjson.loads(reply.body)
        except orjson.JSONDecodeError as error:
            if config.events_field is not None:
                raise JobFailed(f"http-poll: the answer is not JSON: {error.msg}") from error
            return MISSING

    def _events(self, reply: egress.Reply, document: Any, run: Run) -> list[Event]:
        config = self._config
        if config.events_field is not None:
            value = select.find(document, select.parse(config.events_field))
            if type(value) is not list:
                raise JobFailed(f"http-poll: the answer has no array in {shorten(config.events_field)}")
            return [_as_event(one) for one in value]
        if config.payload_mode == "binary":
            return lines.from_bytes(reply.body)
        if config.payload_mode == "raw":
            return lines.from_text(reply.body, False, config.ignore_linebreaks, self._env, run, "http-poll")
        if document is not MISSING:
            return [_as_event(one) for one in (document if type(document) is list else [document])]
        promised = config.payload_mode == "json" or config.json_
        return lines.from_text(reply.body, promised, config.ignore_linebreaks, self._env, run, "http-poll")

    def _add_response(self, events: list[Event], reply: egress.Reply, run: Run) -> None:
        response = self._config.response
        added: list[tuple[str, Any]] = []
        if response.status_field is not None:
            added.append((response.status_field, reply.status))
        if response.headers_field is not None:
            added.append((response.headers_field, http.joined(reply.headers)))
        if added and not events:  # an answer without a body still has a status
            events.append({})
        if response.body_field is not None:
            put = select.setter(select.parse(response.body_field))
            for at, event in enumerate(events):
                events[at] = {}
                put(events[at], event[lines.RAW] if event.keys() == {lines.RAW} else event)
        for field, value in added:
            put = select.setter(select.parse(field))
            for event in events:
                try:
                    put(event, value)
                except ValueError as error:
                    run.refuse(self._env, f"http-poll: {error}")

    async def close(self) -> None:
        await self._client.aclose()


def _take_any(reply: egress.Reply, where: str) -> None:
    """Every status is an answer."""


def _as_event(value: Any) -> Event:
    return value if type(value) is dict else {lines.RAW: value}
