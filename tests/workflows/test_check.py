"""Validation: every fault at once, each with its place and what to do, and nothing that merely follows from another."""

from __future__ import annotations

import time
from dataclasses import replace

import orjson
import pytest

from core import errors
from core.catalog import builtin, graph, items
from core.workflows import authoring, check
from tests import cases
from tests.workflows.texts import KNOWN, PASS, SPOOL, found, known, report

TEN = """\
kind: workflow
slug: ten-faults
wizard:
  - {field: path, type: path, required: true}
channels:
  spool: {transport: file-store, with: {path: "{{wizard.pth}}"}}
steps:
  - {id: source, use: "blueprint:echo-source@1.0.0", with: {intervall: 5s}, out: channel:spool}
  - {id: lonely, use: "blueprint:file-printer@1.0.0", in: channel:nobody}
  - {id: open, in: channel:spool}
  - {id: ported, use: "blueprint:file-printer@1.0.0", in: {inn: channel:spool, in: channel:spool}}
  - {id: round, use: "blueprint:pass@1.0.0", in: channel:back, out: channel:forth}
  - {id: about, use: "blueprint:pass@1.0.0", in: channel:forth, out: channel:back}
  - {id: about, use: "blueprint:file-printer@1.0.0", in: channel:spool}
  - {id: old, use: "blueprint:file-printer@9.0.0", in: channel:spool}
  - {id: many, use: "blueprint:file-printer@1.0.0", in: channel:spool, replicaz: 2}
messages:
  - {from: source, to: prnt, tag: go}
"""
TEN_FOUND = [
    # line:column, code, pointer, a part of the message, a part of what to do
    ("6:41", "unknown_reference", "/channels/spool/with/path", "did you mean path?", "path"),
    ("8:61", "invalid_parameter", "/steps/0/with/intervall", "did you mean interval?", "event, interval"),
    ("9:55", "no_producer", "/steps/1/in", "nothing writes to it", "out: channel:nobody"),
    ("10:5", "unbound_slot", "/steps/2", "open is not bound", "use"),
    ("11:60", "unknown_port", "/steps/3/in/inn", "did you mean in?", "in"),
    ("12:46", "cycle", "/steps/4/in", "round -> about -> round", "one way"),
    ("14:6", "duplicate_step", "/steps/6/id", "about", "Rename"),
    ("15:15", "unknown_version", "/steps/7/use", "9.0.0", "1.0.0"),
    ("16:72", "unknown_key", "/steps/8/replicaz", "did you mean 'replicas'?", "replicas"),
    ("18:20", "unknown_step", "/messages/0/to", "prnt", "source"),
]


def test_ten_planted_faults_are_ten_faults_with_places_and_fixes() -> None:
    told = report(TEN).faults
    assert [(fault.where, fault.code, fault.pointer) for fault in told] == [
        (f"w.yaml:{place}", code, pointer) for place, code, pointer, _, _ in TEN_FOUND
    ]
    for fault, (_, _, _, message, hint) in zip(told, TEN_FOUND, strict=True):
        assert message in fault.message
        assert hint in fault.hint


