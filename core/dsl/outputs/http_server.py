"""The http-server output: the last events of a job, for whoever asks over HTTP."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import ClassVar
from urllib.parse import unquote

from pydantic import Field, field_validator

from core.dsl.component import REGISTRY, Batch, Env, Output, Run
from core.dsl.connections import http_requests, sockets
from core.dsl.connections.http_requests import Answer, Request
from core.dsl.events.select import Selector
from core.dsl.outputs import content
from core.guard import listen
from core.guard.file_access import FileAccess

MOST_REQUEST_BYTES = 64 * 1024  # of a body, which nobody reads
CLOSE_SECONDS = 2.0


@REGISTRY.register("http-server")
class HttpServerOutput(Output):
    """Answer every GET with the last event, or the last few, one line for each.

    An event counts as delivered when it can be asked for. It is in the memory of this worker alone: it is gone when the
    job ends, and until the first one has come the answer is 503. It listens while the job runs, so it is for jobs that
    go on. Nobody is asked who they are. What has to last belongs into the KV store (`worker-kv`), where it can be read
    with a key at `GET /api/kv/value`.
    """

    example: ClassVar[str] = """
name: status
input: {echo: {event: '{"state": "up"}', json: true, trigger: {interval: 1m}}}
output:
  http-server: {address: "127.0.0.1:8090", path: /status}
"""

    address: sockets.ListenAddress
    """Where to listen: `host:port` with an address of this machine; an administrator opens others than loopback."""
    path: str | None = None
    """Answer only at this path; others are 404. Left out: every path."""
    tls: sockets.ServerTls | None = None
    """Speak TLS, with this certificate."""
    last: int = Field(default=1, ge=1, le=1000)
    """How many of the last events are served, the oldest first."""
    input_field: Selector | None = None
    """Serve only this field; an event without it is counted as an error."""
    content_type: str = Field(default="application/json", pattern=r"^[\x20-\x7e]{1,200}$")
    """The content type of the answer."""
    max_connections: int = Field(default=512, ge=1, le=10_000)
    """How many may be connected; one more is answered 503."""

    @field_validator("path")
    @classmethod
    def _absolute(cls, value: str | None) -> str | None:
        if value is not None and not value.startswith("/"):
            raise ValueError("a path starts with /")
        return value

    def open(self, env: Env) -> HttpServerSink:
        return HttpServerSink(self, env)


class HttpServerSink:
    """Keeps what was written last, and serves it."""

    def __init__(self, config: HttpServerOutput, env: Env) -> None:
        self._config = config
        self._env = env
        self._encode = content.encoder(config.input_field, env, "http-server")
        self._kept: deque[bytes] = deque(maxlen=config.last)
        files, tls = FileAccess(env.limits.files, env.tenant), config.tls
        self._tls = listen.server_context(tls.cert, tls.key, files) if tls is not None else None
        self._connections = http_requests.Connections(
            self._handle, most=config.max_connections, max_body_bytes=MOST_REQUEST_BYTES
        )
        self._ended = asyncio.Event()
        self._sock = sockets.bind(config.address, env)  # what is not allowed or not free is told at once
        self._serving = asyncio.create_task(self._serve())

    async def _serve(self) -> None:
        async with listen.serving(self._sock, self._connections.talk, tls=self._tls, limit=http_requests.CHUNK_BYTES):
            self._env.log("info", f"http-server: listening at {listen.name_of(self._sock)}")
            await self._ended.wait()

    async def _handle(self, request: Request, ip: str) -> Answer:
        path = request.target.partition(b"?")[0].decode("latin-1")
        if self._config.path is not None and unquote(path) != self._config.path:
            return http_requests.refusal(404, "there is nothing at this path")
        if request.method not in ("GET", "HEAD"):
            return http_requests.refusal(405, "only GET is answered")
        if not self._kept:
            return http_requests.refusal(503, "no event has come yet")
        return Answer(200, b"\n".join(self._kept) + b"\n", self._config.content_type)

    async def write(self, batch: Batch, run: Run) -> None:
        if self._serving.done():
            await self._serving  # raises why it does not listen
        for data in self._encode(batch.events, run):
            run.bytes_out += len(data)
            self._kept.append(data)
        batch.settle(None)

    async def flush(self, run: Run) -> None:
        pass

    async def close(self) -> None:
        self._ended.set()
        await self._connections.close(CLOSE_SECONDS)
        await asyncio.gather(self._serving, return_exceptions=True)  # a fault of it was told by `write`
