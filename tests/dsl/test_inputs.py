from __future__ import annotations

import asyncio
import base64
import signal
import subprocess
from pathlib import Path
from typing import Any

import anyio
import pytest
from pydantic import ValidationError

from core.dsl.component import Batch, Limits, Run
from core.dsl.inputs import descendants, lines
from core.dsl.inputs.lines import Splitter
from core.errors import Forbidden, JobFailed
from core.worker.runs import Delivery
from tests import processes, waiting
from tests.dsl import rig, web
from tests.dsl.rig import Worker
from tests.filepolicies import EVERYWHERE

LOOPBACK = Limits(egress_allow=("127.0.0.0/8",))

pytestmark = pytest.mark.anyio


# ---- lines


def test_a_splitter_gives_the_same_lines_wherever_the_chunks_are_cut() -> None:
    data = b"one\r\ntwo\n\nthree\rstill three\nlast"
    for size in range(1, len(data) + 1):
        splitter = Splitter(1000, "t")
        got = [line for at in range(0, len(data), size) for line in splitter.feed(data[at : at + size])]
        got += splitter.end()
        assert got == [b"one", b"two", b"", b"three\rstill three", b"last"], size


@pytest.mark.parametrize("size", [7, 64, 4096])
def test_a_line_longer_than_the_limit_is_refused_without_being_kept(size: int) -> None:
    splitter = Splitter(100, "big.log")
    data = b"short\n" + b"x" * 5000 + b"\n"
    with pytest.raises(JobFailed, match=r"big\.log: a line is longer than 100 bytes"):
        for at in range(0, len(data), size):
            splitter.feed(data[at : at + size])
    assert splitter.pending <= 100


async def test_a_line_that_is_no_json_object_stays_in_the_data_and_is_counted(worker: Worker) -> None:
    run = Run()
    text = b'{"a": 1}\nnot json\n[1]\n5\n{"b": 12345678901234567890}\n\n'
    events = lines.from_text(text, True, False, worker.env(), run, "t")
    assert events == [{"a": 1}, {"_raw": "not json"}, {"_raw": "[1]"}, {"_raw": "5"}, {"b": 12345678901234567890}]
    assert run.errors == 3
    assert worker.warnings[0].startswith("t: not JSON")


async def test_text_that_is_not_utf8_is_kept_with_replacements_and_counted(worker: Worker) -> None:
    run = Run()
    assert lines.from_text(b"ok\n\xff\xfe!\n", False, False, worker.env(), run, "t") == [
        {"_raw": "ok"},
        {"_raw": "\ufffd\ufffd!"},
    ]
    assert run.errors == 1


async def test_only_the_first_faults_of_a_run_are_logged_and_all_are_counted(worker: Worker) -> None:
    run = Run()
    lines.from_text(b"x\n" * 500, True, False, worker.env(), run, "t")
    assert run.errors == 500
    assert len(worker.warnings) == 20


# ---- echo


@pytest.mark.parametrize(
    ("body", "events"),
    [
        ({"event": "a\nb"}, [{"_raw": "a"}, {"_raw": "b"}]),
        ({"event": "a\nb", "ignore-linebreaks": True}, [{"_raw": "a\nb"}]),
        ({"event": "a\nb", "ignore-line-breaks": True}, [{"_raw": "a\nb"}]),
        ({"event": '{"n": 1739370000000000000}', "json": True}, [{"n": 1739370000000000000}]),
        ({"event": '{"a":\n 1}', "json": True, "ignore-linebreaks": True}, [{"a": 1}]),
        ({"event": ""}, []),
        ({"event": "@{job} on @{worker}"}, [{"_raw": "job on w1"}]),
    ],
)
async def test_echo_makes_events_of_its_text(worker: Worker, body: dict[str, Any], events: list[Any]) -> None:
    assert await worker.read({"echo": body}) == events


