"""From documents to jobs: what is made, and every fault that keeps it from being made."""

from __future__ import annotations

from typing import Any

import pytest

from core.contexts.layers import Layers, Level
from core.deployments import changes
from core.deployments.surroundings import Surroundings
from core.dsl.language import compile as compiler
from core.model.deployment import Role
from tests import cases
from tests.deployments.documents import blueprint, codes, make, perspective, quickstart, workflow

GROUP = {"path": "/tmp/store"}


def test_the_quickstart_becomes_two_jobs_and_two_adapters() -> None:
    made = make(quickstart(), values=GROUP)
    assert [(job.name, job.role) for job in made.desired.jobs.values()] == [
        ("demo--generate", Role.STEP),
        ("demo--generate--roundtrip-writer", Role.WRITER),
        ("demo--print--roundtrip-reader", Role.READER),
        ("demo--print", Role.STEP),
    ]
    assert made.blockers == ()


def test_every_job_of_the_quickstart_is_a_valid_job() -> None:
    for job in make(quickstart(), values=GROUP).desired.jobs.values():
        compiler.check_job(job.document)


def test_wizard_values_and_defaults_reach_the_transport() -> None:
    jobs = make(quickstart(), values=GROUP).desired.jobs
    store = jobs["demo--generate--roundtrip-writer"].document["output"]["file-store"]
    assert (store["path"], store["guid-prefix"]) == ("/tmp/store", "demo-")
    assert jobs["demo--print--roundtrip-reader"].document["input"]["file-store"]["path"] == "/tmp/store"


def test_parameters_reach_the_jobs_with_their_types() -> None:
    made = make(
        "{kind: workflow, slug: w, steps: [{id: a, use: 'blueprint:counted@1.0.0', with: {times: 3}}]}",
        modules=[
            blueprint(
                "{kind: blueprint, slug: counted, parameters: {type: object, properties: {times: {type: integer},"
                " word: {type: string, default: hi}}}, jobs: [{name: j, input: {echo: {event: '{{word}} {{times}}'}},"
                " output: {discard: {x: '{{times}}'}}}]}"
            )
        ],
    )
    document = made.desired.jobs["demo--a"].document
    assert document["input"]["echo"]["event"] == "hi 3"
    assert document["output"]["discard"]["x"] == 3


def test_a_worker_channel_joins_two_jobs_directly_under_a_name_of_its_own() -> None:
    made = make(TWO)
    sent = made.desired.jobs["demo--a"].document["output"]["worker-channel"]["channel"]
    assert sent == made.desired.jobs["demo--b"].document["input"]["worker-channel"]["channel"]
    assert sent == "default/demo/c"
    other = make(TWO, name="other").desired.jobs["other--a"].document["output"]["worker-channel"]["channel"]
    assert other != sent


TWO = """
kind: workflow
slug: two
steps:
  - {id: a, use: "blueprint:echo-source@1.0.0", out: channel:c}
  - {id: b, use: "blueprint:file-printer@1.0.0", in: channel:c}
"""


def test_jobs_of_one_blueprint_are_joined_by_inner_channels() -> None:
    pair = blueprint(
        "{kind: blueprint, slug: pair, jobs: [{name: x, input: {echo: {event: e}}, output: {channel: mid}},"
        " {name: y, input: {channel: mid}, output: {print: STDOUT}}]}"
    )
    made = make("{kind: workflow, slug: w, steps: [{id: a, use: 'blueprint:pair@1.0.0'}]}", modules=[pair])
    assert list(made.desired.jobs) == ["demo--a--x", "demo--a--y"]
    assert made.desired.together == (("demo--a--x", "demo--a--y"),)
    assert made.blockers == ()


MODULE = """
kind: workflow
slug: spool
version: 1
ports: {in: [events], out: [done]}
wizard: [{field: dir, type: path, required: true}]
channels: {mid: {transport: file-store, with: {path: "{{wizard.dir}}"}}}
steps:
  - {id: first, use: "blueprint:pass@1.0.0", in: port:events, out: channel:mid}
  - {id: last, use: "blueprint:pass@1.0.0", in: channel:mid, out: port:done}
"""
USES_MODULE = """
kind: workflow
slug: outer
wizard: [{field: root, type: path, required: true}]
steps:
  - {id: src, use: "blueprint:echo-source@1.0.0", out: channel:a}
  - {id: hop, use: "workflow:spool@1", with: {dir: "{{wizard.root}}/x"}, in: channel:a, out: channel:b}
  - {id: dst, use: "blueprint:file-printer@1.0.0", in: channel:b}
"""


