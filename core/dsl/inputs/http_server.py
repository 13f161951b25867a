"""The http-server input: requests that come in are events, and are answered when the output has accepted them."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any, ClassVar
from urllib.parse import parse_qsl, unquote

import orjson
from pydantic import Field, field_validator

from core.dsl.component import REGISTRY, Batch, Env, Event, Input, Run
from core.dsl.connections import http_requests, sockets
from core.dsl.connections.http_requests import Answer, Refused, Request
from core.dsl.events.select import Selector
from core.dsl.inputs import lines
from core.dsl.language import templates
from core.dsl.language.duration import Duration
from core.errors import shorten
from core.guard import listen
from core.guard.file_access import FileAccess

REQUESTS_PER_BATCH = 500
BATCH_BYTES = 1024 * 1024
CLOSE_SECONDS = 2.0
MOST_PARAMETERS = 1000


@REGISTRY.register("http-server")
class HttpServer(Input):
    """Listen for HTTP requests as long as the job runs. It speaks HTTP/1.1, has no authentication of its own, and is
    not scheduled.

    A request is one event `{method, url, query, headers, body}`: `query` and `headers` are objects (a parameter that
    comes several times is an array), names of headers are in lower case. The answer is 200 when the output has
    accepted the event, so a sender that hears it may forget what it sent; 503 with Retry-After when the output fails
    or takes longer than `timeout`, or when too much waits already (the event may still have arrived: delivery is at
    least once). An output that collects batches needs a shorter `timeout` there. 404 is another path, 413 a body that
    is too long (also unpacked: gzip is understood), 400 what is no HTTP or broken gzip, 408 a request that does not
    come in time, 431 too much in the headers.

    A body that is not UTF-8 keeps replacement characters, and one that is not what `json` promises stays text; both
    are counted as errors. When the address cannot be used, as when another program has it, the job fails and tries
    again. Addresses other than loopback must be opened by the administrator (setting `listen_allow`).
    """

    spellings: ClassVar = {
        "only_body": "only-body",
        "custom_response": "custom-response",
        "json_body": "json",
        "ignore-line-breaks": "ignore-linebreaks",
    }
    example: ClassVar[str] = """
name: webhook
input:
  http-server:
    address: 127.0.0.1:8443
    path: /events
    json: true
    source-ip-field: client
    custom-response: '{"ok": true}'
    content-type: application/json
