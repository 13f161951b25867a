"""What an apply would do, and above all what it would never take away."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.gitops import compare, promotion
from core.gitops.compare import Action, Found, Owned
from core.gitops.desired import Item
from core.model.gitops import Kind

KINDS = (Kind.CONTEXT, Kind.JOB, Kind.TRIGGER, Kind.DEPLOYMENT)
KEYS = st.tuples(st.sampled_from(KINDS), st.sampled_from(["a", "b", "c"]))
DATA = st.fixed_dictionaries({"value": st.integers(0, 2)})


def item(kind: Kind, name: str, **data: Any) -> Item:
    return Item(kind, name, data)


def said(changes: list[compare.Change]) -> list[tuple[str, str, str]]:
    return [(change.action.value, change.kind.value, change.name) for change in changes]


@given(st.dictionaries(KEYS, DATA), st.dictionaries(KEYS, DATA), st.sets(KEYS), st.sets(KEYS))
def test_only_what_this_manifest_created_and_nobody_else_names_is_pruned(
    wanted: dict[Any, Any], there: dict[Any, Any], created: set[Any], others: set[Any]
) -> None:
    items = [Item(kind, name, data) for (kind, name), data in wanted.items()]
    present = {key: Found(data) for key, data in there.items()}
    owned = Owned(frozenset(created), frozenset(created), dict.fromkeys(others, "prod/default"))
    changes = compare.compare(items, present, owned)
    pruned = {(change.kind, change.name) for change in changes if change.action is Action.PRUNE}
    assert pruned == (created & there.keys()) - wanted.keys() - others
    for change in changes:
        key = (change.kind, change.name)
        match change.action:
            case Action.CREATE:
                assert key in wanted and key not in there
            case Action.UPDATE:
                assert wanted[key] != there[key]
                assert change.diff
            case Action.UNCHANGED:
                assert wanted[key] == there[key]
    assert [c for c in compare.compare(items, present, owned, prune=False) if c.action is Action.PRUNE] == []


@given(st.dictionaries(KEYS, DATA), st.dictionaries(KEYS, DATA))
def test_after_an_apply_nothing_is_left_to_do(wanted: dict[Any, Any], there: dict[Any, Any]) -> None:
    items = [Item(kind, name, data) for (kind, name), data in wanted.items()]
    owned = Owned(frozenset(there))
    state = {key: Found(data) for key, data in there.items()}
    for change in compare.compare(items, state, owned):
        if change.action is Action.PRUNE:
            del state[change.kind, change.name]
        elif change.item is not None:
            state[change.kind, change.name] = Found(change.item.data)
    again = compare.compare(items, state, Owned(frozenset(state)))
    assert {change.action for change in again} <= {Action.UNCHANGED}


def test_what_is_needed_comes_first_and_goes_last() -> None:
    items = [item(kind, "new") for kind in reversed(list(Kind))]
    there = {(kind, "old"): Found({}) for kind in KINDS}
    changes = said(compare.compare(items, there, Owned(frozenset(there))))
    assert [kind for action, kind, _ in changes if action == "create"] == [kind.value for kind in Kind]
    assert [kind for action, kind, _ in changes if action == "prune"] == ["deployment", "trigger", "job", "context"]


def test_versions_that_a_manifest_published_retire_together_and_those_of_others_stay() -> None:
    there = {(Kind.WORKFLOW, f"w@{n}"): Found({}, str(n)) for n in (1, 2, 3)} | {(Kind.WORKFLOW, "w"): Found({}, "3")}
    owned = Owned(
        frozenset({(Kind.WORKFLOW, "w@2"), (Kind.WORKFLOW, "w@3")}), others={(Kind.WORKFLOW, "w@3"): "prod/x"}
    )
    (change,) = compare.compare([], there, owned)
    assert (change.action, change.name, change.versions) == (Action.PRUNE, "w", ("2",))
    kept = Item(Kind.WORKFLOW, "w", {}, version="3")
    assert [c.action for c in compare.compare([kept], there, owned)] == [Action.UNCHANGED]


def test_what_belongs_to_another_environment_or_manifest_stands_in_the_way() -> None:
    data = {"environment": "prod", "source": "workflow:w@1"}
    there = {(Kind.DEPLOYMENT, "d"): Found(data), (Kind.TRIGGER, "t"): Found({"value": 1})}
    items = [item(Kind.DEPLOYMENT, "d", environment="dev", source="workflow:w@1"), item(Kind.TRIGGER, "t", value=2)]
    owned = Owned(others={(Kind.TRIGGER, "t"): "-/shared"})
    changes = compare.compare(items, there, owned)
    found = compare.blockers(changes, there, owned, "dev")
    assert [(one.code, "prod" in one.message or "-/shared" in one.message) for one in found] == [
        ("owned_elsewhere", True),
        ("other_environment", True),
    ]
    same = [item(Kind.TRIGGER, "t", value=1)]
    assert compare.blockers(compare.compare(same, there, owned), there, owned, "dev") == []


def test_a_digest_names_the_changes_and_not_the_names_of_files() -> None:
    there = {(Kind.JOB, "j"): Found({"a": 1})}
    one = compare.compare([Item(Kind.JOB, "j", {"a": 2}, "x.yaml")], there, Owned())
    same = compare.compare([Item(Kind.JOB, "j", {"a": 2}, "y.yaml")], there, Owned())
    other = compare.compare([Item(Kind.JOB, "j", {"a": 3}, "x.yaml")], there, Owned())
    assert compare.digest(one) == compare.digest(same) != compare.digest(other)


@pytest.mark.parametrize(
    ("source", "target", "same"),
    [
        ("orders-dev", "orders-prod", True),
        ("dev_orders", "prod_orders", True),
        ("orders-dev-eu", "orders-prod-eu", True),
        ("orders", "orders", True),
        ("orders-dev", "orders", True),
        ("dev", "prod", False),
        ("orders-development", "orders-prod", False),
        ("orders-dev", "invoices-prod", False),
    ],
)
def test_a_deployment_is_known_by_its_name_without_the_environment(source: str, target: str, same: bool) -> None:
    assert (promotion.stem(source, "dev") == promotion.stem(target, "prod")) is same


def test_a_promotion_takes_over_the_source_alone() -> None:
    reviewed = [
        item(Kind.DEPLOYMENT, "a-dev", source="workflow:a@2", values={"x": 1}),
        item(Kind.DEPLOYMENT, "b-dev", source="workflow:b@2"),
        item(Kind.JOB, "j"),
    ]
    there = {"a-prod": {"source": "workflow:a@1", "values": {"x": 9}}, "c-prod": {"source": "workflow:c@1"}}
    made = promotion.promote(reviewed, there, "dev", "prod")
    assert [(one.name, one.data) for one in made.items] == [("a-prod", {"source": "workflow:a@2", "values": {"x": 9}})]
    assert made.without == ("b-dev",)
    before = [item(Kind.CONTEXT, "global/k", value=1), item(Kind.DEPLOYMENT, "a-prod", source="workflow:a@1")]
    left = promotion.left_behind(before, [*made.items, item(Kind.DEPLOYMENT, "c-prod", source="workflow:c@1")])
    assert [(one.name, one.data.get("source")) for one in left] == [
        ("global/k", None),
        ("a-prod", "workflow:a@2"),
        ("c-prod", "workflow:c@1"),
    ]
