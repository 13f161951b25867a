"""What the server keeps for clients: the description as bytes, made once, and a bounded backlog for each stream."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from core.model.operation import Operation
from core.model.principal import Caller, Principal, Role
from mcp_server.http import openapi, sse
from mcp_server.live import Reason
from tests.mcp_server.http import service as made

pytestmark = pytest.mark.anyio
CALLER = Caller(Principal("ada", Role.ADMIN, ("default",)), "default")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def test_the_description_which_anybody_may_ask_for_is_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = 0
    components = openapi.components

    def counted(operations: Iterable[Operation]) -> dict[str, Any]:
        nonlocal asked
        asked += 1
        return components(operations)

    monkeypatch.setattr(openapi, "components", counted)
    async with made.client(made.Service(), token="") as client:
        described = [await client.get("/api/openapi.json") for _ in range(2)]
        assert (await client.head("/api/openapi.json")).status_code == 200
    assert asked == 1
    assert described[0].content == described[1].content
    assert described[0].json()["info"]["title"] == "Sluice"
    assert described[0].headers["content-type"] == "application/json"


async def test_a_stream_that_is_not_read_keeps_so_many_bytes_and_tells_how_many_events_it_missed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sse.notices, "hears", lambda *_: True)
    engine = made.Service()
    reader = sse.Reader()
    parts = reader.parts(engine, CALLER, "message", lambda _, data: (data["id"], data))
    assert (await anext(parts))[0] == sse.CONNECTED
    (arrived,) = engine.callbacks
    for number in range(20):
        arrived("registry", {"tenant": "default", "id": str(number), "text": "x" * 100_000})
    read = [(await anext(parts))[0] for _ in range(3)]
    assert read[0] == b"event: missed\ndata: 18\n\n"
    assert sum(map(len, read)) < sse.BACKLOG_BYTES
    arrived("registry", {"tenant": "default", "id": "huge", "text": "x" * 2 * sse.BACKLOG_BYTES})
    assert (await anext(parts))[0].startswith(b"event: message\nid: huge\n"), "one event always has room"
    arrived("registry", {"tenant": "default", "id": "last"})
    reader.end(Reason.REVOKED)
    assert b'"reason":"revoked"' in (await anext(parts))[0]
    await parts.aclose()
