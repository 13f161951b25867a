from __future__ import annotations

import asyncio
import base64
import gzip
from collections.abc import Callable
from email.utils import formatdate
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import anyio
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from core import clock
from core.dsl.component import Limits
from core.dsl.connections import http
from core.dsl.inputs.pagination import next_link
from core.errors import JobFailed
from core.guard import egress
from tests import cases, certificates
from tests.dsl import rig, web
from tests.dsl.rig import Worker
from tests.dsl.stub import Stub

pytestmark = pytest.mark.anyio


@pytest.fixture
def net(worker: Worker) -> Worker:
    worker.limits = Limits(egress_allow=("127.0.0.0/8",))
    worker.variables.update(KEY="k3y", SECRET="s&cret")
    return worker


def said(**value: Any) -> bytes:
    return web.answer(200, orjson.dumps(value), content_type="application/json")


def answering(answer: Callable[[dict[str, str]], bytes]) -> web.Handler:
    """A site that answers by the parameters of the address."""

    async def handle(request: web.Request, writer: asyncio.StreamWriter) -> None:
        query = parse_qs(urlsplit(request.line.split()[1]).query)
        writer.write(answer({key: values[0] for key, values in query.items()}))

    return handle


# ---- authentication


async def test_an_api_key_goes_into_a_header_or_a_parameter(net: Worker) -> None:
    async with web.serve(web.answer()) as site:
        for key in (
            "${dyn|KEY}",
            {"key": "${dyn|KEY}", "name": "Authorization", "prefix": "Token "},
            {"key": "${dyn|KEY}", "name": "k", "in": "query"},
        ):
            await net.read({"http-poll": {"url": site.url("/?a=1"), "auth": {"api-key": key}}})
    first, second, third = site.requests
    assert first.headers["x-api-key"] == "k3y"
    assert second.headers["authorization"] == "Token k3y"
    assert third.line.split()[1] == "/?a=1&k=k3y"


async def test_a_secret_that_is_empty_is_told_before_anything_is_sent(net: Worker) -> None:
    async with web.serve(web.answer()) as site:
        with pytest.raises(JobFailed, match="the secret is empty"):
            await net.read({"http-poll": {"url": site.url(), "auth": {"bearer": "${dyn|NONE}"}}})
        assert site.connections == 0


async def test_a_token_is_fetched_once_kept_and_fetched_again_when_it_is_refused(net: Worker) -> None:
    tokens = [said(access_token="one", expires_in=3600), said(access_token="two", expires_in=3600)]
    async with web.serve(*tokens) as issuer, web.serve(web.answer(200), web.answer(401), web.answer(200)) as site:
        oauth2 = {
            "token-url": issuer.url("/token"),
            "client-id": "me",
            "client-secret": "${dyn|SECRET}",
            "scopes": ["read", "list"],
            "parameters": {"audience": "x"},
        }
        await net.write('{"n":1}\n{"n":2}', {"http-post": {"url": site.url(), "auth": {"oauth2": oauth2}}})
    assert [r.headers["authorization"] for r in site.requests] == ["Bearer one", "Bearer one", "Bearer two"]
    assert len(issuer.requests) == 2
    form = parse_qs(issuer.requests[0].body.decode())
    assert form == {"grant_type": ["client_credentials"], "scope": ["read list"], "audience": ["x"]}
    assert issuer.requests[0].headers["authorization"] == "Basic " + base64.b64encode(b"me:s%26cret").decode()


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (web.answer(400, b'{"error": "invalid_client"}'), "answered 400: invalid_client"),
        (web.answer(200, b"<html>"), "no access_token"),
        (web.answer(200, b'{"access_token": 5}'), "no access_token"),
        (web.answer(503), "the token endpoint answered 503"),
    ],
)
async def test_a_token_endpoint_that_gives_no_token_fails_the_job_without_telling_the_secret(
    net: Worker, answer: bytes, told: str
) -> None:
    async with web.serve(answer) as issuer, web.serve(web.answer()) as site:
        oauth2 = {"token-url": issuer.url(), "client-id": "me", "client-secret": "hush", "credentials-in": "body"}
        with pytest.raises(JobFailed, match=told) as failed:
            await net.read({"http-poll": {"url": site.url(), "auth": {"oauth2": oauth2}}})
        assert "hush" not in failed.value.message
        assert parse_qs(issuer.requests[0].body.decode())["client_secret"] == ["hush"]
        assert site.connections == 0