def test_a_workflow_is_used_as_a_module_with_values_of_its_own() -> None:
    made = make(USES_MODULE, modules=[workflow(MODULE)], values={"root": "/data"})
    assert made.blockers == ()
    assert [job.step for job in made.desired.jobs.values()] == [
        "src",
        "hop.first",
        "hop.first",
        "hop.last",
        "hop.last",
        "dst",
    ]
    writer = made.desired.jobs["demo--hop--first--hop--mid-writer"]
    assert writer.document["output"]["file-store"]["path"] == "/data/x"
    assert made.desired.channels["a"].consumers == ("hop.first",)


def test_placement_of_a_module_holds_for_its_steps() -> None:
    made = make(
        USES_MODULE,
        modules=[workflow(MODULE)],
        values={"root": "/data"},
        placement={"hop": "edge", "src": "edge", "dst": "edge"},
    )
    assert {job.group for job in made.desired.jobs.values()} == {"edge"}


def test_placement_and_replicas_of_a_step_can_be_overridden() -> None:
    made = make(TWO, placement={"a": "edge", "b": "edge"}, replicas={"b": 3})
    assert {job.group for job in made.desired.jobs.values()} == {"edge"}
    assert made.desired.jobs["demo--b"].replicas == 3


def test_a_blueprint_without_ports_is_deployed_on_its_own() -> None:
    beat = blueprint(
        "{kind: blueprint, slug: beat, parameters: {type: object, properties: {word: {type: string}},"
        " required: [word]}, jobs: [{name: j, input: {echo: {event: '{{word}}'}}, output: {print: STDOUT}}]}"
    )
    made = make(beat, values={"word": "tick"})
    assert made.desired.jobs["demo--beat"].document["input"]["echo"]["event"] == "tick"
    assert codes(make(beat)) == ["invalid_parameter"]


def test_fan_in_over_a_file_store_has_a_writer_for_each_producer() -> None:
    made = make(FAN_IN)
    roles = [job.role for job in made.desired.jobs.values()]
    assert roles.count(Role.WRITER) == 2
    assert roles.count(Role.READER) == 2
    assert made.blockers == ()


FAN_IN = """
kind: workflow
slug: fan
channels: {c: {transport: file-store, with: {path: /tmp/x}}}
steps:
  - {id: a, use: "blueprint:echo-source@1.0.0", out: channel:c}
  - {id: b, use: "blueprint:echo-source@1.0.0", out: channel:c}
  - {id: x, use: "blueprint:file-printer@1.0.0", in: channel:c}
  - {id: y, use: "blueprint:file-printer@1.0.0", in: channel:c}
"""


def test_a_message_edge_makes_the_reader_wait_for_the_tag_that_a_relay_emits() -> None:
    text = FAN_IN.replace("steps:", "messages: [{from: a, to: x, tag: Stage1.done}]\nsteps:")
    made = make(text)
    assert made.blockers == ()
    relay = next(job for job in made.desired.jobs.values() if job.role is Role.RELAY)
    assert relay.document["output"] == {"message": {"tag": "Stage1.done"}}
    trigger = made.desired.jobs["demo--x--c-reader"].document["input"]["file-store"]["trigger"]
    assert trigger["message"]["filter-tag"] == "Stage1.done"
    assert trigger["message"]["filter-job"] == relay.name
    assert "interval" in made.desired.jobs["demo--y--c-reader"].document["input"]["file-store"]["trigger"]
    for job in made.desired.jobs.values():
        compiler.check_job(job.document)


