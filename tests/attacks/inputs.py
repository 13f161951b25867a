"""Rows J, T and Y: JSON Schemas, JSON, the framing of requests, templates and YAML."""

from __future__ import annotations

import gzip
import re
import time
from typing import Any

import orjson

from core import accepting, documents
from core.documents import canonical
from core.dsl.component import Run
from core.dsl.language import templates
from core.errors import InvalidDocument, InvalidParams
from core.triggers import schemas
from mcp_server.http import connection
from tests.attacks.access import CALL, INVOKE
from tests.attacks.rig import TRIGGER, Target
from tests.attacks.rows import Scene, row
from tests.dsl import web
from tests.dsl.stub import Stub

OBJECT = {"type": "object"}


async def publish(scene: Scene, schema: Any, slug: str = "schema") -> int:
    """The status of publishing a trigger with a parameter schema; within a second."""
    started = time.perf_counter()
    wanted = {**TRIGGER, "slug": slug, "parameter_schema": schema, "default_params": {}}
    status: int = (await scene.server.call("POST", "/api/triggers/publish", wanted)).status_code
    assert time.perf_counter() - started < 2, "publishing took too long"
    return status


def within(seconds: float, schema: dict[str, Any], value: Any) -> bool | None:
    """Whether a value fits; None when the schema is refused. Both in time."""
    started = time.process_time()
    if schemas.problems(schema, "/s"):
        fits = None
    else:
        fits = schemas.compile_schema(schema).is_valid(value)
    assert time.process_time() - started < seconds, f"{time.process_time() - started} s"
    return fits


@row("J01")
async def references_to_elsewhere(scene: Scene) -> None:
    """A schema with a reference that leads out of it: 422, and nobody is asked."""
    async with web.serve(web.answer(200, b"{}")) as sink:
        for key, value in (
            ("$ref", sink.url("/x.json")), ("$ref", "file:///etc/passwd"), ("$ref", "//evil.example/x"),
            ("$ref", "other.json#/a"), ("$dynamicRef", sink.url("/d")), ("$dynamicRef", "#a"),
            ("$id", sink.url("/id")), ("$schema", sink.url("/meta")),
        ):  # fmt: skip
            before = scene.server.digest()
            assert await publish(scene, {**OBJECT, key: value}) == 422, (key, value)
            assert await publish(scene, {**OBJECT, "properties": {"a": {key: value}}}) == 422, (key, value)
            assert scene.server.digest() == before
        assert sink.connections == 0


@row("J02")
async def schemas_without_end(scene: Scene) -> None:
    """References to themselves, very deep schemas, 2^20 combinations: refused or done within a second."""
    deep: dict[str, Any] = dict(OBJECT)
    for _ in range(10_000):
        deep = {"type": "object", "allOf": [deep]}
    raw = b'{"slug":"s","parameter_schema":' + b'{"allOf":[' * 10_000 + b"{}" + b"]}" * 10_000 + b"}"
    assert (await scene.server.call("POST", "/api/triggers/publish", raw)).status_code == 400
    assert schemas.problems(deep, "/s")
    assert await publish(scene, {**OBJECT, "allOf": [{"$ref": "#"}]}) == 422
    pair = {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}
    assert await publish(scene, {**OBJECT, "properties": {"x": {"$ref": "#/$defs/a"}}, "$defs": pair}) == 422
    twice = {f"a{n}": {"anyOf": [{"$ref": f"#/$defs/a{n + 1}"}] * 2} for n in range(20)} | {"a20": {"type": "string"}}
    assert await publish(scene, {**OBJECT, "properties": {"x": {"$ref": "#/$defs/a0"}}, "$defs": twice}) == 422
    back = {"n": {"anyOf": [{"properties": {"x": {"$ref": "#/$defs/n"}}}] * 2}}
    assert await publish(scene, {**OBJECT, "properties": {"x": {"$ref": "#/$defs/n"}}, "$defs": back}) == 422
    wide = {**OBJECT, "anyOf": [{"allOf": [{"required": [f"k{n}"]}, {"minProperties": 2}]} for n in range(300)]}
    assert within(1.0, wide, {"a": 1}) is False


