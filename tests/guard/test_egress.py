from __future__ import annotations

import asyncio
import gzip
import ipaddress
import socket
import threading
from typing import Any

import anyio
import pytest
from pydantic import ValidationError

from core.errors import Forbidden, JobFailed
from core.guard import addresses, dialing
from core.guard.addresses import allowed_networks, check_url, denied
from core.guard.dialing import Unreachable
from core.guard.egress import Egress
from core.settings import Settings
from tests import cases, waiting
from tests.dsl import web

LOOPBACK = ("127.0.0.0/8", "::1/128")


@cases.table(
    "address",
    """127.0.0.1 127.255.255.254 0.0.0.0 10.0.0.1 172.16.0.1 172.31.255.255 192.168.1.1 100.64.0.1 100.100.100.200
    169.254.169.254 168.63.129.16 192.0.0.1 198.18.0.1 198.19.255.255 224.0.0.1 239.255.255.255 240.0.0.1
    255.255.255.255
    192.0.2.1 198.51.100.1 203.0.113.1 192.88.99.1 ::1 :: ::127.0.0.1 ::ffff:127.0.0.1 ::ffff:169.254.169.254
    ::ffff:a9fe:a9fe ::ffff:0:7f00:1 64:ff9b::a9fe:a9fe 64:ff9b:1::1 2002:7f00:1:: 2001:0:7f00:1:: fec0::1 fe80::1
    fe80::1%eth0 fd00:ec2::254 fc00::1 ff02::1 100::1 2001:db8::1""".split(),
)
def test_an_address_inside_or_beside_the_network_is_denied(address: str) -> None:
    assert denied(ipaddress.ip_address(address))


@cases.table(
    "address",
    ["1.1.1.1", "8.8.8.8", "172.32.0.1", "100.128.0.1", "2606:4700:4700::1111", "::ffff:8.8.8.8", "193.0.0.1"],
)
def test_a_public_address_is_not_denied(address: str) -> None:
    assert not denied(ipaddress.ip_address(address))


def test_a_password_in_an_address_is_not_repeated() -> None:
    with pytest.raises(Forbidden, match=r"http://\*\*\*@example.com/x has a user name in it") as refused:
        check_url("http://ann:s3cret@example.com/x")
    assert "s3cret" not in str(refused.value)


def test_an_administrator_opens_addresses_by_block() -> None:
    allow = allowed_networks(["10.1.0.0/16", "127.0.0.1"])
    assert not denied(ipaddress.ip_address("10.1.2.3"), allow)
    assert not denied(ipaddress.ip_address("::ffff:10.1.2.3"), allow)
    assert denied(ipaddress.ip_address("10.2.2.3"), allow)
    assert denied(ipaddress.ip_address("127.0.0.2"), allow)


@cases.table(
    "url",
    [
        "http://a.com\\@127.0.0.1/",
        "http://a.com@127.0.0.1/",
        "http://user:pw@a.com/",
        "http://@a.com/",
        "http:/127.0.0.1/",
        "http:127.0.0.1/",
        "http:///x",
        "http://",
        "//a.com/",
        "a.com",
        "file:///etc/passwd",
        "gopher://a.com/",
        "ftp://a.com/",
        "data:text/plain,x",
        "javascript:1",
        "http://a.com:99999/",
        "http://a.com:0/",
        "http://a.com:0x50/",
        "http://a b.com/",
        "http://a.com/\r\nX: y",
        "http://a.com/\tx",
        "http://a\0.com/",
        "http://[127.0.0.1]/",
        "http://[::1/",
        "https://" + "a" * 9000,
    ],
)
def test_an_address_that_two_parsers_may_read_differently_is_refused(url: str) -> None:
    with pytest.raises(Forbidden):
        check_url(url)


@cases.table("url", ["http://a.com", "https://a.com:8443/x?y=z#f", "http://[2606:4700::1]/x", "http://münchen.de/"])
def test_a_plain_address_is_fine(url: str) -> None:
    assert check_url(url).host


@pytest.mark.anyio
@cases.table(
    "host",
    """127.0.0.1 localhost 127.1 2130706433 0x7f000001 0177.0.0.1 0x7f.1 0 0.0.0.0 [::1] [::ffff:127.0.0.1]
    [::ffff:7f00:1] LOCALHOST localhost.""".split(),
)
async def test_no_spelling_of_loopback_makes_a_connection(host: str) -> None:
    async with web.serve(web.answer(), host="127.0.0.1") as site:
        client = Egress()
        with anyio.fail_after(5), pytest.raises((Forbidden, Unreachable)):
            await client.request("GET", site.url(host=host))
        await client.aclose()
        assert site.connections == 0


@pytest.mark.anyio
async def test_an_allowed_address_answers_with_status_headers_and_body() -> None:
    async with web.serve(web.answer(201, b"hello", x_kind="a")) as site:
        client = Egress(LOOPBACK)
        reply = await client.request(
            "POST", site.url("/p?q=1"), params={"r": "2"}, content=b"body", headers={"x-a": "b"}
        )
        await client.aclose()
    assert (reply.status, reply.body, reply.header("x-kind")) == (201, b"hello", "a")
    (request,) = site.requests
    assert request.line.split()[:2] == ["POST", "/p?q=1&r=2"]
    assert request.body == b"body"
    assert request.headers["x-a"] == "b"
    assert request.headers["accept-encoding"] == "identity"


