"""Random graphs are valid; one random mutation of them is found, once, and named."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import orjson
from hypothesis import given
from hypothesis import strategies as st

from core.workflows import comparison
from tests.workflows.texts import report

Document = dict[str, Any]


@st.composite
def graphs(draw: st.DrawFn) -> Document:
    """A valid workflow: sources, passes in layers, printers; some channels durable, some steps spread."""
    layers = draw(st.lists(st.integers(1, 3), min_size=1, max_size=4))
    steps: list[Document] = []
    channels: Document = {}
    open_ends: list[str] = []

    def channel(producer: str) -> str:
        name = f"c-{producer}"
        if draw(st.booleans()):
            channels[name] = {"transport": "file-store", "with": {"path": "{{wizard.path}}", "retention": "1d"}}
        return f"channel:{name}"

    for number in range(draw(st.integers(1, 3))):
        end = channel(f"s{number}")
        event = draw(st.sampled_from(["{}", "{{wizard.word}}"]))
        use = "blueprint:echo-source@1.0.0"
        steps.append({"id": f"s{number}", "use": use, "with": {"event": event}, "out": end})
        open_ends.append(end)
    for layer, width in enumerate(layers):
        ends: list[str] = []
        for number in range(width):
            id = f"m{layer}-{number}"
            step = {"id": id, "use": "blueprint:pass@1.0.0", "in": draw(st.sampled_from(open_ends))}
            if draw(st.booleans()):
                step["out"] = {name: channel(f"{id}-{name}") for name in ("x", "y")}
                step["dispatch"] = draw(st.sampled_from(DISPATCHES))
                ends += step["out"].values()
            else:
                step["out"] = channel(id)
                ends.append(step["out"])
            steps.append(step)
        open_ends = [*open_ends, *ends]
    for number, end in enumerate(open_ends):
        steps.append({"id": f"p{number}", "use": "blueprint:file-printer@1.0.0", "in": end})
    wizard = [{"field": "path", "type": "path"}, {"field": "word", "default": "x"}]
    return {"kind": "workflow", "slug": "w", "wizard": wizard, "channels": channels, "steps": steps}


DISPATCHES: list[Document] = [
    {},
    {"mode": "round-robin"},
    {"mode": "conditional", "field": "level", "routes": {"error": "x"}, "default": "y"},
]


def _first(data: Document) -> Document:
    return data["steps"][0]


def _printer(data: Document) -> Document:
    return data["steps"][-1]


def _unknown_blueprint(data: Document) -> None:
    _printer(data)["use"] = "blueprint:nothing@1.0.0"


def _unknown_version(data: Document) -> None:
    _printer(data)["use"] = "blueprint:file-printer@1.0.9"


def _duplicate(data: Document) -> None:
    data["steps"].append(copy.deepcopy(_printer(data)))


def _unbound(data: Document) -> None:
    del _printer(data)["use"]


def _no_producer(data: Document) -> None:
    data["steps"].append({"id": "late", "use": "blueprint:file-printer@1.0.0", "in": "channel:out-of-nowhere"})


def _no_consumer(data: Document) -> None:
    data["steps"].append({"id": "early", "use": "blueprint:echo-source@1.0.0", "out": "channel:to-nowhere"})


def _parameter(data: Document) -> None:
    _first(data)["with"]["evnt"] = 1


def _wrong_type(data: Document) -> None:
    _first(data)["with"]["interval"] = 5


def _reference(data: Document) -> None:
    _first(data)["with"]["event"] = "{{wizard.nothing}}"


def _key(data: Document) -> None:
    _printer(data)["colour"] = "blue"


def _value(data: Document) -> None:
    _printer(data)["replicas"] = -1


def _cycle(data: Document) -> None:
    for here, there in (("u", "v"), ("v", "u")):
        step = {"id": here, "use": "blueprint:pass@1.0.0", "in": f"channel:to-{here}", "out": f"channel:to-{there}"}
        data["steps"].append(step)


def _message(data: Document) -> None:
    data["messages"] = [{"from": _first(data)["id"], "to": "nowhere", "tag": "t"}]


MUTATIONS: dict[str, tuple[Callable[[Document], None], str]] = {
    "unknown_blueprint": (_unknown_blueprint, "nothing"),
    "unknown_version": (_unknown_version, "1.0.9"),
    "duplicate_step": (_duplicate, "twice"),
    "unbound_slot": (_unbound, "not bound"),
    "no_producer": (_no_producer, "nowhere"),
    "no_consumer": (_no_consumer, "nowhere"),
    "invalid_parameter": (_parameter, "evnt"),
    "invalid_parameter ": (_wrong_type, "interval"),
    "unknown_reference": (_reference, "nothing"),
    "unknown_key": (_key, "colour"),
    "wrong_value": (_value, "-1"),
    "cycle": (_cycle, "u -> v -> u"),
    "unknown_step": (_message, "nowhere"),
}


@given(graphs())
def test_a_random_graph_is_valid(data: Document) -> None:
    made = report(orjson.dumps(data).decode())
    assert made.faults == ()
    assert made.model is not None


@given(graphs(), st.sampled_from(sorted(MUTATIONS)))
def test_one_mutation_is_found_once_and_named(data: Document, code: str) -> None:
    mutate, said = MUTATIONS[code]
    changed = copy.deepcopy(data)
    mutate(changed)
    told = report(orjson.dumps(changed).decode()).faults
    assert [fault.code for fault in told] == [code.strip()], told
    assert said in told[0].message
    assert told[0].hint
    assert comparison.compare(data, changed)


TOGETHER = sorted(MUTATIONS.keys() - {"unknown_blueprint", "unknown_version", "unbound_slot", "invalid_parameter "})
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["id", "use", "in", "out", "with", "from", "to", "x"]), inner, max_size=4)
    ),
    max_leaves=15,
)


@given(graphs(), st.lists(st.sampled_from(TOGETHER), min_size=2, max_size=6, unique=True))
def test_several_mutations_are_told_in_one_pass(data: Document, codes: list[str]) -> None:
    for code in sorted(codes):
        MUTATIONS[code][0](data)
    told = report(orjson.dumps(data).decode()).faults
    assert sorted(fault.code for fault in told) == sorted(codes), told


@given(VALUES)
def test_no_shape_of_a_document_makes_the_check_fail(value: Any) -> None:
    for key in ("steps", "channels", "wizard", "messages", "ports", "context", "tags"):
        report(orjson.dumps({"kind": "workflow", "slug": "w", "steps": [{"id": "a"}], key: value}).decode())
    for key in ("jobs", "ports", "parameters", "requires"):
        report(orjson.dumps({"kind": "blueprint", "slug": "b", "jobs": [{"name": "j"}], key: value}).decode())
