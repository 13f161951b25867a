"""A canary secret goes through every kind of component, and things fail in many ways: it must not turn up anywhere.

The engine and its worker are real processes; what they say, keep and answer is searched for the canary in all the
forms in which it could travel.
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import anyio
import pytest

from core import errors
from core.engine import Engine
from tests.dsl import web
from tests.engines import ADMIN, deploy, engine_on

pytestmark = pytest.mark.anyio
CANARY = 'ZqXw9T"7/x+\\k2'
INPUT = """echo: {event: '{"x": 1}', json: true}"""
SECRET = "${secret|web/token}"


def forms() -> Iterable[bytes]:
    raw = CANARY.encode()
    texts = [CANARY, json.dumps(CANARY)[1:-1], json.dumps(CANARY, ensure_ascii=False)[1:-1], repr(CANARY)[1:-1]]
    texts += [quote(CANARY), quote(CANARY, safe=""), quote_plus(CANARY), raw.hex(), "ZqXw9T"]
    texts += [base64.b64encode(b"\0" * n + raw).decode()[2:-4].rstrip("=") for n in range(3)]
    texts += [json.dumps(json.dumps(CANARY))[3:-3]]
    return {text.encode() for text in texts}


def found_in(data: bytes) -> list[bytes]:
    return [form for form in forms() if form.lower() in data.lower()]


def job(name: str, *, source: str = INPUT, actions: str = "[]", sink: str = "{print: STDOUT}") -> str:
    return f"name: {name}\ninput: {{{source}}}\nactions: {actions}\noutput: {sink}\n"


ADD = f"{{add: {{output-fields: {{t: '{SECRET}', basic: 'user:{SECRET}'}}}}}}"


def documents(site: web.Site, broken: web.Site, folder: Path) -> dict[str, str]:
    """Jobs that use the secret where a document can, and jobs that fail with it in their hands."""
    ok, bad, gone = site.url("/in"), broken.url("/in"), "http://127.0.0.1:9/in"
    header = f"headers: {{authorization: 'Bearer {SECRET}'}}"
    lua = '{script: {code: "error(event.t)"}}'
    return {
        "header": job("header", sink=f"{{http-post: {{url: '{ok}', {header}}}}}"),
        "url": job("url", sink=f"{{http-post: {{url: '{ok}?key={SECRET}'}}}}"),
        "body": job("body", sink=f"{{http-post: {{url: '{ok}', body: {{token: '{SECRET}'}}}}}}"),
        "basic": job(
            "basic", sink=f"{{http-post: {{url: '{ok}', auth: {{basic: {{username: u, password: '{SECRET}'}}}}}}}}"
        ),
        "call": job("call", actions=f"[{{http: {{url: '{ok}', {header}}}}}]"),
        "call-denied": job("call-denied", actions=f"[{{http: {{url: '{bad}', {header}}}}}]"),
        "call-gone": job("call-gone", actions=f"[{{http: {{url: '{gone}', {header}}}}}]"),
        "poll": job("poll", source=f"http-poll: {{url: '{ok}', {header}, json: true}}"),
        "printed": job("printed", actions=f"[{ADD}]"),
        "message": job("message", actions=f"[{ADD}]", sink="{message: {tag: 'tag-${t}'}}"),
        "variable": job("variable", actions=f"[{ADD}]", sink="{message: {set-variable-name: V, input-field: t}}"),
        "notice": job("notice", actions=f"[{{message: {{message-content: 'is {SECRET}', log-event: true}}}}]"),
        "condition": job("condition", actions=f"[{ADD}, {{filter: {{condition: 't + 1 > 0'}}}}]"),
        "lua": job("lua", actions=f"[{ADD}, {lua}]"),
        "convert": job("convert", actions=f"[{ADD}, {{convert: {{conversions: [{{field: t, conversion: num}}]}}}}]"),
        "json": job("json", actions=f"[{ADD}, {{json: {{input-field: t}}}}]"),
        "abort": job("abort", actions=f"[{ADD}, {{abort: {{message: 'because of ${{t}}'}}}}]"),
        "kv": job(
            "kv", actions=f"[{ADD}, {{worker-kv: {{namespace: n, operation: {{set: {{key: k, value: '{SECRET}'}}}}}}}}]"
        ),
        "file": job("file", sink=f"{{file: {{path: '{folder}/plain/{SECRET}/x'}}}}"),
        "refused": job("refused", sink=f"{{http-post: {{url: '{bad}', {header}}}}}"),
        "redirected": job("redirected", sink=f"{{http-post: {{url: '{broken.url('/moved')}?k={SECRET}'}}}}"),
        "unreachable": job("unreachable", sink=f"{{http-post: {{url: '{gone}?key={SECRET}'}}}}"),
        "host": job("host", sink=f"{{http-post: {{url: 'http://{SECRET}/in'}}}}"),
        "wrong-scheme": job("wrong-scheme", source=f"http-poll: {{url: '{SECRET}://x/'}}"),
        "allowed": job("allowed", actions=f"[{ADD}]", sink=f"{{file: {{path: {folder}/out.txt}}}}"),
    }


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[Engine]:
    async with engine_on(tmp_path / "home", egress_allow=("127.0.0.1/32",), log_level="debug") as running:
        yield running


async def answers(engine: Engine, names: Iterable[str]) -> AsyncIterator[tuple[str, Any]]:
    """Every answer that could show something of these jobs, and every fault that they can be made to tell."""
    calls: list[tuple[str, dict[str, Any]]] = [
        ("secret_list", {}),
        ("variable_list", {}),
        ("context_list", {}),
        ("job_list", {"limit": 200}),
        ("secret_set", {"name": "web/token", "value": CANARY, "extra": 1}),
        ("secret_set", {"name": "not a name", "value": CANARY}),
        ("secret_set", {"name": "web/token", "value": {"deep": CANARY}}),
        ("secret_set", {"name": "web/token", "value": CANARY * 10_000}),
        ("secret_delete", {"name": "web/token"}),
    ]
    calls += [("job_get", {"name": name, "log_lines": 200}) for name in names]
    for kind in ("user-generated", "user-alert", "variable-set", "job-failed", "job-run-ended"):
        calls.append(("message_search", {"type": kind, "limit": 200}))
    for name, arguments in calls:
        try:
            yield name, await engine.call(name, arguments, ADMIN)
        except errors.SluiceError as error:
            yield name, error.to_dict()


async def test_a_secret_shows_up_where_it_was_sent_and_nowhere_else(
    engine: Engine, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    moved = b"HTTP/1.1 302 X\r\nlocation: http://x/?k=" + quote(CANARY).encode() + b"\r\ncontent-length: 0\r\n\r\n"
    heard: list[Any] = []
    engine.subscribe(lambda kind, data: heard.append((kind, repr(data))))
    async with web.serve(web.answer(200, b"[]")) as site, web.serve(_echo_or(moved)) as broken:
        with anyio.fail_after(90):
            await engine.call("secret_set", {"name": "web/token", "value": CANARY}, ADMIN)
            jobs = documents(site, broken, tmp_path)
            failed, refused = set(), set()
            for name, document in jobs.items():
                try:
                    put = await engine.call("job_put", {"document": document}, ADMIN)
                except errors.InvalidDocument as error:
                    refused.add(name)
                    assert found_in(str(error).encode()) == []
                    continue
                deployed = await engine.call("job_deploy", {"name": put["name"]}, ADMIN)
                if "failed" in {workload["state"] for workload in deployed["workloads"]}:
                    failed.add(name)
            assert refused == set()
            assert failed >= {"call-denied", "call-gone", "refused", "redirected", "unreachable", "host", "abort"}, (
                failed
            )
            sent = [part for r in site.requests for part in (r.line, str(r.body), *r.headers.values())]
            for text in (f"Bearer {CANARY}", "key=ZqXw9T", "ZqXw9T", base64.b64encode(f"u:{CANARY}".encode()).decode()):
                assert any(text in one for one in sent), text
            assert CANARY in (tmp_path / "out.txt").read_text(encoding="utf-8").replace('\\"', '"').replace(
                "\\\\", "\\"
            )
            told = [(name, json.dumps(answer).encode()) async for name, answer in answers(engine, jobs)]
    assert len(told) > 30
    leaks = [(name, found_in(text)) for name, text in told if found_in(text)]
    assert leaks == []
    assert [text for _, text in heard if found_in(text.encode())] == []
    assert "***" in str(told)  # the mask is at work
    shown = capfd.readouterr()
    assert found_in((shown.out + shown.err).encode()) == []
    await anyio.run_process(["cp", "-rL", str(tmp_path / "home"), str(tmp_path / "copy")])  # SQLite's locks stay whole
    contents = _files(tmp_path / "copy")
    assert {"sluice.db", "sluice.db-wal", "secrets.key"} <= contents.keys()
    assert {name: found_in(data) for name, data in contents.items() if found_in(data)} == {}


def _files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file() and not path.is_symlink()}


def _echo_or(moved: bytes) -> web.Handler:
    """A rude receiver: it says what it got back in its refusal."""

    async def talk(request: web.Request, writer: Any) -> None:
        if "/moved" in request.line:
            writer.write(moved)
        else:
            said = request.headers.get("authorization", "").encode("latin-1") + b" " + request.line.encode("latin-1")
            writer.write(web.answer(403, said + request.body))

    return talk


async def test_neither_the_processes_nor_a_plan_show_the_value(engine: Engine) -> None:
    with anyio.fail_after(30):
        await engine.call("secret_set", {"name": "web/token", "value": CANARY}, ADMIN)
        values = {"event": f'{{"t": "{SECRET}"}}'}
        plan = await engine.call(
            "deployment_plan", {"name": "d", "source": "blueprint:echo-source", "values": values}, ADMIN
        )
        await deploy(engine, job("printed", actions=f"[{ADD}]"))
    assert found_in(json.dumps(plan).encode()) == []
    pids = [row["pid"] for row in engine.fleet.worker_rows()]
    for file in [Path("/proc", str(pid), file) for pid in (*pids, "self") for file in ("cmdline", "environ")]:
        try:
            assert found_in(file.read_bytes()) == [], file
        except PermissionError:  # a worker cannot be looked into by the user who runs it; root can
            assert os.geteuid() != 0
            assert file.name == "environ"
