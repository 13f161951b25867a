"""What a model reads of the catalog: whole in the text and whole in the structure, for a host may give it only one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest

from core.engine import Engine
from core.operations import REGISTRY
from mcp_server import results
from tests.engines import ADMIN, engine_on

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def engine(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Engine]:
    async with engine_on(tmp_path_factory.mktemp("answers") / "home", workers=0) as opened:
        yield opened


async def answered(engine: Engine, name: str, **arguments: Any) -> tuple[dict[str, Any], str]:
    """The structure and the text of an answer, of which nothing was cut."""
    found = await engine.call(name, arguments, ADMIN)
    told = results.success(found)
    assert told["structuredContent"] == found
    (part,) = told["content"]
    assert "see the structured content" not in part["text"]
    return found, part["text"]


@pytest.mark.parametrize("filters", [{}, {"type": "workflow"}, {"type": "blueprint"}, {"query": "deliver zebra"}])
async def test_every_page_of_a_search_is_whole(engine: Engine, filters: dict[str, Any]) -> None:
    cursor: dict[str, Any] = {}
    seen = 0
    while True:
        page, text = await answered(engine, "catalog_search", **filters, **cursor)
        seen += len(page["items"])
        for row in page["items"]:
            assert f"slug={row['slug']}, type={row['type']}" in text
            assert row["summary"] in text
        assert f"total: {page['total']}" in text and "facets: " in text
        if page["next_cursor"] is None:
            break
        assert f"next_cursor: {page['next_cursor']}" in text
        cursor = {"cursor": page["next_cursor"]}
    assert seen == page["total"] > 0
    assert sum(page["facets"]["type"].values()) == seen


async def test_a_search_says_when_no_item_has_all_words(engine: Engine) -> None:
    page, text = await answered(engine, "catalog_search", query="dedupe zebra")
    assert page["note"].startswith("No item has all") and page["note"] in text
    assert page["items"][0]["lacks"] == ["zebra"] and 'lacks=["zebra"]' in text
    every, _ = await answered(engine, "catalog_search", query="dedupe")
    assert "note" not in every


async def test_a_row_says_how_hops_keep_events_and_what_is_asked_for(engine: Engine) -> None:
    page, text = await answered(engine, "catalog_search", query="quickstart-file-store-roundtrip")
    assert page["items"][0]["hops"] == "1 durable, 0 in memory" and "hops=1 durable, 0 in memory" in text
    assert 'asks=["path","guid_prefix?"]' in text
    assert orjson.dumps(page["facets"]).decode() in text


async def test_every_item_is_told_concisely_and_whole(engine: Engine) -> None:
    page = await engine.call("catalog_search", {"limit": 200}, ADMIN)
    assert page["next_cursor"] is None and len(page["items"]) > 50
    for row in page["items"]:
        found, text = await answered(engine, "catalog_get", slug=row["slug"], type=row["type"])
        assert len(text) <= 1500 and len(orjson.dumps(found)) <= 1500, row["slug"]
        assert len(found["related"]) <= 3
        (step,) = found["next"]
        assert f"operation={step['operation']}" in text and orjson.dumps(step["arguments"]).decode() in text
        assert [f"field={field['field']}" in text for field in found["wizard"]] == [True] * len(found["wizard"])
        for slot in found["slots"]:
            assert f"step={slot['step']}" in text and all(ref in text for ref in slot["fits"])


async def test_the_details_of_an_item_are_in_the_text_as_well(engine: Engine) -> None:
    found, text = await answered(engine, "catalog_get", slug="ingest-spool-deliver", detail="detailed")
    assert orjson.dumps(found["document"]).decode() in text
    assert found["wizard"][0]["description"] in text and found["provenance"]["sha256"] in text
    assert len(found["related"]) > 3


@pytest.mark.parametrize("given", [{}, {"limit": 20}, {"part": "transform"}, {"query": "deliver"}], ids=str)
async def test_every_page_of_the_palette_is_whole(engine: Engine, given: dict[str, Any]) -> None:
    cursor: dict[str, Any] = {}
    seen = 0
    while True:
        page, text = await answered(engine, "palette_get", **given, **cursor)
        assert ("builtins" in page) == (not cursor and not {"part", "query"} & given.keys())
        for one in page.get("builtins", []):
            assert f"name={one['name']}" in text and one["write"] in text
        for row in page["items"]:
            assert f"use={row['use']}, part={row['part']}" in text and row["does"] in text
        seen += len(page["items"])
        if page["next_cursor"] is None:
            break
        cursor = {"cursor": page["next_cursor"]}
    assert seen == page["total"] > 0


def test_the_palette_is_where_authoring_is() -> None:
    assert REGISTRY["palette_get"].toolset == REGISTRY["workflow_save_draft"].toolset
