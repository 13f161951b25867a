"""Which value of a key wins: a reference that asks the levels one by one, against the merged view."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.contexts.layers import Layers, Level, digest
from core.dsl.language import templates
from core.errors import InvalidDocument

KEYS = st.sampled_from(["a", "b", "c"])
VALUES = st.one_of(st.integers(0, 9), st.sampled_from(["x", "${b}", "{{a}}"]), st.fixed_dictionaries({"d": st.just(1)}))
TARGETS = {
    Level.GLOBAL: st.just(""),
    Level.ENVIRONMENT: st.sampled_from(["dev", "prod"]),
    Level.GROUP: st.sampled_from(["default", "edge"]),
    Level.WORKER: st.sampled_from(["w1", "w2"]),
    Level.JOB: st.sampled_from(["j1", "j2"]),
}
ROWS = st.lists(
    st.sampled_from(list(Level)).flatmap(
        lambda level: st.fixed_dictionaries(
            {"level": st.just(level.value), "target": TARGETS[level], "key": KEYS, "value": VALUES}
        )
    )
)


def reference(rows: list[dict[str, Any]], own: dict[str, Any], key: str, place: dict[Level, str]) -> Any:
    """Ask the documented levels from the strongest to the weakest; the last row of a place is the one that is set."""
    for level in (Level.JOB, Level.WORKER, Level.GROUP, Level.ENVIRONMENT, Level.GLOBAL):
        for row in reversed(rows):
            if (row["level"], row["target"], row["key"]) == (level.value, place[level], key):
                return row["value"]
    return own.get(key)


@given(ROWS, st.dictionaries(KEYS, st.sampled_from(["own", 5])), st.data())
def test_a_placeholder_has_the_value_of_the_strongest_level_that_has_its_key(
    rows: list[dict[str, Any]], own: dict[str, Any], data: st.DataObject
) -> None:
    place = {level: data.draw(target) for level, target in TARGETS.items()}
    layers = Layers.from_rows(rows)
    context = layers.resolve(
        job=place[Level.JOB],
        worker=place[Level.WORKER],
        group=place[Level.GROUP],
        environment=place[Level.ENVIRONMENT],
    )
    key = data.draw(KEYS)
    expected = reference(rows, own, key, place)
    document = {"v": f"{{{{{key}}}}}", "context": own}
    if expected is None:
        with pytest.raises(InvalidDocument):
            templates.stage(document, context)
    else:
        assert templates.stage(document, context) == {"v": expected}


def test_a_map_of_a_stronger_level_hides_the_whole_map_of_a_weaker_one() -> None:
    layers = Layers({Level.GLOBAL: {"": {"db": {"host": "h", "port": 1}}}, Level.JOB: {"j": {"db": {"host": "mine"}}}})
    context = layers.resolve(job="j")
    assert templates.stage({"v": "{{db.host}}"}, context) == {"v": "mine"}
    with pytest.raises(InvalidDocument):
        templates.stage({"v": "{{db.port}}"}, context)
    assert templates.stage({"v": "{{db.port}}"}, layers.resolve(job="other")) == {"v": 1}


def test_a_digest_names_a_value_and_does_not_hold_it() -> None:
    assert digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1}) != digest({"a": 1})
    assert "visible" not in digest("visible")


def test_what_is_seen_tells_which_level_gives_it() -> None:
    layers = Layers({Level.GLOBAL: {"": {"a": 1, "b": 1}}, Level.WORKER: {"w": {"a": 2}}})
    seen = layers.visible(worker="w")
    assert (seen["a"].value, seen["a"].level, seen["a"].target) == (2, Level.WORKER, "w")
    assert seen["b"].level is Level.GLOBAL
    assert layers.visible(worker="other")["a"].value == 1