async def test_a_value_cannot_change_the_structure_of_an_echoed_object(worker: Worker) -> None:
    worker.variables["WHO"] = 'x", "admin": "yes'
    events = await worker.read({"echo": {"event": '{"who": "${dyn|WHO}"}', "json": True}})
    assert events == [{"who": 'x", "admin": "yes'}]


@pytest.mark.parametrize("event", ["{", "[1]", "text", '{"a": 1}\n{'])
def test_an_echo_that_promises_json_and_is_none_is_refused_in_the_document(event: str) -> None:
    with pytest.raises(ValidationError, match=r"line \d of the event"):
        rig.declare("input", {"echo": {"event": event, "json": True}})


async def test_each_firing_of_echo_has_fresh_events(worker: Worker) -> None:
    source = rig.declare("input", {"echo": {"event": '{"a": {"b": []}}', "json": True}}).open(worker.env())
    first = source.events(Run())
    first[0]["a"]["b"].append(1)
    assert source.events(Run()) == [{"a": {"b": []}}]


def test_an_unknown_key_is_refused() -> None:
    with pytest.raises(ValidationError, match="evnt"):
        rig.declare("input", {"echo": {"event": "x", "evnt": "y"}})


# ---- internal-messages


async def test_internal_messages_are_events_and_acknowledged_when_delivered(worker: Worker) -> None:
    executor = worker.executor({"internal-messages": {"filter-type": ["user-alert"]}}, {"print": "STDOUT"})
    assert executor.mode == "continuous"
    assert executor.filter is not None
    assert executor.filter.types == ("user-alert",)
    settled = asyncio.Event()
    reasons: list[str | None] = []

    def settle(reason: str | None) -> None:
        reasons.append(reason)
        settled.set()

    task = asyncio.create_task(executor.run())
    executor.deliver(Delivery(1, 1, {"id": "msg_1", "message_type": "user-alert"}, settle))
    with anyio.fail_after(5):
        await settled.wait()
        await executor.drain(1)
        await task
    assert worker.printed == ['{"id":"msg_1","message_type":"user-alert"}']
    assert reasons == [None]


async def test_a_message_that_the_output_refused_is_not_acknowledged(worker: Worker) -> None:
    worker.bus_fault = OSError("the engine is gone")
    executor = worker.executor({"internal-messages": {}}, {"message": {"tag": "x"}})
    reasons: list[str | None] = []
    executor.deliver(Delivery(1, 1, {"id": "msg_1"}, reasons.append))
    with anyio.fail_after(5), pytest.raises(JobFailed, match="the engine is gone"):
        await executor.run()
    assert reasons == []


# ---- worker-channel


@pytest.mark.parametrize("form", ["lines", {"channel": "lines"}])
async def test_a_channel_carries_events_and_the_settling_comes_back(worker: Worker, form: Any) -> None:
    reader = worker.executor({"worker-channel": form}, {"print": "STDOUT"}, name="reader")
    task = asyncio.create_task(reader.run())
    with anyio.fail_after(5):
        report = await worker.write('{"n":1}\n{"n":2}', {"worker-channel": form})
        await reader.drain(1)
        await task
    assert report.ok
    assert worker.printed == ['{"n":1}', '{"n":2}']


# ---- exec


@pytest.fixture
def shell(worker: Worker) -> Worker:
    worker.limits = Limits(allow_exec=True, max_line_bytes=100_000, files=EVERYWHERE)
    return worker


async def test_exec_is_refused_unless_an_administrator_allows_it(worker: Worker) -> None:
    with pytest.raises(JobFailed, match=r"switched off on this worker .*allow_exec"):
        await worker.read({"exec": {"command": "true"}})


async def test_exec_makes_an_event_of_each_line(shell: Worker) -> None:
    assert await shell.read({"exec": {"command": "echo one; echo two"}}) == [{"_raw": "one"}, {"_raw": "two"}]
    assert await shell.read({"exec": {"command": "echo '{\"a\": 1}'", "json": True}}) == [{"a": 1}]
    assert await shell.read({"exec": {"command": "printf 'a\\nb'", "ignore-line-breaks": True}}) == [{"_raw": "a\nb"}]


