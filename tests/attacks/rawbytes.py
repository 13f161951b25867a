"""Malformed requests as bytes: HTTP as no client library sends it, and lines as no MCP client writes them.

Every one is made from a seed and a number, so that a failure names the request that caused it.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator

TOKEN = b"\x00TOKEN\x00"  # stands for the bearer token until all damage is done, so that no guess of ours is counted

VALUES: tuple[bytes, ...] = (
    b"NaN", b"-Infinity", b"1e999", b"-1e-999", b"9223372036854775808", b"-9223372036854775809", b"9" * 4_400,
    b"0" * 5_000, b'"\\ud800"', b'"\\udfff\\ud800"', b'"\xff\xfe"', b'"\xed\xa0\x80"', b'"\x00"', b'"\\u0000"',
    b'{"a":1,"a":2}', b"[" * 100_000, b"[" * 65 + b"]" * 65, b'{"a":' * 5_000, b"'x'", b"01", b"[1,]", b"//", b"",
    b"null", b"true", b"[]", b"{}", b'"' + b"k" * 1_000_000 + b'"', b"\xef\xbb\xbf1", b"1" * 300 + b".5", b'"\\x41"',
    b'{"__proto__":{"a":1}}', b'"${env|HOME}"', b'"\r\n\r\n"', b'"\xf0\x9f\x98"', b"1.0", b"-0", b"1E+2", b'""',
)  # fmt: skip
FINE: tuple[bytes, ...] = (
    b"1", b'"x"', b"null", b"[]", b"{}", b'{"a":1}', b'"smoke_trigger"', b'"2.0"', b'"tools/list"', b"-7", b"0.5",
    b'{"type":"object","properties":{"a":{"type":"string"}}}', b'"trigger_get"', b'{"mcp":true}', b"[1]",
    b'"' + b"k" * 99_000 + b'"',
)  # fmt: skip
NOISE: tuple[bytes, ...] = (
    b"\x00", b"\xff", b"\r", b"\n", b"\r\n", b"\r\n\r\n", b"\t", b" ", b":", b"%00", b"%ff", b"%", b"%c0%af", b"..;/",
    b"\xc3\x28", b"\xed\xa0\x80", b"\x1b[2J", b'"', b"{", b"}", b"[", b",", b"\\", b"\\u", b"/", b"//", b"?", b"#",
    b"&", b"=", b";", b"1" * 20, b"A" * 70_000, b"\xe2\x80\xae",
)  # fmt: skip
HEADERS: tuple[bytes, ...] = (
    b"Transfer-Encoding: chunked", b"Transfer-Encoding: gzip, chunked", b"Transfer-Encoding:\x0bchunked",
    b"Content-Length: 0", b"Content-Length: 5", b"Content-Length: -1", b"Content-Length: 1e3",
    b"Content-Length: 99999999999999999999999", b"Content-Length: 10, 10", b"Content-Length: \xb2",
    b"Host: evil.example", b"Host: ", b"Host: 127.0.0.1:99999", b"Host: [::1", b"Origin: null", b"Origin: \xff",
    b"Origin: http://[::1", b"Content-Encoding: gzip", b"Content-Type: application/json; charset=utf-16",
    b"Content-Type: multipart/form-data", b"Content-Type: \xff", b"Expect: 100-continue", b"Expect: nothing",
    b"Upgrade: websocket\r\nConnection: Upgrade", b"Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings",
    b"Connection: close, close", b"Range: bytes=0-", b"If-Match: *", b"X-Sluice-Tenant: ../tenant-b",
    b"X-Sluice-Tenant: \xff", b"X-Sluice-Tenant: *", b"Idempotency-Key: \xff", b"Idempotency-Key: ",
    b"Idempotency-Key: " + b"k" * 300, b"Mcp-Method: tools/call", b"Mcp-Name: \xff", b"MCP-Protocol-Version: junk",
    b"Mcp-Session-Id: \xff", b"Last-Event-Id: -1", b"Accept: \xff", b"Cookie: " + b"a=b;" * 2_000, b": no name",
    b"No colon", b" folded", b"X-\x00: a", b"X: " + b"v" * 60_000, b"Authorization: Basic \xff", b"Authorization:",
    b"Accept-Encoding: gzip;q=nan", b"X-Forwarded-For: 127.0.0.1", b"X-Http-Method-Override: DELETE",
)  # fmt: skip
FIRST_LINES: tuple[bytes, ...] = (
    b"GET / HTTP/9.9", b"GET  /health HTTP/1.1", b"get /health HTTP/1.1", b"GET /health", b"GET /health HTTP/0.9",
    b"PRI * HTTP/2.0", b"CONNECT 127.0.0.1:22 HTTP/1.1", b"OPTIONS * HTTP/1.1", b"TRACE /api/triggers HTTP/1.1",
    b"GET http://evil.example/api/triggers HTTP/1.1", b"GET //evil.example/ HTTP/1.1", b"GET /%00 HTTP/1.1",
    b"GET /api/%2e%2e/health HTTP/1.1", b"GET /api/triggers/\xff HTTP/1.1", b"GET /api/triggers/%ff HTTP/1.1",
    b"GET /api/triggers/%ed%a0%80 HTTP/1.1", b"GET /" + b"a" * 70_000 + b" HTTP/1.1", b"BREW /api/jobs HTTP/1.1",
    b"GET /api/triggers?cursor=%ff%fe&limit=1e9 HTTP/1.1", b"GET /api/triggers?" + b"a=b&" * 5_000 + b" HTTP/1.1",
    b"GET /api/triggers?limit[]=1&limit=2 HTTP/1.1", b"DELETE /mcp HTTP/1.1", b"PUT /mcp HTTP/1.1",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"\x00" * 100, b"HTTP/1.1 200 OK", b"\r\n\r\n\r\nGET / HTTP/1.1",
    b"GET /api/messages/subscribe?kind=%00 HTTP/1.1", b"GET /api/trigger-invocations/%2e%2e HTTP/1.1",
)  # fmt: skip
BODIES: tuple[tuple[bytes, bytes], ...] = (  # path and body; the mark @ is where a value goes
    (b"/api/triggers/smoke_trigger/invoke", b'{"params":{"env":@},"wait_timeout_seconds":0}'),
    (b"/api/triggers/smoke_trigger/invoke", b'{"params":{"env":"x",@:1},"wait_timeout_seconds":@}'),
    (b"/api/triggers/publish", b'{"slug":"t","parameter_schema":@}'),
    (b"/api/triggers/publish", b'{"slug":@,"target_job_name":@,"publication":@}'),
    (b"/api/contexts/update-global", b'{"values":{"a":@}}'),
    (b"/api/jobs", b'{"document":@}'),
    (b"/api/jobs/trace", b'{"document":"name: j\\ninput: {static: {}}\\noutput: {print: {}}\\n","event":@}'),
    (b"/api/messages", b'{"tag":@,"body":@}'),
    (b"/api/operations/trigger_list", b'{"limit":@}'),
    (b"/mcp", b'{"jsonrpc":"2.0","id":@,"method":"tools/list","params":{"cursor":@}}'),
    (b"/mcp", b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":@,"arguments":@,"_meta":@}}'),
    (b"/mcp", b'{"jsonrpc":@,"id":1,"method":@}'),
    (b"/mcp", b'[@,@]'),
    (b"/api/triggers", b"@"),
)  # fmt: skip
READS = (b"/api/triggers", b"/api/trigger-invocations?limit=5", b"/health", b"/metrics", b"/api/openapi.json", b"/mcp")

META = (  # of a request in the newer protocol
    b'{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{},'
    b'"io.modelcontextprotocol/clientInfo":{"name":"t","version":"1"}}'
)

# Lines for MCP on stdio and over HTTP; the mark @ is where a value goes.
MESSAGES: tuple[bytes, ...] = (
    b'{"jsonrpc":"2.0","id":@,"method":"tools/list"}',
    b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"trigger_list","arguments":@}}',
    b'{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":@,"arguments":{"slug":@}}}',
    b'{"jsonrpc":"2.0","id":3,"method":"resources/read","params":{"uri":@}}',
    b'{"jsonrpc":"2.0","id":4,"method":"prompts/get","params":{"name":"triage","arguments":@}}',
    b'{"jsonrpc":"2.0","id":5,"method":"completion/complete","params":{"ref":@,"argument":@}}',
    b'{"jsonrpc":"2.0","id":6,"method":"tasks/get","params":{"taskId":@}}',
    b'{"jsonrpc":"2.0","id":7,"method":"initialize","params":@}',
    b'{"jsonrpc":"2.0","id":8,"method":@,"params":@}',
    b'{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":@}}',
    b'{"jsonrpc":"2.0","method":"notifications/progress","params":@}',
    b'{"jsonrpc":"2.0","id":@,"result":@}',
    b'{"jsonrpc":"2.0","id":9,"error":@}',
    b'{"jsonrpc":@,"id":10,"method":"ping"}',
    b"[@,@]",
    b"@",
)


def http(seed: int, count: int, authority: bytes, token: bytes) -> Iterator[bytes]:
    """Malformed requests (a few are harmless by chance); the client closes its side behind each."""
    for number in range(count):
        chance = random.Random(f"{seed}/{number}")
        made = _request(chance, authority)
        for _ in range(chance.choice((0, 0, 0, 1, 2))):
            made = _damage(chance, made)
        yield made.replace(TOKEN, token)


def mcp(seed: int, count: int, authority: bytes, token: bytes, session: bytes) -> Iterator[tuple[bytes, bool]]:
    """Requests of MCP over HTTP: a third each in the newer protocol, in a session of the older one, and in none.

    The flag tells which are whole as HTTP, so that the server closes behind its answer without an end from the client.
    """
    for number in range(count):
        chance = random.Random(f"{seed}/{number}")
        damages = chance.choice((0, 0, 0, 1, 2))
        strange = chance.choice((0, 0, 0, 0, 1, 2))
        made = _posted(chance, authority, session, strange)
        for _ in range(damages):
            made = _damage(chance, made)
        yield made.replace(TOKEN, token), damages + strange == 0


def lines(seed: int, count: int) -> Iterator[bytes]:
    """Lines (without their end) that are no message, or one that says something odd."""
    for number in range(count):
        chance = random.Random(f"{seed}/{number}")
        line = _fill(chance, chance.choice(MESSAGES))
        for _ in range(chance.choice((0, 0, 1, 2))):
            line = _damage(chance, line)
        yield line.replace(b"\n", b" ")


def _request(chance: random.Random, authority: bytes) -> bytes:
    heads = [b"Host: " + authority, b"Authorization: Bearer " + TOKEN]
    kind = chance.random()
    if kind < 0.6:
        path, template = chance.choice(BODIES)
        body = _fill(chance, template)
        first = chance.choice((b"POST ", b"POST ", b"POST ", b"PATCH ", b"DELETE ")) + path + b" HTTP/1.1"
        heads.append(b"Content-Type: application/json")
        if path == b"/mcp":
            heads.append(b"Accept: application/json, text/event-stream")
            if chance.random() < 0.5:
                heads += [b"MCP-Protocol-Version: 2026-07-28", b"Mcp-Method: tools/list"]
        if chance.random() < 0.2:
            heads.append(b"Transfer-Encoding: chunked")
            body = _chunks(chance, body)
        else:
            wrong = chance.choice((0, 0, 0, 0, 1, -1, 1_000_000))
            heads.append(b"Content-Length: %d" % max(0, len(body) + wrong))
    elif kind < 0.8:
        first, body = chance.choice(FIRST_LINES), b""
    else:
        first, body = b"GET " + chance.choice(READS) + b" HTTP/1.1", b""
    for _ in range(chance.choice((0, 0, 0, 1, 2))):
        heads.insert(chance.randrange(len(heads) + 1), chance.choice(HEADERS))
    end = chance.choice((b"\r\n",) * 10 + (b"\n", b"\r"))
    return end.join([first, *heads, b"", body])


def _posted(chance: random.Random, authority: bytes, session: bytes, strange: int) -> bytes:
    body = _fill(chance, chance.choice(MESSAGES))
    heads = [b"Host: " + authority, b"Authorization: Bearer " + TOKEN, b"Content-Type: application/json"]
    heads.append(b"Accept: application/json, text/event-stream")
    match chance.randrange(3):
        case 0:
            body = body.replace(b'"params":{', b'"params":{"_meta":' + META + b",", 1)
            method = re.search(rb'"method":"([a-z/]+)"', body)
            named = re.search(rb'"name":"([a-z_]+)"', body)
            heads += [b"MCP-Protocol-Version: 2026-07-28", b"Mcp-Method: " + (method[1] if method else b"tools/list")]
            heads += [b"Mcp-Name: " + named[1]] if named else []
        case 1:
            heads += [b"MCP-Protocol-Version: 2025-06-18", b"Mcp-Session-Id: " + session]
    for _ in range(strange):
        heads.insert(chance.randrange(len(heads) + 1), chance.choice(HEADERS))
    if strange and chance.random() < 0.3:
        heads.append(b"Content-Length: %d" % (len(body) + chance.choice((-1, 1, 1_000))))
        first = chance.choice((b"POST ", b"GET ", b"PATCH ")) + b"/mcp HTTP/1.1"
    else:
        heads.append(b"Content-Length: %d" % len(body))
        first = b"POST /mcp HTTP/1.1"
    return b"\r\n".join([first, *heads, b"Connection: close", b"", body])


def _chunks(chance: random.Random, body: bytes) -> bytes:
    size = chance.choice((b"%x" % len(body), b"%X;ext=%s" % (len(body), b"e" * 2_000), b"-1", b"ffffffffffffffffff",
                          b"0x5", b"%x" % (len(body) + 1), b"%x" % max(0, len(body) - 1), b""))  # fmt: skip
    return (
        size + b"\r\n" + body + b"\r\n0\r\n" + chance.choice((b"\r\n", b"", b"X-Trailer: a\r\n\r\n", b"\x00\r\n\r\n"))
    )


def _fill(chance: random.Random, template: bytes) -> bytes:
    parts = template.split(b"@")
    return parts[0] + b"".join(chance.choice(chance.choice((VALUES, FINE))) + part for part in parts[1:])


def _damage(chance: random.Random, text: bytes) -> bytes:
    place = chance.randrange(len(text) + 1)
    kind = chance.randrange(5)
    if kind == 0:
        return text[:place]
    if kind == 1:
        return text[:place] + chance.choice(NOISE) + text[place:]
    if kind == 2 and text:
        place = min(place, len(text) - 1)
        return text[:place] + bytes([text[place] ^ (1 << chance.randrange(8))]) + text[place + 1 :]
    if kind == 3:
        return text[:place] + chance.randbytes(chance.randrange(1, 40)) + text[place:]
    return text[:place] + text[place : place + 200] * 2 + text[place + 200 :]
