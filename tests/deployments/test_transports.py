"""What a plan makes of channels, dispatches and message edges: documents, adapters, and what it refuses."""

from __future__ import annotations

from typing import Any

import pytest

from core.deployments.surroundings import Surroundings
from core.dsl.language import compile as compiler
from core.model.deployment import Role
from core.model.plan import Plan
from tests import cases
from tests.deployments.documents import blueprint, codes, make, workflow

A = '{id: a, use: "blueprint:echo-source@1.0.0", out: channel:c}'
B = '{id: b, use: "blueprint:file-printer@1.0.0", in: channel:c}'
Z = '{id: z, use: "blueprint:echo-source@1.0.0", out: channel:e}'
Q = '{id: q, use: "blueprint:file-printer@1.0.0", in: channel:e}'


def graph(*steps: str, channel: str = "", **rest: str) -> str:
    more = "".join(f"{key}: {value}\n" for key, value in rest.items())
    channels = f"channels: {{c: {channel}}}\n" if channel else ""
    return f"kind: workflow\nslug: w\n{channels}{more}steps: [{', '.join(steps)}]"


def document(made: Plan, job: str) -> dict[str, Any]:
    return made.desired.jobs[f"demo--{job}"].document


def check(made: Plan) -> Plan:
    assert made.blockers == ()
    for job in made.desired.jobs.values():
        compiler.check_job(job.document)
    return made


# ---- worker channels


def test_several_consumers_of_a_worker_channel_get_copies_and_may_be_told_to_share() -> None:
    two = [A, B, B.replace("id: b", "id: x")]
    made = check(make(graph(*two)))
    assert document(made, "b")["input"] == document(made, "x")["input"]
    assert document(made, "b")["input"]["worker-channel"] == {"channel": "default/demo/c", "driver": "clone"}
    shared = check(make(graph(*two, channel="{with: {driver: standard}}")))
    assert document(shared, "b")["input"]["worker-channel"] == {"channel": "default/demo/c"}


def test_several_readers_of_a_channel_inside_a_blueprint_get_copies_too() -> None:
    split = blueprint(
        "{kind: blueprint, slug: split, jobs: [{name: x, input: {echo: {event: e}}, output: {channel: mid}},"
        " {name: y, input: {channel: mid}, output: {discard: {}}}, {name: z, input: {channel: mid}, output: {discard:"
        " {}}}]}"
    )
    made = check(make("{kind: workflow, slug: w, steps: [{id: s, use: 'blueprint:split@1.0.0'}]}", modules=[split]))
    assert {document(made, f"s--{name}")["input"]["worker-channel"]["driver"] for name in "yz"} == {"clone"}


# ---- dispatch


def test_a_dispatch_is_the_output_of_its_own_job_and_leads_to_channels_of_any_transport() -> None:
    spread = (
        '{id: a, use: "blueprint:echo-source@1.0.0", out: {errors: channel:c, rest: channel:e},'
        " dispatch: {mode: conditional, field: level, routes: {error: errors, 500: errors}, default: rest}}"
    )
    made = check(make(graph(spread, B, Q, channel="{transport: file-store, with: {path: /x}}")))
    assert document(made, "a")["output"] == {
        "dispatch": {
            "mode": "conditional",
            "outputs": {"errors": "default/demo/c/demo--a--c-writer", "rest": "default/demo/e"},
            "field": "level",
            "routes": {"error": "errors", "500": "errors"},
            "default": "rest",
        }
    }
    assert [job.role.value for job in made.desired.jobs.values()] == ["step", "writer", "reader", "step", "step"]
    assert made.desired.channels["c"].producers == made.desired.channels["e"].producers == ("a",)


