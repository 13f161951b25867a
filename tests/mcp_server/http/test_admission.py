"""What the gate refuses, before anything is routed."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from mcp_server.http import admission, auth
from tests.mcp_server.http import service as made

pytestmark = pytest.mark.anyio


@pytest.fixture
def service() -> made.Service:
    return made.Service()


@pytest.mark.parametrize(
    "host", ["evil.example", "localhost.evil.example", "127.0.0.1.nip.io:3000", "127.0.0.1@evil", "", "[::1", "a b"]
)
async def test_a_foreign_host_name_is_misdirected(service: made.Service, host: str) -> None:
    async with made.client(service) as client:
        answer = await client.get("/api/things", headers={"host": host})
    assert answer.status_code == 421
    assert answer.json()["code"] == "forbidden"
    assert service.calls == service.verified == 0


@pytest.mark.parametrize("host", ["localhost", "localhost:3000", "127.0.0.1:9", "[::1]:3000", "LOCALHOST:3000"])
async def test_every_name_of_the_loopback_address_is_served(service: made.Service, host: str) -> None:
    async with made.client(service) as client:
        assert (await client.get("/api/things", headers={"host": host})).status_code == 200


async def test_a_configured_host_name_is_served(service: made.Service) -> None:
    async with made.client(service, hosts=["sluice.example"]) as client:
        assert (await client.get("/api/things", headers={"host": "Sluice.example:443"})).status_code == 200


@pytest.mark.parametrize(
    "origin",
    ["https://evil.example", "null", "http://127.0.0.1:4000", "http://localhost.evil.com", "file://", "http://["],
)
async def test_a_page_of_another_origin_is_refused(service: made.Service, origin: str) -> None:
    async with made.client(service) as client:
        answer = await client.get("/api/things", headers={"origin": origin})
    assert answer.status_code == 403
    assert service.calls == service.verified == 0


async def test_own_pages_and_configured_origins_are_served(service: made.Service) -> None:
    async with made.client(service, origins=["https://console.example"]) as client:
        for origin in ("http://127.0.0.1:3000", "https://console.example"):
            assert (await client.get("/api/things", headers={"origin": origin})).status_code == 200


@pytest.mark.parametrize(
    "path", ["/api/things", "/api/things/x", "/metrics", "/mcp", "/api/nothing", "/console.", "/health/"]
)
@pytest.mark.parametrize(
    "credentials", [None, "Bearer", "Bearer wrong", "Basic YWRhOmFkYQ==", "ada", "Bearer " + "x" * 5000]
)
async def test_every_path_but_the_open_ones_needs_a_known_token(
    service: made.Service, path: str, credentials: str | None
) -> None:
    headers = {"authorization": credentials} if credentials else {}
    async with made.client(service, token=None) as client:
        answer = await client.get(path, headers=headers)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert answer.json()["code"] == "unauthenticated"
    assert service.calls == 0


async def test_no_token_and_a_bad_token_get_the_same_answer(service: made.Service) -> None:
    async with made.client(service, token=None) as client:
        missing = await client.get("/api/things")
        wrong = await client.get("/api/things", headers={"authorization": "Bearer wrong"})
    assert missing.content == wrong.content


@pytest.mark.usefixtures("console_files")
@pytest.mark.parametrize("path", sorted(admission.OPEN_PATHS))
async def test_health_the_description_and_the_console_are_open(service: made.Service, path: str) -> None:
    elsewhere = {
        "/": 302,
        "/console": 308,
        "/docs": 308,
        admission.SIGN_IN: 404,  # with POST, where the engine has it
    }
    # Likewise all of signing in with a provider, and of letting MCP hosts in.
    more = (admission.LOGIN, "/oauth/", "/.well-known/")
    elsewhere |= {one: 404 for one in admission.OPEN_PATHS if one.startswith(more)}
    async with made.client(service, token=None) as client:
        assert (await client.get(path)).status_code == elsewhere.get(path, 200)


async def test_health_answers_a_head_too(service: made.Service) -> None:
    async with made.client(service, token=None) as client:
        answer = await client.head("/health")
    assert (answer.status_code, answer.content) == (200, b"")


async def test_a_token_is_remembered_for_a_moment_only(service: made.Service) -> None:
    async with made.client(service) as client:
        for _ in range(3):
            assert (await client.get("/api/things")).status_code == 200
        assert service.verified == 1
        del service.tokens["ada"]
        service.now += auth.CACHE_SECONDS + 0.1
        assert (await client.get("/api/things")).status_code == 401


async def test_without_authentication_everyone_is_the_operator(service: made.Service) -> None:
    async with made.client(service, token=None, authenticator=auth.NoAuth(made.OPERATOR)) as client:
        assert (await client.get("/api/things")).json()["user"] == "op"


async def test_a_body_over_the_limit_is_refused_by_its_length(service: made.Service) -> None:
    async with made.client(service) as client:
        answer = await client.post("/api/things/publish", content=b"x" * (admission.MAX_BODY_BYTES + 1))
    assert answer.status_code == 413
    assert service.calls == 0


async def test_a_body_of_unknown_length_is_read_up_to_the_limit(service: made.Service) -> None:
    async def chunks(number: int) -> AsyncIterator[bytes]:
        for _ in range(number):
            yield b" " * 65536

    async def small() -> AsyncIterator[bytes]:
        yield b'{"slug":'
        yield b'"x"}'

    async with made.client(service) as client:
        large = await client.post("/api/things/publish", content=chunks(17))
        fine = await client.post("/api/things/publish", content=small())
    assert large.status_code == 413
    assert fine.status_code == 201
    assert service.calls == 1


async def test_blanks_around_a_header_value_are_not_part_of_it(service: made.Service) -> None:
    async with made.client(service) as client:
        answer = await client.get("/api/things", headers={"x-sluice-tenant": " default\t"})
    assert answer.json()["tenant"] == "default"
