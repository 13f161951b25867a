"""The http-post output: events as the bodies of HTTP requests."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from functools import partial
from typing import Annotated, Any, ClassVar, Literal, Self

import orjson
from pydantic import Field, WithJsonSchema, field_validator, model_validator

from core import clock
from core.dsl.component import REGISTRY, Batch, Env, Output, Run
from core.dsl.connections import http
from core.dsl.events.select import Selector
from core.dsl.files import preprocess
from core.dsl.language import templates
from core.dsl.outputs import batching, content, proxy_capture
from core.errors import JobFailed, shorten
from core.guard import egress
from core.model import frames, trace_context
from core.model.letter import Code

METHODS: Mapping[str, frames.Method] = {"post": "POST", "put": "PUT", "patch": "PATCH"}
MOST_SPANS = 50  # of the requests of one run, that are told


@REGISTRY.register("http-post")
class HttpPost(http.Authenticated, Output):
    """Send each event, or each batch of events, as one request. It counts as delivered when the answer is a success.

    Requests go out one after the other, in order. When the other side cannot be reached or answers 408, 429 or 5xx,
    the request is tried again as `retry` says; then, and at once for any other status or a redirect, the job fails and
    is restarted, and the events are sent again. Address, parameters and headers are filled in from the first event of
    a batch; a field that is missing is an empty text there.

    An event may carry in `trigger_proxy` the envelope of the invocation that started the run. It is not sent; instead
    the answer, of whatever status, is reported in a message `trigger-proxy-response`: the status, some of the headers
    and at most 64 KiB of the body. The request then has no longer than the envelope's `timeout_seconds`.
    """

    spellings: ClassVar = {"address": "url"}
    connects_to: ClassVar[str] = "HTTP server"
    example: ClassVar[str] = """
name: post
input: {echo: {event: '{"id": 7, "text": "hello"}', json: true}}
output:
  http-post:
    url: "https://example.com/hooks/${id}"
    headers: {x-source: "@{job}"}
    body: {message: "${text}"}
    batch: {mode: fixed, fixed-size: 100, timeout: 5s}
    json-array: true
    retry: {retries: 3}
