"""A collection of a WebDAV server as a place for objects.

Source: RFC 4918. An object is put beside its place and moved there, for a PUT that is cut off may leave a part of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from urllib.parse import quote

from core import clock
from core.dsl.component import Run
from core.dsl.connections import http
from core.guard import egress

_MISSING = (404, 409)  # a collection on the way to it; some servers say 404
_IS_THERE = 405  # what MKCOL answers for a collection that is there


class DavCollection:
    """Objects below one address, in collections that are made when they are missing."""

    def __init__(self, client: http.Client, url: str, run: Run) -> None:
        self._client = client
        self._url = url.rstrip("/")
        self._run = run

    async def put(self, objects: Sequence[tuple[str, bytes]]) -> None:
        for name, data in objects:
            part = f"{name}.{clock.token(8)}.part"
            if await self._request("PUT", part, _MISSING, content=data) in _MISSING:
                steps = name.split("/")[:-1]
                for count in range(1, len(steps) + 1):
                    await self._request("MKCOL", "/".join(steps[:count]) + "/", (_IS_THERE,))
                await self._request("PUT", part, content=data)
            await self._request("MOVE", part, headers={"destination": self._at(name), "overwrite": "T"})

    async def delete(self, names: Sequence[str]) -> None:
        for name in names:
            await self._request("DELETE", name, (404,))

    async def close(self) -> None:
        """The client belongs to who has opened it."""

    async def _request(
        self,
        method: str,
        name: str,
        known: Sequence[int] = (),
        *,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> int:
        """The status: a success, or one that is `known`. Raises like `http.Client.exchange`."""
        judge = partial(_judge, known)
        answer = await self._client.exchange(
            method, self._at(name), {}, self._run, content=content, headers=headers, judge=judge
        )
        return answer.status

    def _at(self, name: str) -> str:
        return f"{self._url}/{quote(name)}"


def _judge(known: Sequence[int], reply: egress.Reply, where: str) -> None:
    if reply.status not in known:
        http.check_success(reply, where)