def test_a_dispatch_of_a_module_is_at_the_jobs_that_write_to_its_port() -> None:
    inner = workflow(
        "{kind: workflow, slug: inner, version: 1, ports: {out: [o]}, steps: [{id: x, use:"
        " 'blueprint:echo-source@1.0.0', out: port:o}, {id: y, use: 'blueprint:echo-source@1.0.0', out: port:o}]}"
    )
    spread = "{id: m, use: 'workflow:inner@1', out: {l: channel:c, r: channel:e}, dispatch: {mode: round-robin}}"
    made = check(make(graph(spread, B, Q), modules=[inner]))
    for name in ("m--x", "m--y"):
        config = document(made, name)["output"]["dispatch"]
        assert config == {"mode": "round-robin", "outputs": {"l": "default/demo/c", "r": "default/demo/e"}}
    assert made.desired.channels["c"].producers == ("m.x", "m.y")


# ---- durable channels


def test_two_tenants_and_two_channels_never_share_objects() -> None:
    text = graph(A, B, channel="{transport: file-store, with: {path: /x}}")
    prefixes = {
        document(make(text, tenant=tenant), "a--c-writer")["output"]["file-store"]["object-name"]["name"]
        for tenant in ("t", "u")
    }
    assert prefixes == {"t/demo/c/", "u/demo/c/"}


def test_the_settings_of_a_spool_reach_its_writer_and_its_readers() -> None:
    settings = (
        "{path: /x, gzip: true, batch-size: 7, batch-timeout: 2s, interval: 3s, retention: 7d, max-bytes: 9,"
        " max-objects: 4, replay: {from: now, marker: m}}"
    )
    both = [A, B, B.replace("id: b", "id: x")]
    made = check(make(graph(*both, channel=f"{{transport: file-store, with: {settings}}}")))
    output = document(made, "a--c-writer")["output"]["file-store"]
    assert output["batch"] == {"mode": "fixed", "fixed-size": 7, "timeout": "2s"}
    assert (output["guid-suffix"], output["preprocessors"]) == (".json.gz", ["gzip"])
    source = document(made, "x--c-reader")["input"]["file-store"]
    assert source["trigger"] == {"interval": {"duration": "3s"}}
    assert source["replay"] == {"from": "now", "marker": "m"}
    assert source["retention"] == {
        "age": "7d",
        "max-bytes": 9,
        "max-objects": 4,
        "readers": ["demo--b--c-reader", "demo--x--c-reader"],
        "receipts": "default/demo/c.taken/",
    }
    alone = check(make(graph(A, B, channel=f"{{transport: file-store, with: {settings}}}")))
    assert "readers" not in document(alone, "b--c-reader")["input"]["file-store"]["retention"]


STORES: dict[str, tuple[str, dict[str, Any]]] = {
    "s3": (
        "bucket-name: b, region: eu, endpoint: 'https://s3.example.com', access-key: k, secret-key: s, role-arn: r,"
        " security-token: t",
        {
            "bucket-name": "b",
            "region": "eu",
            "endpoint": "https://s3.example.com",
            "access-key": "k",
            "secret-key": "s",
            "role-arn": "r",
            "security-token": "t",
        },
    ),
    "gcs": ("bucket-name: b, credentials: j", {"bucket-name": "b", "credentials": {"service-account": {"key": "j"}}}),
    "azure-blob": (
        "bucket-name: b, account: acc, secret-key: s",
        {"container-name": "b", "storage-account": "acc", "storage-master-key": "s"},
    ),
}


@pytest.mark.parametrize("store", STORES)
def test_an_object_store_is_asked_in_the_words_of_its_kind(store: str) -> None:
    given, wanted = STORES[store]
    channel = f"{{transport: object-store, with: {{store: {store}, path: /deep/, {given}}}}}"
    made = check(make(graph(A, B, channel=channel)))
    output = document(made, "a--c-writer")["output"][store]
    assert {key: output[key] for key in wanted} == wanted
    assert output["object-name"] == {"name": "deep/default/demo/c/"}
    source = document(made, "b--c-reader")["input"][store]
    assert source["object-names"] == ["deep/default/demo/c/"]
    assert made.desired.together == (("demo--a", "demo--a--c-writer"), ("demo--b--c-reader", "demo--b"))