"""

    method: Annotated[
        Literal["post", "put", "patch"],
        WithJsonSchema({"enum": ["post", "put", "patch", "POST", "PUT", "PATCH"]}),
    ] = "post"
    """The method of the request."""
    input_field: Selector | None = None
    """Send only this field; an event without it is counted as an error and not sent."""
    body: templates.Structure = None
    """The body for one event instead of the event itself: a text, or a JSON value with `${field}` in its texts. In a
    JSON value an inserted text cannot change the structure."""
    batch: batching.Batching | None = None
    """Put several events into one request, one line for each."""
    json_array: bool = False
    """Send a batch as one JSON array instead of lines; the same as `wrap-as-json` of the batch."""
    refused_statuses: tuple[Annotated[int, Field(ge=400, le=499)], ...] = ()
    """Statuses with which the receiver refuses the events of a request for good, as [400, 422]: they are left out, and
    of a batch each event is sent alone to see which. 401, 403, 408 and 429 are none of them."""
    trace_context: bool = True
    """Tell the receiver in a header `traceparent` which trace the run belongs to, if its message named one."""
    preprocessors: tuple[preprocess.Encoder, ...] = ()
    """Encode the body, in this order. When gzip is the last one, the header `content-encoding` tells it."""

    @field_validator("refused_statuses")
    @classmethod
    def _of_events(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if others := sorted({401, 403, 408, 429}.intersection(value)):
            raise ValueError(f"{others[0]} says nothing of the events: a credential or a pause is asked for")
        return value

    @field_validator("method", mode="before")
    @classmethod
    def _lower(cls, value: object) -> object:
        return value.lower() if isinstance(value, str) else value

    @model_validator(mode="after")
    def _one_body(self) -> Self:
        if self.body is not None and self.input_field is not None:
            raise ValueError("there can be one of body and input-field")
        if self.json_array and self.batch is not None and (self.batch.header or self.batch.footer):
            raise ValueError("a JSON array has no header and no footer")
        return self

    def open(self, env: Env) -> HttpPostSink:
        return HttpPostSink(self, env)


class HttpPostSink:
    """One request at a time, in order."""

    def __init__(self, config: HttpPost, env: Env) -> None:
        preprocess.require(config.preprocessors)
        self._config = config
        self._env = env
        self._client = http.Client(config, env, "http-post", auth=config.auth)
        self._encode = content.encoder(config.input_field, env, "http-post")
        self._body = templates.structure(config.body, env) if config.body is not None else None
        self._batcher = batching.Batcher(config.batch, self._send)
        self._defaults = {"content-type": _content_type(config)}
        if config.preprocessors and config.preprocessors[-1] == "gzip":
            self._defaults["content-encoding"] = "gzip"

    async def write(self, batch: Batch, run: Run) -> None:
        items: list[batching.Item] = []
        for event in batch.events:
            if self._body is not None:
                body = content.filled(self._body, event, self._env, run, "http-post: body")
                if body is not None:
                    items.append(batching.Item(event, _body_bytes(body)))
            else:
                sent = proxy_capture.without(event) if self._config.input_field is None else event
                items += [batching.Item(event, data) for data in self._encode([sent], run)]
        await self._batcher.add(items, batch, run)

    async def _send(self, groups: list[list[batching.Item]], run: Run) -> None:
        for group in groups:
            await self._send_group(group, run)

    async def _send_group(self, group: list[batching.Item], run: Run) -> None:
        while group:
            first, *rest = group
            try:
                return await self._request(group, run)
            except http.Unsendable as fault:  # the first one fills in the address and the headers of all
                run.leave_out(self._env, fault.refused, f"http-post: {fault.message}", first.event)
                group = rest
            except _Refused as refusal:
                if not rest:
                    return run.leave_out(self._env, Code.REFUSED, f"http-post: {refusal.message}", first.event)
                for item in group:
                    await self._send_group([item], run)
                return

    async def _request(self, group: list[batching.Item], run: Run) -> None:
        first = group[0].event
        data = self._content([item.data for item in group])
        if self._config.preprocessors:  # compressing may take a while: not on the loop
            data = await asyncio.to_thread(preprocess.encode, self._config.preprocessors, data)
        envelopes = [found for item in group if (found := proxy_capture.envelope(item.event)) is not None]
        timeout = min((proxy_capture.seconds(found, self._config.timeout) for found in envelopes), default=None)
        last: list[egress.Reply] = []
        span, started, arrived = trace_context.new_span(), clock.now_ns(), False
        try:
            await self._client.send(
                self._config.method.upper(),
                self._client.url(first, run),
                first,
                run,
                content=data,
                headers=self._headers(run, span),
                timeout=timeout,
                judge=partial(self._judge, last),
            )
            arrived = True
        finally:
            if run.requests is not None and len(run.requests) < MOST_SPANS:
                method, status = METHODS[self._config.method], last[-1].status if last else 0
                run.requests.append(frames.Span(span, started, clock.now_ns(), not arrived, method, status))
            for found in envelopes if last else ():
                await self._env.publish(proxy_capture.message(found, last[-1]))
        run.bytes_out += len(data)

    def _headers(self, run: Run, span: str) -> Mapping[str, str]:
        """What the document does not set itself."""
        if run.trace is None or not self._config.trace_context:
            return self._defaults
        return {**self._defaults, "traceparent": str(run.trace._replace(span_id=span))}

    def _judge(self, last: list[egress.Reply], reply: egress.Reply, where: str) -> None:
        last[:] = [reply]
        if reply.status in self._config.refused_statuses:
            raise _Refused(f"{where} answered {reply.status}: {shorten(reply.body.decode(errors='replace'), 120)}")
        http.check_success(reply, where)

    def _content(self, datas: list[bytes]) -> bytes:
        if self._config.json_array:
            return b"[" + b",".join(datas) + b"]"
        if self._config.batch is None:
            return datas[0]
        return self._config.batch.join(datas)

    async def flush(self, run: Run) -> None:
        await self._batcher.flush(run)

    async def close(self) -> None:
        await self._batcher.close()
        await self._client.aclose()


class _Refused(JobFailed):
    """The receiver has refused the events of a request for good."""


def _content_type(config: HttpPost) -> str:
    """What the body is before `preprocessors`; a text of the document says itself what it is, in `headers`."""
    if "parquet" in config.preprocessors:
        return "application/vnd.apache.parquet"
    if "base64" in config.preprocessors:
        return "text/plain"
    if config.batch is not None and not config.json_array and not config.batch.wrap_as_json:
        return "application/x-ndjson"
    return "application/json"


def _body_bytes(value: Any) -> bytes:
    return value.encode() if isinstance(value, str) else orjson.dumps(value)
