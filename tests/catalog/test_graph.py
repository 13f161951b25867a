"""Wiring: dispatches, ports of modules, circles."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from core import documents
from core.catalog import cycles, graph
from core.catalog.wiring import Wiring
from core.model.catalog import Workflow
from tests.workflows.texts import KNOWN

SPREAD = "out: {x: channel:left, y: channel:right}, dispatch: {mode: round-robin}"
ENDS = """
  - {id: l, use: "blueprint:file-printer@1.0.0", in: channel:left}
  - {id: r, use: "blueprint:file-printer@1.0.0", in: channel:right}
"""


def wired(steps: str) -> Wiring:
    return graph.wire(
        documents.check(documents.load(f"kind: workflow\nslug: w\nsteps:{steps}")[0], Workflow), KNOWN.find
    )


def test_a_dispatch_leads_from_the_one_port_of_a_step_to_its_outputs() -> None:
    made = wired(f'\n  - {{id: a, use: "blueprint:echo-source@1.0.0", {SPREAD}}}{ENDS}')
    assert made.findings == []
    (key,) = made.nodes["a"].spread.values()
    assert made.nodes["a"].outs == {}
    assert made.dispatches[key].outs == {"x": "left", "y": "right"}
    assert made.channels["left"].producers == made.channels["right"].producers == ["a"]


def test_a_dispatch_of_a_module_leads_from_the_step_inside() -> None:
    made = wired(
        '\n  - {id: a, use: "blueprint:echo-source@1.0.0", out: channel:in}'
        f'\n  - {{id: m, use: "workflow:spool@1", with: {{dir: /x}}, in: channel:in, {SPREAD}}}{ENDS}'
    )
    assert made.findings == []
    assert list(made.nodes["m.last"].spread) == ["out"]
    assert next(iter(made.dispatches.values())).sources == ["m.last"]
    assert made.channels["left"].producers == ["m.last"]


def test_a_circle_through_a_dispatch_is_a_circle() -> None:
    made = wired(
        '\n  - {id: p, use: "blueprint:pass@1.0.0", in: channel:left, out: {x: channel:left, y: channel:right},'
        ' dispatch: {}}\n  - {id: r, use: "blueprint:file-printer@1.0.0", in: channel:right}'
    )
    assert [found.code for found in made.findings] == ["cycle"]


def test_an_in_port_and_an_out_port_of_one_name_are_two_ports() -> None:
    inner = (
        "{kind: workflow, slug: m, version: 1, ports: {in: [e], out: [e]},"
        " steps: [{id: s, use: 'blueprint:pass@1.0.0', in: port:e, out: port:e}]}"
    )
    module = documents.check(documents.load(inner)[0], Workflow)
    text = (
        "{kind: workflow, slug: w, steps: [{id: a, use: 'blueprint:echo-source@1.0.0', out: channel:x},"
        " {id: m, use: 'workflow:m@1', in: channel:x, out: channel:y},"
        " {id: b, use: 'blueprint:file-printer@1.0.0', in: channel:y}]}"
    )
    made = graph.wire(
        documents.check(documents.load(text)[0], Workflow),
        lambda ref: module if ref == "workflow:m@1" else KNOWN.find(ref),
    )
    assert made.findings == []
    assert (made.nodes["m.s"].ins, made.nodes["m.s"].outs) == ({"in": "x"}, {"out": "y"})


@given(st.integers(1, 30), st.lists(st.tuples(st.integers(0, 29), st.integers(0, 29)), max_size=60))
def test_circles_are_circles_and_an_order_has_none(size: int, pairs: list[tuple[int, int]]) -> None:
    before: dict[str, list[str]] = {str(n): [] for n in range(size)}
    for source, target in pairs:
        before[str(target % size)].append(str(source % size))
    found = cycles.cycles(before)
    seen: set[str] = set()
    for circle in found:
        assert len(set(circle)) == len(circle)
        assert seen.isdisjoint(circle)
        seen.update(circle)
        for one, other in zip(circle, [*circle[1:], circle[0]], strict=True):
            assert one in before[other]
    without = {name: [s for s in sources if s not in seen] for name, sources in before.items() if name not in seen}
    assert cycles.cycles(without) == []
    if not found:
        order = {str(n): [s for s in before[str(n)] if int(s) < n] for n in range(size)}
        assert cycles.cycles(order) == []


def test_a_guess_at_a_module_compares_the_slug_and_not_the_kind_before_it() -> None:
    text = "kind: workflow\nslug: w\nsteps:\n"
    uses = ("blueprint:echo-sorce@1.0.0", "blueprint:shout@1.0.0", "workflow:file-printer@1")
    for index, use in enumerate(uses):
        text += f"  - {{id: s{index}, use: '{use}'}}\n"
    printers = ("blueprint:file-printer@1.10.0", "blueprint:file-printer@1.9.0")
    there = ("blueprint:echo-source@1.0.0", *printers, "blueprint:schema-gate@1.0.0")
    document = documents.check(documents.load(text)[0], Workflow)
    messages = [found.message for found in graph.wire(document, lambda ref: None, names=there).findings]
    lacks = "which is not in the catalog"
    assert messages == [
        f"Step s0 uses blueprint:echo-sorce@1.0.0, {lacks} (did you mean blueprint:echo-source@1.0.0?).",
        f"Step s1 uses blueprint:shout@1.0.0, {lacks}.",
        f"Step s2 uses workflow:file-printer@1, {lacks} (did you mean blueprint:file-printer@1.10.0?).",
    ]