A = '{id: a, use: "blueprint:echo-source@1.0.0", out: channel:c}'
B = '{id: b, use: "blueprint:file-printer@1.0.0", in: channel:c}'
SPREAD = """{id: a, use: "blueprint:echo-source@1.0.0", out: {x: channel:c, y: channel:d}, dispatch: %s}"""
SPOOLED = "channels: {c: {transport: file-store, with: {path: /x}}}"
D = '{id: d, use: "blueprint:file-printer@1.0.0", in: channel:d}'
FAULTS: dict[str, tuple[str, str, str]] = {
    # what is wrong: (the body of a workflow, code, pointer); each body has exactly that one fault
    "a missing producer": (f"steps: [{B}]", "no_producer", "/steps/0/in"),
    "a missing consumer": (f"steps: [{A}]", "no_consumer", "/steps/0/out"),
    "a channel that nobody uses": (f"channels: {{z: {{}}}}\nsteps: [{A}, {B}]", "unused_channel", "/channels/z"),
    "an unbound slot": (f"steps: [{A}, {{id: b, in: channel:c}}]", "unbound_slot", "/steps/1"),
    "a slot beside a binding": (f"steps: [{A}, {B[:-1]}, slot: {{}}}}]", "unbound_slot", "/steps/1/slot"),
    "an unknown port": (
        f"steps: [{A}, {{id: b, use: 'blueprint:file-printer@1.0.0', in: {{in: channel:c, no: channel:c}}}}]",
        "unknown_port",
        "/steps/1/in/no",
    ),
    "a binding of a module without such a port": (
        f"steps: [{A}, {B[:-1]}, out: channel:e}}, {D.replace('channel:d', 'channel:e')}]",
        "unknown_port",
        "/steps/1/out",
    ),
    "a port that is not bound": (
        f"steps: [{A}, {B}, {{id: z, use: 'blueprint:echo-source@1.0.0'}}]",
        "unbound_port",
        "/steps/2/out",
    ),
    "two ports and one binding": (
        f"steps: [{A}, {{id: p, use: 'blueprint:parted@1.0.0', in: channel:c, out: channel:d}}, {D}]",
        "ambiguous_port",
        "/steps/1/out",
    ),
    "a circle": (
        f"steps: [{A.replace(':c', ':y')}, {{id: p, use: 'blueprint:pass@1.0.0', in: channel:x, out: channel:y}},"
        " {id: q, use: 'blueprint:pass@1.0.0', in: channel:y, out: channel:x}]",
        "cycle",
        "/steps/1/in",
    ),
    "a wrong parameter": (
        "steps: [{id: a, use: 'blueprint:counted@1.0.0', with: {times: 0}}]",
        "invalid_parameter",
        "/steps/0/with/times",
    ),
    "a missing parameter": (
        "steps: [{id: a, use: 'blueprint:counted@1.0.0'}]",
        "invalid_parameter",
        "/steps/0/with",
    ),
    "a parameter that is none": (
        "steps: [{id: a, use: 'blueprint:counted@1.0.0', with: {times: 1, tims: 2}}]",
        "invalid_parameter",
        "/steps/0/with/tims",
    ),
    "a duplicate step": (f"steps: [{A}, {B}, {B}]", "duplicate_step", "/steps/2/id"),
    "a duplicate wizard field": (
        f"wizard: [{{field: x}}, {{field: x}}]\nsteps: [{A}, {B}]",
        "duplicate_field",
        "/wizard/1/field",
    ),
    "an unknown blueprint": (
        f"steps: [{A}, {B.replace('file-printer', 'fil-printer')}]",
        "unknown_blueprint",
        "/steps/1/use",
    ),
    "an unknown workflow": (
        f"steps: [{A}, {{id: b, use: 'workflow:nothing@1', in: channel:c}}]",
        "unknown_workflow",
        "/steps/1/use",
    ),
    "an unknown version": (f"steps: [{A}, {B.replace('1.0.0', '1.0.1')}]", "unknown_version", "/steps/1/use"),
    "an import without a version": (f"steps: [{A}, {B.replace('@1.0.0', '')}]", "wrong_value", "/steps/1/use"),
    "a route to an output that is not there": (
        f"steps: [{SPREAD % '{mode: conditional, field: f, routes: {a: x, b: y, c: yy}}'}, {B}, {D}]",
        "unknown_output",
        "/steps/0/dispatch/routes/c",
    ),
    "an output that no route leads to": (
        f"steps: [{SPREAD % '{mode: conditional, field: f, routes: {a: x}}'}, {B}, {D}]",
        "unrouted_output",
        "/steps/0/dispatch/routes",
    ),
    "a condition without a field": (
        f"steps: [{SPREAD % '{mode: conditional, routes: {a: x}, default: y}'}, {B}, {D}]",
        "dispatch_setting",
        "/steps/0/dispatch",
    ),
    "routes of a round-robin": (
        f"steps: [{SPREAD % '{mode: round-robin, routes: {a: x}}'}, {B}, {D}]",
        "dispatch_setting",
        "/steps/0/dispatch/routes",
    ),
    "an unknown dispatch mode": (
        f"steps: [{SPREAD % '{mode: clon}'}, {B}, {D}]",
        "wrong_value",
        "/steps/0/dispatch/mode",
    ),
    "a dispatch with one output only": (
        f"steps: [{A[:-1]}, dispatch: {{}}}}, {B}]",
        "dispatch_without_outputs",
        "/steps/0/out",
    ),
    "a dispatch of several ports": (
        f"steps: [{A}, {{id: p, use: 'blueprint:parted@1.0.0', in: channel:c, out: {{good: channel:d, bad: channel:e}},"
        f" dispatch: {{}}}}, {D}, {{id: f, use: 'blueprint:file-printer@1.0.0', in: channel:e}}]",
        "dispatch_ports",
        "/steps/1/dispatch",
    ),
    "a message to a step that cannot wait": (
        f"steps: [{A}, {B}]\nmessages: [{{from: a, to: b, tag: t}}]",
        "deaf_target",
        "/messages/0/to",
    ),
    "a message to a step that is not there": (
        f"{SPOOLED}\nsteps: [{A}, {B}]\nmessages: [{{from: a, to: zz, tag: t}}]",
        "unknown_step",
        "/messages/0/to",
    ),
    "the same message edge twice": (
        f"{SPOOLED}\nsteps: [{A}, {B}]\nmessages: [{{from: a, to: b, tag: t}}, {{from: a, to: b, tag: t}}]",
        "duplicate_message",
        "/messages/1",
    ),
    "a message edge without a tag": (
        f"{SPOOLED}\nsteps: [{A}, {B}]\nmessages: [{{from: a, to: b}}]",
        "missing_key",
        "/messages/0/tag",
    ),
    "a misspelt key that must be there": (
        f"{SPOOLED}\nsteps: [{A}, {B}]\nmessages: [{{from: a, to: b, tagg: t}}]",
        "unknown_key",
        "/messages/0/tagg",
    ),
    "a wizard reference to nothing": (
        f"steps: [{A[:-1]}, with: {{event: '{{{{wizard.evnt}}}}'}}}}, {B}]",
        "unknown_reference",
        "/steps/0/with/event",
    ),
    "a default that is no answer": (
        f"wizard: [{{field: x, type: integer, default: three}}]\nsteps: [{A}, {B}]",
        "wrong_default",
        "/wizard/0/default",
    ),
    "an unknown transport": (
        f"{SPOOLED.replace('file-store', 'filestore')}\nsteps: [{A}, {B}]",
        "wrong_value",
        "/channels/c/transport",
    ),
    "a setting that a transport does not have": (
        f"{SPOOLED.replace('path: /x', 'path: /x, retentions: 1d')}\nsteps: [{A}, {B}]",
        "invalid_transport",
        "/channels/c/with/retentions",
    ),
    "a setting with a wrong value": (
        f"{SPOOLED.replace('path: /x', 'path: /x, replay: yesterday')}\nsteps: [{A}, {B}]",
        "invalid_transport",
        "/channels/c/with/replay",
    ),
    "a durable channel without a place": (
        f"channels: {{c: {{transport: object-store}}}}\nsteps: [{A}, {B}]",
        "invalid_transport",
        "/channels/c",
    ),
    "a value that a module does not ask for": (
        f"steps: [{A}, {D}, {{id: m, use: 'workflow:spool@1', in: channel:c, out: channel:d,"
        " with: {dir: /x, dri: /y}}]",
        "unknown_value",
        "/steps/2/with/dri",
    ),
    "a value that a module asks for in vain": (
        f"steps: [{A}, {{id: m, use: 'workflow:spool@1', in: channel:c, out: channel:d}}, {D}]",
        "missing_value",
        "/steps/1/with",
    ),
    "a port of the workflow that is not declared": (
        f"ports: {{in: [events]}}\nsteps: [{B.replace('channel:c', 'port:evnts')},"
        f" {B.replace('id: b', 'id: z').replace('channel:c', 'port:events')}]",
        "unknown_port",
        "/steps/0/in",
    ),
    "a declared port that no step uses": (f"ports: {{in: [events]}}\nsteps: [{A}, {B}]", "no_consumer", "/ports/in/0"),
    "a name in the wrong spelling": (f"steps: [{A}, {B.replace('id: b', 'id: B B')}]", "wrong_value", "/steps/1/id"),
    "a binding in the wrong spelling": (f"steps: [{A}, {B.replace('channel:c', 'c')}]", "wrong_value", "/steps/1/in"),
    "a name that is too long": (f"steps: [{A}, {B.replace('id: b', 'id: ' + 'b' * 64)}]", "wrong_value", "/steps/1/id"),
    "a slug of something that comes with Sluice": ("", "reserved_slug", "/slug"),
}


