"""Rows A24-A30: idempotency keys."""

from __future__ import annotations

import asyncio
from typing import Any

from core import clock, replays
from core.model.principal import Caller, Principal, Role
from core.store import replays as table
from tests.attacks.access import CALL, INVOKE
from tests.attacks.rig import Target
from tests.attacks.rows import Scene, row
from tests.engines import engine_on

HEADER = "idempotency-key"
GLOBAL = "/api/contexts/update-global"


async def invoke(server: Target, key: str, who: str = "admin", **params: Any) -> Any:
    return await server.call("POST", INVOKE, {**CALL, "params": {"env": "x", **params}}, who, **{HEADER: key})


@row("A24")
async def what_is_no_key(scene: Scene) -> None:
    """A key of 256 characters, an empty one, and one with NUL, a line break or an emoji: 400, nothing done."""
    server, before = scene.server, scene.server.digest()
    for key in ("k" * 256, "", "a\0b", "a\nb", "\U0001f600", "k" * 900_000):
        answer = await server.call("POST", INVOKE, {**CALL, "idempotency_key": key})
        assert answer.status_code == 400, (key[:10], answer.text[:200])
    port = server.port
    for raw in (b"k" * 256, b"", b"\xf0\x9f\x98\x80", b"a\0b"):
        head = f"POST {INVOKE} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: Bearer {server.tokens['admin']}\r\n"
        body = b'{"params":{"env":"x"},"wait_timeout_seconds":0}'
        length = f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\nIdempotency-Key: ".encode()
        assert (await server.raw(head.encode() + length + raw + b"\r\n\r\n" + body)).startswith(b"HTTP/1.1 400 "), raw
    assert server.digest() == before


@row("A25")
async def the_same_in_other_words(scene: Scene) -> None:
    """Another order of keys and other spaces are the same request."""
    server = scene.server
    bodies = [
        b'{"params":{"env":"x","a":1,"b":[1,2]},"wait_timeout_seconds":0,"idempotency_key":"a25"}',
        b'{ "idempotency_key" : "a25", "wait_timeout_seconds": 0,\n"params": {"b":[1, 2], "a":1, "env":"\\u0078"}}',
    ]
    ids = {(await server.call("POST", INVOKE, body)).json()["invocation_id"] for body in bodies}
    assert len(ids) == 1
    values = [b'{"values":{"a":1,"b":2}}', b'{ "values" : {"b":2, "a":1} }']
    answers = [await server.call("POST", GLOBAL, body, **{HEADER: "a25"}) for body in values]
    assert answers[0].content == answers[1].content and answers[1].headers["idempotent-replayed"] == "true"


@row("A26")
async def almost_the_same(scene: Scene) -> None:
    """1 and 1.0 are one value; 1 and "1", NFC and NFD, true and 1 are not; beyond 2^53 nobody can tell: 400."""
    server = scene.server
    table_: list[tuple[Any, Any, int]] = [
        (1, 1.0, 202),
        (1, "1", 422),
        ("\u00e9", "e\u0301", 422),
        (True, 1, 422),
        (2**53 + 1, 2**53 + 1, 400),
    ]
    for n, (left, right, status) in enumerate(table_):
        await invoke(server, f"a26-{n}", v=left)
        assert (await invoke(server, f"a26-{n}", v=right)).status_code in (status, 200 if status == 202 else status)
        first = await server.call("POST", GLOBAL, {"values": {"v": left}}, **{HEADER: f"a26-{n}"})
        again = await server.call("POST", GLOBAL, {"values": {"v": right}}, **{HEADER: f"a26-{n}"})
        assert again.status_code == (200 if status == 202 else status), (left, right, first.text, again.text)


@row("A27")
async def one_key_of_many(scene: Scene) -> None:
    """The same key of another tenant, another user or for another operation is another key."""
    server = scene.server
    ids = {(await invoke(server, "a27", who)).json()["invocation_id"] for who in ("admin", "user", "second")}
    assert len(ids) == 3
    for who, path in (("admin", GLOBAL), ("other", GLOBAL), ("admin", "/api/contexts/update-job-map/j")):
        answer = await server.call("POST", path, {"values": {"who": who}}, who, **{HEADER: "a27"})
        assert answer.status_code == (200 if "job-map" not in path else 422)  # one operation, two paths: one key
    made = await server.call("POST", "/api/variables/A27", {"value": "x"}, **{HEADER: "a27"})
    assert made.status_code == 200
    assert server.rows("SELECT count(*) FROM replays WHERE key = 'a27'") == [3]


@row("A28")
async def a_key_after_a_refusal(scene: Scene) -> None:
    """A request that was refused before it began leaves its key free."""
    server = scene.server
    assert (await server.call("POST", INVOKE, {"params": {}}, **{HEADER: "a28"})).status_code == 422
    assert (await invoke(server, "a28")).status_code in (200, 202)
    assert (await server.call("POST", GLOBAL, {"values": 1}, **{HEADER: "a28"})).status_code == 422
    assert (await server.call("POST", GLOBAL, {"values": {}}, **{HEADER: "a28"})).status_code in (200, 422)
    assert (await server.call("POST", GLOBAL, {"values": {"a": 1}}, **{HEADER: "a28-b"})).status_code == 200


@row("A29")
async def a_crash_before_the_answer(scene: Scene) -> None:
    """A client that got no answer asks the next engine with the same key: the same run, one row."""
    caller = Caller(Principal("ada", Role.ADMIN, ("tenant-a",)), "tenant-a")
    call = {"slug": "smoke_trigger", **CALL, "idempotency_key": "a29"}
    found = []
    for attempt in range(2):
        async with engine_on(scene.folder / "home", workers=0) as engine:
            if attempt == 0:
                await engine.call("trigger_publish", _definition(), caller)
            found.append((await engine.call("trigger_invoke", call, caller))["invocation_id"])
            assert (await engine.call("trigger_invocation_list", {}, caller))["total"] == 1
    assert found[0] == found[1]


def _definition() -> dict[str, Any]:
    from tests.attacks.rig import TRIGGER

    return dict(TRIGGER)


@row("A30")
async def keys_without_end(scene: Scene) -> None:
    """The keys of one user are bounded (429), and old ones make room."""
    server = scene.server
    scene.patch.setattr(replays, "MOST_KEYS", 5)
    calls = [server.call("POST", "/api/variables/A30", {"value": "x"}, **{HEADER: f"a30-{n}"}) for n in range(30)]
    statuses = [answer.status_code for answer in await asyncio.gather(*calls)]
    assert statuses.count(429) >= 25 and set(statuses) <= {200, 429}
    later = clock.now_ns() + 25 * 3600 * clock.NANOSECONDS
    assert await server.engine.database.write(table.prune, later) > 0
    assert server.rows("SELECT count(*) FROM replays") == [0]
    again = await server.call("POST", "/api/variables/A30", {"value": "x"}, **{HEADER: "a30-new"})
    assert again.status_code == 200
