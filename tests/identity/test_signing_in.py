"""People sign in with a real provider, see what their groups may, and are out when the provider says so."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from urllib.parse import parse_qs, urlsplit

import anyio
import httpx
import pytest

from core import clock, errors
from core.store import logins as table
from mcp_server import device
from mcp_server.remote import Target
from tests.conformance import npm
from tests.identity import signing
from tests.identity.signing import OURS, OWNER, Scene, who

pytestmark = [pytest.mark.anyio, npm.needed]


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def shared(console_files: None, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Scene]:
    async with signing.scene(tmp_path_factory.mktemp("signing")) as made:
        yield made


@pytest.fixture
async def scene(shared: Scene) -> AsyncIterator[Scene]:
    """The shared one, in which Ada of the group ops signs in next, and nobody is bound to anything."""
    for binding in (await shared.engine.call("role_binding_list", {}, OWNER))["items"]:
        await shared.engine.call("role_binding_delete", {"id": binding["id"]}, OWNER)
    await shared.provider.say(sub="u-ada", name="Ada", groups=["ops"], gone=False)
    with anyio.fail_after(40):
        yield shared


async def test_who_has_no_role_is_not_let_in_and_is_told_whom_to_bind(scene: Scene) -> None:
    browser = scene.browser()
    answer = await browser.get("/api/login")
    assert answer.status_code == 403 and answer.url.path == "/api/login/callback"
    assert "It calls you u-ada; groups: ops" in answer.text and "sluice role bind" in answer.text
    assert (await who(browser))["code"] == "unauthenticated"
    (row,) = await scene.audit(decision="forbidden", operation="login_complete")
    assert row["target"] == "u-ada; groups: ops"
    assert re.fullmatch("ada-[0-9a-f]{32}", row["username"]), "nobody has that name, whoever is called ada"


async def test_a_group_sees_its_tenant_and_no_other(scene: Scene) -> None:
    await scene.engine.call("variable_set", {"name": "A", "value": "of the default tenant"}, OWNER)
    await scene.bind("viewer", group="ops", tenant="team-a")
    await scene.bind("admin", group="leads", tenant="default")
    browser = await scene.signed_in()
    known = await who(browser)
    assert (known["username"], known["role"], known["tenants"]) == ("ada", "viewer", ["team-a"])
    asked = {"x-sluice-tenant": "default", **OURS}
    assert (await browser.post("/api/operations/job_list", json={}, headers=asked)).status_code == 404
    refused = await browser.post("/api/operations/job_put", json={"document": "name: x"}, headers=OURS)
    assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")
    assert (await browser.post("/api/operations/job_list", json={}, headers=OURS)).json()["total"] == 0
    # A second group raises her in another tenant when she signs in anew.
    await scene.provider.say(groups=["ops", "leads"])
    again = await scene.signed_in()
    assert (await who(again, **{"x-sluice-tenant": "default"}))["role"] == "admin"
    assert (await who(again, **{"x-sluice-tenant": "team-a"}))["role"] == "viewer"
    listed = await again.post("/api/operations/variable_list", json={}, headers=asked)
    assert [one["name"] for one in listed.json()["items"]] == ["A"]


async def test_the_cookie_of_a_session_is_ours_alone(scene: Scene) -> None:
    await scene.bind("admin", group="ops", tenant="default")
    browser = scene.browser()
    browser.follow_redirects = False
    answer = await browser.get("/api/login")
    kept = answer.headers["set-cookie"].lower()
    assert "httponly" in kept and "samesite=lax" in kept and "max-age=600" in kept
    browser.follow_redirects = True
    done = await browser.get(answer.headers["location"])
    cookies = [one.lower() for one in done.history[-1].headers.get_list("set-cookie")]
    session = next(one for one in cookies if "-login=" not in one)
    assert "httponly" in session and "samesite=lax" in session and "max-age=43200" in session
    # It counts for our own pages, and for a write not even with a bookmark.
    given = {"name": "B", "value": "x"}
    for headers in ({"sec-fetch-site": "cross-site"}, {"sec-fetch-site": "none", "sec-fetch-mode": "navigate"}, {}):
        refused = await browser.post("/api/operations/variable_set", json=given, headers=headers)
        assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")
    assert (await browser.post("/api/operations/variable_set", json=given, headers=OURS)).status_code == 200
    assert (await browser.post("/api/console/sign-out", headers=OURS)).json() == {"ended": True}
    assert (await who(browser))["code"] == "unauthenticated"


async def test_an_answer_for_another_browser_or_a_second_time_signs_nobody_in(scene: Scene) -> None:
    await scene.bind("admin", group="ops")
    browser, thief = scene.browser(), scene.browser()
    answer = await browser.get("/api/login")
    callback = str(answer.history[-1].url)
    assert (
        urlsplit(callback).path == "/api/login/callback"
        and {"code", "state", "iss"} <= parse_qs(urlsplit(callback).query).keys()
    )
    assert "You are not signed in" in (await thief.get(callback)).text  # without what the browser keeps
    assert (await who(thief))["code"] == "unauthenticated"
    assert "You are not signed in" in (await browser.get(callback)).text  # the transaction is over

    begun = scene.browser()
    begun.follow_redirects = False
    query = parse_qs(urlsplit((await begun.get("/api/login")).headers["location"]).query)
    state = query["state"][0]
    for wrong in (
        {"code": "x", "state": state},  # without the issuer, although this provider always tells it
        {"code": "x", "state": state, "iss": "https://elsewhere.example"},
        {"code": "x", "state": "another", "iss": scene.provider.issuer},
        {"error": "access_denied", "state": state, "iss": scene.provider.issuer},
        {"code": "x", "state": state, "iss": scene.provider.issuer},  # a code that was never given
    ):
        kept = scene.browser()
        kept.follow_redirects = False
        kept.cookies = httpx.Cookies(begun.cookies)
        refused = await kept.get("/api/login/callback", params=wrong)
        assert refused.status_code == 401 and "not signed in" in refused.text, wrong
    assert query["code_challenge_method"] == ["S256"] and query["nonce"] != query["state"]


async def test_a_code_is_worth_nothing_with_another_verifier_and_a_token_for_nothing_with_another_nonce(
    scene: Scene,
) -> None:
    """The provider refuses the one; the other is asked by us."""
    await scene.bind("viewer", group="ops")
    service = scene.engine.signing_in
    browser = scene.browser()

    async def code_and(begun: str) -> dict[str, str]:
        at = begun
        while not at.startswith(scene.url):
            answer = await browser.get(at, follow_redirects=False)
            at = str(httpx.URL(at).join(answer.headers["location"]))
        return {name: values[0] for name, values in parse_qs(urlsplit(at).query).items()}

    began, other = await service.begin("/console/"), await service.begin("/console/")
    query = await code_and(began.url)
    mixed = {**query, "state": parse_qs(urlsplit(other.url).query)["state"][0]}
    with pytest.raises(errors.Unauthenticated, match="invalid_grant"):  # the verifier is that of the other one
        await service.complete(mixed, other.transaction)
    third = await service.begin("/console/")
    with pytest.MonkeyPatch.context() as patch:
        state, _, verifier, place = service._opened(third.transaction)
        patch.setattr(service, "_opened", lambda _: (state, "another nonce", verifier, place))
        with pytest.raises(errors.Unauthenticated, match="nonce"):
            await service.complete(await code_and(third.url), third.transaction)


async def test_a_session_has_the_rights_of_what_is_bound_now(scene: Scene) -> None:
    binding = await scene.bind("viewer", group="ops")
    browser = await scene.signed_in()
    assert (await who(browser))["role"] == "viewer"
    await scene.engine.call("role_binding_delete", {"id": binding["id"]}, OWNER)
    assert (await who(browser))["code"] == "unauthenticated"
    await scene.bind("operator", person="u-ada")
    assert (await who(browser))["role"] == "operator"


async def test_groups_are_read_again_and_a_refusal_ends_the_session(scene: Scene) -> None:
    await scene.bind("viewer", group="ops")
    await scene.bind("operator", group="night")
    browser = await scene.signed_in()
    await scene.provider.say(groups=["night"])
    await scene.engine.signing_in.read_again(3600)
    assert (await who(browser))["role"] == "viewer"  # nothing is due yet
    await scene.engine.signing_in.read_again(0)
    assert (await who(browser))["role"] == "operator"
    await scene.provider.say(groups=[])
    await scene.engine.signing_in.read_again(0)
    assert (await who(browser))["code"] == "unauthenticated"
    await scene.provider.say(groups=["ops"])
    await scene.engine.signing_in.read_again(0)
    assert (await who(browser))["role"] == "viewer"
    await scene.provider.say(gone=True)
    await scene.engine.signing_in.read_again(0)
    assert (await who(browser))["code"] == "unauthenticated"
    ended = await scene.audit(operation="login_end")
    assert "refused: u-ada" in ended[0]["target"]
    await scene.provider.say(gone=False)
    await scene.engine.signing_in.read_again(0)
    assert (await who(browser))["code"] == "unauthenticated", "what has ended stays so"


async def test_a_session_ends_unused_and_where_nothing_was_read_for_an_hour(scene: Scene) -> None:
    await scene.bind("viewer", group="ops")
    browser = await scene.signed_in()
    later = scene.engine.tokens.steady.now_ns() + 61 * 60 * clock.NANOSECONDS
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scene.engine.tokens, "steady", clock.Steady(lambda: later))
        (row,) = [
            one
            for one in await scene.engine.database.read(lambda db: list(db.table("tokens").rows))
            if one["login"] and one["revoked_at_ns"] is None and one["username"] == "ada"
        ][-1:]
        found = await scene.engine.call("credential_check", {"ids": [row["id"]]}, OWNER)
        assert found["items"][row["id"]]["state"] == "expired"
    lasts = (row["expires_at_ns"] - row["created_at_ns"]) / clock.NANOSECONDS  # two looks at the clock lie between
    assert (row["idle_seconds"], round(lasts / 60)) == (3600, 720)
    assert (await who(browser))["role"] == "viewer"


async def test_the_provider_logs_a_session_out(scene: Scene) -> None:
    await scene.bind("viewer", group="ops")
    browser, other = await scene.signed_in(), await scene.signed_in()
    found = await scene.engine.database.read(lambda db: list(table._logins(db, "ORDER BY created_at_ns")))
    first, second = found[-2:]
    assert first.session and second.session and first.session != second.session
    await scene.provider.log_out("u-ada", first.session)
    assert (await who(browser))["code"] == "unauthenticated"
    assert (await who(other))["role"] == "viewer"
    forged = await scene.browser().post("/api/login/logout", data={"logout_token": "a.b.c"})
    assert forged.status_code == 400
    assert (await who(other))["role"] == "viewer"


async def test_a_person_is_known_by_the_subject_and_never_by_a_name(scene: Scene) -> None:
    """Whoever calls himself as somebody else gets a name of his own, and none of what that one has."""
    await scene.engine.call("token_create", {"username": "grace", "role": "admin"}, OWNER)
    await scene.bind("viewer", group="ops")
    await scene.provider.say(sub="u-grace", name="Grace")
    assert (await who(await scene.signed_in()))["username"].startswith("grace-")
    await scene.provider.say(sub="u-second-ada", name="Ada")
    second = (await who(await scene.signed_in()))["username"]
    assert second.startswith("ada-")
    await scene.provider.say(sub="u-second-ada", name="Somebody Else")
    assert (await who(await scene.signed_in()))["username"] == second
    with pytest.raises(errors.Forbidden, match="signs in with a provider"):
        await scene.engine.call("token_create", {"username": second}, OWNER)


async def test_what_is_kept_opens_nothing(scene: Scene) -> None:
    await scene.bind("admin", group="ops")
    browser = await scene.signed_in()
    dump = await scene.engine.database.read(lambda db: "\n".join(db.conn.iterdump()))
    held = [cookie.value for cookie in browser.cookies.jar if cookie.name.startswith("sluice-")]
    assert held and all(value not in dump for value in held if value)
    refused = await browser.post("/api/operations/token_create", json={"username": "x"}, headers=OURS)
    assert refused.status_code == 403 and "service account" in refused.text


async def test_a_person_lets_a_command_line_in_which_outlives_the_browser_and_ends_with_the_login(scene: Scene) -> None:
    await scene.bind("operator", group="ops")
    browser = await scene.signed_in()

    async def approve(_: float) -> None:
        (waiting,) = scene.engine.devices._waiting.values()
        given = {"user_code": waiting.user_code}
        assert (await browser.post("/api/login/device/approve", json=given, headers=OURS)).status_code == 200

    made = await device.sign_in(Target(scene.url), lambda url, code: None, pause=approve)
    assert made["username"] == "ada"
    async with httpx.AsyncClient(base_url=scene.url, trust_env=False) as command:
        command.headers["authorization"] = f"Bearer {made['access_token']}"
        assert (await command.get(signing.WHO)).json()["role"] == "operator"
        await browser.post("/api/console/sign-out", headers=OURS)
        assert (await command.get(signing.WHO)).json()["role"] == "operator"
        await scene.provider.say(gone=True)
        await scene.engine.signing_in.read_again(0)
        assert (await command.get(signing.WHO)).status_code == 401