@cases.table("what", FAULTS)
def test_one_fault_is_told_once_at_its_place(what: str) -> None:
    body, code, pointer = FAULTS[what]
    slug = "w" if body else "quickstart-file-store-roundtrip"
    told = report(f"kind: workflow\nslug: {slug}\n{body or f'steps: [{A}, {B}]'}").faults
    assert [(fault.code, fault.pointer) for fault in told] == [(code, pointer)], told
    assert told[0].where.startswith("w.yaml:")
    assert told[0].hint


def test_a_module_that_uses_itself_is_told_with_the_way_round() -> None:
    loop = "{kind: workflow, slug: %s, version: 1, steps: [{id: s, use: 'workflow:%s@1'}]}"
    entries = [
        items.entry(authoring.KINDS["workflow"].model_validate(authoring.read(loop % names).data))
        for names in (("one", "two"), ("two", "one"))
    ]
    told = report("{kind: workflow, slug: w, steps: [{id: a, use: 'workflow:one@1'}]}", known(entries)).faults
    assert [(fault.code, fault.where) for fault in told] == [("module_cycle", "w.yaml:1:43")]
    assert "workflow:one@1 -> workflow:two@1 -> workflow:one@1" in told[0].message


def test_an_older_version_of_itself_is_a_module_like_any_other() -> None:
    step = "{id: s, use: 'workflow:spool@1', with: {dir: /x}, in: channel:c, out: channel:d}"
    assert found(f"{{kind: workflow, slug: spool, steps: [{A}, {step}, {D}]}}") == []


