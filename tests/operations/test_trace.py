"""Run & Trace through the engine: action by action, bounded in every way, and without an effect."""

from __future__ import annotations

import base64
import hashlib
import http.server
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import anyio
import orjson
import pytest

from core import errors
from core.engine import Engine
from core.jobs import tracing
from tests import processes, waiting
from tests.dsl import office
from tests.engines import ADMIN, engine_on

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def engine(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Engine]:
    home = tmp_path_factory.mktemp("trace") / "home"
    async with engine_on(home, workers=0, egress_allow=("127.0.0.1/32",)) as opened:
        yield opened


async def trace(engine: Engine, document: str, **arguments: Any) -> dict[str, Any]:
    with anyio.fail_after(40):
        return await engine.call("job_trace", {"document": document, **arguments}, ADMIN)


def job(actions: str = "[]", source: str = "{echo: {event: '{}', json: true}}", sink: str = "{print: STDOUT}") -> str:
    return f"name: traced\ninput: {source}\nactions: {actions}\noutput: {sink}\n"


async def test_each_action_is_shown_with_the_events_before_and_after_it(engine: Engine) -> None:
    text = job(
        """
  - add: {description: greet, output-fields: {text: "hello ${who}"}}
  - filter: {condition: 'who ~= "bob"'}
  - expand-events: {input-field: list, output-field: one}
  - remove: {fields: [id], error-on-missing: true, condition: one == 2}"""
    )
    events = [{"who": "ann", "list": [1, 2]}, {"who": "bob", "list": [3]}]
    found = await trace(engine, text, events=events)
    assert found["events_in"] == events
    assert [(s["index"], s["action"], s["events_in"], s["events_out"], s["dropped"]) for s in found["steps"]] == [
        (0, "add", 2, 2, 0),
        (1, "filter", 2, 1, 1),
        (2, "expand-events", 1, 2, 0),
        (3, "remove", 2, 1, 1),
    ]
    assert found["steps"][0]["description"] == "greet"
    assert found["steps"][0]["before"] == events
    assert found["steps"][0]["after"][0]["text"] == "hello ann"
    assert [event["one"] for event in found["events_out"]] == [1]
    (fault,) = found["errors"]
    assert (fault["step"], fault["event"]) == (3, 1)
    assert "the event has no field id" in fault["message"]
    assert found["would_emit"][0]["content"] == found["events_out"][0]
    assert found["counts"] == {"events_in": 2, "steps": 4, "events_out": 1, "would_emit": 1, "errors": 1}


async def test_the_text_of_a_file_is_read_as_in_a_job(engine: Engine) -> None:
    content = base64.b64encode(office.docx(office.paragraph("Dear reader"))).decode()
    found = await trace(engine, job("[{docx-to-text: {remove: true}}]"), events=[{"_raw": content}, {"_raw": "?"}])
    assert found["events_out"] == [{"text": "Dear reader"}]
    (fault,) = found["errors"]
    assert fault["message"].startswith("actions/0 docx-to-text: _raw is not valid base64: ")


async def test_a_message_gives_the_payload_and_the_number_of_an_event_stays_its_own(engine: Engine) -> None:
    source = '{echo: {event: \'{"env": "${msg|job_event.params.env}"}\', json: true, trigger: {message: {}}}}'
    found = await trace(engine, job(source=source), message={"job_event": {"params": {"env": "prod"}}})
    assert found["events_out"] == [{"env": "prod"}]
    counted = job("[{filter: {condition: n ~= 1}}, {filter: {condition: count() == 3}}]")
    found = await trace(engine, counted, events=[{"n": 1}, {"n": 2}, {"n": 3}])
    assert found["events_out"] == [{"n": 3}]


async def test_an_action_that_aborts_ends_the_trace_and_says_why(engine: Engine) -> None:
    text = job('[{abort: {condition: n == 2, message: "poison ${n}"}}, {add: {output-fields: {a: 1}}}]')
    found = await trace(engine, text, events=[{"n": 1}, {"n": 2}])
    assert found["aborted"] == "poison 2"
    assert found["errors"] == [{"step": 0, "event": 1, "message": "poison 2"}]
    assert (len(found["steps"]), found["events_out"]) == (1, [])


