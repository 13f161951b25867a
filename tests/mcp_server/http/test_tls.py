"""Certificates: the operator's own, or one that the server signs itself and keeps as long as it serves."""

from __future__ import annotations

import socket
import ssl
from pathlib import Path

import anyio
import httpx
import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from core import accepting, clock, errors
from core.settings import Settings
from mcp_server.http import serving, tls
from tests import certificates

NOW = clock.now_ns()


@pytest.mark.anyio
async def test_the_certificate_of_an_operator_is_the_one_that_is_served(tmp_path: Path) -> None:
    made = certificates.self_signed(tmp_path)
    certificate = tls.given(made.cert, made.key)
    app = Starlette(routes=[Route("/", lambda request: PlainTextResponse("here"))])
    listener = serving.bind("127.0.0.1", 0)
    with anyio.fail_after(20):
        async with serving.running(app, [listener], serving.room(Settings()), drain_seconds=1, certificate=certificate):
            url = serving.url(listener, secure=True)
            async with httpx.AsyncClient(base_url=url, verify=made.trusting, trust_env=False) as client:
                assert (await client.get("/")).text == "here"
            async with httpx.AsyncClient(base_url=url, trust_env=False) as stranger:
                with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
                    await stranger.get("/")


@pytest.mark.parametrize("broken", ["cert", "key", "other key", "missing"])
def test_files_that_are_no_certificate_and_its_key_are_refused_at_the_start(tmp_path: Path, broken: str) -> None:
    made = certificates.self_signed(tmp_path)
    cert, key = made.cert, made.key
    match broken:
        case "cert":
            cert.write_text("no certificate")
        case "key":
            key.write_text("no key")
        case "other key":
            key = certificates.self_signed(tmp_path / "other").key
        case _:
            key.unlink()
    with pytest.raises(errors.InvalidParams, match="do not serve as certificate and key") as caught:
        tls.given(cert, key)
    assert "--tls-key" in caught.value.hint


@pytest.mark.anyio
async def test_the_certificate_that_a_server_signs_itself_is_believed_also_by_who_verifies_strictly(
    tmp_path: Path,
) -> None:
    certificate = tls.own(tmp_path, [], NOW)
    app = Starlette(routes=[Route("/", lambda request: PlainTextResponse("here"))])
    listener, visitors = serving.bind("127.0.0.1", 0), accepting.Room("http", 9, 9)
    trusting = certificates.strict(ssl.create_default_context(cafile=str(certificate.cert)))
    with anyio.fail_after(20):
        async with serving.running(app, [listener], visitors, drain_seconds=1, certificate=certificate):
            url = serving.url(listener, secure=True)
            async with httpx.AsyncClient(base_url=url, verify=trusting, trust_env=False) as client:
                assert (await client.get("/")).text == "here"


def test_a_certificate_of_its_own_is_kept_until_it_lacks_a_name_or_is_about_to_end(tmp_path: Path) -> None:
    first = tls.own(tmp_path, [], NOW).fingerprint()
    assert tls.own(tmp_path, [], NOW).fingerprint() == first
    assert tls.own(tmp_path, ["localhost", socket.gethostname()], NOW).fingerprint() == first
    named = tls.own(tmp_path, ["sluice.example"], NOW).fingerprint()
    assert named != first
    assert tls.own(tmp_path, ["sluice.example"], NOW).fingerprint() == named
    day = 86_400 * clock.NANOSECONDS
    almost = NOW + int((tls.VALID - tls.RENEW).days - 1) * day
    assert tls.own(tmp_path, ["sluice.example"], almost).fingerprint() == named
    assert tls.own(tmp_path, ["sluice.example"], almost + 2 * day).fingerprint() != named
    key = tmp_path / tls.DIRECTORY / "key.pem"
    assert key.stat().st_mode & 0o777 == 0o600