@cases.table(
    ("channel", "pointer", "told"),
    [
        ("{with: {path: /x}}", "/path", "worker-channel has no setting path"),
        ("{with: {driver: both}}", "/driver", "is no value for driver"),
        ("{transport: file-store, with: {path: /x, retention: soon}}", "/retention", "soon is no value"),
        ("{transport: file-store, with: {path: /x, replay: soon}}", "/replay", "soon is no value"),
        ("{transport: file-store, with: {path: /x, replay: {marker: m}}}", "/replay", "is no value"),
        ("{transport: file-store, with: {path: /x, max-bytes: 0}}", "/max-bytes", "is no value"),
        ("{transport: file-store, with: {path: ''}}", "", "needs path"),
        ("{transport: object-store, with: {path: x}}", "", "needs bucket-name"),
        ("{transport: object-store, with: {bucket-name: b, store: ftp}}", "/store", "ftp is no value"),
        ("{transport: object-store, with: {bucket-name: b, account: a}}", "/account", "kind s3 has no setting account"),
        ("{transport: object-store, with: {bucket-name: b, store: azure-blob}}", "", "needs account"),
        ("{transport: jetstream, with: {stream: a.b}}", "/stream", "a.b is no value for stream"),
        ("{transport: jetstream, with: {path: /x}}", "/path", "jetstream has no setting path"),
        ("{transport: jetstream, with: {replay: soon}}", "/replay", "soon is no value"),
    ],
)
def test_a_setting_that_does_not_fit_blocks_the_plan(channel: str, pointer: str, told: str) -> None:
    made = make(graph(A, B, channel=channel))
    found = [one for one in made.blockers if told in one.message]
    assert found, [one.message for one in made.blockers]
    assert (found[0].code, found[0].pointer) == ("invalid_transport", f"/channels/c/with{pointer}")
    assert found[0].hint


def test_a_setting_that_a_wizard_field_leaves_empty_is_not_given() -> None:
    channel = "{transport: file-store, with: {path: /x, replay: '{{wizard.from}}', retention: '{{wizard.keep}}'}}"
    text = graph(A, B, channel=channel, wizard="[{field: from}, {field: keep}]")
    source = document(check(make(text)), "b--c-reader")["input"]["file-store"]
    assert not {"replay", "retention"} & source.keys()
    again = document(check(make(text, values={"from": "2026-01-31", "keep": "1h"})), "b--c-reader")
    assert again["input"]["file-store"]["replay"] == "2026-01-31"


def test_replicas_behind_a_durable_channel_share_one_reader_and_one_worker() -> None:
    many = B.replace("in:", "replicas: 3, in:")
    made = check(make(graph(A, many, channel="{transport: file-store, with: {path: /x}}")))
    assert made.desired.jobs["demo--b--c-reader"].replicas == 1
    assert len(set(made.desired.assignments["demo--b"])) == 1
    assert [finding.code for finding in made.warnings] == ["shared_reader"]


def test_a_stream_joins_its_writers_and_readers_wherever_they_run() -> None:
    far = B.replace("id: b", "id: x").replace("in:", "placement: {group: edge}, in:")
    settings = "{batch-size: 7, retention: 7d, max-bytes: 9, replay: {from: now, marker: m}}"
    made = check(make(graph(A, B, far, channel=f"{{transport: jetstream, with: {settings}}}")))
    assert made.warnings == ()
    output = document(made, "a--c-writer")["output"]["jetstream"]
    assert (output["stream"], output["batch"]) == ("demo--c", {"mode": "fixed", "fixed-size": 7})
    readers = ["demo--b--c-reader", "demo--x--c-reader"]
    assert document(made, "x--c-reader")["input"]["jetstream"] == {
        "stream": "demo--c",
        "replay": {"from": "now", "marker": "m"},
        "retention": {"age": "7d", "max-bytes": 9, "readers": readers},
    }
    assert made.desired.together == (("demo--a", "demo--a--c-writer"), (readers[0], "demo--b"), (readers[1], "demo--x"))
    assert made.desired.assignments["demo--x"] == ("e1",)