@row("J03")
async def patterns_that_backtrack(scene: Scene) -> None:
    """Patterns that cost others exponential time are linear here, or refused."""
    bad = "a" * 50_000 + "!"
    for pattern in ("^(a+)+$", "(a|aa)*$", "^(a|a)*$", "^(.*a){20}$", "(x+x+)+y"):
        within(0.5, {**OBJECT, "properties": {"v": {"type": "string", "pattern": pattern}}}, {"v": bad})
        within(0.5, {**OBJECT, "patternProperties": {pattern: {"type": "null"}}}, {bad: 1})
    for pattern in ("(?<=a)b", "(?=a)b", r"(a)\1", "(?<!x)y"):
        assert await publish(scene, {**OBJECT, "properties": {"v": {"pattern": pattern}}}) == 422, pattern
    assert within(1.0, {**OBJECT, "properties": {"v": {"pattern": "(a{1,1000}){1,1000}"}}}, {"v": bad}) is not True


@row("J04")
async def keywords_that_cost(scene: Scene) -> None:
    """Uniqueness of many objects, tiny divisors, huge lengths, a regex as a format: within a second."""
    assert await publish(scene, {**OBJECT, "properties": {"v": {"uniqueItems": True}}}) == 422
    many = [{"a": n, "b": [n]} for n in range(50_000)]
    assert within(1.0, {**OBJECT, "properties": {"v": {"uniqueItems": True, "maxItems": 1000}}}, {"v": many}) is False
    for node, value in (
        ({"multipleOf": 1e-300}, 1.5), ({"multipleOf": 5e-324}, 1e308), ({"maxLength": 10**18}, "x" * 900_000),
        ({"format": "regex"}, "(" * 100_000), ({"minContains": 10**15, "contains": {}}, [1] * 1000),
        ({"enum": list(range(5_000))}, 5_001),
    ):  # fmt: skip
        within(1.0, {**OBJECT, "properties": {"v": node}}, {"v": value})


@row("J05")
async def json_that_is_none(scene: Scene) -> None:
    """Depth, digits, 2^63, NaN, 1e999, doubled keys, lone surrogates, byte order marks, UTF-16: 400, never 500."""
    server, before = scene.server, scene.server.digest()
    values = [b"[" * 100_000, b"[" * 70 + b"]" * 70, b"9" * 5_000, b"9223372036854775808", b"-9223372036854775809",
              b"18446744073709551615", b"NaN", b"Infinity", b"-Infinity", b"1e999", b'"\\ud800"', b'"\\udfff x"',
              b'{"a":1,"a":2}', b'"\xff\xfe"', b"'a'", b"01", b"+1", b"1.", b"[1,]", b"//x", b'"\x01"']  # fmt: skip
    bodies = [b'{"params":{"env":%s}}' % value for value in values]
    whole = orjson.dumps(CALL)
    bodies += [b"\xef\xbb\xbf" + whole, whole.decode().encode("utf-16"), whole + b"x", whole + whole, b"\0", b"{"]
    for path in (INVOKE, "/api/contexts/update-global", "/api/jobs/trace"):
        for body in bodies:
            answer = await server.call("POST", path, body)
            assert answer.status_code == 400, (path, body[:60], answer.status_code, answer.text[:200])
            assert answer.headers["content-type"] == "application/problem+json"
    for body in (b'{"params":{"env":"x"},"params":{"env":"y"}}',):
        assert (await server.call("POST", INVOKE, body)).status_code == 400
    for body in (b" " * (1024 * 1024 + 1), b'{"params":{"env":"' + b"x" * 1024 * 1024 + b'"}}'):
        assert (await server.call("POST", INVOKE, body)).status_code == 413
    assert (await server.call("GET", "/api/trigger-invocations?cursor=9999999999999999999")).status_code < 500
    assert (await server.call("GET", "/api/trigger-invocations?limit=99999999999999999999")).status_code == 422
    assert canonical.parse_json(b'{"v":9223372036854775807}') == {"v": 2**63 - 1}
    assert server.digest() == before


def head(server: Target, *lines: str) -> bytes:
    first = [f"POST {INVOKE} HTTP/1.1", f"Host: 127.0.0.1:{server.port}",
             f"Authorization: Bearer {server.tokens['admin']}", "Content-Type: application/json"]  # fmt: skip
    return "\r\n".join([*first, *lines, "", ""]).encode()


