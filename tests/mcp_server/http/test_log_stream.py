"""The stream of logs: lines as they come, filtered; resumed without a loss or a double."""

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
from core.model import frames
from core.model.log_line import InRun
from core.model.log_lines import Gathered
from core.settings import Settings
from core.store import log_rows
from core.store.log_chunks import Source
from mcp_server import attach
from mcp_server.http import log_stream, sse
from mcp_server.live import Reason
from tests import waiting
from tests.mcp_server import fake

pytestmark = pytest.mark.anyio
TENANT = fake.CALLER.tenant
MINE, OTHER = Source(f"{TENANT}/mine#0", "d", "w1"), Source(f"{TENANT}/other#0", "", "w1")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def session(tmp_path: Path) -> AsyncIterator[attach.Session]:
    async with attach.open_session(Settings(home=tmp_path / "home", workers=0)) as made:
        await made.call("log_search", {}, fake.CALLER)  # which opens the engine
        yield made


class Client:
    """One that reads a stream and remembers where it is."""

    def __init__(self, session: attach.Session, **wanted: Any) -> None:
        self._session = session
        self._wanted = wanted
        self.last: str | None = None
        self.texts: list[str] = []
        self.events: list[tuple[str, Any]] = []

    @contextlib.asynccontextmanager
    async def connected(self, reader: sse.Reader | None = None) -> AsyncIterator[sse.Parts]:
        parts = log_stream.lines(self._session, fake.CALLER, self._wanted, reader or sse.Reader(), self.last)
        async with contextlib.aclosing(parts):
            with anyio.fail_after(20):
                assert await anext(parts) == sse.CONNECTED
                yield parts

    def take(self, part: bytes) -> None:
        fields = dict(line.split(": ", 1) for line in part.decode().splitlines() if not line.startswith(":") and line)
        self.last = fields.get("id", self.last)
        data = orjson.loads(fields["data"]) if "data" in fields else None
        if fields.get("event") == "line":
            self.texts.append(data["text"])
        elif "event" in fields:
            self.events.append((fields["event"], data))

    async def read(self, parts: sse.Parts, count: int) -> None:
        while len(self.texts) < count:
            self.take(await anext(parts))


def write(session: attach.Session, *texts: str, source: Source = MINE, level: str = "info") -> None:
    for text in texts:
        session.engine.fleet.logs.add(source, clock.now_ns(), level, text, {})


async def test_who_comes_back_gets_what_was_written_meanwhile_once_and_in_order(session: attach.Session) -> None:
    client = Client(session)
    write(session, "before")
    async with client.connected() as parts:
        client.take(await anext(parts))  # where the stream begins
        write(session, "a", "same")
        await client.read(parts, 2)
    write(session, "same", "b\nand more")
    async with client.connected() as parts:
        write(session, "\x1b[31mc\x1b[0m")
        await client.read(parts, 5)
    assert client.texts == ["a", "same", "same", "b\nand more", "\x1b[31mc\x1b[0m"]
    assert client.events == []


async def test_a_line_has_its_workload_time_level_and_fields(session: attach.Session) -> None:
    client = Client(session)
    async with client.connected() as parts:
        client.take(await anext(parts))
        session.engine.fleet.logs.add(MINE, 1_000_000_000, "error", "bad", {"n": 1})
        part = await anext(parts)
    head, id, data, *_ = part.decode().splitlines()
    assert (head, id[:4]) == ("event: line", "id: ")
    expected = {"workload": MINE.workload, "at": "1970-01-01T00:00:01.000Z", "level": "error", "text": "bad"}
    assert orjson.loads(data.removeprefix("data: ")) == {**expected, "fields": {"n": 1}}


async def test_filters_hold_and_a_sign_of_life_moves_on_who_wants_something_else(
    session: attach.Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sse, "KEEP_ALIVE_SECONDS", 1)
    write(session, "before")
    client = Client(session, of="d", text="B.D", regex=True, level="warning")
    async with client.connected() as parts:
        client.take(await anext(parts))
        began = client.last
        write(session, "BAD", "good", level="error")
        write(session, "BAD", "good")
        write(session, "BAD", "good", level="error", source=OTHER)
        session.engine.fleet.logs.add(MINE._replace(workload="foreign/mine#0"), 1, "error", "BAD", {})
        await client.read(parts, 1)
        reached = session.engine.logbook.seq
        while client.last != clock.encode(reached):
            client.take(await anext(parts))
    assert client.texts == ["BAD"]
    assert began is not None and client.last > began


async def test_the_lines_of_one_run_are_followed_and_name_it(session: attach.Session) -> None:
    client = Client(session, run="r-1")
    async with client.connected() as parts:
        client.take(await anext(parts))
        said = Gathered()
        for run in ("r-1", "r-2", "r-12", "r-1"):
            said.add(clock.now_ns(), "info", f"of {run}", {}, InRun(run, "inv_1"))
        columns, text = frames.Json(said.columns()), frames.Json(said.text())
        session.engine.fleet.logs.take(MINE, frames.Lines(MINE.workload, 4, columns, text))
        data = [(await anext(parts)).decode().splitlines()[2] for _ in range(2)]
    lines = [orjson.loads(one.removeprefix("data: ")) for one in data]
    assert [(one["text"], one["run"], one["invocation"]) for one in lines] == 2 * [("of r-1", "r-1", "inv_1")]


async def test_a_place_after_which_lines_are_gone_is_told(session: attach.Session) -> None:
    client = Client(session)
    write(session, "old")
    await waiting.until(lambda: not session.engine.logbook.held)
    with contextlib.closing(log_rows.connect(session.engine.logbook.path, write=True)) as db, db:
        assert log_rows.prune_old(db, 2**62) == 1
    session.engine.fleet.logs._last.clear()
    client.last = "0" * 15 + "1"
    async with client.connected() as parts:
        write(session, "new")
        await client.read(parts, 1)
    assert client.events == [("reset", {"oldest": client.last, "missed": None})]
    client = Client(session, of="other")
    client.last = "0" * 15 + "1"
    write(session, "theirs", source=OTHER)
    async with client.connected() as parts:
        await client.read(parts, 1)
    assert client.events == [], "nothing of that job has gone"


async def test_a_place_that_is_none_is_told_and_the_stream_begins_anew(session: attach.Session) -> None:
    client = Client(session)
    client.last = "msg_42"
    async with client.connected() as parts:
        client.take(await anext(parts))
        client.take(await anext(parts))
        write(session, "a")
        await client.read(parts, 1)
    assert client.events == [("reset", {"oldest": None, "missed": None})]


async def test_a_stream_that_is_ended_says_why_at_once(session: attach.Session) -> None:
    client, reader = Client(session), sse.Reader()
    async with client.connected(reader) as parts:
        client.take(await anext(parts))
        waits = asyncio.ensure_future(anext(parts))
        await waiting.until(lambda: session.engine.fleet.logs._watchers)
        reader.end(Reason.REVOKED)
        client.take(await waits)
        with pytest.raises(StopAsyncIteration):
            await anext(parts)
    assert [(name, data["reason"]) for name, data in client.events] == [("end", "revoked")]
