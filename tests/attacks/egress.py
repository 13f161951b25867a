"""Rows S01-S17: where Sluice connects to, and what it takes from there."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import socket
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

import psutil

from core.errors import Forbidden, JobFailed
from core.guard import addresses, dialing
from core.guard.dialing import Unreachable
from core.guard.egress import Egress
from core.model.trigger import PROXY_HEADERS
from core.triggers import posting
from core.triggers.posting import Answer
from tests import waiting
from tests.attacks.access import CALL, INVOKE
from tests.attacks.rows import Scene, elsewhere, row
from tests.dsl import web

LOOPBACK = ("127.0.0.0/8",)
SPELLINGS = """127.0.0.1 localhost [::1] 0.0.0.0 0 127.1 2130706433 0x7f000001 0177.0.0.1 0x7f.1 LOCALHOST
    [::ffff:127.0.0.1] [::ffff:7f00:1] [::]""".split()
UNICODE = ["①②⑦.⓪.⓪.①", "ⓛocalhost", "localhost.", "127.0.0.1.", "ｌｏｃａｌｈｏｓｔ", "127。0。0。1", "xn--localhost-"]
METADATA = """169.254.169.254 [fd00:ec2::254] 168.63.129.16 100.100.100.200 metadata.google.internal
    169.254.169.253 169.254.170.2""".split()
BLOCKS = """10.0.0.1 10.255.255.255 172.16.0.1 172.31.255.255 192.168.0.1 100.64.0.1 100.127.255.255 192.0.0.1
    198.18.0.1 198.19.255.255 224.0.0.1 239.255.255.255 240.0.0.1 255.255.255.255""".split()
EMBEDDED = """[::ffff:169.254.169.254] [::ffff:a9fe:a9fe] [64:ff9b::a9fe:a9fe] [64:ff9b:1::1] [2002:7f00:1::]
    [2001:0:7f00:1::] [fec0::1] [fe80::1%25eth0] [fe80::1] [::127.0.0.1] [fc00::1] [ff02::1]""".split()
TWO_WAYS = [
    "http://a.com\\@127.0.0.1/", "http://a.com@127.0.0.1/", "http://a.com#@127.0.0.1/", "http://127.0.0.1\t/",
    "http://127.0.0.1\n/", "http://\t127.0.0.1/", "http:/127.0.0.1/", "http:127.0.0.1/", "http://[127.0.0.1]/",
    "http://a.com:0/", "http://a.com:99999/", "http://a.com:0x50/", "http://a.com:/@127.0.0.1",
]  # fmt: skip


async def refused_at_call(scene: Scene, url: str) -> None:
    answer = await scene.server.call("POST", INVOKE, {**CALL, "callback": {"url": url}})
    assert answer.status_code == 422 and "callback" in answer.text, (url, answer.status_code, answer.text)


async def refused_at_dial(url: str) -> None:
    client = Egress()
    try:
        async with asyncio.timeout(8):
            await client.request("GET", url, deadline_seconds=6)
    except (Forbidden, Unreachable, JobFailed):
        return
    finally:
        await client.aclose()
    raise AssertionError(f"{url} was reached")


async def no_connection(scene: Scene, hosts: list[str], *, at_call: bool = True) -> None:
    """None of the hosts is taken in a call, and none is dialled; a listener on loopback sees nobody."""
    before = scene.server.digest()
    async with web.serve(web.answer()) as sink:
        for host in hosts:
            url = sink.url(host=host)
            if at_call:
                await refused_at_call(scene, url)
            await refused_at_dial(url)
        assert sink.connections == 0
    assert scene.server.digest() == before


@contextlib.contextmanager
def names(scene: Scene, **answers: list[list[str]]) -> Any:
    """Answers of the resolver that the test writes; the last one is given again and again."""
    real = dialing.lookup

    async def lookup(host: Any, port: Any) -> Any:
        name = (host.decode() if isinstance(host, bytes) else str(host)).replace(".", "_")
        if name not in answers:
            return await real(host, port)
        left = answers[name]
        found = left.pop(0) if len(left) > 1 else left[0]
        if found == ["stall"]:
            await waiting.pause(30)  # a resolver that hangs
        return [(socket.AF_INET6 if ":" in a else socket.AF_INET, socket.SOCK_STREAM, 6, "", (a, port)) for a in found]

    with scene.patch.context() as patch:
        patch.setattr(dialing, "lookup", lookup)
        yield


@contextlib.asynccontextmanager
async def client(*allow: str) -> AsyncIterator[Egress]:
    made = Egress(allow)
    try:
        yield made
    finally:
        await made.aclose()


@row("S01")
async def spellings_of_loopback(scene: Scene) -> None:
    """Every spelling of the own machine: 422 in the call, and not dialled."""
    await no_connection(scene, SPELLINGS)


@row("S02")
async def letters_that_become_loopback(scene: Scene) -> None:
    """Letters that a resolver folds to loopback, trailing dots, IDNA."""
    await no_connection(scene, UNICODE)


@row("S03")
async def metadata_services(scene: Scene) -> None:
    """The metadata services of clouds by address and by name."""
    addresses = [host for host in METADATA if host[0] in "[1"]
    await no_connection(scene, addresses)
    with names(scene, metadata_google_internal=[["169.254.169.254"]]):
        await no_connection(scene, ["metadata.google.internal"], at_call=False)


@row("S04")
async def inner_networks(scene: Scene) -> None:
    """Private, shared, reserved, multicast and broadcast addresses."""
    await no_connection(scene, BLOCKS)


@row("S05")
async def addresses_inside_addresses(scene: Scene) -> None:
    """IPv4 inside IPv6: mapped, NAT64, 6to4, Teredo, compatible; link-local and site-local."""
    await no_connection(scene, EMBEDDED)


@row("S06")
async def addresses_with_two_readings(scene: Scene) -> None:
    """User info, backslashes, control characters, missing slashes, ports that are none."""
    before = scene.server.digest()
    for url in TWO_WAYS:
        if "#" not in url and not url.endswith(":/@127.0.0.1"):  # those two have one reading: the host a.com
            await refused_at_call(scene, url)
            await refused_at_dial(url)
    assert addresses.check_url("http://a.com#@127.0.0.1/").host == "a.com"
    assert scene.server.digest() == before


@row("S07")
async def names_that_lie(scene: Scene) -> None:
    """Public when checked and loopback when dialled; mixed and very many answers; a resolver that says nothing."""
    scene.patch.setattr(dialing, "DNS_SECONDS", 0.2)
    async with web.serve(web.answer(), host="127.0.0.2") as open_one, web.serve(web.answer()) as trap:
        many = ["127.0.0.1"] * 999 + ["127.0.0.3"]
        with names(
            scene, flip_test=[["127.0.0.2"], ["127.0.0.1"]], mixed_test=[["127.0.0.1", "::1", "127.0.0.2"]],
            many_test=[many], stall_test=[["stall"]],
        ):  # fmt: skip
            async with client("127.0.0.2/32") as guarded:
                assert (await guarded.request("GET", open_one.url(host="flip.test"))).status == 200
                assert (await guarded.request("GET", open_one.url(host="mixed.test"))).status == 200
                for name in ("flip.test", "many.test"):
                    try:
                        await guarded.request("GET", trap.url(host=name))
                    except Forbidden:
                        continue
                    raise AssertionError(name)
                started = asyncio.get_running_loop().time()
                try:
                    await guarded.request("GET", trap.url(host="stall.test"))
                    raise AssertionError("stall.test")
                except Unreachable:
                    assert asyncio.get_running_loop().time() - started < 3
        assert trap.connections == 0


@row("S08")
async def redirects(scene: Scene) -> None:
    """A redirect is an answer, wherever it leads; a callback that is redirected is dead at once."""
    async with web.serve(web.answer()) as trap, client(*LOOPBACK) as guarded:
        targets = [trap.url(), "/same", "http://169.254.169.254/", "file:///etc/passwd", "gopher://x/", "data:,x"]
        for status in (301, 302, 303, 307, 308):
            for target in targets:
                async with web.serve(web.answer(status, location=target)) as site:
                    with contextlib.suppress(JobFailed):  # a Location that is no address at all
                        assert (await guarded.request("GET", site.url())).status == status
                    assert site.connections == 1
            assert posting.judge(1, Answer(status, "", "")).outcome == "dead"
        assert trap.connections == 0


@row("S09")
async def a_name_that_turns_on_the_retry(scene: Scene) -> None:
    """The address is judged at every try, not only at the first."""
    async with web.serve(web.answer(503), host="127.0.0.2") as site, web.serve(web.answer()) as trap:
        with names(scene, turn_test=[["127.0.0.2"], ["127.0.0.1"], ["169.254.169.254"]]):
            async with client("127.0.0.2/32") as guarded:
                assert (await guarded.request("POST", site.url(host="turn.test"))).status == 503
                for _ in range(2):
                    try:
                        await guarded.request("POST", trap.url(host="turn.test"))
                    except Forbidden:
                        continue
                    raise AssertionError("the retry went through")
        assert trap.connections == 0


@row("S10")
async def the_environment(scene: Scene) -> None:
    """Proxy variables, .netrc and certificate bundles of the environment count for nothing."""
    async with web.serve(web.answer(200, b"proxy")) as trap, web.serve(web.answer(200, b"direct")) as site:
        for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY", "all_proxy"):
            scene.patch.setenv(name, trap.url())
        netrc = scene.folder / ".netrc"
        netrc.write_text("machine 127.0.0.1 login eve password canary\n", encoding="ascii")
        scene.patch.setenv("NETRC", str(netrc))
        scene.patch.setenv("HOME", str(scene.folder))
        scene.patch.setenv("REQUESTS_CA_BUNDLE", str(netrc))
        async with client(*LOOPBACK) as guarded:
            assert (await guarded.request("GET", site.url())).body == b"direct"
        assert trap.connections == 0 and "authorization" not in site.requests[0].headers


@row("S11")
async def headers_with_line_breaks(scene: Scene) -> None:
    """A header value with CR, LF, NUL or a folded line: 422 in a call, and nothing is sent."""
    async with web.serve(web.answer()) as site, client(*LOOPBACK) as guarded:
        for value in ("a\r\nX-Evil: 1", "a\nb", "a\rb", "a\0b", "a\r\n folded"):
            answer = await scene.server.call(
                "POST", INVOKE, {**CALL, "callback": {"url": "https://a.example/", "headers": {"X-A": value}}}
            )
            assert answer.status_code == 422 and "x-evil" not in answer.headers
            try:
                await guarded.request("GET", site.url(), headers={"X-A": value})
            except Forbidden:
                continue
            raise AssertionError(value)
        assert site.connections == 0


@row("S12")
async def our_own_doors(scene: Scene) -> None:
    """A callback to our own API, by loopback or by the machine's own address, is not sent."""
    server = scene.server
    timing = dict(server.engine.timings)
    own = {
        entry.address for found in psutil.net_if_addrs().values() for entry in found if entry.family is socket.AF_INET
    }
    for host in ("127.0.0.1", "localhost", *own):
        url = f"http://{host}:{server.port}/api/tokens"
        await refused_at_dial(url)
    try:
        dialing._check_peer(("203.0.114.9", 80), ("203.0.114.9", 50_000), (), "own.example")
        raise AssertionError("our own public address")
    except Forbidden:
        assert set(server.engine.timings) == set(timing)