async def test_no_value_of_a_header_is_ever_told(net: Worker) -> None:
    net.variables["BAD"] = "hush\x01hush"
    for options in ({"headers": {"x": "${dyn|BAD}"}}, {"auth": {"bearer": "${dyn|BAD}"}}):
        async with web.serve(web.answer(401, b"no")) as site:
            with pytest.raises(JobFailed) as failed:
                await net.read({"http-poll": {"url": site.url(), "retry": {"retries": 1}, **options}})
            assert site.connections == 0
        assert "hush" not in str(failed.value) + str(net.log_lines) + str(net.reports)


@cases.table("auth", [{}, {"bearer": "a", "api-key": "b"}, {"basic": "x"}, {"hmac": {}}])
def test_auth_is_exactly_one_known_way(auth: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        rig.declare("input", {"http-poll": {"url": "http://x/", "auth": auth}})


# ---- pages


async def test_a_cursor_is_given_back_until_there_is_none(net: Worker) -> None:
    pages = {"": said(items=[1, 2], meta={"next": "b"}), "b": said(items=[3], meta={"next": None})}
    async with web.serve(answering(lambda query: pages[query.get("after", "")])) as site:
        events = await net.read(
            {
                "http-poll": {
                    "url": site.url("/?k=v"),
                    "events-field": "items",
                    "pagination": {"cursor": {"field": "meta.next", "parameter": "after"}},
                }
            }
        )
    assert [event["_raw"] for event in events] == [1, 2, 3]
    assert [request.line.split()[1] for request in site.requests] == ["/?k=v", "/?k=v&after=b"]


async def test_pages_are_counted_until_one_is_empty(net: Worker) -> None:
    def page(query: dict[str, str]) -> bytes:
        number = int(query["p"])
        return web.answer(200, orjson.dumps([{"n": number}] if number < 3 else []), content_type="application/json")

    async with web.serve(answering(page)) as site:
        source = {"http-poll": {"url": site.url(), "pagination": {"page": {"parameter": "p", "start": 0}}}}
        assert await net.read(source) == [{"n": 0}, {"n": 1}, {"n": 2}]
    assert len(site.requests) == 4


async def test_offsets_go_on_until_a_page_is_short(net: Worker) -> None:
    def page(query: dict[str, str]) -> bytes:
        at, size = int(query["offset"]), int(query["limit"])
        return said(rows=[{"n": n} for n in range(25)][at : at + size])

    async with web.serve(answering(page)) as site:
        options = {"events-field": "rows", "pagination": {"offset": {"limit": 10}}}
        events = await net.read({"http-poll": {"url": site.url(), **options}})
    assert [event["n"] for event in events] == list(range(25))
    assert len(site.requests) == 3


async def test_the_next_address_comes_from_a_header_or_a_field(net: Worker) -> None:
    linked = [
        web.answer(200, b"a\n", link='</?page=2>; rel="next", </?page=9>; rel="last"'),
        web.answer(200, b"b\n", link='</?page=1>; rel="prev"'),
    ]
    async with web.serve(*linked) as site:
        source = {"http-poll": {"url": site.url(), "pagination": {"next-url": {"link-header": True}}}}
        assert await net.read(source) == [{"_raw": "a"}, {"_raw": "b"}]
        assert site.requests[1].line.split()[1] == "/?page=2"
    async with web.serve(said(v=[1], next="/more"), said(v=[2], next="")) as site:
        options = {"events-field": "v", "pagination": {"next": {"field": "next"}}}
        assert [e["_raw"] for e in await net.read({"http-poll": {"url": site.url(), **options}})] == [1, 2]


@pytest.mark.parametrize(
    ("target", "told"),
    [
        ("http://127.0.0.2:1/x", "another host"),
        ("//evil.example/x", "another host"),
        ("https://127.0.0.1/x", "another host"),
        ("/", "in a circle"),
        (["/x"], "no text or number"),
    ],
)
async def test_a_next_address_that_must_not_be_followed_fails_the_job(net: Worker, target: Any, told: str) -> None:
    async with web.serve(said(v=[1], next=target)) as site:
        options = {"events-field": "v", "pagination": {"next-url": {"field": "next"}}, "auth": {"bearer": "t"}}
        with pytest.raises(JobFailed, match=told):
            await net.read({"http-poll": {"url": site.url(), **options}})
        assert len(site.requests) == 1


async def test_pages_end_at_the_maximum_and_the_log_tells(net: Worker) -> None:
    async with web.serve(web.answer(200, b"x")) as site:
        await net.read({"http-poll": {"url": site.url(), "pagination": {"page": {}, "max-pages": 3}}})
    assert len(site.requests) == 3
    assert any("more pages than max-pages" in text for text in net.warnings)


@cases.table(
    "pagination",
    [{}, {"page": {}, "cursor": {"field": "a"}}, {"next-url": {}}, {"cursor": {}}, {"offset": {"limit": 0}}],
)
def test_pagination_is_exactly_one_way(pagination: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        rig.declare("input", {"http-poll": {"url": "http://x/", "pagination": pagination}})


@cases.table(
    ("header", "target"),
    [
        ('<https://x/a,b;c>; rel="next"', "https://x/a,b;c"),
        ("<a>; rel=prev, <b>; rel=next", "b"),
        ('<a>; title="x, <b>; rel=next"; rel="last"', ""),
        ('<a>; rel="prev next"', "a"),
        ('<a>; rel="nextish"', ""),
        ("<a>; rel=nextish", ""),
        ("", ""),
    ],
)
def test_the_next_link_of_a_header(header: str, target: str) -> None:
    assert next_link(header) == target


@given(st.text(max_size=300))
def test_any_link_header_is_read_without_a_fault(header: str) -> None:
    assert isinstance(next_link(header), str)


# ---- the answer


async def test_status_headers_and_body_go_where_the_document_says(net: Worker) -> None:
    async with web.serve(web.answer(404, b'{"why": "gone"}', content_type="application/json", x_a="1")) as site:
        response = {"status-field": "s", "headers-field": "h", "body-field": "data.body"}
        (event,) = await net.read({"http-poll": {"url": site.url(), "response": response}})
        assert event["data"] == {"body": {"why": "gone"}}
        assert (event["s"], event["h"]["x-a"]) == (404, "1")
        (event,) = await net.read(
            {
                "http-poll": {
                    "url": site.url(),
                    "response": {"body-field": "b", "status-field": "s"},
                    "payload-mode": "raw",
                }
            }
        )
        assert event == {"b": '{"why": "gone"}', "s": 404}


async def test_a_gzip_answer_is_unpacked_and_a_broken_one_is_told(net: Worker) -> None:
    packed = gzip.compress(b"hello\n")
    cases = [
        (web.answer(200, packed, content_encoding="gzip"), None),
        (web.answer(200, packed[:-3], content_encoding="gzip"), "is cut off"),
        (web.answer(200, b"hello", content_encoding="gzip"), "not valid gzip"),
        (web.answer(200, gzip.compress(b"0" * 40_000_000), content_encoding="gzip"), "when it is unpacked"),
        (web.answer(200, b"hello", content_encoding="br"), "compressed"),
    ]
    for raw, told in cases:
        async with web.serve(raw) as site:
            if told is None:
                assert await net.read({"http-poll": {"url": site.url()}}) == [{"_raw": "hello"}]
            else:
                with pytest.raises(JobFailed, match=told):
                    await net.read({"http-poll": {"url": site.url()}})


async def test_an_answer_that_breaks_off_is_tried_again(net: Worker) -> None:
    async with web.serve(web.answer(200, b"whole")[:-2], web.answer(200, b"whole")) as site:
        with anyio.fail_after(5):
            events = await net.read({"http-poll": {"url": site.url(), "retry": {"retries": 1}}})
    assert events == [{"_raw": "whole"}]


async def test_bytes_that_are_not_utf8_and_text_that_is_not_json_stay_and_are_counted(net: Worker) -> None:
    async with web.serve(web.answer(200, b"a\xff\n")) as site:
        assert await net.read({"http-poll": {"url": site.url()}}) == [{"_raw": "a�"}]
        assert await net.read({"http-poll": {"url": site.url(), "json": True}}) == [{"_raw": "a�"}]
    assert [report.errors for report in net.reports] == [1, 1]


async def test_a_group_marks_the_events_of_one_firing(net: Worker) -> None:
    async with web.serve(web.answer(200, b"a\nb\n")) as site:
        batch = {"line-num-field": "n", "end-marker-field": "last"}
        events = await net.read({"http-poll": {"url": site.url(), "batch": batch}})
    assert events == [{"_raw": "a", "n": 1}, {"_raw": "b", "n": 2, "last": True}]


async def test_tls_is_checked_unless_told_otherwise(net: Worker, tmp_path: Path) -> None:
    made = certificates.self_signed(tmp_path)

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(web.answer(200, b"private"))
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0, ssl=made.serving)
    url = f"https://localhost:{server.sockets[0].getsockname()[1]}/"
    try:
        with pytest.raises(JobFailed, match="certificate"):
            await net.read({"http-poll": {"url": url}})
        assert await net.read({"http-poll": {"url": url, "insecure": True}}) == [{"_raw": "private"}]
    finally:
        server.close()


# ---- addresses and pauses


@cases.table(
    ("text", "event", "url"),
    [
        ("http://x/a/${v}", {"v": "b c/d?e#f&g"}, "http://x/a/b%20c/d%3Fe%23f%26g"),
        ("http://x/?q=${v}", {"v": "a/b&c=d e"}, "http://x/?q=a%2Fb%26c%3Dd%20e"),
        ("http://${v}/p", {"v": "h:80"}, "http://h:80/p"),
        ("http://${v}/p", {"v": "h/evil"}, "http://h%2Fevil/p"),
        ("${v}/p", {"v": "http://h/a?b"}, "http://h/a?b/p"),
        ("http://x/@{job}/${n}", {"n": 5}, "http://x/handler/5"),
    ],
)
def test_a_value_in_an_address_cannot_change_what_is_meant(text: str, event: dict[str, Any], url: str) -> None:
    assert http.url_template(text, Stub())(event, rig.Run()) == url


@cases.table(
    ("value", "seconds"),
    [
        ("7", 7),
        ("-5", 0),
        ("99999999999", 3600),
        ("soon", 0),
        ("", 0),
        ("1e9", 0),
        ("Thu, 01 Jan 1970 00:00:01 GMT", 0),
    ],
)
def test_retry_after_is_bounded(value: str, seconds: float) -> None:
    assert egress.retry_after(value) == seconds


def test_retry_after_may_be_a_date() -> None:
    then = clock.now_ns() / 1e9 + 100
    assert 90 < egress.retry_after(formatdate(then, usegmt=True)) <= 100


async def test_a_path_with_a_secret_in_it_is_not_told(net: Worker) -> None:
    env = Stub()
    env.secret = lambda source, name: "hush"  # type: ignore[attr-defined]
    config = rig.declare("input", {"http-poll": {"url": "http://x.example/a/${secret|hook/path}?b"}})
    client = http.Client(config, env, "http-poll")
    assert client.without_secrets(client.url({}, rig.Run())) == "http://x.example"
    await client.aclose()