def test_modules_are_opened_eight_levels_deep_and_no_further() -> None:
    def entries(depth: int) -> list[items.Entry]:
        steps = [f"{{id: s, use: 'workflow:m{n + 1}@1'}}" for n in range(depth - 1)] + [A + ", " + B]
        texts = [f"{{kind: workflow, slug: m{n}, version: 1, steps: [{step}]}}" for n, step in enumerate(steps)]
        return [items.entry(authoring.KINDS["workflow"].model_validate(authoring.read(text).data)) for text in texts]

    outer = "{kind: workflow, slug: w, steps: [{id: a, use: 'workflow:m0@1'}]}"
    # The blueprints of the innermost workflow are a level as well.
    assert found(outer, known(entries(graph.MAX_DEPTH - 1))) == []
    (told,) = report(outer, known(entries(graph.MAX_DEPTH))).faults[:1]
    assert told.code == "module_cycle" and "is nested too deeply" in told.message


def test_every_circle_is_told_and_not_only_the_first() -> None:
    pair = (
        "{{id: p{0}, use: 'blueprint:pass@1.0.0', in: channel:x{0}, out: channel:y{0}}}, "
        "{{id: q{0}, use: 'blueprint:pass@1.0.0', in: channel:y{0}, out: channel:x{0}}}"
    )
    told = found(f"{{kind: workflow, slug: w, steps: [{pair.format(1)}, {pair.format(2)}]}}")
    assert told == [("cycle", "/steps/0/in"), ("cycle", "/steps/2/in")]