def contents(root: Path) -> dict[str, tuple[str, int]]:
    """Every file below a directory with its digest and time."""
    return {
        str(path.relative_to(root)): (hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_mtime_ns)
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


def names(root: Path) -> list[str]:
    return sorted(path.name for path in root.iterdir())


EFFECTS = (
    "{file: {path: '%s/out/${n}.txt', truncate: true}}",
    "{file-store: {path: '%s/store', object-name: {name: x}}}",
    "{file-store: {path: '%s/data', object-name: {field: name}, mode: delete}}",
    "{http-post: {url: '%s/hook/${n}'}}",
    "{message: {tag: 't.${n}'}}",
    "{message: {set-variable-name: v}}",
    "{worker-channel: {channel: lines}}",
    "{print: STDOUT}",
)


class Site(http.server.BaseHTTPRequestHandler):
    seen: list[str]

    def do_GET(self) -> None:
        self.seen.append(f"{self.command} {self.path}")
        body = b'[{"n": 1}, {"n": 2}, {"n": 3}]'
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture
def site() -> Iterator[tuple[str, list[str]]]:
    seen: list[str] = []
    handler = type("Handler", (Site,), {"seen": seen})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", seen
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("sink", EFFECTS)
async def test_a_trace_changes_nothing_anywhere(
    engine: Engine, tmp_path: Path, site: tuple[str, list[str]], sink: str
) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "x.jsonl").write_text('{"n": 1, "name": "x.jsonl"}\n{"n": 2, "name": "x.jsonl"}\n')
    url, seen = site
    sink = sink % (url if "http" in sink else tmp_path) if "%" in sink else sink
    text = job(
        """
  - message: {message-content: "saw ${n}", log-event: true}
  - worker-kv: {namespace: ns, operation: {set: {key: k, value-field: n}}}""",
        f"{{files: {{path: '{tmp_path}/data/*.jsonl', mode: batch, json: true}}}}",
        sink,
    )
    before = contents(tmp_path / "data")
    messages = await engine.call("message_search", {}, ADMIN)
    heard: list[str] = []
    forget = engine.subscribe(lambda kind, data: heard.append(kind))
    found = await trace(engine, text, sample=5)
    forget()
    assert [event["n"] for event in found["events_out"]] == [1, 2]
    kinds = [one["kind"] for one in found["would_emit"]]
    assert {"message", "kv"} <= set(kinds)
    assert len(found["would_emit"]) >= 6
    assert contents(tmp_path / "data") == before
    assert names(tmp_path) == ["data"]
    assert seen == []
    assert heard == []
    assert await engine.call("message_search", {}, ADMIN) == messages
    assert engine.fleet.variables("tenant-a") == {}
    assert list(engine.settings.home.glob("state*")) == []