@row("J06")
async def requests_that_lie_about_their_length(scene: Scene) -> None:
    """Wrong lengths, two framings, huge chunk extensions, very many headers, compressed bodies: refused or in time."""
    server, before = scene.server, scene.server.digest()
    body = orjson.dumps(CALL)
    chunk = b"%x;%s\r\n%s\r\n0\r\n\r\n" % (len(body), b"x" * 1024 * 1024, body)
    many = [f"X-H{n}: {'v' * 50}" for n in range(20_000)]
    packed = gzip.compress(b" " * 50_000_000)
    attacks = {
        "length below": head(server, f"Content-Length: {len(body) - 5}") + body,
        "two lengths": head(server, "Content-Length: 5", f"Content-Length: {len(body)}") + body,
        "negative": head(server, "Content-Length: -1") + body,
        "not a number": head(server, "Content-Length: 0x10") + body,
        "too large": head(server, "Content-Length: 99999999999999999999") + body,
        "both": head(server, f"Content-Length: {len(body)}", "Transfer-Encoding: chunked") + body,
        "extension": head(server, "Transfer-Encoding: chunked") + chunk,
        "many headers": head(server, *many, f"Content-Length: {len(body)}") + body,
        "gzip": head(server, "Content-Encoding: gzip", f"Content-Length: {len(packed)}") + packed,
        "gzip in chunks": head(server, "Content-Encoding: gzip", "Transfer-Encoding: chunked")
        + b"%x\r\n%s\r\n0\r\n\r\n" % (len(packed), packed),
        "folded": head(server, "X-A: b\r\n c", f"Content-Length: {len(body) - 5}") + body,
        "name": head(server, "X A: b", f"Content-Length: {len(body) - 5}") + body,
    }
    for name, raw in attacks.items():
        answer = await server.raw(raw)
        assert answer == b"" or re.match(rb"HTTP/1.1 (400|413|415|431) ", answer), (name, answer[:200])
    # A client that asks first is told to go on, and then answered like any other.
    asked = await server.raw(head(server, "Expect: 100-continue", f"Content-Length: {len(body) - 5}") + body)
    assert asked.startswith((b"HTTP/1.1 100 ", b"HTTP/1.1 400 "))
    # What is never sent whole ends in time, in the head, in the body, or before the first byte.
    scene.patch.setattr(connection, "REQUEST_SECONDS", 0.2)
    scene.patch.setattr(accepting, "PATIENCE_SECONDS", 0.2)
    server.visitors.sweep()
    for part in (head(server, f"Content-Length: {len(body) + 5}") + body, head(server)[:-2], b"POST /", b""):
        assert (await server.raw(part)).startswith(b"HTTP/1.1 408 "), part
    assert server.digest() == before


@row("T01")
async def code_in_a_parameter(scene: Scene) -> None:
    """What looks like code of some template language in a value comes out as the text that it is."""
    for text in ("${env.HOME}", "${secrets.K}", "${secret|K}", "${a.__class__}", "{0.__globals__}", "{{7*7}}", "%(x)s",
                 "<%= 7*7 %>", "@{job}", "#{msg|x}", "$${a}", "{{env}}", "${time|now}", "\\${x}", "$(id)"):  # fmt: skip
        run = Run(msg={"job_event": {"params": {"env": text}}})
        assert templates.template("<${msg|job_event.params.env}>", Stub())({}, run) == f"<{text}>"
        assert templates.template("${a}", Stub())({"a": text}, Run()) == text
        assert templates.stage({"v": "{{p}}"}, {"p": text})["v"] == text
    for text in ("${a.__class__}", "${a.__class__.__mro__}", "${a.real}", "${a.0}"):
        assert templates.template(f"<{text}>", Stub())({"a": 1}, Run()) == "<>"


@row("T02")
async def a_value_that_names_another(scene: Scene) -> None:
    """A value is never expanded again, neither in the same pass nor when it comes back as an event."""
    event = {"a": "${b}", "b": "secret"}
    once = templates.template("${a}", Stub())(event, Run())
    assert once == "${b}"
    assert templates.template("${reply}", Stub())({"reply": once, "b": "secret"}, Run()) == "${b}"
    assert templates.structure({"x": "${a}", "y": ["${a}"]}, Stub())(event, Run()) == {"x": "${b}", "y": ["${b}"]}