class Names:
    """A resolver whose answers the test writes: a list of answers, the last one again and again."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **answers: list[list[str]]) -> None:
        real = dialing.lookup
        self.asked: list[str] = []

        async def lookup(host: Any, port: Any) -> Any:
            name = host.decode() if isinstance(host, bytes) else str(host)
            if name.replace(".", "_") not in answers:
                return await real(host, port)
            self.asked.append(name)
            left = answers[name.replace(".", "_")]
            addresses = left.pop(0) if len(left) > 1 else left[0]
            return [
                (socket.AF_INET6 if ":" in a else socket.AF_INET, socket.SOCK_STREAM, 6, "", (a, port))
                for a in addresses
            ]

        monkeypatch.setattr(dialing, "lookup", lookup)


@pytest.mark.anyio
async def test_a_name_that_answers_with_an_inner_address_is_not_dialled(monkeypatch: pytest.MonkeyPatch) -> None:
    async with web.serve(web.answer()) as site:
        Names(monkeypatch, evil_test=[["127.0.0.1"]])
        client = Egress()
        with pytest.raises(Forbidden, match=r"evil\.test is an address that jobs may not reach"):
            await client.request("GET", site.url(host="evil.test"))
        await client.aclose()
        assert site.connections == 0


@pytest.mark.anyio
async def test_only_the_allowed_ones_of_several_answers_are_dialled(monkeypatch: pytest.MonkeyPatch) -> None:
    async with web.serve(web.answer(), host="127.0.0.2") as site, web.serve(web.answer()) as trap:
        Names(monkeypatch, mixed_test=[["127.0.0.1", "::1", "127.0.0.2"]])
        client = Egress(["127.0.0.2/32"])
        reply = await client.request("GET", site.url(host="mixed.test"))
        await client.aclose()
        assert reply.status == 200
        assert (site.connections, trap.connections) == (1, 0)


@pytest.mark.anyio
async def test_a_name_is_looked_up_once_for_each_connection_so_it_cannot_flip_after_the_check(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with web.serve(web.answer(), host="127.0.0.2") as site, web.serve(web.answer()) as trap:
        names = Names(monkeypatch, flip_test=[["127.0.0.2"], ["127.0.0.1"]])
        client = Egress(["127.0.0.2/32"])
        assert (await client.request("GET", site.url(host="flip.test"))).status == 200
        assert names.asked == ["flip.test"]
        with pytest.raises(Forbidden):  # the next connection sees the new answer and judges that
            await client.request("GET", site.url(host="flip.test"))
        await client.aclose()
        assert trap.connections == 0


@pytest.mark.anyio
@cases.table("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_an_answer_and_is_not_followed(status: int) -> None:
    async with web.serve(web.answer()) as target, web.serve(web.answer(status, location=target.url())) as site:
        client = Egress(LOOPBACK)
        reply = await client.request("GET", site.url())
        await client.aclose()
        assert reply.status == status
        assert target.connections == 0


@pytest.mark.anyio
async def test_proxy_variables_are_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    async with web.serve(web.answer(200, b"proxy")) as trap, web.serve(web.answer(200, b"direct")) as site:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, trap.url())
        client = Egress(LOOPBACK)
        assert (await client.request("GET", site.url())).body == b"direct"
        await client.aclose()
        assert trap.connections == 0


@pytest.mark.anyio
@cases.table(
    "headers",
    [
        {"x": "a\r\nevil: 1"},
        {"x": "a\nb"},
        {"x": "a\0b"},
        {"x y": "1"},
        {"x\r\n": "1"},
        {"Host": "evil"},
        {"Content-Length": "0"},
    ],
)
async def test_a_header_that_changes_the_message_is_refused_before_anything_is_sent(headers: dict[str, str]) -> None:
    async with web.serve(web.answer()) as site:
        client = Egress(LOOPBACK)
        with pytest.raises(Forbidden, match="header"):
            await client.request("GET", site.url(), headers=headers)
        await client.aclose()
        assert site.connections == 0


async def hang(request: web.Request, writer: asyncio.StreamWriter) -> None:
    await asyncio.get_running_loop().create_future()


async def endless(request: web.Request, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        writer.write(b"x" * 65536)
        await writer.drain()


async def drip(request: web.Request, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n")
    while True:
        writer.write(b"x")
        await writer.drain()
        await waiting.pause(0.02)  # a byte now and then


async def many_headers(request: web.Request, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\n" + b"".join(b"h%d: %s\r\n" % (n, b"v" * 100) for n in range(10_000)) + b"\r\n")


async def nonsense(request: web.Request, writer: asyncio.StreamWriter) -> None:
    writer.write(b"\x00\x01 what?\r\n\r\n")


@pytest.mark.anyio
@pytest.mark.parametrize("handler", [hang, drip], ids=["hang", "drip"])
async def test_a_slow_answer_ends_at_the_deadline(handler: web.Handler) -> None:
    async with web.serve(handler) as site:
        client = Egress(LOOPBACK)
        with anyio.fail_after(5), pytest.raises(Unreachable, match=r"within 0\.2 s"):
            await client.request("GET", site.url(), deadline_seconds=0.2)
        await client.aclose()


@pytest.mark.anyio
async def test_an_endless_answer_is_refused_or_cut_at_the_bound() -> None:
    async with web.serve(endless) as site:
        client = Egress(LOOPBACK)
        with anyio.fail_after(5), pytest.raises(JobFailed, match="longer than 1000 bytes"):
            await client.request("GET", site.url(), max_bytes=1000)
        reply = await client.request("GET", site.url(), max_bytes=1000, cut=True)
        await client.aclose()
    assert (len(reply.body), reply.truncated) == (1000, True)


@pytest.mark.anyio
@pytest.mark.parametrize("handler", [many_headers, nonsense], ids=["headers", "nonsense"])
async def test_a_broken_answer_is_a_clear_fault(handler: web.Handler) -> None:
    async with web.serve(handler) as site:
        client = Egress(LOOPBACK)
        with anyio.fail_after(5), pytest.raises(Unreachable, match="cannot reach http://127"):
            await client.request("GET", site.url())
        await client.aclose()


@pytest.mark.anyio
async def test_a_compressed_answer_is_refused_because_it_may_be_a_bomb() -> None:
    async with web.serve(web.answer(200, gzip.compress(b"0" * 10_000_000), content_encoding="gzip")) as site:
        client = Egress(LOOPBACK)
        with pytest.raises(JobFailed, match="compressed"):
            await client.request("GET", site.url())
        await client.aclose()


@pytest.mark.anyio
async def test_a_closed_port_is_a_clear_fault() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    client = Egress(LOOPBACK)
    with pytest.raises(Unreachable, match=f"cannot reach http://127.0.0.1:{port}"):
        await client.request("GET", f"http://127.0.0.1:{port}/")
    await client.aclose()


def test_a_setting_that_is_no_network_is_refused() -> None:
    with pytest.raises(ValueError, match="nonsense"):
        addresses.allowed_networks(["nonsense"])
    for name in ("egress_allow", "listen_allow"):
        with pytest.raises(ValidationError, match="nonsense"):
            Settings.model_validate({name: ["127.0.0.1/32", "nonsense"]})


@pytest.mark.anyio
async def test_a_tcp_connection_passes_the_same_guard() -> None:
    async with web.serve(web.answer(200)) as site:
        for host in ("127.0.0.1", "localhost", "::1", "0x7f.1", "::ffff:127.0.0.1"):
            with pytest.raises(Forbidden, match="may not reach"):
                await dialing.open_connection(host, site.port, (), tls=None, limit=1024)
        assert site.connections == 0
        reader, writer = await dialing.open_connection("localhost", site.port, ["127.0.0.1"], tls=None, limit=1024)
        writer.write(b"GET / HTTP/1.1\r\n\r\n")
        assert (await reader.read()).startswith(b"HTTP/1.1 200")
        writer.close()


@pytest.mark.anyio
async def test_a_host_that_does_not_exist_or_listen_is_unreachable() -> None:
    with pytest.raises(Unreachable, match=r"cannot reach no-such-host\.invalid:1"):
        await dialing.open_connection("no-such-host.invalid", 1, (), tls=None, limit=1024)
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        with pytest.raises(Unreachable, match="cannot reach 127"):
            await dialing.open_connection("127.0.0.1", closed.getsockname()[1], ["127.0.0.1"], tls=None, limit=1024)


@pytest.mark.anyio
async def test_a_request_that_is_no_http_is_told_without_its_values() -> None:
    async with web.serve(web.answer(200)) as site:
        client = Egress(["127.0.0.1"])
        with pytest.raises(JobFailed, match="not valid HTTP") as failed:
            await client.request("GE T", site.url(), headers={"x": "hush"})
        await client.aclose()
    assert "hush" not in str(failed.value)


@pytest.mark.anyio
async def test_a_resolver_that_hangs_holds_up_nobody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    real, release = socket.getaddrinfo, threading.Event()

    def getaddrinfo(host: Any, *args: Any, **options: Any) -> Any:
        if host.endswith(".slow.test"):
            release.wait(30)
            raise OSError("no answer")
        return real(host, *args, **options)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    async with web.serve(web.answer(204)) as site:
        client = Egress(LOOPBACK)
        hanging = [asyncio.create_task(client.request("GET", f"http://n{n}.slow.test/")) for n in range(12)]
        await waiting.begun(*hanging)
        with anyio.fail_after(3):
            assert (await client.request("GET", site.url(host="localhost"))).status == 204
        release.set()
        outcomes = await asyncio.gather(*hanging, return_exceptions=True)
        await client.aclose()
    assert all(isinstance(outcome, Unreachable) for outcome in outcomes)
