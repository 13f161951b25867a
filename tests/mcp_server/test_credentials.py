"""Where a remote session's token comes from: minted before the old one ends, cached for one address and profile."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anyio
import pytest

from core import clock, errors
from mcp_server import logins, remote
from mcp_server.credentials import EARLY_SHARE, Cached, Minted
from mcp_server.logins import Login

pytestmark = pytest.mark.anyio
URL = "https://sluice.example:3000"
NOW = 1_800_000_000 * clock.NANOSECONDS


@pytest.fixture(autouse=True)
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    return tmp_path / "sluice" / logins.FILE


def _login(profile: str = "", url: str = URL, token: str = "t", ends: int = NOW + 1) -> Login:
    return Login(url, profile, token, "ada", ends)


class Mints:
    """Mints numbered tokens."""

    def __init__(self) -> None:
        self.now = 0.0
        self.calls: list[tuple[str, int | None]] = []

    async def __call__(self, api_key: str, ttl: int | None) -> dict[str, Any]:
        self.calls.append((api_key, ttl))
        number = len(self.calls)
        await anyio.lowlevel.checkpoint()
        return {"access_token": f"jwt {number}", "expires_in": 100}

    def credential(self, ttl: int | None = None) -> Minted:
        return Minted(" key\n", ttl, self, lambda: self.now)


async def test_a_token_is_minted_once_and_replaced_before_it_ends() -> None:
    mints = Mints()
    credential = mints.credential(ttl=100)
    seen: list[str] = []

    async def ask() -> None:
        seen.append(await credential.bearer())

    async with anyio.create_task_group() as group:
        for _ in range(10):
            group.start_soon(ask)
    assert (seen, mints.calls) == (["jwt 1"] * 10, [("key", 100)])
    mints.now = 100 * (1 - EARLY_SHARE) - 0.1
    assert await credential.bearer() == "jwt 1"
    mints.now = 100 * (1 - EARLY_SHARE)
    assert await credential.bearer() == "jwt 2"


async def test_a_refused_token_is_minted_anew_once_for_all_who_held_it() -> None:
    mints = Mints()
    credential = mints.credential()
    first = await credential.bearer()
    assert await credential.refused(first)
    second = await credential.bearer()
    assert await credential.refused(first)  # told by another call that still had the old one
    assert (await credential.bearer(), second) == ("jwt 2", "jwt 2")


async def test_a_login_ends_at_its_time_and_a_new_one_is_found_without_a_restart() -> None:
    now = NOW
    credential = Cached(URL, "ops", lambda: now)
    logins.save(_login("ops", ends=NOW + 1))
    assert await credential.bearer() == "t"
    now = NOW + 1
    with pytest.raises(errors.Unauthenticated, match=r"Logged out. The login .* expired at 2027"):
        await credential.bearer()
    logins.save(_login("ops", token="u", ends=NOW + 9))
    assert await credential.bearer() == "u"
    assert not await credential.refused("u")
    logins.save(_login("ops", token="v", ends=NOW + 9))
    assert await credential.refused("u") and await credential.bearer() == "v"


@pytest.mark.parametrize(
    ("url", "profile", "says"),
    [
        (URL, "dev", "profiles of that address: ops"),
        (URL, "", "profiles of that address: ops"),
        ("https://sluice.example", "ops", f"addresses with one: {URL}"),
        (URL + "/x", "ops", f"addresses with one: {URL}"),
        ("http://sluice.example:3000", "ops", f"addresses with one: {URL}"),
    ],
)
def test_a_login_is_for_exactly_one_address_and_profile(url: str, profile: str, says: str) -> None:
    logins.save(_login("ops"))
    with pytest.raises(errors.Unauthenticated, match="Logged out") as caught:
        logins.find(url, profile, NOW)
    assert says in caught.value.message
    assert "--profile" in caught.value.hint


def test_the_file_of_logins_is_private_and_one_that_is_not_is_refused(config: Path) -> None:
    assert logins.save(_login()) == config
    assert (config.stat().st_mode & 0o777, config.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    config.chmod(0o644)
    with pytest.raises(errors.Forbidden, match="Others can read"):
        logins.find(URL, "", NOW)
    config.chmod(0o600)
    config.write_text("{]")
    with pytest.raises(errors.InvalidDocument, match="cannot be read"):
        logins.find(URL, "", NOW)


def test_logins_are_forgotten_one_by_one_or_all(config: Path) -> None:
    for login in (_login("a"), _login("b"), _login("a", url="https://other")):
        logins.save(login)
    logins.save(_login("a", token="newer"))
    assert logins.find(URL, "a", NOW).token == "newer"
    assert logins.forget(URL, "a") == 1
    assert logins.find(URL, "b", NOW).token == "t"
    assert logins.forget(URL, "a") == 0
    assert logins.forget(None, None) == 2


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("https://Host:3000/", "https://host:3000"),
        (" http://127.0.0.1:3000 ", "http://127.0.0.1:3000"),
        ("https://h/base/", "https://h/base"),
        ("https://[::1]:3000", "https://[::1]:3000"),
    ],
)
def test_an_address_has_one_form(given: str, meant: str) -> None:
    assert logins.address(given) == meant


@pytest.mark.parametrize(
    "given",
    ["", "host:3000", "ftp://h", "https://", "https://user:pass@h", "https://u@h", "https://h?q=1", "https://h#f",
     "https://h:x", "https://h:99999", "https://a b", "https://h/\x00", "file:///etc"],
)  # fmt: skip
def test_what_is_no_address_is_refused_without_repeating_it(given: str) -> None:
    with pytest.raises(errors.InvalidParams) as caught:
        logins.address(given)
    assert "pass" not in caught.value.message


async def test_credentials_do_not_travel_in_the_clear_to_another_host() -> None:
    with pytest.raises(errors.Forbidden, match="plain HTTP"):
        remote.client_for(remote.Target("http://10.0.0.1:3000"))
    for fine in (
        remote.Target("http://127.0.0.1:3000"),
        remote.Target("http://localhost:3000"),
        remote.Target("http://10.0.0.1:3000", tls_insecure=True),
        remote.Target("https://10.0.0.1:3000"),
    ):
        client = remote.client_for(fine)
        assert client.follow_redirects is False
        await client.aclose()
