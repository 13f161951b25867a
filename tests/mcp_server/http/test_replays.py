"""Idempotency keys: once done, always the same answer; never done twice; never kept in the clear."""

from __future__ import annotations

import asyncio
import re
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from core import clock, errors, replays
from core.engine import Engine
from core.model import scopes
from core.model.operation import Effect
from core.model.principal import Caller, Principal, Role
from core.operations import REGISTRY
from core.store import replays as table
from mcp_server.http import routes
from tests.attacks import rig
from tests.engines import ADMIN
from tests.furnished import arguments_of, furnish

pytestmark = pytest.mark.anyio
KEY = {"idempotency-key": "k-1"}
VALUES = {"values": {"region": "eu"}}


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[rig.Target]:
    async with rig.target(tmp_path / "home") as made:
        yield made


def token(name: str) -> dict[str, Any]:
    return {"name": name, "username": "dan", "role": "user", "tenants": ["tenant-a"]}


def trigger(description: str) -> dict[str, Any]:
    return {"slug": "made", "description": description, "target_job_name": "j", "target_message_tag": "t"}


async def publish(server: rig.Target, description: str = "a", **headers: str) -> Any:
    """A write that makes something, and cannot be done twice."""
    return await server.call("POST", "/api/triggers/publish", trigger(description), **{**KEY, **headers})


async def test_a_repeat_gets_the_same_bytes_and_does_nothing(server: rig.Target) -> None:
    first, again = [await publish(server) for _ in range(2)]
    assert (again.status_code, again.content) == (first.status_code, first.content) and first.status_code == 201
    assert again.headers["idempotent-replayed"] == "true" and "idempotent-replayed" not in first.headers
    assert server.rows("SELECT count(*) FROM triggers WHERE slug = 'made'") == [1]


async def test_the_answer_is_kept_encrypted(server: rig.Target) -> None:
    told = await publish(server, "a description that is not to be read")
    kept = b"".join(server.rows("SELECT answer FROM replays"))
    assert len(kept) > len(told.content) and b"description" not in kept


async def test_the_same_key_for_something_else_is_refused_and_changes_nothing(server: rig.Target) -> None:
    assert (await publish(server)).status_code == 201
    before = server.digest()
    other = await publish(server, "b")
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_mismatch")
    assert server.digest() == before


async def test_a_failure_is_kept_too_but_what_was_refused_before_it_began_is_not(server: rig.Target) -> None:
    exists = await server.call("POST", "/api/triggers/publish", rig.TRIGGER, **KEY)
    await server.call("POST", f"/api/triggers/{rig.TRIGGER['slug']}/deactivate")
    again = await server.call("POST", "/api/triggers/publish", rig.TRIGGER, **KEY)
    assert exists.status_code == 409 and again.content == exists.content
    assert again.headers["content-type"] == "application/problem+json"
    wrong = await server.call("POST", "/api/tokens", {**token("a"), "role": "king"}, **KEY)
    right = await server.call("POST", "/api/tokens", token("a"), **KEY)
    assert (wrong.status_code, right.status_code) == (422, 201)


async def test_of_many_at_once_one_is_done_and_the_others_get_its_answer_or_in_progress(server: rig.Target) -> None:
    async with server.client() as client:
        calls = (client.post("/api/triggers/publish", json=trigger("a"), headers=KEY) for _ in range(40))
        answers = await asyncio.gather(*calls)
    made = {answer.content for answer in answers if answer.status_code == 201}
    assert len(made) == 1 and {answer.status_code for answer in answers} <= {201, 409}
    assert {answer.json()["code"] for answer in answers if answer.status_code == 409} <= {"unconfirmed"}


async def test_a_request_that_is_under_way_is_told_as_such(server: rig.Target, monkeypatch: pytest.MonkeyPatch) -> None:
    entered, go = asyncio.Event(), asyncio.Event()
    call = Engine.call

    async def slow(self: Engine, name: str, *rest: Any) -> dict[str, Any]:
        if name == "trigger_publish":
            entered.set()
            await go.wait()
        return await call(self, name, *rest)

    monkeypatch.setattr(Engine, "call", slow)
    first = asyncio.create_task(publish(server))
    async with asyncio.timeout(5):
        await entered.wait()
        second = await publish(server)
        go.set()
        assert (await first).status_code == 201
    assert (second.status_code, second.json()["code"]) == (409, "unconfirmed")


