"""No outbound connection reaches a denied address, by any spelling, answer of a resolver, redirect, retry or proxy.

It is looked at where it counts: an audit hook sees every `connect` of this process, whoever makes it.
"""

from __future__ import annotations

import contextlib
import ipaddress
import itertools
import socket
import sys
from collections.abc import Iterator
from typing import Any

import anyio
import pytest

from core.errors import Forbidden, JobFailed
from core.guard import addresses, dialing
from core.guard.dialing import Unreachable
from core.guard.egress import Egress
from tests.attacks.egress import BLOCKS, EMBEDDED, METADATA, SPELLINGS, TWO_WAYS, UNICODE
from tests.dsl import web

pytestmark = pytest.mark.anyio

NUMBERS = sorted(
    {host.strip("[]") for host in (*BLOCKS, *EMBEDDED, *METADATA) if host.strip("[]")[0] in "0123456789f:"}
)
ADDRESSES = [number for number in NUMBERS if "%" not in number] + ["127.0.0.1", "::1", "::", "0.0.0.0", "::ffff:7f00:1"]
EXTREMES = sorted({str(end) for network in addresses.DENIED for end in (network[0], network[-1])})
SPELT = [*SPELLINGS, *UNICODE, *METADATA, *BLOCKS, *EMBEDDED]
OPEN = "127.0.0.2"  # the one address that the client of these tests may reach
_seen: list[str] | None = None


def _hook(event: str, args: tuple[Any, ...]) -> None:
    if event == "socket.connect" and _seen is not None and isinstance(args[1], tuple):
        _seen.append(str(args[1][0]))


sys.addaudithook(_hook)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@contextlib.contextmanager
def watched() -> Iterator[list[str]]:
    """The addresses that are dialled meanwhile."""
    global _seen
    _seen = []
    try:
        yield _seen
    finally:
        _seen = None


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> dict[str, Iterator[list[str]]]:
    """What the resolver says for a name, call after call."""
    told: dict[str, Iterator[list[str]]] = {}

    async def lookup(host: str, port: int) -> list[Any]:
        if host not in told:
            return await real(host, port)
        found = next(told[host])
        return [(socket.AF_INET6 if ":" in a else socket.AF_INET, socket.SOCK_STREAM, 6, "", (a, port)) for a in found]

    real = dialing.lookup
    monkeypatch.setattr(dialing, "lookup", lookup)
    return told


async def _dial(client: Egress, url: str, method: str = "GET") -> int | None:
    """The status; None when nothing answered."""
    try:
        return (await client.request(method, url, deadline_seconds=5)).status
    except (Forbidden, Unreachable, JobFailed):
        return None


async def test_the_watch_sees_every_connection() -> None:
    async with web.serve(web.answer(), host=OPEN) as site:
        client = Egress((f"{OPEN}/32",))
        with watched() as seen:
            assert await _dial(client, site.url(host=OPEN)) == 200
        await client.aclose()
    assert seen == [OPEN]


@pytest.mark.parametrize("host", SPELT)
async def test_no_spelling_is_dialled(host: str) -> None:
    client = Egress()
    with anyio.fail_after(20), watched() as seen:
        for method in ("GET", "POST"):
            assert await _dial(client, f"http://{host}:9/", method) is None
    await client.aclose()
    assert seen == []


@pytest.mark.parametrize("url", TWO_WAYS)
async def test_no_address_with_two_readings_is_dialled(url: str, answers: dict[str, Iterator[list[str]]]) -> None:
    answers["a.com"] = itertools.repeat(["127.0.0.1"])
    client = Egress()
    with anyio.fail_after(20), watched() as seen:
        assert await _dial(client, url) is None
    await client.aclose()
    assert seen == []


async def test_no_answer_of_a_resolver_leads_there(answers: dict[str, Iterator[list[str]]]) -> None:
    client = Egress()
    with anyio.fail_after(60), watched() as seen:
        for address in {*ADDRESSES, *EXTREMES}:
            answers["name.test"] = itertools.repeat([address])
            assert await _dial(client, "http://name.test:9/") is None, address
            answers["name.test"] = itertools.repeat([address] * 1000)
            assert await _dial(client, "http://name.test:9/") is None, address
    await client.aclose()
    assert seen == []


async def test_of_mixed_answers_only_the_allowed_one_is_dialled(answers: dict[str, Iterator[list[str]]]) -> None:
    client = Egress((f"{OPEN}/32",))
    with anyio.fail_after(60):
        async with web.serve(web.answer(), host=OPEN) as site:
            with watched() as seen:
                for address in ADDRESSES:
                    answers["name.test"] = itertools.repeat([address, OPEN, address])
                    assert await _dial(client, site.url(host="name.test")) == 200, address
    await client.aclose()
    assert set(seen) == {OPEN}


async def test_an_answer_that_changes_after_the_check_or_on_a_retry_leads_nowhere(
    answers: dict[str, Iterator[list[str]]],
) -> None:
    with anyio.fail_after(60):
        async with web.serve(web.answer(503), host=OPEN) as site:
            for address in ADDRESSES:
                client = Egress((f"{OPEN}/32",))
                answers["name.test"] = itertools.chain([[OPEN]], itertools.repeat([address]))
                with watched() as seen:
                    tried = [await _dial(client, site.url(host="name.test"), "POST") for _ in range(3)]
                await client.aclose()
                assert (tried, seen) == ([503, None, None], [OPEN]), address


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_no_redirect_is_followed(status: int) -> None:
    with anyio.fail_after(60):
        for host in (*SPELLINGS[:3], "169.254.169.254", "[fd00:ec2::254]", OPEN):
            async with web.serve(web.answer(status, location=f"http://{host}:9/"), host=OPEN) as site:
                client = Egress((f"{OPEN}/32",))
                with watched() as seen:
                    assert await _dial(client, site.url(host=OPEN)) == status
                await client.aclose()
            assert seen == [OPEN]


async def test_no_proxy_of_the_environment_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    async with web.serve(web.answer(200, b"trap")) as trap, web.serve(web.answer(200, b"site"), host=OPEN) as site:
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "FTP_PROXY", "http_proxy", "https_proxy", "all_proxy"):
            monkeypatch.setenv(name, trap.url())
        client = Egress((f"{OPEN}/32",))
        with watched() as seen:
            assert (await client.request("GET", site.url(host=OPEN))).body == b"site"
            assert await _dial(client, "https://127.0.0.1:9/") is None
        await client.aclose()
        assert (seen, trap.connections) == ([OPEN], 0)


async def test_a_tcp_connection_of_a_job_passes_the_same_guard(answers: dict[str, Iterator[list[str]]]) -> None:
    with anyio.fail_after(60), watched() as seen:
        for address in {*ADDRESSES, *EXTREMES}:
            answers["name.test"] = itertools.repeat([address])
            for host in (address, "name.test"):
                with pytest.raises((Forbidden, Unreachable, JobFailed)):
                    await dialing.open_connection(host, 9, (), tls=None, limit=1024)
    assert seen == []


def test_the_table_denies_both_ends_of_every_network_and_not_the_neighbours() -> None:
    for network in addresses.DENIED:
        assert addresses.denied(network[0]) and addresses.denied(network[-1])
    neighbours = """1.1.1.1 9.255.255.255 11.0.0.0 172.15.255.255 172.32.0.0 192.167.255.255 223.255.255.255
        100.63.255.255 100.128.0.0 169.253.255.255 169.255.0.0 2606:4700::1111"""
    for text in neighbours.split():
        assert not addresses.denied(ipaddress.ip_address(text)), text