async def test_exec_gives_status_and_streams_as_fields(shell: Worker) -> None:
    result = {"status-field": "code", "stdout-field": "out", "stderr-field": "s.err"}
    events = await shell.read({"exec": {"command": "echo hi; echo bad >&2; exit 3", "result": result}})
    assert events == [{"code": 3, "out": "hi\n", "s": {"err": "bad\n"}}]


async def test_a_command_that_fails_fails_the_job_with_what_it_said(shell: Worker) -> None:
    with pytest.raises(JobFailed, match="ended with status 4: no such thing"):
        await shell.read({"exec": {"command": "echo no such thing >&2; exit 4"}})


async def test_a_command_that_hangs_is_killed_with_everything_it_started(shell: Worker) -> None:
    command = "(trap '' TERM; sleep 60) & echo $!; trap '' TERM; sleep 60"
    seen: list[dict[str, Any]] = []

    def keep(events: list[Any], run: Run) -> list[Any]:
        seen.extend(events)
        return rig.pass_on(events, run)

    with anyio.fail_after(10), pytest.raises(JobFailed, match=r"did not end within 0\.3 s"):
        await shell.run({"exec": {"command": command, "timeout": {"value": "300ms"}}}, {"discard": {}}, keep)
    child = int(seen[0]["_raw"])
    await waiting.until(lambda: processes.ended(child))


@pytest.mark.parametrize("status", [0, 3])
async def test_a_daemon_that_has_left_the_group_of_its_command_is_killed_when_the_command_ends(
    shell: Worker, tmp_path: Path, status: int
) -> None:
    told = tmp_path / "pid"
    inner = f"echo $$ > {told}; exec sleep 60 > /dev/null 2>&1"
    command = f"setsid sh -c '{inner}' & while [ ! -s {told} ]; do sleep 0.01; done; exit {status}"
    with anyio.fail_after(10):
        read = shell.read({"exec": {"command": command, "result": {"status-field": "code"}, "timeout": "8s"}})
        assert await read == [{"code": status}]
    daemon = int(told.read_text())
    await waiting.until(lambda: processes.ended(daemon))


async def test_what_a_killed_worker_left_running_is_killed_before_the_command_runs_again(shell: Worker) -> None:
    owner = descendants.owner(shell.env().state_dir / "exec")
    left, other = (
        subprocess.Popen(["sleep", "60"], env={descendants.NAME: descendants.mark(whose, Path("/w"))})  # noqa: ASYNC220
        for whose in (owner, descendants.owner(Path("/x")))
    )
    try:
        with anyio.fail_after(10):
            assert await shell.read({"exec": {"command": "echo again"}}) == [{"_raw": "again"}]
            assert await anyio.to_thread.run_sync(left.wait) == -signal.SIGKILL
        assert other.poll() is None
    finally:
        for process in (left, other):
            process.kill()
            process.wait()


async def test_a_child_that_holds_the_pipe_open_does_not_hold_the_job(shell: Worker) -> None:
    with anyio.fail_after(8):
        assert await shell.read({"exec": {"command": "sleep 60 & echo done", "timeout": "30s"}}) == [{"_raw": "done"}]