STEP_A = '{id: a, use: "blueprint:echo-source@1.0.0", out: channel:c}'
STEP_B = '{id: b, use: "blueprint:file-printer@1.0.0", in: channel:c}'
FAULTS: dict[str, tuple[str, str]] = {
    "unbound_slot": (f"steps: [{{id: a, out: channel:c}}, {STEP_B}]", "/steps/0"),
    "unknown_blueprint": (f"steps: [{{id: a, use: 'blueprint:nope@1.0.0', out: channel:c}}, {STEP_B}]", "/steps/0/use"),
    "unknown_workflow": (f"steps: [{{id: a, use: 'workflow:nope@1', out: channel:c}}, {STEP_B}]", "/steps/0/use"),
    "no_producer": (f"steps: [{STEP_B}]", "/steps/0/in"),
    "no_consumer": (f"steps: [{STEP_A}]", "/steps/0/out"),
    "duplicate_step": (f"steps: [{STEP_A}, {STEP_B}, {STEP_B}]", "/steps/2/id"),
    "duplicate_field": (f"wizard: [{{field: x}}, {{field: x}}]\nsteps: [{STEP_A}, {STEP_B}]", "/wizard/1/field"),
    "unknown_port": (
        f"steps: [{STEP_A}, {{id: b, use: 'blueprint:file-printer@1.0.0', in: {{in: channel:c, more: channel:c}}}}]",
        "/steps/1/in/more",
    ),
    "unbound_port": (
        "steps: [{id: a, use: 'blueprint:echo-source@1.0.0'}]",
        "/steps/0/out",
    ),
    "open_port": (
        f"ports: {{in: [x]}}\nsteps: [{STEP_A}, {STEP_B}, "
        f"{STEP_B.replace('id: b', 'id: z').replace('channel:c', 'port:x')}]",
        "/steps/2/in",
    ),
    "cycle": (
        "steps: [{id: a, use: 'blueprint:pass@1.0.0', in: channel:y, out: channel:x},"
        " {id: b, use: 'blueprint:pass@1.0.0', in: channel:x, out: channel:y}]",
        "/steps/0/in",
    ),
    "unknown_step": (
        f"messages: [{{from: a, to: zz, tag: t}}]\nsteps: [{STEP_A}, {STEP_B}]",
        "/messages/0/to",
    ),
    "message_edge_unsupported": (
        f"messages: [{{from: a, to: b, tag: t}}]\nsteps: [{STEP_A}, {STEP_B}]",
        "/messages/0/to",
    ),
    "invalid_transport": (
        f"channels: {{c: {{transport: file-store, with: {{path: /x, gid-prefix: a}}}}}}\nsteps: [{STEP_A}, {STEP_B}]",
        "/channels/c/with/gid-prefix",
    ),
    "invalid_parameter": (
        f"steps: [{{id: a, use: 'blueprint:echo-source@1.0.0', with: {{event: 7}}, out: channel:c}}, {STEP_B}]",
        "/steps/0/with/event",
    ),
    "missing_value": (
        "steps: [{id: a, use: 'blueprint:echo-source@1.0.0', with: {event: '{{who}}'}, out: channel:c},"
        f" {STEP_B}]",
        "/steps/0/with/event",
    ),
    "split_worker_channel": (f"steps: [{STEP_A}, {STEP_B[:-1]}, placement: {{group: edge}}}}]", ""),
}


@cases.table("code", FAULTS)
def test_a_fault_of_the_graph_is_a_blocker_with_a_hint_and_a_place(code: str) -> None:
    body, pointer = FAULTS[code]
    made = make(f"kind: workflow\nslug: w\n{body}")
    found = [finding for finding in made.blockers if finding.code == code]
    assert found, codes(made)
    assert found[0].hint
    assert not pointer or pointer in [finding.pointer for finding in found]


def test_every_fault_is_told_at_once() -> None:
    made = make(
        "{kind: workflow, slug: w, wizard: [{field: p, required: true}], steps: [{id: a, use: 'blueprint:nope@1.0.0',"
        " out: channel:c}, {id: b}, {id: d, use: 'blueprint:file-printer@1.0.0', in: channel:e}]}",
        values={"q": 1},
    )
    assert set(codes(made)) == {
        "unknown_value",
        "missing_value",
        "unknown_blueprint",
        "unbound_slot",
        "no_consumer",
        "no_producer",
    }


def test_two_jobs_that_would_have_one_name_are_refused() -> None:
    clash = blueprint(
        "{kind: blueprint, slug: clash, ports: {out: [out]}, jobs: [{name: x, input: {echo: {event: e}}, output:"
        " {port: out}}, {name: x--c-writer, input: {echo: {event: e}}, output: {discard: {}}}]}"
    )
    made = make(
        "{kind: workflow, slug: w, channels: {c: {transport: file-store, with: {path: /x}}}, steps: [{id: a, use:"
        f" 'blueprint:clash@1.0.0', out: 'channel:c'}}, {STEP_B}]}}",
        modules=[clash],
    )
    assert codes(made) == ["duplicate_job"]


def test_a_module_that_uses_itself_is_refused() -> None:
    loop = workflow("{kind: workflow, slug: loop, version: 1, steps: [{id: a, use: 'workflow:loop@1'}]}")
    assert codes(make(loop, modules=[loop])) == ["module_cycle"]


def test_a_perspective_cannot_be_applied() -> None:
    made = make(perspective("{kind: perspective, slug: p, steps: [{id: a, slot: {hint: Take echo-source.}}]}"))
    assert codes(made) == ["not_deployable", "unbound_slot"]
    assert made.blockers[1].hint == "Take echo-source."


