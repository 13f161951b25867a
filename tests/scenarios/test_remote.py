"""Remote access as users have it: a real `sluice serve` behind HTTPS, real commands and MCP clients elsewhere."""

from __future__ import annotations

import os
import ssl
import subprocess
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import httpx
import orjson
import pytest
from anyio.abc import Process

from core import errors
from core.model.principal import Caller, Principal, Role, Surface
from mcp_server import remote
from mcp_server.cli import codes, stage
from mcp_server.http.tls import Certificate
from tests import waiting

pytestmark = pytest.mark.anyio
EXAMPLES = Path(__file__).parents[2] / "examples"
NOBODY = Caller(Principal("nobody", Role.USER, ()), surface=Surface.CLI)


@dataclass
class Far:
    """A server, and a place elsewhere from which it is called."""

    place: Path
    url: str
    key: str
    process: Process

    @property
    def ca(self) -> Path:
        return self.place / "home" / "tls" / "cert.pem"

    def environment(self, **more: str) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("SLUICE_")}
        elsewhere = {"SLUICE_HOME": str(self.place / "elsewhere"), "XDG_CONFIG_HOME": str(self.place / "config")}
        return {**kept, **elsewhere, "SLUICE_URL": self.url, "SLUICE_TLS_CA": str(self.ca), **more}

    async def run(self, *words: str, stdin: str | None = None, **more: str) -> tuple[int, str, str]:
        with anyio.fail_after(30):
            done = await anyio.run_process(
                [stage.program("sluice"), *words],
                check=False,
                input=(stdin or "").encode(),
                env=self.environment(**more),
            )
        return done.returncode, done.stdout.decode(), done.stderr.decode()

    async def ok(self, *words: str, stdin: str | None = None, **more: str) -> dict[str, Any]:
        code, out, err = await self.run(*words, "--json", stdin=stdin, **more)
        assert code == 0, (words, out, err)
        result: dict[str, Any] = orjson.loads(out)
        return result

    async def fault(self, *words: str, **more: str) -> dict[str, Any]:
        code, out, err = await self.run(*words, "--json", **more)
        error: dict[str, Any] = orjson.loads(err)["error"]
        refused = {kind.code for kind, ends in codes.ERRORS.items() if ends == codes.REFUSED}
        assert code == (codes.REFUSED if error["code"] in refused else codes.FAILED), (words, out, err)
        return error

    def target(self, **how: Any) -> remote.Target:
        return remote.Target(self.url, tls_ca=self.ca, **how)


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def far(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Far]:
    place = tmp_path_factory.mktemp("remote")
    log = place / "serve.log"
    with log.open("wb") as out:
        command = [stage.program("sluice"), "serve", "--home", str(place / "home"), "--port", "0", "--tls"]
        process = await anyio.open_process(
            [*command, "--workers", "1"], stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=stage.environment()
        )
    try:

        def listening() -> str | None:
            said = waiting.lines(log)
            urls = [line.removeprefix(stage.LISTENS).split()[0] for line in said if line.startswith(stage.LISTENS)]
            return urls[0] if urls and any("SHA-256" in line for line in said) else None

        url = await waiting.until(listening, bool)
        assert url is not None
        key = (place / "home" / "admin.token").read_text().strip()
        yield Far(place, url, key, process)
    finally:
        with anyio.CancelScope(shield=True):
            process.terminate()
            await process.wait()
            await process.aclose()
        assert key not in log.read_text()


async def test_the_certificate_is_the_one_whose_fingerprint_was_shown(far: Far) -> None:
    shown = (far.place / "serve.log").read_text().partition("SHA-256 ")[2].split()[0]
    assert far.url.startswith("https://127.0.0.1:")
    assert shown == Certificate(far.ca, far.ca.with_name("key.pem")).fingerprint()
    assert (far.ca.with_name("key.pem").stat().st_mode & 0o777) == 0o600
    port = int(far.url.rpartition(":")[2])
    der = await anyio.to_thread.run_sync(lambda: ssl.get_server_certificate(("127.0.0.1", port)))
    assert der.strip() == far.ca.read_text().strip()


async def test_a_certificate_that_nobody_vouched_for_is_refused_and_can_be_accepted(far: Far) -> None:
    fault = await far.fault("worker", "list", SLUICE_TLS_CA="", SLUICE_API_KEY=far.key)
    assert (fault["code"], "--tls-ca" in fault["hint"]) == ("forbidden", True)
    assert "is not trusted" in fault["message"]
    listed = await far.ok("worker", "list", "--tls-insecure", SLUICE_TLS_CA="", SLUICE_API_KEY=far.key)
    assert [row["name"] for row in listed["items"]] == ["local-1"]