def test_a_workflow_with_ports_is_valid_on_its_own() -> None:
    assert report(SPOOL).valid


def test_a_perspective_may_leave_slots_open_and_nothing_else() -> None:
    text = f"kind: perspective\nslug: p\nversion: 1\nsteps: [{A}, {{id: b, slot: {{hint: a sink}}, in: channel:%s}}]"
    assert report(text % "c").valid
    assert found(text % "z") == [("no_consumer", "/steps/0/out"), ("no_producer", "/steps/1/in")]
    assert found(text.replace(", slot: {hint: a sink}", "") % "c") == [("unbound_slot", "/steps/1")]


def test_everything_that_comes_with_sluice_is_valid() -> None:
    alone = known()
    for one in builtin.load():
        if one.type.value in authoring.KINDS:
            renamed = {**items.document(one), "slug": f"my-{one.slug}"}
            assert report(orjson.dumps(renamed).decode(), alone).faults == ()


def test_a_version_that_is_retired_cannot_be_used_in_something_new() -> None:
    old = items.entry(authoring.KINDS["blueprint"].model_validate(authoring.read(PASS.replace("pass", "worn")).data))
    retired = replace(old, availability=items.RETIRED)
    worn = "{id: p, use: 'blueprint:worn@1.0.0', in: channel:c, out: channel:d}"
    body = f"kind: workflow\nslug: w\nsteps: [{A}, {worn}, {D}]"
    assert found(body, known([retired])) == [("retired_module", "/steps/1/use")]


def test_a_blueprint_is_tried_out_with_sample_parameters() -> None:
    good = (
        "kind: blueprint\nslug: g\nparameters: {properties: {every: {type: string, default: 5s}, n: {type: integer}}}\n"
    )
    good += (
        "jobs: [{name: j, input: {echo: {event: '{{n}}', trigger: {interval: '{{every}}'}}}, output: {print: STDOUT}}]"
    )
    assert report(good).faults == ()
    assert found(good.replace("print: STDOUT", "prnt: STDOUT")) == [("invalid_job", "/jobs/0/output/prnt")]
    assert found(good.replace("echo: {", "echo: {evnt: x, ")) == [("invalid_job", "/jobs/0/input/echo/evnt")]
    warned = report(good.replace("{{n}}", "{{m}}")).warnings
    assert [warning.code for warning in warned] == ["unknown_parameter"]


def test_the_ports_and_inner_channels_of_a_blueprint_have_two_ends() -> None:
    text = "kind: blueprint\nslug: g\nports: {in: [a], out: [b]}\njobs:\n"
    text += "  - {name: x, input: {port: a}, output: {channel: mid}}\n"
    text += "  - {name: y, input: {channel: mid}, output: {port: b}}"
    assert report(text).faults == ()
    assert found(text.replace("output: {port: b}", "output: {port: c}")) == [
        ("unknown_port", "/ports/out/0"),
        ("unknown_port", "/jobs/1/output/port"),
    ]
    assert found(text.replace("input: {channel: mid}", "input: {channel: other}")) == [
        ("no_consumer", "/jobs/0/output/channel"),
        ("no_producer", "/jobs/1/input/channel"),
    ]


# -- bad input -----------------------------------------------------------------------------------------------

BOMB = "a: &a [x, x]\nb: &b [*a, *a]\nc: &c [*b, *b]\n"
REFUSED = {
    "a YAML bomb": BOMB,
    "a text that is none": "{",
    "no document": "",
    "a list": "[1, 2]",
    "a kind that is none": "{kind: wrkflow, slug: x}",
    "a job": "{name: j, input: {echo: {event: e}}, output: {print: STDOUT}}",
    "two documents": "{kind: workflow, slug: x}\n---\n{kind: workflow, slug: y}",
    "a slug that is a path": "{kind: workflow, slug: ../../etc/passwd}",
    "a slug that is an absolute path": "{kind: workflow, slug: /etc/passwd}",
    "a slug that is too long": "{kind: workflow, slug: " + "x" * 64 + "}",
    "a slug that is a number": "{kind: workflow, slug: 7}",
    "a key that stands twice": "{kind: workflow, slug: x, slug: y}",
    "a tag": "!!python/object:os.system {kind: workflow}",
    "one level too deep": "{kind: workflow, slug: x, steps: " + "[" * 70 + "]" * 70 + "}",
}