def test_an_ambiguous_binding_is_refused() -> None:
    two = blueprint(
        "{kind: blueprint, slug: two, ports: {out: [l, r]}, jobs: [{name: x, input: {echo: {event: e}}, output:"
        " {port: l}}, {name: y, input: {echo: {event: e}}, output: {port: r}}]}"
    )
    text = f"{{kind: workflow, slug: w, steps: [{{id: a, use: 'blueprint:two@1.0.0', out: channel:c}}, {STEP_B}]}}"
    assert "ambiguous_port" in codes(make(text, modules=[two]))


@cases.table(
    ("jobs", "ports", "code"),
    [
        ("[{name: x}, {name: x}]", "{}", "duplicate_job"),
        ("[{name: x, input: {port: nope}, output: {print: STDOUT}}]", "{}", "unknown_port"),
        ("[{name: x, input: {echo: {event: e}}}]", "{in: [in]}", "unknown_port"),
        ("[{name: x, input: {echo: {event: e}}}]", "{out: [out]}", "unknown_port"),
    ],
)
def test_a_blueprint_that_contradicts_itself_blocks_the_plan(jobs: str, ports: str, code: str) -> None:
    bad = blueprint(f"{{kind: blueprint, slug: bad, ports: {ports}, jobs: {jobs}}}")
    assert code in codes(make("{kind: workflow, slug: w, steps: [{id: a, use: 'blueprint:bad@1.0.0'}]}", modules=[bad]))


@pytest.mark.parametrize("schema", ["{type: 7}", "{$ref: 'https://example.com/schema.json'}"])
def test_parameters_that_are_no_usable_schema_block_the_plan(schema: str) -> None:
    bad = blueprint(f"{{kind: blueprint, slug: bad, parameters: {schema}, jobs: [{{name: x, input: {{echo: {{}}}}}}]}}")
    assert codes(make("{kind: workflow, slug: w, steps: [{id: a, use: 'blueprint:bad@1.0.0'}]}", modules=[bad])) == [
        "invalid_schema"
    ]


@cases.table(
    ("field", "value", "code"),
    [
        ("{field: v, type: integer}", "3", "wrong_value"),
        ("{field: v, type: integer}", True, "wrong_value"),
        ("{field: v, type: number}", "x", "wrong_value"),
        ("{field: v, type: boolean}", 1, "wrong_value"),
        ("{field: v, choices: [a, b]}", "c", "wrong_value"),
        ("{field: v, required: true}", None, "missing_value"),
        ("{field: v, required: true}", "", "missing_value"),
        ("{field: w}", 1, "unknown_value"),
    ],
)
def test_a_value_that_does_not_answer_its_question_is_a_blocker(field: str, value: Any, code: str) -> None:
    text = f"{{kind: workflow, slug: w, wizard: [{field}], steps: [{STEP_A}, {STEP_B}]}}"
    assert codes(make(text, values={"v": value})) == [code]


def test_an_override_for_a_step_that_is_not_there_is_a_blocker() -> None:
    made = make(TWO, placement={"aa": "edge"}, replicas={"c": 2})
    assert codes(made) == ["unknown_step", "unknown_step"]
    assert "did you mean a?" in made.blockers[0].message


def test_missing_secrets_and_features_are_blockers() -> None:
    needy = blueprint(
        "{kind: blueprint, slug: needy, requires: {secrets: [key], features: [exec]}, jobs: [{name: x, input:"
        " {echo: {event: e}}, output: {print: STDOUT}}]}"
    )
    text = "{kind: workflow, slug: w, steps: [{id: a, use: 'blueprint:needy@1.0.0'}]}"
    nothing = Surroundings(secrets=frozenset(), features=frozenset())
    assert codes(make(text, modules=[needy], surroundings=nothing)) == ["missing_feature", "missing_secret"]
    both = Surroundings(secrets=frozenset({"default/key"}), features=frozenset({"exec"}))
    assert codes(make(text, modules=[needy], surroundings=both)) == []


def test_contexts_stand_above_the_documents_own_context_and_below_values() -> None:
    text = (
        "{kind: workflow, slug: w, context: {x: own, y: own}, wizard: [{field: z}], steps: [{id: a, use:"
        " 'blueprint:echo-source@1.0.0', with: {event: '{{x}} {{y}} {{z}}'}, out: channel:c}, " + STEP_B + "]}"
    )
    around = Surroundings(Layers.of({"x": "context", "z": "context"}))
    made = make(text, values={"z": "value"}, surroundings=around)
    assert made.desired.jobs["demo--a"].document["input"]["echo"]["event"] == "context own value"