@row("S13")
async def receivers_that_mean_harm(scene: Scene) -> None:
    """Silence, a byte now and then, a body without end, very many headers, a bomb: an end in time and in bounds."""

    async def silent(request: web.Request, writer: asyncio.StreamWriter) -> None:
        await asyncio.get_running_loop().create_future()

    async def drip(request: web.Request, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n")
        while True:
            writer.write(b"x")
            await writer.drain()
            await waiting.pause(0.02)  # a byte now and then

    async def endless(request: web.Request, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            writer.write(b"x" * 65536)
            await writer.drain()

    bomb = web.answer(200, gzip.compress(b"0" * 20_000_000), content_encoding="gzip")
    heads = b"HTTP/1.1 200 OK\r\n" + b"".join(b"h%d: %s\r\n" % (n, b"v" * 100) for n in range(10_000)) + b"\r\n"
    memory = psutil.Process().memory_info().rss
    for what in (silent, drip, endless, bomb, heads):
        async with web.serve(what) as site, client(*LOOPBACK) as guarded:
            started = asyncio.get_running_loop().time()
            try:
                await guarded.request("GET", site.url(), deadline_seconds=0.5, max_bytes=100_000)
                raise AssertionError("an answer")
            except (Unreachable, JobFailed):
                assert asyncio.get_running_loop().time() - started < 3
    assert psutil.Process().memory_info().rss - memory < 20 * 1024 * 1024


@row("S14")
async def when_to_come_back(scene: Scene) -> None:
    """Retry-After is kept between a second and an hour, whatever it says."""
    for value in ("1000000000", "-5", "0", "soon", "", "Wed, 21 Oct 2015 07:28:00 GMT", "NaN", "1e9", "9" * 400):
        pause = posting.judge(1, Answer(429, value, "")).pause_seconds
        assert 0.8 <= pause <= 3600, (value, pause)


elsewhere("S15", "triggers/test_receivers.py", "test_receivers_that_hang_delay_no_other_and_no_run")


@row("S16")
async def what_a_receiver_leaves_behind(scene: Scene) -> None:
    """Cookies and markup of an answer are never served as our own: what is captured comes back inside JSON, nosniff."""
    kept = {name.lower() for name in PROXY_HEADERS}
    assert not kept & {"set-cookie", "authorization", "www-authenticate", "content-encoding", "link"}
    markup = "<script>alert(1)</script>"
    await scene.server.call("POST", "/api/variables/S16", {"value": markup})
    for path in ("/api/trigger-invocations", "/api/variables", "/api/triggers/" + quote(markup, safe="")):
        answer = await scene.server.call("GET", path)
        assert answer.headers["content-type"] in ("application/json", "application/problem+json")
        assert answer.headers["x-content-type-options"] == "nosniff" and "set-cookie" not in answer.headers
    assert markup in (await scene.server.call("GET", "/api/variables")).text, "as a value, whole"


elsewhere(
    "S17",
    "triggers/test_signing.py",
    "test_the_published_vector_is_met",
    "test_the_signature_covers_id_time_and_every_byte_of_the_body",
    "test_two_generations_of_a_secret_sign_beside_each_other",
)
