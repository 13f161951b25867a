"""The http-get output: one GET request for each event."""

from __future__ import annotations

from typing import ClassVar

from core.dsl.component import REGISTRY, Batch, Env, Output, Run
from core.dsl.connections import http


@REGISTRY.register("http-get")
class HttpGet(http.Authenticated, Output):
    """Request an address for each event, as a hook that is called with parameters.

    An event counts as delivered when its answer is a success; the body of the answer is not used. When the other side
    cannot be reached or answers 408, 429 or 5xx, the request is tried again as `retry` says; then, and at once for any
    other status or a redirect, the job fails and is restarted. A field that is missing is an empty text in the address.
    """

    spellings: ClassVar = {"address": "url"}
    connects_to: ClassVar[str] = "HTTP server"
    example: ClassVar[str] = """
name: ping
input: {echo: {event: '{"service": "orders", "state": "up"}', json: true}}
output:
  http-get:
    url: "https://example.com/ping/${service}"
    query: {state: "${state}"}
    retry: {retries: 3}
"""

    def open(self, env: Env) -> HttpGetSink:
        return HttpGetSink(self, env)


class HttpGetSink:
    """One request at a time, in order."""

    def __init__(self, config: HttpGet, env: Env) -> None:
        self._env = env
        self._client = http.Client(config, env, "http-get", auth=config.auth)

    async def write(self, batch: Batch, run: Run) -> None:
        for event in batch.events:
            try:
                await self._client.send("GET", self._client.url(event, run), event, run)
            except http.Unsendable as fault:
                run.leave_out(self._env, fault.refused, f"http-get: {fault.message}", event)
        batch.settle(None)

    async def flush(self, run: Run) -> None:
        pass

    async def close(self) -> None:
        await self._client.aclose()