async def test_without_a_login_it_says_logged_out_with_the_three_causes_and_does_not_prompt(far: Far) -> None:
    fault = await far.fault("worker", "list")
    assert fault["code"] == "unauthenticated"
    assert fault["message"].startswith("Logged out.")
    for cause in ("--url", "--profile", "expires"):
        assert cause in fault["hint"]


async def test_a_login_counts_for_its_address_and_profile_and_holds_no_key(far: Far) -> None:
    made = await far.ok("login", far.url, "--api-key-file", "-", "--profile", "ops", stdin=far.key + "\n")
    kept = far.place / "config" / "sluice" / "logins.json"
    assert made["file"] == str(kept)
    assert (kept.stat().st_mode & 0o777, far.key in kept.read_text()) == (0o600, False)
    assert (await far.ok("worker", "list", "--profile", "ops"))["total"] == 1
    assert "profiles of that address: ops" in (await far.fault("worker", "list"))["message"]
    other = await far.fault("worker", "list", "--profile", "ops", "--url", "https://localhost:1")
    assert f"addresses with one: {far.url}" in other["message"]
    assert (await far.ok("logout", "--profile", "ops")) == {"forgotten": 1}
    assert (await far.fault("worker", "list", "--profile", "ops"))["code"] == "unauthenticated"


async def test_the_key_of_a_login_can_be_revoked_while_it_is_used(far: Far) -> None:
    made = await far.ok("token", "create", "--username", "eve", "--role", "admin", SLUICE_API_KEY=far.key)
    await far.ok("login", "--api-key-file", "-", "--profile", "eve", stdin=made["token"])
    assert "items" in await far.ok("kv", "namespaces", "--profile", "eve")
    heard: list[tuple[str, dict[str, Any]]] = []
    with anyio.fail_after(20):
        async with remote.open_remote(far.target(api_key=made["token"]), NOBODY) as session:
            session.subscribe(lambda kind, data: heard.append((kind, data)))
            assert session.acting(NOBODY).username == "eve"
            await session.call("kv_namespaces", {}, NOBODY)
            await far.ok("token", "revoke", made["id"], SLUICE_API_KEY=far.key)
            with pytest.raises(Exception, match="refuses the API key"):
                await session.call("kv_namespaces", {}, NOBODY)
    fault = await far.fault("kv", "namespaces", "--profile", "eve")
    assert "revoked" in fault["message"]


async def test_a_remote_mcp_session_lists_and_calls_like_a_local_one(far: Far) -> None:
    from mcp import Client
    from mcp.client.stdio import StdioServerParameters

    admin = {"SLUICE_API_KEY": far.key}
    await far.ok("job", "put", "-f", str(EXAMPLES / "smoke_trigger_handler.yaml"), "--tenant", "tenant-a", **admin)
    await far.ok("job", "deploy", "smoke_trigger_handler", "--tenant", "tenant-a", **admin)
    server = StdioServerParameters(
        command=stage.program("sluice-mcp"),
        args=["--allow-write", "--tenant", "tenant-a", "--ttl", "60", "--activity-session-label", "lap"],
        env=far.environment(**admin),
    )
    with anyio.fail_after(60):
        async with Client(server) as client:
            names = {tool.name for tool in (await client.list_tools()).tools}
            assert "deployment_apply" in names and "trigger_invoke_smoke_trigger" not in names
            await far.ok(
                "trigger", "publish", "-f", str(EXAMPLES / "smoke_trigger.json"), "--tenant", "tenant-a", **admin
            )
            names = {tool.name for tool in (await client.list_tools(cache_mode="bypass")).tools}
            assert "trigger_invoke_smoke_trigger" in names
            result = await client.call_tool("trigger_invoke_smoke_trigger", {"env": "far"})
            record = result.structured_content or {}
            assert record["state"] == "succeeded"
            session = (await client.call_tool("mcp_server_metrics", {})).structured_content or {}
            assert session["identity"]["tenant"] == "tenant-a"
    shown = await far.ok("invocation", "get", record["invocation_id"], "--tenant", "tenant-a", **admin)
    assert shown["caller"]["username"] == session["identity"]["username"]
    assert shown["surface"] == "mcp"


async def test_a_remote_session_hears_what_happens_in_its_tenants_and_nothing_else(far: Far) -> None:
    key = await far.ok("token", "create", "--username", "u", "--member", "tenant-x", SLUICE_API_KEY=far.key)
    heard: list[tuple[str, dict[str, Any]]] = []
    arrived = anyio.Event()

    def notice(kind: str, data: dict[str, Any]) -> None:
        heard.append((kind, data))
        arrived.set()

    with anyio.fail_after(30):
        async with remote.open_remote(far.target(api_key=key["token"]), NOBODY) as session:
            assert session.acting(NOBODY).tenant == "tenant-x"
            session.subscribe(notice)
            async with remote.open_remote(far.target(api_key=far.key), NOBODY) as admin:
                draft = {"slug": "x", "target_job_name": "j", "target_message_tag": "t"}
                while not arrived.is_set():  # until the stream is open
                    for tenant in ("tenant-y", "tenant-x"):
                        as_admin = Caller(NOBODY.principal, tenant, Surface.CLI)
                        operation = "trigger_revise" if heard or await _has(admin, as_admin) else "trigger_publish"
                        await admin.call(operation, draft, as_admin)
                    with anyio.move_on_after(0.2):
                        await arrived.wait()
    assert {(kind, data["tenant"]) for kind, data in heard} == {("registry", "tenant-x")}


