"""The examples of proxies, run as they stand with the real programs in front of a real `sluice serve`."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import httpx
import pytest

from mcp_server.cli import stage
from mcp_server.http import auth, serving
from tests import certificates, waiting

pytestmark = pytest.mark.anyio
EXAMPLES = Path(__file__).parents[3] / "examples" / "proxy"
NAME = "sluice.example.org"
SECONDS = 30


def nginx(folder: Path, upstream: str, port: int, made: certificates.Certificate) -> list[str]:
    """The command; the example is included as a conf.d would include it."""
    text = (EXAMPLES / "nginx.conf").read_text(encoding="utf-8")
    for here, there in (
        ("127.0.0.1:3000", upstream),
        ("listen 443 ssl;", f"listen 127.0.0.1:{port} ssl;"),
        ("/etc/ssl/sluice/cert.pem", str(made.cert)),
        ("/etc/ssl/sluice/key.pem", str(made.key)),
    ):
        assert text.count(here) == 1, here
        text = text.replace(here, there)
    (folder / "sluice.conf").write_text(text)
    paths = "".join(
        f"{what}_temp_path {folder}/{what};\n" for what in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    main = f"daemon off;\nmaster_process off;\npid {folder}/pid;\nerror_log stderr;\nevents {{}}\n"
    main += f"http {{\naccess_log off;\n{paths}include {folder}/sluice.conf;\n}}\n"
    (folder / "nginx.conf").write_text(main)
    return ["nginx", "-p", str(folder), "-e", "stderr", "-c", str(folder / "nginx.conf")]


def caddy(folder: Path, upstream: str, port: int, made: certificates.Certificate) -> list[str]:
    """The command; its port and its certificate are those of the test."""
    text = (EXAMPLES / "Caddyfile").read_text(encoding="utf-8")
    site = f"{NAME} {{\n"
    assert text.count("\treverse_proxy 127.0.0.1:3000\n") == text.count(site) == 1
    text = text.replace("127.0.0.1:3000\n", f"{upstream}\n")
    text = text.replace(site, f"https://{NAME}:{port} {{\n\ttls {made.cert} {made.key}\n")
    (folder / "Caddyfile").write_text(f"{{\n\tadmin off\n\tauto_https disable_redirects\n}}\n{text}")
    return ["caddy", "run", "--config", str(folder / "Caddyfile"), "--adapter", "caddyfile"]


PROGRAMS = {"nginx": nginx, "caddy": caddy}


@asynccontextmanager
async def behind(program: str, folder: Path, upstream: str) -> AsyncIterator[tuple[int, certificates.Certificate]]:
    """The proxy, once it answers: its port and certificate."""
    made = certificates.self_signed(folder, NAME)
    held = serving.bind("127.0.0.1", 0)
    port = held.getsockname()[1]
    held.close()
    command = PROGRAMS[program](folder, upstream, port, made)
    with (folder / "log").open("wb") as log:
        environment = {**stage.environment(), "HOME": str(folder), "XDG_DATA_HOME": str(folder)}
        process = await anyio.open_process(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment)
    try:

        async def answers() -> bool:
            try:
                await (await anyio.connect_tcp("127.0.0.1", port)).aclose()
            except OSError:
                assert process.returncode is None, (folder / "log").read_text()
                return False
            return True

        await waiting.until(answers)
        yield port, made
    finally:
        with anyio.CancelScope(shield=True):
            if process.returncode is None:
                process.terminate()
            await process.aclose()


def browser(port: int, made: certificates.Certificate, address: str) -> httpx.AsyncClient:
    """A client at an address of its own, which says that it is another one."""
    transport = httpx.AsyncHTTPTransport(verify=made.trusting, local_address=address)
    headers = {"host": f"{NAME}:{port}", "sec-fetch-site": "same-origin", "x-forwarded-for": "8.8.8.8"}
    client = httpx.AsyncClient(
        transport=transport, base_url=f"https://127.0.0.1:{port}", headers=headers, timeout=SECONDS
    )

    async def named(request: httpx.Request) -> None:
        request.extensions["sni_hostname"] = NAME

    client.event_hooks = {"request": [named]}
    return client


@pytest.mark.parametrize("program", PROGRAMS)
async def test_a_proxy_hands_on_sign_in_calls_streams_and_the_address_of_its_client(
    tmp_path: Path, program: str
) -> None:
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed: apt-get install nginx-light caddy")
    scene = stage.Stage(tmp_path / "home", SLUICE_TRUSTED_PROXIES="127.0.0.1", SLUICE_ALLOW_HOST=NAME)
    folder = tmp_path / "proxy"
    folder.mkdir()
    try:
        with anyio.fail_after(4 * SECONDS):
            await scene.start(workers=0)
            token = (scene.home / "admin.token").read_text().strip()
            async with behind(program, folder, scene.url.removeprefix("http://")) as (port, made):
                async with browser(port, made, "127.0.0.2") as client:
                    answer = await client.post("/api/console/sign-in", json={"token": token})
                    assert answer.status_code == 201, answer.text
                    cookie = answer.headers["set-cookie"]
                    assert cookie.startswith("__Host-sluice=") and "; Secure" in cookie
                    client.cookies.clear()
                    signed_in = {"cookie": cookie.partition(";")[0], "origin": f"https://{NAME}:{port}"}
                    said = {"namespace": "n", "key": "k", "value": 1}
                    assert (await client.post("/api/kv/set", json=said, headers=signed_in)).status_code == 200
                    await _streams(client, signed_in)
                    rows = (await client.get("/api/audit?operation=kv_set", headers=signed_in)).json()["items"]
                    assert [row["label"] for row in rows] == ["127.0.0.2"], "neither the proxy nor what it claimed"
                    wrong = {"authorization": "Bearer wrong"}
                    statuses = [
                        (await client.get("/api/triggers", headers=wrong)).status_code for _ in range(auth.FAILURES + 1)
                    ]
                    assert statuses == [401] * auth.FAILURES + [429]
                async with browser(port, made, "127.0.0.3") as other:
                    assert (await other.get("/api/triggers", headers=wrong)).status_code == 401
            assert "client=127.0.0.2" in (tmp_path / "serve.log").read_text()
    finally:
        with anyio.fail_after(SECONDS, shield=True):
            await scene.stop()


async def _streams(client: httpx.AsyncClient, headers: dict[str, str]) -> None:
    """An event is read while the stream goes on: nothing of it waits in the proxy."""
    trigger = {"slug": "seen_at_once", "target_job_name": "handler", "target_message_tag": "a.b"}
    async with client.stream("GET", "/api/notices", headers=headers) as answer:
        assert answer.status_code == 200
        lines = answer.aiter_lines()
        assert await anext(lines) == "retry: 3000"
        done = await client.post("/api/triggers/publish", json=trigger, headers=headers)
        assert done.is_success, done.text
        async for line in lines:
            if '"kind":"registry"' in line:
                return
    raise AssertionError("the stream ended without the event")