def test_a_stream_has_the_name_that_it_is_given_and_needs_no_settings() -> None:
    made = check(make(graph(A, B, channel="{transport: jetstream, with: {stream: orders}}")))
    assert document(made, "b--c-reader")["input"] == {"jetstream": {"stream": "orders"}}
    plain = check(make(graph(A, B, channel="{transport: jetstream}"), name="other"))
    assert plain.desired.jobs["other--b--c-reader"].document["input"] == {"jetstream": {"stream": "other--c"}}


def test_replicas_behind_a_stream_have_a_reader_each_and_spread_over_the_workers() -> None:
    many = B.replace("in:", "replicas: 2, in:")
    made = check(make(graph(A, many, channel="{transport: jetstream}")))
    assert made.warnings == ()
    assert made.desired.jobs["demo--b--c-reader"].replicas == 2
    assert made.desired.assignments["demo--b"] == made.desired.assignments["demo--b--c-reader"]
    assert len(set(made.desired.assignments["demo--b"])) == 2


def test_a_stream_needs_a_server_and_the_plan_names_the_setting() -> None:
    made = make(graph(A, B, channel="{transport: jetstream}"), surroundings=Surroundings(nats=False))
    assert [(one.code, one.pointer) for one in made.blockers] == [("transport_unavailable", "/channels/c/transport")]
    assert "the setting nats" in made.blockers[0].message
    assert "SLUICE_NATS" in made.blockers[0].hint


def test_a_step_behind_a_stream_does_not_wait_for_messages() -> None:
    made = make(graph(A, B, channel="{transport: jetstream}", messages=edge("a>b>go")))
    assert set(codes(made)) == {"message_edge_unsupported"}


# ---- message edges


def edge(*edges: str) -> str:
    parts = [one.split(">") for one in edges]
    return "[" + ", ".join(f"{{from: {source}, to: {target}, tag: {tag}}}" for source, target, tag in parts) + "]"


def heard(made: Plan, job: str) -> dict[str, Any]:
    ((_, config),) = document(made, job)["input"].items()
    return config["trigger"]["message"]  # type: ignore[no-any-return]


def test_a_relay_gets_a_copy_of_every_event_that_leaves_the_source() -> None:
    made = check(make(graph(A, A.replace("id: a", "id: o"), B, Z, Q, messages=edge("a>z>Go.now"))))
    hop = "default/demo/a/demo--a-go-now-relay"
    assert document(made, "a")["output"] == {
        "dispatch": {"mode": "clone", "outputs": {"out": "default/demo/c"}, "copies": [hop]}
    }
    assert document(made, "a-go-now-relay")["input"] == {"worker-channel": {"channel": hop}}
    assert document(made, "o")["output"] == {"worker-channel": {"channel": "default/demo/c"}}  # not its events
    assert heard(made, "z")["filter-job"] == "demo--a-go-now-relay"
    assert made.desired.jobs["demo--a-go-now-relay"].role is Role.RELAY
    assert {"demo--a", "demo--a-go-now-relay"} <= set(made.desired.together[0])


def test_several_edges_wake_a_step_with_each_of_their_tags() -> None:
    made = check(make(graph(A, B, Z, Q, messages=edge("a>z>one", "b>z>two"))))
    assert heard(made, "z")["filter-tag"] == ["one", "two"]
    assert heard(made, "z")["filter-job"] == ["demo--a-one-relay", "demo--b"]
    assert document(made, "b")["emit"] == [{"tag": "two", "on": "batch"}]


