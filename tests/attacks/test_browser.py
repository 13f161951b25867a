"""Browsers at the HTTP door: what a cookie opens, for which page, and until when."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from core import clock, errors
from core.identity import links
from core.operations import console as operations
from mcp_server.http import admission, console
from tests.attacks import rig
from tests.engines import ADMIN

pytestmark = pytest.mark.anyio
OURS = {"sec-fetch-site": "same-origin", "sec-fetch-mode": "cors"}
WHO = "/api/auth/whoami"


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[rig.Target]:
    async with rig.target(tmp_path / "home") as made:
        yield made


def cookie(server: rig.Target, answer: httpx.Response) -> str:
    """NAME=VALUE of the cookie that was set, whose attributes are as they have to be."""
    value, *attributes = [part.strip() for part in answer.headers["set-cookie"].split(";")]
    told = {part.partition("=")[0].lower() for part in attributes}
    assert {"httponly", "path", "max-age"} <= told and "samesite=strict" in map(str.lower, attributes)
    assert value.startswith(f"sluice-{server.port}=")
    return value


async def sign_in(server: rig.Target, who: str = "user") -> str:
    async with server.client(None) as client:
        answer = await client.post(admission.SIGN_IN, json={"token": server.tokens[who]}, headers=OURS)
    assert answer.status_code == 201, answer.text
    assert server.tokens[who] not in answer.headers["set-cookie"], "the cookie holds a token of its own"
    return cookie(server, answer)


async def ask(server: rig.Target, held: str, method: str = "GET", path: str = WHO, **headers: str) -> httpx.Response:
    async with server.client(None) as client:
        return await client.request(method, path, headers={"cookie": held, **headers})


async def test_a_browser_that_signed_in_acts_as_its_key_until_it_signs_out(server: rig.Target) -> None:
    held = await sign_in(server)
    who = (await ask(server, held, **OURS)).json()
    assert (who["username"], who["role"], who["tenants"]) == ("bob", "user", ["tenant-a"])
    out = await ask(server, held, "POST", admission.SIGN_OUT, **OURS)
    assert out.json() == {"ended": True} and "max-age=0" in out.headers["set-cookie"].lower()
    assert (await ask(server, held, **OURS)).status_code == 401
    assert (await server.call("GET", WHO, who="user")).status_code == 200, "the key itself goes on"


@pytest.mark.parametrize(
    ("method", "headers"),
    [
        ("GET", {"sec-fetch-site": "same-site", "sec-fetch-mode": "no-cors"}),  # another port of this host
        ("GET", {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}),
        ("POST", {"sec-fetch-site": "none", "sec-fetch-mode": "navigate"}),
        ("GET", {"sec-fetch-site": "none", "sec-fetch-mode": "cors"}),
        ("GET", {}),  # says nothing of where it comes from
    ],
)
async def test_a_cookie_counts_for_our_own_pages_alone(
    server: rig.Target, method: str, headers: dict[str, str]
) -> None:
    held = await sign_in(server, "admin")
    path = "/api/contexts/update-global" if method == "POST" else WHO
    answer = await ask(server, held, method, path, **headers)
    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")


async def test_a_cookie_counts_where_the_browser_says_that_the_page_is_ours(server: rig.Target) -> None:
    held = await sign_in(server)
    typed = {"sec-fetch-site": "none", "sec-fetch-mode": "navigate"}
    older = {"origin": server.url}
    for headers in (OURS, typed, older):
        assert (await ask(server, held, **headers)).status_code == 200
    with_bearer = await ask(server, held, authorization=f"Bearer {server.tokens['admin']}")
    assert with_bearer.json()["username"] == "ada", "a bearer token wins"


async def test_a_session_ends_with_its_key_and_is_never_wider(server: rig.Target) -> None:
    held = await sign_in(server, "second")
    rows = (await server.call("GET", "/api/tokens?limit=200")).json()["items"]
    key = next(row for row in rows if row["username"] == "cid" and row["name"] == "second")
    session = next(row for row in rows if row["made_by"] == key["id"])
    same = ("username", "role", "tenants", "platform", "scopes")
    assert [session[name] for name in same] == [key[name] for name in same]
    assert (await server.call("POST", f"/api/tokens/{key['id']}/revoke")).status_code == 200
    assert (await ask(server, held, **OURS)).status_code == 401


async def test_a_session_ends_when_nobody_used_it_for_hours(
    server: rig.Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = await sign_in(server)
    steady = server.engine.tokens.steady
    later = steady.now_ns() + (operations.IDLE_HOURS * 3600 + 1) * clock.NANOSECONDS
    server.authenticator._known.clear()
    monkeypatch.setattr(type(steady), "now_ns", lambda _: later)
    assert (await ask(server, held, **OURS)).status_code == 401


async def test_a_link_opens_the_console_once_and_for_its_maker(server: rig.Target) -> None:
    made = (await server.call("POST", "/api/console/links", who="user")).json()
    assert made["path"] == f"/console/#code={made['code']}", "a fragment, which no server and no log gets to see"
    async with server.client(None) as client:
        first = await client.post(admission.SIGN_IN, json={"code": made["code"]})
        again = await client.post(admission.SIGN_IN, json={"code": made["code"]})
    assert (await ask(server, cookie(server, first), **OURS)).json()["username"] == "bob"
    assert (again.status_code, again.json()["code"]) == (401, "unauthenticated")
    assert made["code"] not in "".join(server.rows("SELECT target FROM audit"))


async def test_a_link_is_over_after_ten_minutes(server: rig.Target) -> None:
    now = 0.0
    kept = links.Links(server.engine.database, server.engine.ids, lambda: now)
    code = await kept.create(ADMIN)
    now = links.SECONDS + 1
    with pytest.raises(errors.Unauthenticated, match="is over"):
        kept.redeem(code)


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b'{"token": "x"}', "text/plain"),  # what a form of another page can send
        (b"token=x", "application/x-www-form-urlencoded"),
        (b"{", "application/json"),
        (b"[]", "application/json"),
        (b"{}", "application/json"),
        (b'{"token": 7}', "application/json"),
        (b'{"token": "x", "code": "y"}', "application/json"),
        (b'{"code": "' + b"x" * 5000 + b'"}', "application/json"),
    ],
)
async def test_signing_in_takes_nothing_else(server: rig.Target, content: bytes, kind: str) -> None:
    async with server.client(None) as client:
        answer = await client.post(admission.SIGN_IN, content=content, headers={"content-type": kind})
    assert answer.status_code == 422 and "set-cookie" not in answer.headers


async def test_who_guesses_keys_has_to_wait(server: rig.Target) -> None:
    async with server.client(None) as client:
        seen = [(await client.post(admission.SIGN_IN, json={"token": f"sluice_{n}"})).status_code for n in range(30)]
    assert set(seen) == {401, 429} and seen[-1] == 429


@pytest.mark.usefixtures("console_files")
async def test_the_files_are_open_and_let_nothing_in(server: rig.Target) -> None:
    async with server.client(None) as client:
        home = await client.get("/")
        assert (home.status_code, home.headers["location"]) == (302, "/console/")
        pages: list[Any] = [await client.get(path) for path in ("/console/", "/console/deployments/x", "/api/docs")]
        for page in pages:
            policy = page.headers["content-security-policy"]
            assert "default-src 'none'" in policy and "unsafe" not in policy and "frame-ancestors 'none'" in policy
            assert page.headers["cache-control"] == "no-store" and page.headers["x-content-type-options"] == "nosniff"
        nonces = {page.headers["content-security-policy"].partition("nonce-")[2][:20] for page in pages}
        assert len(nonces) == 3, "a nonce of its own for each answer"
        for path in (
            "/console/assets/../../../../etc/passwd",
            "/console/assets/%2e%2e/index.html",
            "/console/assets/x",
        ):
            assert (await client.get(path)).status_code in (401, 404)  # what leaves /console/ is not open
        assert (await client.post("/console/")).status_code == 405


async def test_a_checkout_without_a_console_says_how_to_make_it(tmp_path: Path) -> None:
    for name in (console.PAGE, console.VIEWER):
        answer = console.page(tmp_path, name)
        assert answer.status_code == 404 and b"make console" in bytes(answer.body)
