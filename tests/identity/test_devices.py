"""`sluice login` without a key: a code is shown, somebody lets the program in, and what it gets is his."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import pytest

from core import errors
from core.identity import devices
from mcp_server import device
from mcp_server.cli import login
from mcp_server.cli.connect import Common
from mcp_server.remote import Target
from tests.attacks import rig
from tests.engines import ADMIN, USER

pytestmark = pytest.mark.anyio
APPROVE = "/api/login/device/approve"


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[rig.Target]:
    async with rig.target(tmp_path / "home") as made:
        with anyio.fail_after(30):
            yield made


async def _sign_in(server: rig.Target, who: str, decision: str) -> dict[str, object]:
    shown: list[str] = []

    async def decide(seconds: float) -> None:
        assert seconds == devices.POLL_SECONDS
        _, _, code = shown[0].partition("?code=")
        answer = await server.call("POST", APPROVE, {"user_code": code.lower(), "decision": "look"}, who)
        assert answer.json()["name"].startswith("sluice login of ")
        assert (await server.call("POST", APPROVE, {"user_code": code, "decision": decision}, who)).status_code == 200

    return await device.sign_in(Target(server.url), lambda url, code: shown.append(url), pause=decide)


async def test_a_program_that_is_let_in_has_the_rights_of_who_did_that(server: rig.Target) -> None:
    made = await _sign_in(server, "user", "approve")
    assert made["username"] == "bob"
    server.tokens["program"] = str(made["access_token"])
    known = (await server.call("GET", "/api/auth/whoami", who="program")).json()
    assert (known["role"], known["tenants"]) == ("user", ["tenant-a"])
    key = next(one for one in (await server.call("GET", "/api/tokens")).json()["items"] if one["name"] == "user")
    await server.call("POST", f"/api/tokens/{key['id']}/revoke")
    assert (await server.call("GET", "/api/auth/whoami", who="program")).status_code == 401, "it ends with that key"


async def test_a_program_that_is_refused_gets_nothing(server: rig.Target) -> None:
    with pytest.raises(errors.Forbidden, match="refused this sign-in"):
        await _sign_in(server, "user", "deny")


async def test_the_command_keeps_what_it_got_and_another_command_works_with_it(
    server: rig.Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    real = device.sign_in

    async def at_once(seconds: float) -> None:
        (waiting,) = server.engine.devices._waiting.values()
        await server.call("POST", APPROVE, {"user_code": waiting.user_code}, "admin")

    monkeypatch.setattr(device, "sign_in", lambda target, ask: real(target, ask, pause=at_once))
    assert await login.login(server.url, common=Common(json=True)) == 0
    said = capsys.readouterr()
    assert "/console/device?code=" in said.err and '"username": "ada"' in said.out
    kept = tmp_path / "config" / "sluice" / "logins.json"
    assert kept.stat().st_mode & 0o777 == 0o600
    from mcp_server.cli import connect

    async with connect.engine(Common(url=server.url, tenant="tenant-a")) as client:
        assert (await client.call("whoami"))["username"] == "ada"


async def test_a_code_ends_is_used_once_and_cannot_be_guessed(server: rig.Target) -> None:
    engine, now = server.engine, 100.0
    service = devices.Devices(engine.database, engine.ids, engine.tokens, lambda: now)
    begun = service.begin("a program")
    assert (await service.poll(begun.device_code)).state == "pending"
    assert (await service.poll(begun.device_code)).state == "slow_down"
    now += devices.POLL_SECONDS
    assert (await service.poll(begun.device_code)).state == "pending"
    await service.settle(ADMIN, begun.user_code, approve=True)
    with pytest.raises(errors.NotFound):
        await service.settle(USER, begun.user_code, approve=True)  # nobody changes whose it is
    assert (await service.poll(begun.device_code)).username == "alice"
    with pytest.raises(errors.Unauthenticated):
        await service.poll(begun.device_code)
    late = service.begin("late")
    now += devices.SECONDS
    with pytest.raises(errors.NotFound):
        await service.settle(ADMIN, late.user_code, approve=True)
    with pytest.raises(errors.Unauthenticated):
        await service.poll(late.device_code)
    for _ in range(devices.TRIES - 1):
        with pytest.raises(errors.NotFound):
            service.find(ADMIN, "BBBB-BBBB")
    with pytest.raises(errors.RateLimited):
        service.find(ADMIN, "BBBB-BBBB")
    for _ in range(devices.MOST + 5):
        service.begin("x")
    assert len(service._waiting) == devices.MOST