async def test_what_ended_without_an_answer_is_neither_done_again_nor_kept_as_one(
    server: rig.Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    call = Engine.call

    async def lost(self: Engine, name: str, *rest: Any) -> dict[str, Any]:
        answer = await call(self, name, *rest)
        if name == "trigger_publish":
            raise errors.Unconfirmed("The engine went away.")
        return answer

    monkeypatch.setattr(Engine, "call", lost)
    first, again = [await publish(server) for _ in range(2)]
    assert [(answer.status_code, answer.json()["code"]) for answer in (first, again)] == [(409, "unconfirmed")] * 2
    assert "cut off" in again.json()["detail"]
    assert server.rows("SELECT count(*) FROM triggers WHERE slug = 'made'") == [1]


async def test_after_a_crash_what_may_be_done_twice_is_and_the_rest_says_that_it_is_open(server: rig.Target) -> None:
    now = clock.now_ns()
    key = server.rows("SELECT id FROM tokens WHERE name = 'admin'")[0]
    for operation, body in (("token_create", token("a")), ("context_set", VALUES)):
        who = table.Who("tenant-a", "ada", key, operation, "k-1")
        digest = rig.params_digest(body)
        assert await server.engine.database.write(table.begin, who, digest, 1, now, 0, (9, 9**9)) is None
    unknown = await server.call("POST", "/api/tokens", token("a"), **KEY)
    again = await server.call("POST", "/api/contexts/update-global", VALUES, **KEY)
    assert (unknown.status_code, unknown.json()["code"]) == (409, "unconfirmed")
    assert "cut off" in unknown.json()["detail"]
    assert again.status_code == 200


async def test_a_key_is_kept_for_a_day_and_then_forgotten(server: rig.Target, monkeypatch: pytest.MonkeyPatch) -> None:
    first = await publish(server)
    now, passed = clock.now_ns(), [0]
    age = clock.Age(lambda: now + passed[0] * 3600 * clock.NANOSECONDS, lambda: passed[0] * 3_600_000)
    monkeypatch.setattr(server.engine, "age", age)
    for hours, same in ((23, True), (25, False)):
        passed[0] = hours
        await server.engine.prune()
        assert ((await publish(server)).content == first.content) is same


@pytest.mark.parametrize("hours", [-24, 49])
async def test_a_clock_that_is_set_frees_no_key(
    server: rig.Target, monkeypatch: pytest.MonkeyPatch, hours: int
) -> None:
    now, set_by = clock.now_ns(), [0]
    wall = lambda: now + set_by[0] * 3600 * clock.NANOSECONDS  # noqa: E731
    monkeypatch.setattr(clock, "now_ns", wall)
    monkeypatch.setattr(server.engine, "age", clock.Age(wall, lambda: 0))
    first = await publish(server)
    invoked = ("POST", "/api/triggers/smoke_trigger/invoke", {"params": {"env": "x"}, "wait_timeout_seconds": 0})
    run = (await server.call(*invoked, **KEY)).json()
    for jump in (hours, -hours, 0):
        set_by[0] = jump
        await server.engine.prune()
        assert (await publish(server)).content == first.content
        assert (await server.call(*invoked, **KEY)).json()["invocation_id"] == run["invocation_id"]


async def test_the_keys_of_one_user_are_bounded_and_leave_the_others_alone(
    server: rig.Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replays, "MOST_KEYS", 3)
    statuses = [
        (await server.call("POST", "/api/contexts/update-global", VALUES, **{"idempotency-key": f"k{n}"})).status_code
        for n in range(5)
    ]
    other = await server.call("POST", "/api/contexts/update-global", VALUES, who="other", **KEY)
    assert statuses == [200, 200, 200, 429, 429] and other.status_code == 200


async def test_an_operation_with_keys_of_its_own_takes_the_header_as_its_argument(server: rig.Target) -> None:
    call = {"params": {"env": "x"}, "wait_timeout_seconds": 0}
    first = (await server.call("POST", "/api/triggers/smoke_trigger/invoke", call, **KEY)).json()
    again = (await server.call("POST", "/api/triggers/smoke_trigger/invoke", call, **KEY)).json()
    differs = await server.call("POST", "/api/triggers/smoke_trigger/invoke", {**call, "idempotency_key": "x"}, **KEY)
    assert again["invocation_id"] == first["invocation_id"] and again["deduplicated"] is True
    assert (differs.status_code, differs.json()["errors"][0]["pointer"]) == (422, "/idempotency_key")


async def test_an_answer_that_cannot_be_kept_is_given_all_the_same(
    server: rig.Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise errors.StorageUnavailable

    monkeypatch.setattr(table, "end", full)
    first = await server.call("POST", "/api/contexts/update-global", VALUES, **KEY)
    again = await server.call("POST", "/api/contexts/update-global", VALUES, **KEY)
    assert (first.status_code, again.status_code) == (200, 409)


async def test_a_database_of_an_earlier_version_takes_keys_and_gives_no_answer_of_before(tmp_path: Path) -> None:
    async with rig.target(tmp_path / "home") as server:
        tokens = server.tokens
    older = sqlite3.connect(tmp_path / "home" / "sluice.db")
    with older:
        for undo in (
            "DROP TABLE replays",
            "CREATE TABLE replays (tenant TEXT NOT NULL, username TEXT NOT NULL, operation TEXT NOT NULL,"
            " key TEXT NOT NULL, digest BLOB NOT NULL, life INTEGER NOT NULL, started_at_ns INTEGER NOT NULL,"
            " status INTEGER, answer BLOB, PRIMARY KEY (tenant, username, operation, key)) STRICT, WITHOUT ROWID",
            "CREATE INDEX replays_age ON replays (started_at_ns)",
            "INSERT INTO replays VALUES ('tenant-a', 'ada', 'variable_set', 'k-1', x'00', 1, 1, 200, x'00')",
            "DROP INDEX tokens_made_by",
            "DROP INDEX tokens_username",
            "ALTER TABLE tokens DROP COLUMN made_by",
            "DELETE FROM _sqlite_migrations WHERE name LIKE '%_credentials'",
            "DELETE FROM triggers",  # the rig publishes its own again
        ):
            older.execute(undo)
    older.close()
    async with rig.target(tmp_path / "home") as server:
        assert server.rows("SELECT count(*) FROM replays") == [0]
        answers = [await server.call("POST", "/api/variables/V", {"value": "x"}, **KEY) for _ in range(2)]
        before = await server.call("GET", "/api/auth/whoami", who=None, authorization=f"Bearer {tokens['admin']}")
    assert answers[0].content == answers[1].content and answers[1].headers["idempotent-replayed"] == "true"
    assert before.status_code == 200


async def test_no_write_tells_a_narrower_key_whether_an_idempotency_key_was_used(tmp_path: Path) -> None:
    """Every write of the registry, under a key that an admin of the same name has used, one that is free, and none."""
    narrow = {"user's": {"role": "user"}, "for one trigger": {"role": "admin", "scopes": ["trigger:of_nobody"]}}
    asked = 0
    async with rig.target(tmp_path / "home", workers=1) as server:
        await furnish(server.engine)
        key = server.rows("SELECT id FROM tokens WHERE name = 'admin'")[0]
        holder = Caller(Principal("ada", Role.ADMIN, ("tenant-a",), credential=key), "tenant-a")
        for who, limits in narrow.items():
            wanted = {"username": "ada", "tenants": ["tenant-a"], **limits}
            server.tokens[who] = (await server.engine.call("token_create", wanted, ADMIN))["token"]
        for op in REGISTRY:
            if op.effect is Effect.READ or not op.http or op.platform:  # which no admin of one tenant has done
                continue
            given = {**arguments_of(op, real=True), **({"tenants": ["tenant-a"]} if op.name == "token_create" else {})}
            assert await server.engine.refusal(op.name, given, holder) is None, op.name
            who = table.Who("tenant-a", "ada", holder.principal.credential, op.name, "used")
            digest, now = rig.params_digest(given), clock.now_ns()
            assert await server.engine.database.write(table.begin, who, digest, 1, now, 0, (999, 9**9)) is None
            method, path = routes.split(op.http)
            path = "/api" + re.sub(r"{(\w+)}", lambda match: str(given.pop(match[1])), path)  # noqa: B023 - used at once
            for name in narrow:
                if (name == "user's" and Role.USER.covers(op.role)) or op.name in scopes.ALWAYS:
                    continue  # it may do this: tests/attacks/test_replays.py has such a one
                calls = ({"idempotency-key": "used"}, {"idempotency-key": "free"}, {})
                answers = [await server.call(method, path, given, name, **headers) for headers in calls]
                refusal = 404 if op.name in scopes.FILTERED and name != "user's" else 403  # of another's: not there
                assert {answer.status_code for answer in answers} == {refusal}, (op.name, name, answers[0].text)
                assert len({answer.content for answer in answers}) == 1, (op.name, name)
                asked += 1
    assert asked > 70