output: {print: STDOUT}
"""

    address: sockets.ListenAddress
    """Where to listen: `host:port` with an address of this machine; `0.0.0.0:port` or `:port` is every address."""
    path: str | None = None
    """Take only requests for this path; others are answered 404. Left out: every path."""
    tls: sockets.ServerTls | None = None
    """Speak TLS, with this certificate."""
    source_ip_field: Selector | None = None
    """Put the address of the sender here."""
    custom_response: templates.Text | None = None
    """The body of the answer to an accepted request; `${field}` is filled in from its (first) event as it arrived."""
    content_type: str = Field(default="text/plain; charset=utf-8", pattern=r"^[\x20-\x7e]{1,200}$")
    """The content type of that answer."""
    query: str | None = None
    """Capture one parameter of the address: its value takes the place of the object in `query` (null when it is not
    there); with `only-body` it is added to each event under its own name."""
    only_body: bool = False
    """The body alone makes the events: one for each line, in `_raw`, or parsed with `json`. No body, no event."""
    json_: bool = False
    """The body is JSON: `body` holds the value; with `only-body` an object is the event, and an array gives one event
    for each element."""
    ignore_linebreaks: bool = False
    """With `only-body`: the whole body is one event."""
    timeout: Duration = 30.0
    """How long a sender waits for the output before it is told to come again."""
    max_body_bytes: int = Field(default=1024 * 1024, ge=1, le=256 * 1024 * 1024)
    """The longest body."""
    max_connections: int = Field(default=512, ge=1, le=10_000)
    """How many senders may be connected; one more is answered 503."""

    @field_validator("path")
    @classmethod
    def _absolute(cls, value: str | None) -> str | None:
        if value is not None and not value.startswith("/"):
            raise ValueError("a path starts with /")
        return value

    @property
    def continuous(self) -> bool:
        return True

    def open(self, env: Env) -> HttpServerSource:
        return HttpServerSource(self, env)


@dataclass(slots=True)
class _Waiting:
    """A request whose sender waits for the output."""

    request: Request
    body: bytes
    ip: str
    outcome: asyncio.Future[BaseException | None]
    response: str = ""


class HttpServerSource:
    """Holds requests until they are settled; connections are read no further while theirs is not."""

    def __init__(self, config: HttpServer, env: Env) -> None:
        self._config = config
        self._env = env
        self._respond = templates.template(config.custom_response, env) if config.custom_response is not None else None
        self._put_ip = sockets.put_source_ip(config.source_ip_field, env, "http-server")
        files, tls = FileAccess(env.limits.files, env.tenant), config.tls
        self._tls = listen.server_context(tls.cert, tls.key, files) if tls is not None else None
        self._waiting: deque[_Waiting] = deque()
        self._arrived = asyncio.Event()
        self._listening = False
        self._connections = http_requests.Connections(
            self._handle, most=config.max_connections, max_body_bytes=config.max_body_bytes
        )

    async def batches(self, run: Run) -> AsyncIterator[Batch]:
        serving = sockets.serving(
            self._config.address,
            self._env,
            "http-server",
            self._connections.talk,
            tls=self._tls,
            limit=http_requests.CHUNK_BYTES,
        )
        try:
            async with serving:
                self._listening = True
                while True:
                    await self._arrived.wait()
                    taken = self._take()
                    events = [event for waiting in taken for event in self._events(waiting, run)]
                    if taken:
                        yield Batch(events, _settle_all(taken), document_end=True)
        finally:  # the job ends: what was not taken is not accepted, what was taken is answered when it is settled
            self._listening = False
            _settle_all(list(self._waiting))(Refused(503, "the job is stopping"))
            self._waiting.clear()
            self._connections.stop()

    def _take(self) -> list[_Waiting]:
        """Some of the requests that wait; those whose sender was told to come again are left out."""
        taken: list[_Waiting] = []
        size = 0
        while self._waiting and len(taken) < REQUESTS_PER_BATCH and size < BATCH_BYTES:
            waiting = self._waiting.popleft()
            if not waiting.outcome.done():
                taken.append(waiting)
                size += len(waiting.body)
        if not self._waiting:
            self._arrived.clear()
        return taken

    async def _handle(self, request: Request, ip: str) -> Answer:
        """Answer one request: at the end of its way through the job."""
        config = self._config
        path = request.target.partition(b"?")[0].decode("latin-1")
        if config.path is not None and unquote(path) != config.path:
            return http_requests.refusal(404, "there is nothing at this path")
        body = http_requests.unpack(bytes(request.body), request.header("content-encoding"), config.max_body_bytes)
        if not self._listening:
            return http_requests.refusal(503, "the job is stopping")
        waiting = _Waiting(request, body, ip, asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        self._arrived.set()
        try:
            async with asyncio.timeout(config.timeout):
                fault = await waiting.outcome
        except TimeoutError:
            return http_requests.refusal(503, "the event was not accepted in time")
        if fault is not None:
            return http_requests.refusal(503, "the event was not accepted")
        return Answer(200, waiting.response.encode(), config.content_type)

    def _events(self, waiting: _Waiting, run: Run) -> list[Event]:
        run.bytes_in += len(waiting.body)
        config, request = self._config, waiting.request
        target = request.target.decode("latin-1")
        query = _parameters(target.partition("?")[2])
        captured = query.get(config.query) if config.query is not None else None
        if config.only_body:
            events = self._from_body(waiting.body, run)
            if config.query is not None:
                for event in events:
                    event[config.query] = captured
        else:
            headers: dict[str, str] = {}
            for name, value in request.headers:
                headers[name] = f"{headers[name]}, {value}" if name in headers else value
            events = [
                {
                    "method": request.method,
                    "url": target,
                    "query": query if config.query is None else captured,
                    "headers": headers,
                    "body": self._body(waiting.body, run),
                }
            ]
        self._put_ip(events, waiting.ip, run)
        if self._respond is not None:
            try:
                waiting.response = self._respond(events[0] if events else {}, run)
            except templates.TextTooLong as error:
                run.refuse(self._env, f"http-server: custom-response: {error}")
        return events

    def _from_body(self, body: bytes, run: Run) -> list[Event]:
        config = self._config
        if config.json_:
            try:
                value = orjson.loads(body) if body else []
            except orjson.JSONDecodeError:  # lines of JSON, or text that is counted and kept
                return lines.from_text(body, True, config.ignore_linebreaks, self._env, run, "http-server")
            return [
                one if type(one) is dict else {lines.RAW: one} for one in (value if type(value) is list else [value])
            ]
        return lines.from_text(body, False, config.ignore_linebreaks, self._env, run, "http-server")

    def _body(self, body: bytes, run: Run) -> Any:
        if self._config.json_ and body:
            try:
                return orjson.loads(body)
            except orjson.JSONDecodeError as error:
                run.refuse(
                    self._env, f"http-server: not JSON ({error.msg}): {shorten(body[:80].decode(errors='replace'))}"
                )
        return lines.decode_text(body, self._env, run, "http-server")

    async def close(self) -> None:
        await self._connections.close(CLOSE_SECONDS)


def _parameters(query: str) -> dict[str, Any]:
    """The parameters of an address; one that comes several times is an array."""
    out: dict[str, Any] = {}
    try:
        pairs = parse_qsl(query, keep_blank_values=True, max_num_fields=MOST_PARAMETERS)
    except ValueError:  # too many: they are in `url` as they came
        return out
    for name, value in pairs:
        if name not in out:
            out[name] = value
        elif type(out[name]) is list:
            out[name].append(value)
        else:
            out[name] = [out[name], value]
    return out


def _settle_all(taken: list[_Waiting]) -> Callable[[BaseException | None], None]:
    def settle(error: BaseException | None) -> None:
        for waiting in taken:
            if not waiting.outcome.done():
                waiting.outcome.set_result(error)

    return settle
