"""The http-post output: events as the bodies of HTTP requests."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any, ClassVar, Literal, Self

import orjson
from pydantic import AfterValidator, Field, model_validator

from core.dsl import egress, expand, http
from core.dsl.component import REGISTRY, Batch, Env, Output, Run
from core.dsl.duration import Duration
from core.dsl.outputs import batching, content
from core.dsl.retry import Retry, attempt
from core.dsl.select import Selector


@REGISTRY.register("http-post")
class HttpPost(Output):
    """Send each event, or each batch of events, as one request. It counts as delivered when the answer is a success.

    Connection faults and the statuses 408, 429 and 5xx are tried again as `retry` says; then, and for any other
    status, the job fails and is restarted. Addresses and headers are filled in from the first event of a batch.
    """

    example: ClassVar[str] = """
name: post
input: {echo: {event: '{"hello": "world"}', json: true}}
output:
  http-post: {url: "https://example.com/hook", retry: {retries: 3}}
"""

    url: Annotated[expand.Text, AfterValidator(http.check_static_url)]
    """The address, http or https, without user name and password."""
    method: Literal["post", "put", "patch"] = "post"
    """The method of the request."""
    headers: dict[str, expand.Text] = Field(default_factory=dict)
    """Headers of the request; `content-type` is application/json, or application/x-ndjson for a batch of lines."""
    auth: http.Auth | None = None
    """Basic or bearer authentication."""
    input_field: Selector | None = None
    """Send only this field; an event without it is counted as an error."""
    body: expand.Structure = None
    """The body for one event instead of the event itself: a text, or a JSON value with `${field}` in its texts. In a
    JSON value an inserted text cannot change the structure."""
    batch: batching.Batching | None = None
    """Put several events into one request, one line for each."""
    json_array: bool = False
    """Send a batch as one JSON array instead of lines."""
    timeout: Duration = 30.0
    """Give up a request after this time."""
    retry: Retry | None = None
    """Try again on connection faults and on the statuses 408, 429 and 5xx."""
    insecure: bool = False
    """Accept any TLS certificate."""

    @model_validator(mode="after")
    def _one_body(self) -> Self:
        if self.body is not None and self.input_field is not None:
            raise ValueError("there can be one of body and input-field")
        return self

    def open(self, env: Env) -> HttpPostSink:
        return HttpPostSink(self, env)


class HttpPostSink:
    """One request at a time, in order."""

    def __init__(self, config: HttpPost, env: Env) -> None:
        self._config = config
        self._env = env
        self._client = egress.Egress(env.limits.egress_allow, insecure=config.insecure)
        self._url = expand.template(config.url, env)
        self._headers = http.headers({name.lower(): value for name, value in config.headers.items()}, config.auth, env)
        self._encode = content.encoder(config.input_field, env, "http-post")
        self._body = expand.structure(config.body, env) if config.body is not None else None
        self._batcher = batching.Batcher(config.batch, self._send)

    async def write(self, batch: Batch, run: Run) -> None:
        items: list[batching.Item] = []
        for event in batch.events:
            if self._body is not None:
                items.append(batching.Item(event, _body_bytes(self._body(event, run))))
            else:
                items += [batching.Item(event, data) for data in self._encode([event], run)]
        await self._batcher.add(items, batch, run)

    async def _send(self, groups: list[list[batching.Item]], run: Run) -> None:
        for group in groups:
            first = group[0].event
            url, headers = self._url(first, run), self._headers(first, run)
            data = self._content([item.data for item in group])
            lines = self._config.batch is not None and not self._config.json_array
            headers.setdefault("content-type", "application/x-ndjson" if lines else "application/json")
            await attempt(self._config.retry, self._env, "http-post", partial(self._post, url, headers, data))
            run.bytes_out += len(data)

    async def _post(self, url: str, headers: dict[str, str], data: bytes) -> egress.Reply:
        config = self._config
        reply = await http.send(
            self._client,
            config.method.upper(),
            url,
            headers=headers,
            content=data,
            deadline_seconds=config.timeout,
        )
        http.judge(reply, url)
        return reply

    def _content(self, datas: list[bytes]) -> bytes:
        if self._config.json_array:
            return b"[" + b",".join(datas) + b"]"
        if self._config.batch is None:
            return datas[0]
        return b"\n".join([*datas, b""])

    async def flush(self, run: Run) -> None:
        await self._batcher.flush(run)

    async def close(self) -> None:
        await self._batcher.close()
        await self._client.aclose()


def _body_bytes(value: Any) -> bytes:
    return value.encode() if isinstance(value, str) else orjson.dumps(value)