def test_two_edges_of_one_source_and_tag_share_a_relay() -> None:
    y = Z.replace("id: z", "id: y")
    made = check(make(graph(A, B, Z, y, Q, messages=edge("a>z>t", "a>y>t"))))
    assert [job.name for job in made.desired.jobs.values() if job.role is Role.RELAY] == ["demo--a-t-relay"]


def test_a_job_that_sends_the_tag_itself_needs_no_relay() -> None:
    says = blueprint(
        "{kind: blueprint, slug: says, jobs: [{name: j, input: {echo: {event: e}}, output: {message: {tag: t}}}]}"
    )
    emits = blueprint(
        "{kind: blueprint, slug: emits, jobs: [{name: j, input: {echo: {event: e}}, output: {discard: {}}, emit: t}]}"
    )
    for slug in ("says", "emits"):
        made = check(
            make(
                graph(f"{{id: s, use: 'blueprint:{slug}@1.0.0'}}", Z, Q, messages=edge("s>z>t")),
                modules=[says, emits],
            )
        )
        assert heard(made, "z")["filter-job"] == "demo--s"
        assert not any(job.role is Role.RELAY for job in made.desired.jobs.values())


def test_a_scheduled_job_whose_events_leave_through_no_channel_tells_of_its_runs() -> None:
    ends = blueprint(
        "{kind: blueprint, slug: ends, jobs: [{name: j, input: {echo: {event: e}}, output: {discard: {}}}]}"
    )
    made = check(
        make(graph("{id: s, use: 'blueprint:ends@1.0.0'}", Z, Q, messages=edge("s>z>t", "s>z>u")), modules=[ends])
    )
    assert document(made, "s")["emit"] == [{"tag": "t", "on": "run"}, {"tag": "u", "on": "run"}]


def test_an_input_that_reads_messages_is_given_the_filter() -> None:
    hears = blueprint(
        "{kind: blueprint, slug: hears, jobs: [{name: j, input: {internal-messages: {filter-type: [job-failed]}},"
        " output: {discard: {}}}]}"
    )
    made = check(make(graph(A, B, "{id: h, use: 'blueprint:hears@1.0.0'}", messages=edge("a>h>t")), modules=[hears]))
    assert document(made, "h")["input"]["internal-messages"] == {
        "filter-kind": "user",
        "filter-type": ["user-generated"],
        "filter-tag": "t",
        "filter-job": "demo--a-t-relay",
    }


MODULE = """
kind: workflow
slug: m
version: 1
ports: {in: [events], out: [done]}
channels: {mid: {transport: file-store, with: {path: /mid}}}
steps:
  - {id: head, use: "blueprint:pass@1.0.0", in: port:events, out: channel:mid}
  - {id: tail, use: "blueprint:pass@1.0.0", in: channel:mid, out: port:done}
"""


def test_a_module_waits_where_events_enter_it_and_speaks_where_they_leave_it() -> None:
    steps = [A, "{id: m, use: 'workflow:m@1', in: channel:c, out: channel:e}", Q, Z.replace("channel:e", "channel:f")]
    steps.append('{id: k, use: "blueprint:file-printer@1.0.0", in: channel:f}')
    text = graph(*steps, channel="{transport: file-store, with: {path: /x}}", messages=edge("a>m>in", "m>z>out"))
    made = check(make(text, modules=[workflow(MODULE)]))
    assert heard(made, "m--head--c-reader")["filter-job"] == "demo--a--c-in-relay"
    assert "interval" in document(made, "m--tail--m--mid-reader")["input"]["file-store"]["trigger"]
    assert heard(made, "z")["filter-job"] == "demo--m--tail-out-relay"


def test_a_step_that_cannot_wait_is_refused() -> None:
    made = make(graph(A, B, messages=edge("a>b>t")))
    assert [(one.code, one.pointer) for one in made.blockers] == [("message_edge_unsupported", "/messages/0/to")]
