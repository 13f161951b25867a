"""The stream of messages: what is committed, in order, filtered; resumed without a loss or a double."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import orjson
import pytest

from core import clock
from core.model.message import Message, text_id
from core.model.principal import Caller
from core.settings import Settings
from core.store import messages as table
from mcp_server import attach
from mcp_server.http import message_stream, sse
from mcp_server.session import EngineSession
from tests.engines import ADMIN, engine_on
from tests.mcp_server import fake

pytestmark = pytest.mark.anyio
WRITER = Caller(fake.CALLER.principal, fake.CALLER.tenant, fake.CALLER.surface, allow_write=True)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def session(tmp_path: Path) -> AsyncIterator[EngineSession]:
    async with attach.open_session(Settings(home=tmp_path / "home", workers=0)) as made:
        yield made


class Client:
    """One that reads a stream and remembers where it is."""

    def __init__(self, session: EngineSession, **wanted: str) -> None:
        self._session = session
        self._wanted = wanted
        self.last: str | None = None
        self.names: list[str] = []
        """Of the variables that messages told of."""
        self.events: list[tuple[str, Any]] = []

    @contextlib.asynccontextmanager
    async def connected(self, reader: sse.Reader | None = None) -> AsyncIterator[sse.Parts]:
        parts = message_stream.messages(self._session, WRITER, self._wanted, reader or sse.Reader(), self.last)
        async with contextlib.aclosing(parts):
            with anyio.fail_after(20):
                assert await anext(parts) == sse.CONNECTED
                yield parts

    def take(self, part: bytes) -> None:
        fields = dict(line.split(": ", 1) for line in part.decode().splitlines() if not line.startswith(":") and line)
        self.last = fields.get("id", self.last)
        data = orjson.loads(fields["data"]) if "data" in fields else None
        if fields.get("event") == "message":
            self.names.append(data["message_data"]["name"])
        elif "event" in fields:
            self.events.append((fields["event"], data))


async def say(session: EngineSession, *names: str) -> None:
    """Have a message for each name, which are committed when this returns."""
    for name in names:
        committed = asyncio.Event()
        leave = session.subscribe(lambda topic, data, said=committed: said.set() if topic == "message" else None)
        await session.call("variable_set", {"name": name, "value": "x"}, WRITER)
        await committed.wait()
        leave()


async def read(client: Client, parts: sse.Parts, count: int) -> None:
    while len(client.names) < count:
        client.take(await anext(parts))


async def test_who_comes_back_gets_what_was_said_meanwhile_once_and_in_order(session: EngineSession) -> None:
    client = Client(session)
    await say(session, "before")
    async with client.connected() as parts:
        client.take(await anext(parts))  # where the stream begins
        await say(session, "a", "b")
        await read(client, parts, 2)
    await say(session, "c", "d")
    async with client.connected() as parts:
        await say(session, "e")
        await read(client, parts, 5)
    assert client.names == ["a", "b", "c", "d", "e"] and client.events == []


async def test_who_saw_nothing_yet_comes_back_to_where_it_began(session: EngineSession) -> None:
    client = Client(session)
    await say(session, "before")
    async with client.connected() as parts:
        client.take(await anext(parts))
    await say(session, "a")
    async with client.connected() as parts:
        await read(client, parts, 1)
    assert client.names == ["a"]


async def test_a_sign_of_life_moves_on_who_wants_something_else(
    session: EngineSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sse, "KEEP_ALIVE_SECONDS", 0.05)
    client = Client(session, type="user-alert")
    async with client.connected() as parts:
        await say(session, "a")
        newest = (await session.call("message_search", {"limit": 1}, WRITER))["items"][0]["id"]
        while client.last != newest:
            client.take(await anext(parts))
    assert client.names == []


async def test_a_place_that_is_kept_no_longer_is_told(session: EngineSession) -> None:
    await say(session, "a")
    for foreign, oldest in (("msg_" + "0" * 15 + "1", True), ("42", False)):
        client = Client(session)
        client.last = foreign
        async with client.connected() as parts:
            client.take(await anext(parts))
            found = (await session.call("message_search", {}, WRITER))["items"]
            assert client.events == [("reset", {"oldest": found[-1]["id"] if oldest else None, "missed": None})]


async def test_no_more_is_replayed_than_the_bound_and_the_rest_is_counted(
    session: EngineSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(message_stream, "MOST_REPLAYED", 4)
    monkeypatch.setattr(message_stream, "PAGE", 2)
    client = Client(session)
    await say(session, "first")
    client.last = (await session.call("message_search", {"limit": 1}, WRITER))["items"][0]["id"]
    await say(session, *"abcdefg")
    async with client.connected() as parts:
        while not client.events:
            client.take(await anext(parts))
    assert client.names == list("abcd")
    assert [(name, data["missed"]) for name, data in client.events] == [("reset", 3)]


async def test_who_reads_too_slowly_is_told_and_loses_nothing_by_coming_back(
    session: EngineSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sse, "BACKLOG", 3)
    client = Client(session)
    await say(session, "before")
    async with client.connected() as parts:
        client.take(await anext(parts))
        await say(session, *"abcdefgh")
        async for part in parts:
            client.take(part)
    assert [name for name, _ in client.events] == ["missed", "end"] and client.events[1][1]["reason"] == "slow"
    async with client.connected() as parts:
        await read(client, parts, 8)
    assert client.names == list("abcdefgh")


async def test_the_filters_leave_out_what_they_name(session: EngineSession) -> None:
    client = Client(session, type="variable-set", text="NEEDLE")
    await say(session, "hay")
    client.last = (await session.call("message_search", {"limit": 1}, WRITER))["items"][0]["id"]
    await say(session, "a_needle", "hay")
    async with client.connected() as parts:
        await read(client, parts, 1)
        await say(session, "hay", "another_needle")
        await read(client, parts, 2)
    assert client.names == ["a_needle", "another_needle"]


async def test_an_export_has_every_message_that_fits_the_oldest_first(session: EngineSession) -> None:
    await say(session, "a", "b", "c")
    lines = b"".join(
        [part async for part in message_stream.export(session, WRITER, {"type": "variable-set"}, sse.Reader())]
    ).splitlines()
    assert [orjson.loads(line)["message_data"]["name"] for line in lines] == ["a", "b", "c"]


async def test_ten_thousand_messages_between_two_engines_are_replayed_without_a_loss_or_a_double(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sse, "BACKLOG", 20_000)
    monkeypatch.setattr(sse, "BACKLOG_BYTES", 2**26)

    async def numbers(session: EngineSession, last: str, count: int) -> list[int]:
        found: list[int] = []
        parts = message_stream.messages(session, WRITER, {"type": "user-alert"}, sse.Reader(), last)
        async with contextlib.aclosing(parts):
            while len(found) < count:
                part = await anext(parts)
                if part.startswith(b"event: message"):
                    found.append(orjson.loads(part.split(b"data: ", 1)[1])["message_data"]["n"])
        return found

    home = tmp_path / "home"
    async with engine_on(home, workers=0) as engine:  # ends without a word to who listens
        ids = [engine.ids.next() for _ in range(message_stream.MOST_REPLAYED)]
        made = [
            Message(id, WRITER.tenant, "user", "job", "user-alert", at_ns=clock.now_ns(), data={"n": n})
            for n, id in enumerate(ids)
        ]
        await engine.database.write(table.insert, [table.row(one, one.encode()) for one in made])
    async with attach.open_session(Settings(home=home, workers=0)) as session:
        with anyio.fail_after(60):
            assert await numbers(session, text_id(ids[0]), len(ids) - 1) == list(range(1, len(ids)))


async def test_the_ids_of_messages_have_the_order_of_their_commits(tmp_path: Path) -> None:
    """Of both ways in which messages come to be, also of those whose commit has failed at first."""
    async with engine_on(tmp_path / "home", workers=0) as engine:
        heard: list[str] = []
        engine.subscribe(
            lambda topic, data: heard.append(orjson.loads(data["event"])["id"]) if topic == "message" else None
        )
        failing = 2

        def fails(db: Any) -> None:
            nonlocal failing
            failing -= 1
            if failing >= 0:
                raise OSError("the disk is away")

        for number in range(40):
            engine.traffic.message(ADMIN.tenant, type="user-alert", data={"n": number})
            if number % 10 == 5:
                engine.database.submit(lambda result, error: None, fails)
            if number % 3 == 0:
                engine.traffic.flush()
            if number % 4 == 0:
                await engine.call("variable_set", {"name": f"v{number}", "value": "x"}, ADMIN)
        engine.traffic.flush()
        total = 40 + 10
        with anyio.fail_after(20):
            while len(heard) < total:
                await engine.call("variable_list", {}, ADMIN)
        assert heard == sorted(heard) and len(set(heard)) == total
        stored = await engine.database.read(lambda db: table.search(db, ADMIN.tenant, oldest_first=True, limit=200))
        assert [event["id"] for _, event in stored[0]] == heard