@cases.table("what", REFUSED)
def test_a_text_that_cannot_be_filed_is_refused_with_a_place(what: str) -> None:
    with pytest.raises(errors.InvalidDocument) as refused:
        authoring.read(REFUSED[what], "w.yaml")
    assert "w.yaml" in str(refused.value)
    assert len(str(refused.value)) < 2000


@cases.table(
    "steps", ["7", "[]", "[7]", "[null]", "[[]]", "{}", "[{id: null}]", "[{id: a, in: 7}]", "[{id: a, in: {x: 7}}]"]
)
def test_steps_of_another_shape_are_faults_and_not_crashes(steps: str) -> None:
    told = report(f"{{kind: workflow, slug: w, steps: {steps}}}").faults
    assert told
    assert all(fault.pointer.startswith("/steps") for fault in told), told


def test_a_hundred_faults_of_every_shape_are_told_in_one_pass() -> None:
    boxes = [{"id": f"s{n}", "use": "blueprint:echo-source@1.0.0", "repliccas": n + 1} for n in range(50)]
    told = found(orjson.dumps({"kind": "workflow", "slug": "w", "steps": boxes}).decode())
    assert told.count(("unknown_key", "/steps/7/repliccas")) == 1
    assert len(told) == 100
    assert {code for code, _ in told} == {"unknown_key", "unbound_port"}


def steps(count: int, use: str) -> str:
    boxes = []
    for number in range(count // 2):
        boxes.append({"id": f"s{number}", "use": "blueprint:echo-source@1.0.0", "out": f"channel:c{number}"})
        boxes.append({"id": f"p{number}", "use": use, "in": f"channel:c{number}"})
    return orjson.dumps({"kind": "workflow", "slug": "big", "steps": boxes}).decode()


@pytest.mark.parametrize("use", ["blueprint:file-printer@1.0.0", "blueprint:file-printr@1.0.0"])
def test_ten_thousand_steps_take_linear_time(use: str) -> None:
    def seconds(count: int) -> float:
        document = authoring.read(steps(count, use))
        started = time.process_time()
        made = check.check(document, KNOWN)
        assert made.valid == ("printer" in use)
        return time.process_time() - started

    seconds(100)  # what is loaded on first use
    small, large = min(seconds(1_000) for _ in range(2)), seconds(10_000)
    assert large < 40 * small, f"{small:.3f} s for 1,000 steps, {large:.3f} s for 10,000"
    assert large < 30


def test_a_channel_with_five_thousand_ends_on_each_side_takes_linear_time() -> None:
    boxes = [{"id": f"s{n}", "use": "blueprint:echo-source@1.0.0", "out": "channel:c"} for n in range(5_000)]
    boxes += [{"id": f"p{n}", "use": "blueprint:file-printer@1.0.0", "in": "channel:c"} for n in range(5_000)]
    document = authoring.read(orjson.dumps({"kind": "workflow", "slug": "w", "steps": boxes}).decode())
    started = time.process_time()
    assert check.check(document, KNOWN).valid
    assert time.process_time() - started < 20


def test_parameters_that_break_a_job_are_told_where_they_stand() -> None:
    text = f"kind: workflow\nslug: w\nwizard: [{{field: e, default: x}}]\nsteps: [{A[:-1]}, with: {{event: %s}}}}, {B}]"
    told = report(text % "no json").faults
    assert [(fault.code, fault.pointer) for fault in told] == [("invalid_parameter", "/steps/0/with")]
    assert "job emit" in told[0].message
    assert found(text % "'{{wizard.e}}'") == []
    assert found(text % "'{}'") == []
