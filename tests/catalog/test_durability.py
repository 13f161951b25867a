"""How the hops of a workflow keep events, and the tag that follows from it."""

from __future__ import annotations

from typing import Any

import pytest

from core.catalog import builtin, durability, items
from core.catalog.collection import Collection
from core.model.catalog import MODELS

BUILTIN = Collection(builtin.load())


def workflow(slug: str, steps: list[dict[str, Any]], **more: Any) -> items.Entry:
    return items.entry(MODELS["workflow"].model_validate({"slug": slug, "version": 1, "steps": steps, **more}))


def counted(*entries: items.Entry) -> dict[str, str]:
    return {one.slug: one.hops for one in Collection([*builtin.load(), *entries]).entries}


SPOOL = {"s": {"transport": "file-store", "with": {"path": "x"}}}
SOURCE = {"id": "a", "use": "blueprint:echo-source@1.0.0", "out": "channel:s"}


@pytest.mark.parametrize(
    ("slug", "expected"),
    [
        ("quickstart-file-store-roundtrip", "1 durable, 0 in memory"),
        ("http-collect-deliver", "1 durable, 1 in memory"),
        ("access-log-fan-out", "0 durable, 4 in memory"),
        ("ingest-spool-deliver", "1 durable, 0 in memory"),
        ("echo-source", ""),
        ("heartbeat", ""),
    ],
)
def test_what_comes_with_sluice_says_how_its_hops_keep_events(slug: str, expected: str) -> None:
    (one,) = [one for one in BUILTIN.listed if one.slug == slug]
    assert one.row().get("hops", "") == expected


def test_the_tag_durable_follows_from_the_transports_and_is_typed_nowhere() -> None:
    assert [one.ref for one in builtin.load() if durability.DURABLE in one.tags] == []
    tagged = {one.slug for one in BUILTIN.search(tags=["durable"]).items}
    assert tagged == {one.slug for one in BUILTIN.entries if one.hops and not one.hops.startswith("0 ")}
    assert {"balanced-delivery", "fan-in-hub"} <= tagged
    typed = workflow("mine", [SOURCE], tags=["Durable", "x"])
    assert Collection([typed]).entries[0].tags == ("x",)


def test_the_hops_of_modules_count_once_for_each_use() -> None:
    inner = workflow(
        "inner",
        [{"id": "p", "use": "blueprint:json-parser@1.0.0", "in": "channel:s", "out": "channel:t"}],
        channels=SPOOL,
    )
    use = {"use": "workflow:inner@1"}
    outer = workflow("outer", [SOURCE, {"id": "m", **use}, {"id": "n", **use}])
    assert counted(inner, outer)["outer"] == "2 durable, 3 in memory"


def test_a_dispatch_has_a_hop_for_each_output_and_a_port_is_none() -> None:
    spread = {
        "id": "r",
        "use": "blueprint:event-router@1.0.0",
        "in": "port:i",
        "out": {"x": "channel:x", "y": "port:y"},
    }
    assert counted(workflow("w", [spread], channels=SPOOL))["w"] == "1 durable, 1 in memory"


def test_modules_that_use_each_other_end() -> None:
    one = workflow("one", [SOURCE, {"id": "m", "use": "workflow:two@1"}])
    two = workflow("two", [SOURCE, {"id": "m", "use": "workflow:one@1"}])
    assert counted(one, two)["one"].endswith("in memory")


def test_a_blueprint_whose_jobs_are_joined_has_hops_in_memory() -> None:
    jobs = [{"name": "a", "output": {"channel": "c"}}, {"name": "b", "input": {"channel": "c"}}]
    joined = items.entry(MODELS["blueprint"].model_validate({"slug": "joined", "jobs": jobs}))
    assert counted(joined)["joined"] == "0 durable, 1 in memory"


def test_rows_say_what_a_deployment_asks_for() -> None:
    quickstart = BUILTIN.find("workflow", "quickstart-file-store-roundtrip")
    assert quickstart is not None and quickstart.row()["asks"] == ["path", "guid_prefix?"]
    dedupe = BUILTIN.find("blueprint", "kv-dedupe")
    assert dedupe is not None and dedupe.row()["asks"] == ["fields?", "ttl?", "namespace"]