@row("T03")
async def templates_that_grow(scene: Scene) -> None:
    """A thousand times a large value, nested and unclosed placeholders: refused quickly."""
    started = time.process_time()
    fill = templates.template("${big}" * 1000, Stub())
    try:
        fill({"big": "x" * 65536}, Run())
        raise AssertionError("64 MiB of text")
    except templates.TextTooLong:
        assert time.process_time() - started < 0.5
    for text in ("${${x}}", "${" * 300_000, "${a" * 1_000, "{{" * 300_000, "${a|" * 100_000):
        started = time.process_time()
        try:
            assert len(templates.template(text, Stub())({"x": "y"}, Run())) <= len(text)
        except (InvalidDocument, ValueError):
            pass  # told when the document is written, which is better still
        assert time.process_time() - started < 1.0, text[:20]


@row("T04")
async def keys_with_a_meaning_elsewhere(scene: Scene) -> None:
    """Keys that mean something to other languages are keys."""
    for key in ("__proto__", "constructor", "__class__", "toString"):
        assert templates.template(f"${{{key}}}", Stub())({key: "v"}, Run()) == "v"
        assert templates.template(f"<${{{key}}}>", Stub())({}, Run()) == "<>"
    assert templates.template("${/a.b}", Stub())({"a.b": "dotted", "a": {"b": "nested"}}, Run()) == "dotted"
    assert templates.template("${a}}", Stub())({"a": "v", "a}": "w"}, Run()) == "v}"
    answer = await scene.server.call("POST", INVOKE, {"params": {"env": "x", "__proto__": {"a": 1}}, **_NOW})
    assert answer.json()["params"]["__proto__"] == {"a": 1}


_NOW = {"wait_timeout_seconds": 0}


def refused(text: str, seconds: float = 0.2) -> None:
    started = time.process_time()
    try:
        documents.load(text)
    except InvalidDocument:
        assert time.process_time() - started < seconds, text[:40]
        return
    raise AssertionError(f"{text[:60]!r} was accepted")


@row("Y01")
async def an_alias_bomb(scene: Scene) -> None:
    """A few aliases that would be megabytes: refused at once, by the loader and by the API."""
    bomb = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
        f"{chr(98 + n)}: &{chr(98 + n)} [{','.join(['*' + chr(97 + n)] * 9)}]\n" for n in range(8)
    )
    refused(bomb)
    for path in ("/api/jobs", "/api/workflows", "/api/jobs/trace"):
        answer = await scene.server.call("POST", path, {"document": bomb})
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid_document"), path


@row("Y02")
async def yaml_that_does_things(scene: Scene) -> None:
    """Tags, merge keys, great depth, doubled keys: refused with their place."""
    for text in ("a: !!python/object/apply:os.system [id]\n", "a: !custom 1\n", "!!map {a: 1}\n", "<<: {a: 1}\n",
                 "a: 1\na: 2\n", "a: &x 1\nb: *x\n", "%TAG ! tag:x,2000:\n---\na: !y 1\n"):  # fmt: skip
        refused(text)
        assert (await scene.server.call("POST", "/api/jobs", {"document": text})).status_code == 422
    refused("a: " + "[" * 3_000 + "]" * 3_000, 2.0)
    refused("\n".join("  " * n + "a:" for n in range(1_000)), 2.0)


@row("Y03")
async def values_that_yaml_reads_otherwise(scene: Scene) -> None:
    """no, 012, 1:30 and dates are what the core schema of YAML 1.2 makes of them, and never anything else."""
    text = "a: no\nb: 012\nc: 1:30\nd: 2026-05-25\ne: off\nf: 0o14\ng: 1_000\nh: 'no'\ni: y\nj: 2026-05-25T10:00:00Z\n"
    assert documents.load(text)[0].data == {
        "a": "no", "b": 12, "c": "1:30", "d": "2026-05-25", "e": "off", "f": 12, "g": "1_000", "h": "no", "i": "y",
        "j": "2026-05-25T10:00:00Z",
    }  # fmt: skip
    try:
        canonical.parse_json(b"{a: no}")
        raise AssertionError("YAML was taken for JSON")
    except InvalidParams:
        pass