async def test_exec_runs_with_a_clean_environment_and_without_our_descriptors(
    shell: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET_OF_THE_WORKER", "1")
    events = await shell.read({"exec": {"command": "env; ls /proc/self/fd", "env": {"values": "A=1\nB=x y"}}})
    texts = [event["_raw"] for event in events]
    names = {text.split("=")[0] for text in texts if "=" in text}
    assert names <= {"PATH", "LANG", "HOME", "TMPDIR", "A", "B", "PWD", "SHLVL", "_", "OLDPWD", "SLUICE_COMMAND"}
    assert "B=x y" in texts
    assert {int(text) for text in texts if text.isdigit()} <= {0, 1, 2, 3}  # 3 is ls looking


@pytest.mark.parametrize("name", ["LD_PRELOAD", "PATH", "BASH_ENV", "PYTHONPATH", "IFS", "A B", "SLUICE_HOME"])
async def test_a_variable_that_makes_programs_run_other_code_is_refused(shell: Worker, name: str) -> None:
    with pytest.raises(JobFailed, match="may not be set"):
        await shell.read({"exec": {"command": "env", "env": {"values": f"{name}=x"}}})


@pytest.mark.parametrize("value", ["; id", "$(id)", "`id`", "a\nb", "*", "~", "%n", "' \" \\"])
async def test_a_value_in_an_argument_stays_one_literal_argument(shell: Worker, value: str) -> None:
    shell.variables["V"] = value
    command = ["/usr/bin/printf", "%s|%s", "${dyn|V}", "end"]
    assert await shell.read({"exec": {"command": command, "ignore-linebreaks": True}}) == [{"_raw": f"{value}|end"}]


async def test_a_value_that_looks_like_an_option_is_refused(shell: Worker) -> None:
    shell.variables["V"] = "--output=/x"
    with pytest.raises(JobFailed, match="would be read as an option"):
        await shell.read({"exec": {"command": ["/bin/echo", "${dyn|V}"]}})


def test_the_program_of_a_list_cannot_come_from_a_value() -> None:
    with pytest.raises(ValidationError, match="the program cannot come from a value"):
        rig.declare("input", {"exec": {"command": ["${dyn|V}", "x"]}})


async def test_output_that_must_be_kept_whole_is_bounded(shell: Worker) -> None:
    with anyio.fail_after(10), pytest.raises(JobFailed, match="longer than the 100000 bytes"):
        await shell.read({"exec": {"command": "yes", "ignore-linebreaks": True}})


async def test_a_program_that_is_not_there_is_a_clear_fault(shell: Worker) -> None:
    with pytest.raises(JobFailed, match="cannot start /no/such/program"):
        await shell.read({"exec": {"command": ["/no/such/program"]}})


async def test_exec_with_retry_runs_again_until_it_succeeds(shell: Worker) -> None:
    command = "if [ -e seen ]; then echo ok; else touch seen; exit 1; fi"
    with anyio.fail_after(10):
        events = await shell.read({"exec": {"command": command, "retry": {"timeout": "5s", "retries": 2}}})
    assert events == [{"_raw": "ok"}]


# ---- http-poll


async def test_http_poll_reads_objects_arrays_and_text(worker: Worker) -> None:
    worker.limits = LOOPBACK
    cases: list[tuple[bytes, dict[str, Any], list[Any]]] = [
        (web.answer(200, b'{"a": 1}', content_type="application/json"), {}, [{"a": 1}]),
        (
            web.answer(200, b'[{"a": 1}, 2]', content_type="application/json; charset=utf-8"),
            {},
            [{"a": 1}, {"_raw": 2}],
        ),
        (web.answer(200, b"x\ny\n", content_type="text/plain"), {}, [{"_raw": "x"}, {"_raw": "y"}]),
        (web.answer(200, b'{"a":1}\n{"a":2}\n'), {"json": True}, [{"a": 1}, {"a": 2}]),
        (web.answer(200, b'{"d": {"items": [{"a": 1}, {"a": 2}]}}'), {"events-field": "d.items"}, [{"a": 1}, {"a": 2}]),
        (
            web.answer(200, b'{"a": 1}', content_type="application/json"),
            {"payload-mode": "raw"},
            [{"_raw": '{"a": 1}'}],
        ),
        (web.answer(200, b"\x00\xff"), {"payload-mode": "binary"}, [{"_raw": base64.b64encode(b"\x00\xff").decode()}]),
        (web.answer(404, b"gone"), {"response": {"status-field": "status"}}, [{"_raw": "gone", "status": 404}]),
    ]
    for raw, options, events in cases:
        async with web.serve(raw) as site:
            assert await worker.read({"http-poll": {"url": site.url(), **options}}) == events


async def test_http_poll_sends_what_the_document_says(worker: Worker) -> None:
    worker.limits = LOOPBACK
    worker.variables["TOKEN"] = "t0k"
    async with web.serve(web.answer()) as site:
        await worker.read(
            {
                "http-poll": {
                    "url": site.url("/x"),
                    "method": "POST",
                    "headers": {"x-job": "@{job}"},
                    "query": {"q": "a b&c"},
                    "form-urlencoded-body": {"k": "v w"},
                    "auth": {"bearer": {"token": "${dyn|TOKEN}"}},
                }
            }
        )
        await worker.read({"http-poll": {"url": site.url(), "auth": {"basic": {"username": "u", "password": "p"}}}})
    first, second = site.requests
    assert first.line.split()[:2] == ["POST", "/x?q=a+b%26c"] or first.line.split()[1] == "/x?q=a%20b%26c"
    assert first.headers["x-job"] == "job"
    assert first.headers["authorization"] == "Bearer t0k"
    assert first.body == b"k=v+w"
    assert second.headers["authorization"] == "Basic " + base64.b64encode(b"u:p").decode()


@pytest.mark.parametrize("status", [400, 404, 302])
async def test_a_status_that_is_no_success_fails_the_job_at_once(worker: Worker, status: int) -> None:
    worker.limits = LOOPBACK
    async with web.serve(web.answer(status, b"no", location="http://x/")) as site:
        with pytest.raises(JobFailed, match=r"answered 40|redirects are not followed"):
            await worker.read({"http-poll": {"url": site.url(), "retry": {"retries": 3}}})
        assert len(site.requests) == 1


async def test_a_temporary_status_is_tried_again(worker: Worker) -> None:
    worker.limits = LOOPBACK
    async with web.serve(web.answer(503), web.answer(429), web.answer(200, b"x")) as site:
        with anyio.fail_after(10):
            events = await worker.read({"http-poll": {"url": site.url(), "retry": {"retries": 3, "timeout": "8s"}}})
        assert events == [{"_raw": "x"}]
        assert len(site.requests) == 3


async def test_an_inner_address_is_refused_at_the_connection(worker: Worker) -> None:
    async with web.serve(web.answer()) as site:
        with pytest.raises(JobFailed, match="jobs may not reach"):
            await worker.read({"http-poll": {"url": site.url(host="localhost")}})
        assert site.connections == 0


def test_an_address_that_can_never_work_is_refused_in_the_document() -> None:
    with pytest.raises(ValidationError, match="user name"):
        rig.declare("input", {"http-poll": {"url": "http://u:p@example.com/"}})


async def test_an_answer_without_the_promised_array_is_a_clear_fault(worker: Worker) -> None:
    worker.limits = LOOPBACK
    for body, told in ((b"<html>", "is not JSON"), (b'{"d": 1}', "no array in d")):
        async with web.serve(web.answer(200, body)) as site:
            with pytest.raises(JobFailed, match=told):
                await worker.read({"http-poll": {"url": site.url(), "events-field": "d"}})


async def test_a_channel_end_of_another_tenant_is_another_channel(worker: Worker) -> None:
    ours, theirs = worker.env("a"), worker.env("b")
    theirs.tenant = "other"
    await ours.channel("x").put(Batch([{"n": 1}]))
    assert worker.channels.depths() == {"default/x": 1}
    theirs.channel("x")
    assert worker.channels.depths() == {"default/x": 1, "other/x": 0}


def test_forbidden_is_not_a_retry_reason() -> None:
    assert not issubclass(Forbidden, JobFailed)


async def test_an_input_keeps_the_digits_of_integers_of_64_bits_and_no_longer_ones(worker: Worker) -> None:
    texts = ["18446744073709551615", "-9223372036854775808", "18446744073709551616"]
    events = await worker.read({"echo": {"event": "\n".join(f'{{"n": {text}}}' for text in texts), "json": True}})
    assert [repr(event["n"]) for event in events] == [*texts[:2], "1.8446744073709552e+19"]  # as docs/jobs.md says