REGION = (
    "{kind: workflow, slug: w, context: {region: own}, steps: [{id: a, use: 'blueprint:echo-source@1.0.0',"
    " with: {event: '{{region}}'}, out: channel:c}, " + STEP_B + "]}"
)


def _region(made: Any, worker: str = "") -> str:
    return made.desired.jobs["demo--a"].document_on(worker)["input"]["echo"]["event"]  # type: ignore[no-any-return]


def test_each_stronger_layer_wins_over_the_weaker_ones() -> None:
    values: dict[Level, dict[str, dict[str, str]]] = {}
    for level, target in (
        (Level.GLOBAL, ""),
        (Level.ENVIRONMENT, "prod"),
        (Level.GROUP, "default"),
        (Level.WORKER, "w1"),
        (Level.JOB, "demo--a"),
    ):
        values[level] = {target: {"region": level.value}}
        made = make(REGION, surroundings=Surroundings(Layers(values), "prod"))
        assert _region(made, "w1") == level.value
        used = {(one["level"], one["target"]) for one in made.contexts}
        assert (level.value, target) in used
    assert all("own" not in str(one) and len(one["digest"]) == 16 for one in made.contexts)


def test_a_worker_with_values_of_its_own_runs_its_own_variant() -> None:
    layers = Layers({Level.GLOBAL: {"": {"region": "us"}}, Level.WORKER: {"w2": {"region": "eu"}}})
    made = make(REGION, replicas={"a": 2, "b": 2}, surroundings=Surroundings(layers))
    assert set(made.desired.assignments["demo--a"]) == {"w1", "w2"}
    assert (_region(made, "w1"), _region(made, "w2")) == ("us", "eu")
    moved = Layers({Level.GLOBAL: {"": {"region": "us"}}, Level.WORKER: {"w2": {"region": "asia"}}})
    again = make(REGION, replicas={"a": 2, "b": 2}, surroundings=Surroundings(moved), current=made.desired)
    (update,) = [change for change in again.changes if change.action == "update"]
    assert (update.id, update.reason) == ("demo--a", "on w2 changed")
    assert '"eu"' in changes.diff(update)
    assert '"asia"' in changes.diff(update)


def test_a_secret_that_a_document_names_and_nobody_set_is_a_blocker_by_name() -> None:
    text = (
        "{kind: workflow, slug: w, steps: [{id: a, use: 'blueprint:echo-source@1.0.0',"
        " with: {event: '{{secrets.old}} ${secret|gcp/key} ${cred|id|token}'}, out: channel:c}, " + STEP_B + "]}"
    )
    made = make(text, surroundings=Surroundings(secrets=frozenset({"gcp/key"})))
    assert [finding.message for finding in made.blockers] == [
        "missing secret default/old: job demo--a needs it.",
        "missing secret cred/id: job demo--a needs it.",
    ]
    assert made.secrets == ("cred/id", "default/old", "gcp/key")


def test_a_file_store_between_groups_is_a_warning() -> None:
    made = make(
        f"channels: {{c: {{transport: file-store, with: {{path: /x}}}}}}\nkind: workflow\nslug: w\n"
        f"steps: [{STEP_A}, {STEP_B[:-1]}, placement: {{group: edge}}}}]"
    )
    assert [finding.code for finding in made.warnings] == ["shared_path_needed"]
    assert made.blockers == ()


def test_what_follows_from_an_answer_that_is_missing_or_wrong_is_not_told_again() -> None:
    strict = blueprint("""
kind: blueprint
slug: strict
parameters: {type: object, properties: {a: {type: string, minLength: 1}, n: {type: integer}, b: {enum: [x]}}}
jobs: [{name: j, input: {echo: {event: "{{a}}{{n}}{{b}}"}}, output: {print: STDOUT}}]
""")
    text = """
kind: workflow
slug: w
wizard: [{field: a, required: true}, {field: n, type: number, required: true}]
steps: [{id: s, use: "blueprint:strict@1.0.0", with: {a: "{{wizard.a}}", n: "{{ wizard.n }}", b: y}}]
"""
    told = [(one.code, one.pointer) for one in make(text, modules=[strict], values={"n": "many"}).blockers]
    assert told == [
        ("missing_value", "/values/a"),
        ("wrong_value", "/values/n"),
        ("invalid_parameter", "/steps/0/with/b"),
    ]
    told = [(one.code, one.pointer) for one in make(text, modules=[strict], values={"a": "", "n": 1.5}).blockers]
    assert ("invalid_parameter", "/steps/0/with/n") in told  # the answer fits its question, and not the blueprint
