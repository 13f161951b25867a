"""Credentials: API keys are shown once and kept as a hash; JWTs are minted from them and end with them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import jwt
import pytest
import structlog

from core import clock, errors
from core.engine import Engine
from core.identity import jwts
from core.model.principal import EVERY_TENANT, SYSTEM, Caller, Principal, Role, Surface
from core.operations.registry import MAX_PAGE
from mcp_server.http import auth
from mcp_server.http.auth import TokenAuth
from tests import cases
from tests.engines import ADMIN, USER, engine_on

pytestmark = pytest.mark.anyio

OWNER = Caller(Principal("alice", Role.ADMIN, (EVERY_TENANT,), platform=True), "tenant-a", Surface.CLI)
TENANT_ADMIN = Caller(Principal("carol", Role.ADMIN, ("tenant-a",)), "tenant-a")


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[Engine]:
    async with engine_on(tmp_path / "home", workers=0) as running:
        yield running


async def _make(engine: Engine, caller: Caller = ADMIN, **more: Any) -> dict[str, Any]:
    return await engine.call("token_create", {"username": "bob", "tenants": ["tenant-a"], **more}, caller)


async def _verify(engine: Engine, token: str) -> dict[str, Any]:
    return await engine.call("token_verify", {"token": token}, SYSTEM)


def pass_a_minute(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    later = engine.tokens.steady.now_ns() + 61 * clock.NANOSECONDS
    monkeypatch.setattr(engine.tokens, "steady", clock.Steady(lambda: later))


async def test_a_clock_that_is_set_neither_ends_a_key_nor_lets_it_live_on(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = clock.now_ns
    with anyio.fail_after(10):
        made = await _make(engine, expires_in_seconds=60)
        minted = await _mint(engine, made["token"], ttl_seconds=60)
        for hours in (-48, 2, 24 * 400):
            monkeypatch.setattr(clock, "now_ns", lambda hours=hours: real() + hours * 3600 * clock.NANOSECONDS)
            for token in (made["token"], minted["access_token"]):
                assert 0 < (await _verify(engine, token))["ends_in_seconds"] <= 60
        pass_a_minute(engine, monkeypatch)
        monkeypatch.setattr(clock, "now_ns", lambda: real() - 48 * 3600 * clock.NANOSECONDS)
        for token in (made["token"], minted["access_token"]):
            with pytest.raises(errors.Unauthenticated):
                await _verify(engine, token)


@pytest.mark.parametrize(
    "name",
    ["root ", "root\n", "root\u200b", "\u202etoor", "r\u043eot", "Root", "\uff32\uff2f\uff2f\uff34", "-x", "a/b"],
)
async def test_no_user_name_looks_like_another_one(engine: Engine, name: str) -> None:
    with anyio.fail_after(10), pytest.raises(errors.InvalidParams, match="is not the name of a user") as caught:
        await _make(engine, username=name)
    assert caught.value.errors[0].pointer == "/username"
    assert str(caught.value).isascii()


async def test_a_token_stands_for_its_user_and_its_secret_is_nowhere_in_the_store(engine: Engine) -> None:
    with anyio.fail_after(10):
        made = await _make(engine, role="admin")
        assert await _verify(engine, made["token"]) == {
            "username": "bob",
            "role": "admin",
            "tenants": ["tenant-a"],
            "platform": False,
            "scopes": [],
            "credential": made["id"],
            "minted": False,
            "mcp_only": False,
            "ends_in_seconds": None,
        }
        listed = (await engine.call("token_list", {}, ADMIN))["items"]
        dump = await engine.database.read(lambda db: "\n".join(db.conn.iterdump()))
    assert [row["id"] for row in listed] == [made["id"]]
    assert made["token"] not in dump
    assert "token" not in listed[0]


@pytest.mark.parametrize("token", ["", "sluice_", "sluice_" + "0" * 64, "x" * 256])
async def test_an_unknown_token_is_refused_without_a_clue(engine: Engine, token: str) -> None:
    with anyio.fail_after(10):
        await _make(engine)
        with pytest.raises(errors.Unauthenticated, match="not valid"):
            await _verify(engine, token)


async def test_a_revoked_token_is_refused_at_once_also_by_the_http_door(engine: Engine) -> None:
    with anyio.fail_after(10):
        made = await _make(engine)
        door = TokenAuth(engine)  # type: ignore[arg-type]
        assert (await door.principal(f"Bearer {made['token']}")).username == "bob"
        await engine.call("token_revoke", {"id": made["id"]}, ADMIN)
        with pytest.raises(errors.Unauthenticated):
            await door.principal(f"Bearer {made['token']}")
        with pytest.raises(errors.NotFound):
            await engine.call("token_revoke", {"id": made["id"]}, ADMIN)


async def test_one_of_very_many_tokens_is_revoked_as_well(engine: Engine) -> None:
    with anyio.fail_after(30):
        oldest = await _make(engine)
        for _ in range(MAX_PAGE + 1):
            await _make(engine)
        assert (await engine.call("token_revoke", {"id": oldest["id"]}, ADMIN))["revoked"] is True
        revoked = await engine.call("audit_list", {"operation": "token_revoke"}, ADMIN)
        assert [row["target"] for row in revoked["items"]] == [oldest["id"]]


async def test_an_expired_token_is_refused(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    with anyio.fail_after(10):
        made = await _make(engine, expires_in_seconds=60)
        await _verify(engine, made["token"])
        pass_a_minute(engine, monkeypatch)
        with pytest.raises(errors.Unauthenticated):
            await _verify(engine, made["token"])


async def test_nobody_gives_away_more_than_he_has(engine: Engine) -> None:
    with anyio.fail_after(10):
        with pytest.raises(errors.Forbidden):
            await _make(engine, USER)
        with pytest.raises(errors.NotFound):
            await _make(engine, TENANT_ADMIN, tenants=["tenant-b"])
        with pytest.raises(errors.Forbidden):
            await _make(engine, TENANT_ADMIN, tenants=["*"])
        other = await _make(engine, tenants=["tenant-b"])
        assert (await engine.call("token_list", {}, TENANT_ADMIN))["items"] == []
        with pytest.raises(errors.NotFound):
            await engine.call("token_revoke", {"id": other["id"]}, TENANT_ADMIN)


# -- JWTs -------------------------------------------------------------------------------------------------------------


async def _as_bearer(engine: Engine, token: str, tenant: str = "tenant-a") -> Caller:
    """The caller that the HTTP door makes of a token."""
    return auth.caller(await TokenAuth(engine).principal(f"Bearer {token}"), tenant)  # type: ignore[arg-type]


async def _mint(engine: Engine, token: str, **more: Any) -> dict[str, Any]:
    return await engine.call("token_mint", more, await _as_bearer(engine, token))


async def test_a_jwt_stands_for_the_user_of_its_key_with_the_same_rights(engine: Engine) -> None:
    with anyio.fail_after(10):
        key = await _make(engine, role="admin", scopes=["toolset:kv", "read"])
        minted = await _mint(engine, key["token"], ttl_seconds=600)
        caller = await _as_bearer(engine, minted["access_token"])
        assert (minted["token_type"], minted["expires_in"], minted["username"]) == ("Bearer", 600, "bob")
        assert caller.principal == (await _as_bearer(engine, key["token"])).principal
        assert (await engine.call("whoami", {}, caller))["scopes"] == ["read", "toolset:kv"]
        dump = await engine.database.read(lambda db: "\n".join(db.conn.iterdump()))
    assert minted["access_token"] not in dump


async def test_a_jwt_ends_at_its_time_and_at_once_with_its_key(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    with anyio.fail_after(10):
        key = await _make(engine)
        ahead = 0.0
        door = TokenAuth(engine, lambda: clock.monotonic() + ahead)  # type: ignore[arg-type]
        short = (await _mint(engine, key["token"], ttl_seconds=60))["access_token"]
        long = (await _mint(engine, key["token"], ttl_seconds=3600))["access_token"]
        assert (await door.principal(f"Bearer {short}")).username == "bob"
        pass_a_minute(engine, monkeypatch)
        ahead = 61.0
        with pytest.raises(errors.Unauthenticated):
            await door.principal(f"Bearer {short}")  # although the door had remembered it
        assert (await door.principal(f"Bearer {long}")).username == "bob"
        await engine.call("token_revoke", {"id": key["id"]}, ADMIN)
        with pytest.raises(errors.Unauthenticated):
            await door.principal(f"Bearer {long}")


async def test_a_jwt_lives_no_longer_than_its_key_and_mints_no_other(engine: Engine) -> None:
    with anyio.fail_after(10):
        key = await _make(engine, expires_in_seconds=120)
        minted = await _mint(engine, key["token"], ttl_seconds=3600)
        assert 110 <= minted["expires_in"] <= 120
        with pytest.raises(errors.Forbidden, match="API key"):
            await _mint(engine, minted["access_token"])
        with pytest.raises(errors.Forbidden, match="API key"):
            await engine.call("token_mint", {}, ADMIN)


NOW = 1_800_000_000 * clock.NANOSECONDS
SECRET = b"k" * 32


def _claims(**changed: Any) -> dict[str, Any]:
    now = NOW // clock.NANOSECONDS
    claims = {"iss": "sluice", "aud": "sluice-api", "sub": "bob", "key": "tok_1", "jti": "1"}
    claims |= {"iat": now, "nbf": now, "exp": now + 60, **changed}
    return {name: value for name, value in claims.items() if value is not None}


def _forged(secret: bytes | None = SECRET, algorithm: str = "HS256", /, **changed: Any) -> str:
    return jwt.encode(_claims(**changed), secret, algorithm=algorithm)  # type: ignore[arg-type]


def test_a_jwt_is_read_at_the_time_that_it_is_for() -> None:
    signer = jwts.Signer(SECRET)
    made = signer.mint("bob", "tok_1", NOW, 60)
    assert signer.read(made, NOW) == jwts.Claims("bob", "tok_1", NOW + 60 * clock.NANOSECONDS)
    assert signer.read(made, NOW + 60 * clock.NANOSECONDS - 1) is not None
    assert signer.read(made, NOW + 60 * clock.NANOSECONDS) is None
    assert signer.read(made, NOW - 1) is None
    assert signer.read(_forged(), NOW) is not None  # so the forgeries below fail for what is wrong with them


@cases.table(
    "token",
    [
        _forged(b"x" * 32),
        _forged(None, "none"),
        _forged(b"k" * 64, "HS512"),
        _forged(iss="other"),
        _forged(aud="other"),
        _forged(aud=["sluice", "x"]),
        _forged(exp=None),
        _forged(nbf=None),
        _forged(jti=None),
        _forged(key=None),
        _forged(exp="never"),
        _forged().rpartition(".")[0] + ".",
        _forged()[:-2] + "AA",
        "a.b.c",
        "..",
        "é.é.é",
        "." * 4000,
    ],
    ids=["key", "none", "HS512", "issuer", "audience", "audiences", "no exp", "no nbf", "no jti", "no key", "exp true",
         "unsigned", "cut", "noise", "dots", "unicode", "many dots"],
)  # fmt: skip
def test_a_forged_jwt_is_none(token: str) -> None:
    assert jwts.Signer(SECRET).read(token, NOW) is None


def test_the_signing_key_is_made_once_and_refused_when_others_can_read_it(tmp_path: Path) -> None:
    first = jwts.open_signer(tmp_path, None).mint("bob", "tok_1", NOW, 60)
    assert jwts.open_signer(tmp_path, None).read(first, NOW) is not None
    path = tmp_path / jwts.KEY_FILE
    assert path.stat().st_mode & 0o777 == 0o600
    assert [found.name for found in tmp_path.iterdir()] == [jwts.KEY_FILE]
    path.chmod(0o640)
    with pytest.raises(errors.StorageUnavailable, match="Others can read"):
        jwts.open_signer(tmp_path, None)
    short = tmp_path / "short"
    short.write_text("too short")
    short.chmod(0o600)
    with pytest.raises(errors.StorageUnavailable, match="at least 32"):
        jwts.open_signer(tmp_path, short)
    with pytest.raises(errors.StorageUnavailable, match="cannot be read"):
        jwts.open_signer(tmp_path, tmp_path / "none")


# -- scopes -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scopes", "allowed", "refused"),
    [
        (["read"], ["kv_list", "job_list", "token_list"], ["kv_set", "trigger_invoke"]),
        (["toolset:kv"], ["kv_list", "kv_set"], ["job_list", "trigger_list"]),
        (["operation:kv_list"], ["kv_list"], ["kv_set", "kv_get"]),
        (["operation:kv_list", "toolset:jobs"], ["kv_list", "job_list"], ["kv_set"]),
        (["trigger:go"], ["trigger_tools", "whoami"], ["trigger_list", "trigger_invocation_list", "kv_list"]),
        ([], ["kv_set", "job_list"], []),
    ],
    ids=str,
)
async def test_scopes_limit_what_a_key_may_call(
    engine: Engine, scopes: list[str], allowed: list[str], refused: list[str]
) -> None:
    given = {
        "kv_list": {"namespace": "n"}, "kv_get": {"namespace": "n", "key": "k"},
        "kv_set": {"namespace": "n", "key": "k", "value": 1}, "trigger_invoke": {"slug": "go"},
    }  # fmt: skip
    with anyio.fail_after(10):
        key = await _make(engine, role="admin", scopes=scopes)
        caller = await _as_bearer(engine, key["token"])
        for name in allowed:
            await engine.call(name, given.get(name, {}), caller)
        for name in refused:
            with pytest.raises(errors.Forbidden, match="scopes"):
                await engine.call(name, given.get(name, {}), caller)


async def test_a_key_for_one_trigger_sees_no_other_one(engine: Engine) -> None:
    with anyio.fail_after(10):
        for slug in ("go", "stop"):
            published = {"slug": slug, "target_job_name": "j", "target_message_tag": slug, "publication": {"mcp": True}}
            await engine.call("trigger_publish", published, ADMIN)
        stopped = await engine.call("trigger_invoke", {"slug": "stop"}, ADMIN)
        caller = await _as_bearer(engine, (await _make(engine, role="admin", scopes=["trigger:go"]))["token"])
        tools = (await engine.call("trigger_tools", {}, caller))["tools"]
        assert [tool["slug"] for tool in tools] == ["go"]
        run = await engine.call("trigger_invoke", {"slug": "go"}, caller)
        id = run["invocation_id"]
        assert (await engine.call("trigger_invocation_get", {"invocation_id": id}, caller))["trigger_slug"] == "go"
        with pytest.raises(errors.NotFound):
            await engine.call("trigger_invocation_get", {"invocation_id": stopped["invocation_id"]}, caller)
        with pytest.raises(errors.Forbidden):
            await engine.call("trigger_invoke", {"slug": "stop"}, caller)


async def test_a_scope_about_nothing_and_a_key_beyond_its_maker_are_refused(engine: Engine) -> None:
    with anyio.fail_after(10):
        for scope in ("toolset:none", "operation:none"):
            with pytest.raises(errors.InvalidParams) as caught:
                await _make(engine, scopes=["read", scope])
            assert caught.value.errors[0].pointer == "/scopes/1"
        with pytest.raises(errors.InvalidParams):
            await _make(engine, scopes=["everything"])
        maker = await _make(engine, role="admin", scopes=["operation:token_create", "toolset:kv"])
        caller = await _as_bearer(engine, maker["token"])
        for beyond in ([], ["read"], ["toolset:kv", "read"]):
            with pytest.raises(errors.Forbidden):
                await _make(engine, caller, scopes=beyond)
        assert (await _make(engine, caller, scopes=["toolset:kv"]))["scopes"] == ["toolset:kv"]
        for tenants_alone in (TENANT_ADMIN, ADMIN):
            with pytest.raises(errors.Forbidden, match="platform"):
                await _make(engine, tenants_alone, platform=True)
        assert (await _make(engine, OWNER, platform=True))["platform"] is True


async def test_the_last_use_of_a_key_is_kept_to_the_minute(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    async def used() -> str | None:
        row: dict[str, Any] = (await engine.call("token_list", {}, ADMIN))["items"][0]
        return row["last_used_at"]

    with anyio.fail_after(10):
        key = await _make(engine)
        assert await used() is None
        await _verify(engine, key["token"])
        first = await used()
        await _verify(engine, key["token"])
        assert first is not None and await used() == first
        pass_a_minute(engine, monkeypatch)
        await _verify(engine, key["token"])
        assert await used() > first


# -- refused credentials ----------------------------------------------------------------------------------------------


async def test_an_address_that_guesses_is_made_to_wait_and_a_known_token_passes_meanwhile(engine: Engine) -> None:
    now = 0.0
    door = TokenAuth(engine, lambda: now)  # type: ignore[arg-type]
    with anyio.fail_after(10):
        good = f"Bearer {(await _make(engine))['token']}"
        await door.principal(good, "10.0.0.1")
        for _ in range(auth.FAILURES):
            with pytest.raises(errors.Unauthenticated):
                await door.principal("Bearer sluice_guess", "10.0.0.1")
        with pytest.raises(errors.RateLimited) as caught:
            await door.principal("Bearer sluice_guess", "10.0.0.1")
        assert 1 <= caught.value.details["retry_after_seconds"] <= auth.FAILURE_SECONDS + 1
        assert (await door.principal(good, "10.0.0.1")).username == "bob"
        door._noticed("tokens", {})  # and so it does when it has to be checked anew
        assert (await door.principal(good, "10.0.0.1")).username == "bob"
        with pytest.raises(errors.Unauthenticated):
            await door.principal("Bearer sluice_guess", "10.0.0.2")
        now += auth.FAILURE_SECONDS
        with pytest.raises(errors.Unauthenticated):
            await door.principal("Bearer sluice_guess", "10.0.0.1")


async def test_a_token_that_was_good_once_and_was_revoked_is_refused_once_and_then_waits(engine: Engine) -> None:
    door = TokenAuth(engine, lambda: 0.0)  # type: ignore[arg-type]
    with anyio.fail_after(10):
        made = await _make(engine)
        await door.principal(f"Bearer {made['token']}", "10.0.0.1")
        for _ in range(auth.FAILURES):
            with pytest.raises(errors.Unauthenticated):
                await door.principal("Bearer sluice_guess", "10.0.0.1")
        await engine.call("token_revoke", {"id": made["id"]}, ADMIN)
        with pytest.raises(errors.Unauthenticated):
            await door.principal(f"Bearer {made['token']}", "10.0.0.1")
        with pytest.raises(errors.RateLimited):
            await door.principal(f"Bearer {made['token']}", "10.0.0.1")


async def test_the_table_of_known_tokens_is_bounded(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(auth, "CACHE_SIZE", 3)
    door = TokenAuth(engine, lambda: 0.0)  # type: ignore[arg-type]
    tokens = [(await _make(engine, name=f"n{n}"))["token"] for n in range(5)]
    for token in tokens * 2:
        assert (await door.principal(f"Bearer {token}")).username == "bob"
    assert len(door._known) == 3


async def test_a_refused_credential_is_in_the_log_of_the_server_without_being_told(engine: Engine) -> None:
    door = TokenAuth(engine)  # type: ignore[arg-type]
    with anyio.fail_after(10), structlog.testing.capture_logs() as logged, pytest.raises(errors.Unauthenticated):
        await door.principal("Bearer sluice_guess", "10.0.0.1")
    assert logged == [{"event": "credential_refused", "client": "10.0.0.1", "log_level": "warning"}]


def test_the_table_of_addresses_is_bounded() -> None:
    failures = auth.Failures(lambda: 0.0)
    for n in range(3 * auth.CACHE_SIZE):
        failures.note(f"10.{n}")
    assert len(failures._clear_at) <= auth.CACHE_SIZE


def test_what_a_remote_session_says_of_itself_only_takes_rights_away() -> None:
    identity = Principal("bob", Role.USER, ("tenant-a",))
    told = {"x-sluice-surface": "mcp", "x-sluice-read-only": "1", "x-sluice-session-label": "lap\ntop"}
    caller = auth.caller(identity, "tenant-a", told)
    assert (caller.principal, caller.surface, caller.allow_write, caller.label) == (
        identity, Surface.MCP, False, "lap top",
    )  # fmt: skip
    for claimed in ("internal", "nonsense", ""):
        assert auth.caller(identity, "tenant-a", {"x-sluice-surface": claimed}).surface is Surface.HTTP


async def test_a_key_that_ends_makes_no_key_that_outlives_it(engine: Engine) -> None:
    with anyio.fail_after(10):
        own = await _make(engine, role="admin", expires_in_seconds=3600)
        holder = Caller(Principal("bob", Role.ADMIN, ("tenant-a",), credential=own["id"]), "tenant-a", Surface.HTTP)
        assert (await _make(engine, holder))["expires_at"] == own["expires_at"]
        shorter = await _make(engine, holder, expires_in_seconds=60)
        assert shorter["expires_at"] < own["expires_at"]
        with pytest.raises(errors.Forbidden, match="end"):
            await _make(engine, holder, expires_in_seconds=7200)
        lasting = await _make(engine, role="admin")
        holder = Caller(Principal("bob", Role.ADMIN, ("tenant-a",), credential=lasting["id"]), "tenant-a", Surface.HTTP)
        assert (await _make(engine, holder))["expires_at"] is None
