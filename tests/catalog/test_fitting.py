"""What may fill an open step, and the drafts that are begun around a module."""

from __future__ import annotations

from typing import Any

import pytest

from core import documents
from core.catalog import builtin, fitting, starting
from core.catalog.collection import Collection
from core.model.catalog import Blueprint, Step
from core.workflows import authoring, check, modules
from tests.catalog.test_collection import blueprint

BUILTIN = Collection(builtin.load())
SINK = {"in": "channel:c"}
SOURCE = {"out": "channel:c"}
TRANSFORM = {**SINK, "out": "channel:d"}


def fits(most: int = 3, *, id: str = "s", hint: str = "", accepts: str = "blueprint", **bound: Any) -> list[str]:
    step = Step.model_validate({"id": id, "slot": {"hint": hint, "accepts": accepts}, **bound})
    return [ref.partition("@")[0] for ref in fitting.modules(step, BUILTIN.listed, most)]


@pytest.mark.parametrize(
    ("bound", "ins", "outs"), [(SINK, 1, 0), (SOURCE, 0, 1), (TRANSFORM, 1, 1), ({}, 0, 0)], ids=str
)
def test_only_modules_with_the_ports_that_the_step_binds_fit(bound: dict[str, Any], ins: int, outs: int) -> None:
    blueprints = [one for one in BUILTIN.entries if isinstance(one.model, Blueprint)]
    expected = {
        f"blueprint:{one.slug}"
        for one in blueprints
        if (len(one.model.ports.in_), len(one.model.ports.out)) == (ins, outs)  # type: ignore[union-attr]
    }
    assert set(fits(999, **bound)) == expected != set()


def test_named_ports_have_to_be_those_of_the_module() -> None:
    assert "blueprint:file-sink" in fits(99, **{"in": {"in": "channel:c"}})
    assert fits(99, **{"in": {"other": "channel:c"}}) == []


def test_a_step_with_a_dispatch_takes_what_has_one_output() -> None:
    spread = {"out": {"a": "channel:a", "b": "channel:b"}, "dispatch": {"mode": "clone"}}
    assert fits(1, id="route", **SINK, **spread) == ["blueprint:event-router"]


@pytest.mark.parametrize(
    ("hint", "bound", "first"),
    [
        ("A blueprint that parses CSV.", TRANSFORM, "csv-parser"),
        ("Removes personal fields.", TRANSFORM, "field-remover"),
        ("Passes each key once.", TRANSFORM, "kv-dedupe"),
        ("Follows log files.", SOURCE, "file-tail-source"),
        ("Notifies people of errors.", SINK, "alert-sink"),
        ("Whatever parses CSV, or another, e.g. json-parser@1.0.0.", TRANSFORM, "json-parser"),
    ],
)
def test_what_fits_the_purpose_comes_first_and_what_the_hint_names_before_it(
    hint: str, bound: dict[str, Any], first: str
) -> None:
    assert fits(hint=hint, **bound)[0] == f"blueprint:{first}"


def test_without_a_hint_the_id_says_the_purpose() -> None:
    assert fits(1, id="dedupe-orders", **TRANSFORM) == ["blueprint:kv-dedupe"]


def test_a_slot_for_workflows_takes_workflows() -> None:
    assert all(ref.startswith("workflow:") for ref in fits(9, accepts="workflow"))


def test_every_open_slot_that_comes_with_sluice_has_three_that_fit_its_named_one_first() -> None:
    for one in BUILTIN.listed:
        for slot in starting.slots(one, BUILTIN.listed):  # type: ignore[arg-type]
            assert len(slot["fits"]) == fitting.MOST
            assert slot["fits"][0].removeprefix("blueprint:") in slot["hint"]


def draft(slug: str, *more: Any) -> dict[str, Any]:
    every = Collection([*builtin.load(), *more])
    entry = every.pick(slug, "blueprint", None)
    document: str = starting.here(entry, every.listed)["arguments"]["document"]  # type: ignore[arg-type]
    report = check.check(authoring.read(document), modules.of(every.entries))
    assert {fault.code for fault in report.faults} <= {"unbound_slot", "invalid_parameter"}
    for fault in report.faults:
        if fault.code == "unbound_slot":
            assert "blueprint:" in fault.hint
    return dict(documents.load(document)[0].data)


def test_the_draft_around_a_router_spreads_as_the_workflows_of_the_catalog_do() -> None:
    steps = {step["id"]: step for step in draft("threshold-classifier")["steps"]}
    router = steps["threshold-classifier"]
    assert router["dispatch"] == {
        "mode": "conditional",
        "field": "severity",
        "routes": {"error": "errors"},
        "default": "others",
    }
    assert steps["errors-sink"]["in"] == router["out"]["errors"]
    assert steps["others-sink"]["in"] == router["out"]["others"]
    assert "dispatch" in next(step for step in draft("event-router")["steps"] if step["id"] == "event-router")


def test_a_router_that_no_workflow_uses_copies_to_two() -> None:
    jobs = ({"name": "x", "input": {"port": "in"}, "output": {"port": "out"}},)
    mine = blueprint("mine", tags=("routing",), ports={"in": ("in",), "out": ("out",)})
    mine = type(mine)(
        *(getattr(mine, name) for name in ("type", "slug", "version", "title", "summary", "tags", "source")),
        mine.availability,
        mine.model.model_copy(update={"jobs": jobs}),
    )
    (router,) = [step for step in draft("mine", mine)["steps"] if step["id"] == "mine"]
    assert (router["dispatch"], set(router["out"])) == ({"mode": "clone"}, {"first", "second"})


def test_what_is_no_router_has_no_dispatch_and_every_starter_draft_has_only_open_slots_as_faults() -> None:
    for one in BUILTIN.listed:
        if one.type.value == "blueprint" and not starting.is_deployable(one):  # type: ignore[arg-type]
            spread = any("dispatch" in step for step in draft(one.slug)["steps"])
            assert spread == (one.slug in ("event-router", "threshold-classifier")), one.slug
