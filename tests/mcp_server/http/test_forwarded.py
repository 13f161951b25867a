"""Whose request it is that came through proxies: only what trusted ones have written counts."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core import errors
from core.settings import Settings
from mcp_server.http import auth, cookies, forwarded, serving
from tests import cases
from tests.mcp_server.http import service as made

pytestmark = pytest.mark.anyio
PROXY, INNER, CLIENT = "10.0.0.1", "10.0.0.2", "203.0.113.9"
TRUSTED = forwarded.Proxies(["10.0.0.0/24", "fd00::1"])


def origin(peer: str, *headers: tuple[str, str]) -> tuple[str, str] | None:
    return TRUSTED.origin(peer, [(name.encode(), value.encode("latin-1")) for name, value in headers])


@cases.table(
    "headers, found",
    [
        ([("x-forwarded-for", CLIENT)], (CLIENT, "")),
        ([("x-forwarded-for", CLIENT), ("x-forwarded-proto", "https")], (CLIENT, "https")),
        ([("x-forwarded-for", f"8.8.8.8, {CLIENT}, {INNER}")], (CLIENT, "")),
        ([("x-forwarded-for", f"8.8.8.8,{CLIENT}"), ("x-forwarded-for", INNER)], (CLIENT, "")),
        ([("x-forwarded-for", f"{CLIENT}:4711, [fd00::1]:80")], (CLIENT, "")),
        ([("x-forwarded-for", f"{CLIENT}, {INNER}"), ("x-forwarded-proto", "http, https")], (CLIENT, "http")),
        ([("x-forwarded-for", f"x, {INNER}"), ("x-forwarded-proto", "https")], (INNER, "https")),
        ([("x-forwarded-for", "unknown")], (PROXY, "")),
        ([("x-forwarded-for", "::ffff:203.0.113.9")], (CLIENT, "")),
        ([("x-forwarded-for", f"{INNER}, {PROXY}")], (INNER, "")),
        ([("x-forwarded-proto", "https")], (PROXY, "https")),
        ([("x-forwarded-for", CLIENT), ("x-forwarded-proto", "gopher")], (CLIENT, "")),
        ([("forwarded", f"for={CLIENT};proto=https")], (PROXY, "")),
        ([], (PROXY, "")),
    ],
)
def test_the_client_is_the_rightmost_address_that_is_no_trusted_proxy(
    headers: list[tuple[str, str]], found: tuple[str, str]
) -> None:
    assert origin(PROXY, *headers) == found
    assert origin(CLIENT, *headers) is None, "it is no proxy of ours, and not believed"
    assert forwarded.Proxies().origin(PROXY, [(b"x-forwarded-for", CLIENT.encode())]) is None


addresses = st.ip_addresses().filter(lambda one: not TRUSTED.trusts(str(one)))
ours = st.sampled_from([PROXY, INNER, "fd00::1"])


@given(said=st.text("0123456789abcdef.:,[]% ", max_size=40), client=addresses, proxies=st.lists(ours, max_size=4))
def test_nothing_that_a_client_writes_changes_who_it_is(
    said: str, client: ipaddress.IPv4Address | ipaddress.IPv6Address, proxies: list[str]
) -> None:
    found = origin(PROXY, ("x-forwarded-for", ", ".join([said, str(client), *proxies])))
    mapped = client.ipv4_mapped if isinstance(client, ipaddress.IPv6Address) else None
    assert found is not None
    assert found[0] == str(mapped or client)


@given(st.binary(max_size=200), st.binary(max_size=40), st.sampled_from([b"x-forwarded-for", b"x-forwarded-proto"]))
def test_whatever_is_sent_the_answer_is_an_address(value: bytes, proto: bytes, name: bytes) -> None:
    found = TRUSTED.origin(PROXY, [(name, value), (b"x-forwarded-proto", proto)])
    assert found is not None
    ipaddress.ip_address(found[0])
    assert found[1] in ("", "http", "https")


def test_what_is_no_network_is_refused_as_a_setting() -> None:
    with pytest.raises(ValueError, match="does not appear to be"):
        Settings(trusted_proxies=("proxy.example",))


async def test_a_proxy_may_take_all_connections_and_others_their_share() -> None:
    room = serving.room(Settings(http_connections=8, trusted_proxies=("10.0.0.1", "fd00::1")))
    try:
        for address, most in (("192.0.2.1", 2), ("2001:db8::/64", 2), ("10.0.0.1", 8), ("fd00::/64", 8)):
            guests = [room.admit(address) for _ in range(most)]
            for guest in guests:
                assert guest is not None
                guest.works()
            assert room.admit(address) is None
            for guest in guests:
                assert guest is not None
                guest.gone()
    finally:
        room.close()


async def test_each_client_of_a_proxy_has_its_share_of_what_is_under_way() -> None:
    refused: list[str] = []
    shares = forwarded.Shares(2, refused.append)
    with shares.of("2001:db8::1"), shares.of("2001:db8::2"):
        with pytest.raises(errors.RateLimited), shares.of("2001:db8::3"):
            pass
        with shares.of(CLIENT):
            pass
    with shares.of("2001:db8::3"):
        assert refused == ["2001:db8::/64"]
    assert not shares._under_way


async def test_refused_credentials_are_counted_by_client_and_only_a_proxys_word_counts() -> None:
    service = made.Service()
    trusted = forwarded.Proxies(["127.0.0.1"])
    async with made.client(service, token="wrong", proxies=trusted) as client:
        for _ in range(auth.FAILURES):
            await client.get("/api/things", headers={"x-forwarded-for": f"8.8.8.8, {CLIENT}"})
        answers = [
            (await client.get("/api/things", headers={"x-forwarded-for": who})).status_code
            for who in (CLIENT, "203.0.113.10")
        ]
    assert answers == [429, 401]
    async with made.client(service, token="wrong") as client:
        answers = [
            (await client.get("/api/things", headers={"x-forwarded-for": f"203.0.113.{n}"})).status_code
            for n in range(auth.FAILURES + 1)
        ]
    assert answers[-1] == 429, "without a trusted proxy, whoever calls is one address whatever it says"


def test_a_cookie_is_a_secure_one_when_the_client_came_over_https() -> None:
    scope = {
        "client": (PROXY, 1),
        "server": ("127.0.0.1", 3000),
        "scheme": "http",
        "headers": [(b"x-forwarded-for", CLIENT.encode()), (b"x-forwarded-proto", b"https")],
    }
    assert TRUSTED.placed(scope) == CLIENT
    assert (scope["client"], cookies.name_of(scope)) == ((CLIENT, 0), "__Host-sluice")
