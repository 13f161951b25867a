"""A trace goes with an invocation, from the door through a job of a real worker to the requests of the job."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from core.model import trace_context
from tests import otlp, waiting
from tests.attacks import rig
from tests.dsl import web
from tests.engines import ADMIN, deploy, engine_on
from tests.identity.peer import ERAS, Peer

pytestmark = pytest.mark.anyio

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SAID = f"00-{TRACE}-{SPAN}-01"
POSTS = """
name: posts
input:
  echo:
    trigger: {message: {filter-kind: user, filter-type: [user-generated], filter-tag: posts}}
    json: true
    event: '{"secret": "s3cret"}'
output:
  http-post: {url: "%s", trace-context: %s}
"""
TRIGGER = {
    "slug": "posts",
    "tenant_id": "tenant-a",
    "target_job_name": "posts",
    "target_message_tag": "posts",
    "publication": {"mcp": True},
}
INVOKE = "/api/triggers/posts/invoke"


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[rig.Target]:
    async with rig.target(
        tmp_path / "home", mcp=True, workers=1, egress_allow=("127.0.0.0/8",), file_access="anywhere"
    ) as made:
        yield made


async def posting(server: rig.Target, url: str, tells: str = "true") -> None:
    await server.engine.call("trigger_publish", TRIGGER, ADMIN)
    await deploy(server.engine, POSTS % (url, tells))


async def request_of(site: web.Site) -> web.Request:
    return (await waiting.until(lambda: list(site.requests)))[0]


async def invoke(server: rig.Target, **headers: str) -> dict[str, Any]:
    answer = await server.call("POST", INVOKE, {"params": {}}, **headers)
    assert answer.status_code in (200, 202), answer.text
    return dict(answer.json())


async def test_the_trace_of_a_caller_goes_on_in_the_requests_of_the_job(server: rig.Target) -> None:
    with anyio.fail_after(30):
        async with web.serve(web.answer(204)) as site:
            await posting(server, site.url())
            record = await invoke(server, traceparent=SAID, baggage="a=b", tracestate="x=y")
            request = await request_of(site)
    asked = await server.engine.call("trigger_invocation_get", {"invocation_id": record["invocation_id"]}, ADMIN)
    listed = await server.engine.call("trigger_invocation_list", {"slug": "posts"}, ADMIN)
    assert record["trace_id"] == asked["trace_id"] == listed["items"][0]["trace_id"] == TRACE
    told = trace_context.parse(request.headers["traceparent"])
    assert told is not None and told.trace_id == TRACE and told.span_id != SPAN
    assert not told.sampled, "what a caller says forces nobody to sample"
    assert "baggage" not in request.headers and "tracestate" not in request.headers


@pytest.mark.parametrize(("said", "tells"), [("", "true"), ("00-nonsense", "true"), (SAID, "false")])
async def test_nothing_is_told_without_a_trace_or_where_the_output_does_not_want_it(
    server: rig.Target, said: str, tells: str
) -> None:
    with anyio.fail_after(30):
        async with web.serve(web.answer(204)) as site:
            await posting(server, site.url(), tells)
            record = await invoke(server, **({"traceparent": said} if said else {}))
            request = await request_of(site)
    assert record["trace_id"] == (TRACE if said == SAID else None)
    assert "traceparent" not in request.headers


@pytest.mark.parametrize("era", ERAS)
async def test_the_trace_that_an_mcp_client_names_is_taken(server: rig.Target, era: str) -> None:
    with anyio.fail_after(30):
        async with web.serve(web.answer(204)) as site, server.client() as client:
            await posting(server, site.url())
            peer = Peer(client, era)
            await peer.greet()
            call = {"name": "trigger_invoke_posts", "arguments": {}, "_meta": {"traceparent": SAID}}
            _, answer = await peer.ask("tools/call", call)
            request = await request_of(site)
    told = trace_context.parse(request.headers["traceparent"])
    assert told is not None and told.trace_id == TRACE, answer


@asynccontextmanager
async def sending(tmp_path: Path, endpoint: str, patch: pytest.MonkeyPatch, ratio: float) -> AsyncIterator[rig.Target]:
    patch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
    settings: dict[str, Any] = {"workers": 1, "egress_allow": ("127.0.0.0/8",), "file_access": "anywhere"}
    async with rig.target(tmp_path / "home", mcp=True, otel_ratio=ratio, **settings) as made:
        yield made


async def test_a_receiver_hears_one_whole_trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with anyio.fail_after(40):
        async with otlp.receiving() as heard, web.serve(web.answer(204)) as site:
            async with sending(tmp_path, heard.endpoint, monkeypatch, 1.0) as server:
                await posting(server, site.url("/a/path"))
                async with server.client() as client:
                    await Peer(client, ERAS[1]).ask("tools/list", {"_meta": {"traceparent": SAID}})  # no span of mcp's
                await invoke(server, traceparent=SAID)
                request = await request_of(site)
                await waiting.until(lambda: heard.spans, lambda spans: len(spans) >= 5)
    spans = {one.kind: one for one in heard.spans}
    assert len(heard.spans) == len(spans) == 5, heard.spans
    assert {one.trace_id for one in heard.spans} == {TRACE}
    chain = [spans[kind] for kind in ("server", "internal", "producer", "consumer", "client")]
    assert [one.parent for one in chain] == [SPAN, *(one.span_id for one in chain[:-1])]
    names = [f"POST {INVOKE.replace('/posts/', '/{slug}/')}", "sluice.invoke", "send posts", "process posts", "POST"]
    assert [one.name for one in chain] == names
    assert all(one.started_ns <= one.ended_ns for one in chain)
    assert chain[-1].attributes == {"http.request.method": "POST", "http.response.status_code": 204}
    told = trace_context.parse(request.headers["traceparent"])
    assert told == (TRACE, chain[-1].span_id, True)
    assert not any(b"s3cret" in body or b"/a/path" in body for body in heard.bodies)


async def test_nothing_is_sent_of_what_is_not_sampled_and_a_trace_begins_where_there_was_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with anyio.fail_after(40):
        async with otlp.receiving() as heard, web.serve(web.answer(204)) as site:
            async with sending(tmp_path, heard.endpoint, monkeypatch, 0.0) as server:
                await posting(server, site.url())
                forced = await invoke(server, traceparent=SAID)
                fresh = await invoke(server)
                await waiting.until(lambda: site.requests, lambda requests: len(requests) == 2)
    assert forced["trace_id"] == TRACE and len(fresh["trace_id"]) == 32 and fresh["trace_id"] != TRACE
    assert all(one.headers["traceparent"].endswith("-00") for one in site.requests)
    assert heard.spans == []


async def test_a_receiver_that_is_not_there_fails_no_run_and_is_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
    with anyio.fail_after(40):
        async with web.serve(web.answer(204)) as site, web.serve(web.answer(400)) as refusing:
            async with sending(tmp_path, refusing.url("").rstrip("/"), monkeypatch, 1.0) as server:
                await posting(server, site.url())
                record = await invoke(server)
                assert record["state"] == "succeeded"
                await request_of(site)
                assert server.engine.spans is not None
                await waiting.until(lambda: server.engine.spans.lost)
                told = await server.engine.call("engine_metrics", {}, ADMIN)
    lost = next(one for one in told["families"] if one["name"] == "spans_lost_total")
    assert lost["samples"][0]["value"] > 0


async def test_a_database_from_before_keeps_traces_from_now_on(tmp_path: Path) -> None:
    async with engine_on(tmp_path / "home", workers=0):
        pass
    with sqlite3.connect(tmp_path / "home" / "sluice.db") as older:
        older.execute("ALTER TABLE invocations DROP COLUMN trace_id")
        older.execute("DELETE FROM _sqlite_migrations WHERE name = 'm0034_trace_ids'")
    older.close()
    async with rig.target(tmp_path / "home") as server:
        answer = await server.call(
            "POST", "/api/triggers/smoke_trigger/invoke", {"params": {"env": "a"}}, traceparent=SAID
        )
    assert answer.json()["trace_id"] == TRACE, answer.text