async def _has(session: remote.RemoteSession, caller: Caller) -> bool:
    return bool((await session.call("trigger_list", {}, caller))["total"])


async def test_two_tenants_with_the_same_names_see_nothing_of_each_other(far: Far) -> None:
    keys, ids = {}, {}
    value = {"namespace": "shared", "key": "key"}
    for tenant in ("one", "two"):
        made = await far.ok(
            "token", "create", "--username", "same", "--role", "admin", "--member", tenant, SLUICE_API_KEY=far.key
        )
        keys[tenant] = made["token"]
        async with remote.open_remote(far.target(api_key=keys[tenant]), NOBODY) as session:
            await session.call("kv_set", {**value, "value": f"of {tenant}"}, NOBODY)
            await session.call("variable_set", {"name": "NAME", "value": f"of {tenant}"}, NOBODY)
        await far.ok("trigger", "publish", "-f", "-", stdin=_definition(tenant), SLUICE_API_KEY=keys[tenant])
    for tenant, other in (("one", "two"), ("two", "one")):
        async with remote.open_remote(far.target(api_key=keys[tenant]), NOBODY) as session:
            assert (await session.call("kv_get", value, NOBODY))["value"] == f"of {tenant}"
            variables = (await session.call("variable_list", {}, NOBODY))["items"]
            assert [row["value"] for row in variables] == [f"of {tenant}"]
            shown = await session.call("trigger_get", {"slug": "go"}, NOBODY)
            assert shown["description"] == f"of {tenant}"
            invoked = await session.call("trigger_invoke", {"slug": "go", "idempotency_key": "same"}, NOBODY)
            ids[tenant] = invoked["invocation_id"]  # it has failed, since its job is not deployed
            assert f"of {other}" not in str(await session.call("audit_list", {}, NOBODY))
            with pytest.raises(errors.NotFound):
                await session.call("kv_get", value, Caller(NOBODY.principal, other, Surface.CLI))
    assert ids["one"] != ids["two"]
    for words in (("invocation", "get", ids["one"]), ("kv", "get", "shared", "key", "--tenant", "one")):
        assert (await far.fault(*words, SLUICE_API_KEY=keys["two"]))["code"] == "not_found"
    async with httpx.AsyncClient(base_url=far.url, verify=ssl.create_default_context(cafile=far.ca)) as client:
        headers = {"authorization": f"Bearer {keys['two']}"}
        theirs = await client.get(f"/api/trigger-invocations/{ids['one']}", headers=headers)
        nobodys = await client.get(f"/api/trigger-invocations/{ids['one'][:-1]}x", headers=headers)
        assert (theirs.status_code, nobodys.status_code) == (404, 404)


def _definition(tenant: str) -> str:
    return orjson.dumps(
        {"slug": "go", "description": f"of {tenant}", "target_job_name": "j", "target_message_tag": "t"}
    ).decode()


@pytest.mark.parametrize("operation", ["token_verify", "call_once", "none", "../tokens"])
async def test_what_is_for_the_doors_alone_cannot_be_called_from_afar(far: Far, operation: str) -> None:
    async with httpx.AsyncClient(base_url=far.url, verify=ssl.create_default_context(cafile=far.ca)) as client:
        headers = {"authorization": f"Bearer {far.key}"}
        answer = await client.post(f"/api/operations/{operation}", json={}, headers=headers)
    if operation == "../tokens":  # the client has made another path of it, whose operation validates
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid_params")
    else:
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


async def test_a_credential_in_the_address_is_refused_even_beside_a_good_one(far: Far) -> None:
    async with httpx.AsyncClient(base_url=far.url, verify=ssl.create_default_context(cafile=far.ca)) as client:
        for query in (f"access_token={far.key}", f"API_KEY={far.key}", f"limit=1&token={far.key}"):
            answer = await client.get(f"/api/workers?{query}", headers={"authorization": f"Bearer {far.key}"})
            assert (answer.status_code, far.key in answer.text) == (401, False)


async def test_a_session_cannot_say_to_a_remote_engine_who_it_is(far: Far) -> None:
    with anyio.fail_after(30):
        done = await anyio.run_process(
            [stage.program("sluice-mcp"), "--as", "bob"], check=False, env=far.environment(SLUICE_API_KEY=far.key)
        )
    assert done.returncode == 1 and b"a remote one decides by its token who calls" in done.stderr