async def test_a_sample_is_not_remembered(engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_text('{"n": 1}\n{"n": 2}\n')
    for source in (
        f"{{files: {{path: '{tmp_path}/*.jsonl', json: true}}}}",
        f"{{file-store: {{path: '{tmp_path}', json: true, fingerprinting: true}}}}",
    ):
        for _ in range(2):
            found = await trace(engine, job(source=source), sample=2)
            assert found["events_out"] == [{"n": 1}, {"n": 2}], source


async def test_what_the_output_would_get_is_shown_with_its_address_and_without_secrets(engine: Engine) -> None:
    sink = (
        "{http-post: {url: 'https://example.com/${n}/x', headers: {x-n: '${n}', authorization: 'Bearer hush'},"
        " auth: {bearer: {token: hush}}, body: {n: '${n}', s: '${s}'}}}"
    )
    found = await trace(
        engine, job('[{add: {output-fields: {s: "${secret|a/b}", d: "${cred|a|b}"}}}]', sink=sink), events=[{"n": 7}]
    )
    (shown,) = found["would_emit"]
    assert shown["url"] == "https://example.com/7/x"
    assert shown["headers"] == {"x-n": "7", "authorization": "***"}
    assert shown["auth"] == "***"
    assert shown["body"] == {"n": "7", "s": "***"}
    assert found["events_out"] == [{"n": 7, "s": "***", "d": "***"}]


async def test_the_address_of_a_request_is_shown_as_it_would_be_sent(engine: Engine) -> None:
    sink = "{http-post: {url: 'https://example.com/${n}/${secret|a/b}?q=${n}'}}"
    found = await trace(engine, job(sink=sink), events=[{"n": "a b/c&d"}])
    assert found["would_emit"][0]["url"] == "https://example.com/a%20b/c%26d/***?q=a%20b%2Fc%26d"
    assert "hush" not in orjson.dumps(found).decode()


async def test_a_sample_comes_from_the_real_input_by_get_only(engine: Engine, site: tuple[str, list[str]]) -> None:
    url, seen = site
    found = await trace(engine, job(source=f"{{http-poll: {{url: '{url}/a', trigger: {{interval: 1s}}}}}}"), sample=2)
    assert found["events_in"] == [{"n": 1}, {"n": 2}]
    assert seen == ["GET /a"]
    with pytest.raises(errors.InvalidParams, match="a post request may change something"):
        await trace(engine, job(source=f"{{http-poll: {{url: '{url}/a', method: post}}}}"), sample=2)
    assert seen == ["GET /a"]


@pytest.mark.parametrize(
    ("source", "fault"),
    [
        ("{worker-kv: {namespace: n, operation: {pop-batch: {}}}}", "takes events away"),
        ("{worker-channel: {channel: c}}", "takes events away"),
        ("{internal-messages: {}}", "takes events away"),
        ("{exec: {command: 'touch /tmp/never'}}", "switched off"),
    ],
)
async def test_an_input_whose_reading_has_an_effect_gives_no_sample(engine: Engine, source: str, fault: str) -> None:
    with pytest.raises((errors.InvalidParams, errors.Forbidden), match=fault):
        await trace(engine, job(source=source), sample=1)


async def test_an_input_that_cannot_be_read_is_a_finding(engine: Engine, tmp_path: Path) -> None:
    found = await trace(engine, job(source=f"{{file-store: {{path: '{tmp_path}/gone'}}}}"), sample=1)
    assert found["errors"][0]["step"] == "input"
    assert "does not exist" in found["errors"][0]["message"]


@pytest.mark.parametrize(
    ("arguments", "pointer"),
    [
        ({}, "/document"),
        ({"document": job(), "name": "x"}, "/name"),
        ({"document": job(), "events": [], "sample": 1}, "/sample"),
        ({"document": job(source="{files: {path: /tmp}}")}, "/events"),
        ({"document": job(), "events": [7]}, "/events/0"),
        ({"document": job(), "message": "x"}, "/message"),
    ],
)
async def test_wrong_arguments_are_told_with_their_place(engine: Engine, arguments: Any, pointer: str) -> None:
    with pytest.raises(errors.InvalidParams) as caught:
        await engine.call("job_trace", arguments, ADMIN)
    assert [problem.pointer for problem in caught.value.errors] == [pointer]


async def test_a_document_that_is_not_valid_is_told_as_everywhere(engine: Engine) -> None:
    with pytest.raises(errors.InvalidDocument) as caught:
        await trace(engine, job("[{ad: {}}]"))
    assert caught.value.errors[0].where == "<document>:3:12"
    with pytest.raises(errors.NotFound):
        await engine.call("job_trace", {"name": "none"}, ADMIN)


async def test_a_stored_job_is_traced_by_name_its_draft_first(engine: Engine) -> None:
    await engine.call("job_put", {"document": job("[{add: {output-fields: {v: 1}}}]")}, ADMIN)
    assert (await engine.call("job_trace", {"name": "traced"}, ADMIN))["events_out"] == [{"v": 1}]
    draft = {"document": job("[{add: {output-fields: {v: 2}}}]"), "draft": True}
    await engine.call("job_put", draft, ADMIN)
    assert (await engine.call("job_trace", {"name": "traced"}, ADMIN))["events_out"] == [{"v": 2}]
    assert (await engine.call("job_trace", {"name": "traced", "version": 1}, ADMIN))["events_out"] == [{"v": 1}]


SPLIT = "{script: {code: 'event.l = {1,2,3,4,5,6,7,8,9,10}'}}, {expand-events: {input-field: l}}"
GROW = "{script: {code: 'event.t = string.rep(event.t or [[xxxxxxxxxx]], 30)'}}"
HOSTILE = {
    "a loop in Lua for every event": job("[{script: {code: 'while true do end'}}]"),
    "events that multiply": job(f"[{', '.join([SPLIT] * 9)}]"),
    "texts that grow": job(f"[{', '.join([GROW] * 40)}]"),
}


@pytest.mark.parametrize("name", HOSTILE)
async def test_a_hostile_document_costs_the_engine_nothing_but_a_bounded_wait(engine: Engine, name: str) -> None:
    slowest = 0.0

    async def beat() -> None:
        nonlocal slowest
        while True:
            started = anyio.current_time()
            await waiting.pause(0.01)  # the beat itself: how late it comes is measured
            slowest = max(slowest, anyio.current_time() - started)

    events = [{"n": n} for n in range(30)]
    async with anyio.create_task_group() as group:
        group.start_soon(beat)
        try:
            found = await trace(engine, HOSTILE[name], events=events)
            assert len(orjson.dumps(found)) <= 16_000
        except (errors.InvalidDocument, errors.Internal) as error:
            assert error.message
        group.cancel_scope.cancel()
    assert slowest < 2.0
    assert (await trace(engine, job()))["events_out"] == [{}]


async def test_the_answer_is_bounded_and_its_counts_are_whole(engine: Engine) -> None:
    text = job("[" + ", ".join(["{add: {output-fields: {a: 1}}}"] * 60) + "]")
    events = [{"n": n, "text": "x" * 2000} for n in range(200)]
    found = await trace(engine, text, events=events)
    assert len(orjson.dumps(found)) <= 15_000
    assert found["counts"]["events_out"] == 200
    assert found["counts"]["steps"] == 60
    assert found["truncated"]
    assert found["steps"][0]["events_in"] == 200


async def test_only_a_few_traces_run_at_once_and_none_is_left_behind(engine: Engine) -> None:
    slow = job("[{script: {code: 'while true do end'}}]")
    events = [{} for _ in range(8)]
    async with anyio.create_task_group() as group:
        for _ in range(tracing.AT_ONCE):
            group.start_soon(lambda: _quietly(trace(engine, slow, events=events)))
        await waiting.until(lambda: engine.tracer._taken == tracing.AT_ONCE)
        with pytest.raises(errors.Busy, match="traces are running"):
            await trace(engine, job())
        group.cancel_scope.cancel()
    await waiting.until(lambda: not processes.children("core.worker.trace"))
    assert (await trace(engine, job()))["events_out"] == [{}]


async def _quietly(work: Any) -> None:
    try:
        await work
    except errors.SluiceError:
        return
