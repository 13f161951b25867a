"""A page has a bound in bytes: every list of the registry ends early rather than answer with whatever there is."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import anyio
import orjson
import pytest

from core.engine import Engine
from core.model import invocation
from core.model.message import Message
from core.operations import REGISTRY, registry
from core.store import callbacks
from core.store import messages as table
from tests.engines import ADMIN, engine_on
from tests.furnished import NAMES, arguments_of, furnish

pytestmark = pytest.mark.anyio
LISTS = sorted(one.name for one in REGISTRY if "items" in one.outline)


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def engine(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Engine]:
    home = tmp_path_factory.mktemp("pages") / "home"
    async with engine_on(home, workers=1) as made:
        with anyio.fail_after(60):
            await furnish(made)
    async with engine_on(home, workers=0, reconcile_interval_seconds=3600.0) as resting:
        run, _ = invocation.parse_id(NAMES["triggers invocation_id"])  # type: ignore[misc]
        for number in range(3):  # of which nothing is posted
            row = (number, run, "tenant-a", "https://x", "succeeded", "dead", 1, 0, 1, "[]", b"")
            await resting.database.write(callbacks.insert, row)
        yield resting


def size(answer: dict[str, Any]) -> int:
    return sum(len(orjson.dumps(item)) for item in answer["items"])


async def test_every_list_of_the_registry_has_a_cursor_and_a_bound(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    several = 0
    for name in LISTS:
        operation = REGISTRY[name]
        arguments = arguments_of(operation, real=True)
        assert {"cursor", "limit"} <= set(operation.schema["properties"]), name
        whole = await engine.call(name, {**arguments, "limit": 200}, ADMIN)
        assert whole["next_cursor"] is None and (whole["items"] or name == "worker_list"), name  # none is left
        several += len(whole["items"]) > 1
        monkeypatch.setattr(registry, "PAGE_BYTES", 100)
        cursor, found = None, []
        for _ in range(max(1, len(whole["items"]))):
            page = await engine.call(name, {**arguments, "limit": 200, "cursor": cursor}, ADMIN)
            assert len(page["items"]) <= 1 or size(page) <= 100, name
            assert size(page) <= 500, name
            found += page["items"]
            cursor = page["next_cursor"]
        monkeypatch.undo()
        assert cursor is None and len(found) == len(whole["items"]), name
    assert several >= 8


async def test_large_messages_are_read_a_page_at_a_time_and_none_is_left_out(engine: Engine) -> None:
    large = [
        Message(2**61 + number, "tenant-a", "user", "job", "user-generated", "large", data={"text": "v" * 400_000})
        for number in range(9)
    ]
    await engine.database.write(table.insert, [table.row(one, one.encode()) for one in large])
    read, more = await engine.database.read(
        lambda db: table.search(db, "tenant-a", table.Wanted(tag="large"), limit=100)
    )
    assert (len(read), more) == (2, True), "no more of them than a page are in memory at once"
    cursor, sizes = None, []
    while True:
        page = await engine.call("message_search", {"tag": "large", "limit": 100, "cursor": cursor}, ADMIN)
        sizes.append(len(page["items"]))
        assert size(page) <= registry.PAGE_BYTES
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert sizes == [2, 2, 2, 2, 1]


def test_what_alone_is_larger_than_a_page_is_cut_and_says_so() -> None:
    long = {"id": "a", "text": "é\n" * registry.PAGE_BYTES, "many": [[number] for number in range(300_000)]}
    (cut,) = registry.fitting([long, {"id": "b"}])
    assert cut["cut"] is True and cut["id"] == "a" and cut["text"].endswith(f"… ({2 * registry.PAGE_BYTES} characters)")
    assert len(orjson.dumps(cut)) < registry.PAGE_BYTES
    assert 0 < len(cut["many"]) < 300_000
    assert registry.fitting([{"id": "b"}]) == [{"id": "b"}]
