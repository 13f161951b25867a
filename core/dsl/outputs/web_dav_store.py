"""The web-dav-store output: one object on a WebDAV server for each event or group of events."""

from __future__ import annotations

from typing import ClassVar

from core.dsl.component import REGISTRY, Env
from core.dsl.connections import http
from core.dsl.outputs.objects import ObjectOutput, ObjectSink
from core.dsl.stores.dav import DavCollection


@REGISTRY.register("web-dav-store")
class WebDavStore(http.Authenticated, ObjectOutput):
    """Write objects to a WebDAV server (Nextcloud, Apache, nginx, a NAS): each appears under its name in one step.

    An object holds one line for each event. Without `batch` every event is an object of its own. Collections are made
    when they are missing. When the server cannot be reached or answers 408, 429 or 5xx, `retry` applies; then, and at
    once for any other status, the job fails and is restarted. The server has to know MOVE; what could not be moved
    stays behind as a file whose name ends in `.part`. Address and headers are filled in for each run, not for each
    event.
    """

    connects_to: ClassVar[str] = "WebDAV server"
    example: ClassVar[str] = """
name: to-web-dav
input: {echo: {event: '{"hello": "world"}', json: true}}
output:
  web-dav-store:
    url: "https://files.example.com/remote.php/dav/files/ann"
    object-name: {name: "@{job}/part"}
    guid-suffix: .json
    retry: {retries: 3}
"""

    def open(self, env: Env) -> ObjectSink:
        return _DavSink(self, env)


class _DavSink(ObjectSink):
    """Has one client for all runs."""

    def __init__(self, config: WebDavStore, env: Env) -> None:
        self._client = client = http.Client(config, env, "web-dav-store", auth=config.auth)
        super().__init__(config, lambda run: DavCollection(client, client.url({}, run), run), env)

    async def close(self) -> None:
        await super().close()
        await self._client.aclose()
