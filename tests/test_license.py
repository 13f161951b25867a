"""What a license grants, whom it trusts, and what is left without one."""

from __future__ import annotations

import base64
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from core import clock, errors, license
from core.license import Feature, Status
from core.model.principal import Surface
from tests.engines import ADMIN, engine_on

KEY = bytes(range(32))
PUBLIC = base64.b64encode(Ed25519PrivateKey.from_private_bytes(KEY).public_key().public_bytes_raw()).decode()
OTHER = base64.b64encode(Ed25519PrivateKey.from_private_bytes(bytes(32)).public_key().public_bytes_raw()).decode()
START = datetime(2026, 1, 1, tzinfo=UTC)
JOB = "name: {}\ninput: {{echo: {{event: hello}}}}\noutput: {{discard: {{}}}}\n"


def signed(**changes: Any) -> bytes:
    entitlement = {
        "id": "lic-1",
        "customer": "Acme",
        "features": ["deployments", "mcp-server"],
        "issued_at": START.isoformat(),
        **changes,
    }
    return license.sign(entitlement, KEY)


def ns(moment: datetime) -> int:
    return int(moment.timestamp()) * clock.NANOSECONDS


def test_without_a_file_everything_is_on(tmp_path: Path) -> None:
    found, kept = license.read(tmp_path / "none", "full", (), 0, b"removed since")
    assert (found.status, kept) == (Status.NONE, None)
    assert found.features == frozenset(Feature)


def test_a_signed_file_grants_what_it_names(tmp_path: Path) -> None:
    path = tmp_path / "license.json"
    path.write_bytes(signed(limits={"jobs": 3}))
    found, kept = license.read(path, "full", (OTHER, PUBLIC), ns(START), None)
    assert kept == path.read_bytes()
    assert (found.status, found.customer, found.limits.jobs) == (Status.VALID, "Acme", 3)
    found.require(Feature.DEPLOYMENTS, "this")
    with pytest.raises(errors.NotLicensed, match="portal"):
        found.require(Feature.PORTAL, "catalog_install")


@pytest.mark.parametrize("keys", [(), (OTHER,), ("not base64",), ("",)], ids=["none", "another", "garbage", "empty"])
def test_a_file_of_an_unknown_signer_leaves_the_community_edition(tmp_path: Path, keys: tuple[str, ...]) -> None:
    path = tmp_path / "license.json"
    path.write_bytes(signed())
    found, _ = license.read(path, "full", keys, ns(START), None)
    assert (found.edition, found.status) == ("community", Status.INVALID)
    assert "not signed" in found.reason


@pytest.mark.parametrize("edition", ["full", "community"])
@pytest.mark.parametrize("kept", [None, b"", b"no license", signed()], ids=["none", "empty", "garbage", "signed"])
def test_a_file_that_cannot_be_read_changes_nothing_and_says_so(
    tmp_path: Path, edition: str, kept: bytes | None
) -> None:
    path, held = tmp_path / "license.json", tmp_path / "held.json"
    path.mkdir()  # open(2) fails with EISDIR, also for root
    if kept is not None:
        held.write_bytes(kept)
    before, _ = license.read(held, edition, (PUBLIC,), ns(START), None)
    found, still = license.read(path, edition, (PUBLIC,), ns(START), kept)
    assert (replace(found, reason=before.reason), still) == (before, kept)
    assert found.reason.startswith("license.json cannot be read (Is a directory), so what was in force before is")


def test_a_license_that_ends_while_it_cannot_be_read_ends(tmp_path: Path) -> None:
    (tmp_path / "license.json").mkdir()
    kept = signed(expires_at=(START + timedelta(days=1)).isoformat())
    found, _ = license.read(tmp_path / "license.json", "full", (PUBLIC,), ns(START + timedelta(days=100)), kept)
    assert found.status is Status.EXPIRED


@contextmanager
def no_descriptor_left() -> Iterator[None]:
    """Nothing can be opened any more in this process; what is open stays so."""
    limit, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))


@pytest.mark.anyio
async def test_an_engine_without_descriptors_keeps_its_edition_also_through_a_restart(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"edition": "community", "workers": 0, "license_keys": (PUBLIC,)}
    async with engine_on(tmp_path, **settings) as engine:
        await engine.call("license_install", {"document": signed().decode()}, ADMIN)
        with no_descriptor_left():
            await engine.licensing.read()
        shown = await engine.call("license_show", {}, ADMIN)
        assert (shown["edition"], shown["status"]) == ("enterprise", "valid")
        assert "license.json cannot be read (Too many open files)" in shown["reason"]
        assert (await engine.licensing.read()).reason == ""
    (tmp_path / "license.json").rename(tmp_path / "away.json")
    (tmp_path / "license.json").mkdir()
    async with engine_on(tmp_path, **settings) as engine:
        assert (await engine.call("license_show", {}, ADMIN))["edition"] == "enterprise"
    (tmp_path / "license.json").rmdir()
    async with engine_on(tmp_path, **settings) as engine:
        assert (await engine.call("license_show", {}, ADMIN))["status"] == "community", "it is really gone"


@given(data=st.data())
def test_a_file_with_any_byte_changed_grants_nothing_else(data: st.DataObject) -> None:
    raw = bytearray(signed())
    at = data.draw(st.integers(0, len(raw) - 1))
    raw[at] ^= data.draw(st.integers(1, 255))
    try:
        entitlement = license.verify(bytes(raw), (PUBLIC,))
    except errors.InvalidDocument:
        return
    assert entitlement == license.verify(signed(), (PUBLIC,))  # a change outside of what is signed, like white space


@given(raw=st.binary(max_size=300))
def test_any_bytes_are_refused_plainly(raw: bytes) -> None:
    with pytest.raises(errors.InvalidDocument):
        license.verify(raw, (PUBLIC,))


@pytest.mark.parametrize(
    ("days", "status", "granted"),
    [(-1, Status.VALID, True), (0, Status.GRACE, True), (13, Status.GRACE, True), (14, Status.EXPIRED, False)],
)
def test_a_license_holds_a_little_longer_than_it_says(days: int, status: Status, granted: bool) -> None:
    end = START + timedelta(days=365)
    entitlement = license.verify(signed(expires_at=end.isoformat()), (PUBLIC,))
    found = license.decide(entitlement, ns(end + timedelta(days=days)))
    assert found.status is status
    assert (Feature.DEPLOYMENTS in found.features) is granted


@pytest.mark.parametrize(
    "changes",
    [{"features": ["flying"]}, {"limits": {"jobs": 0}}, {"expires_at": "2025-01-01T00:00:00Z"}, {"id": ""}, {"x": 1}],
)
def test_nothing_that_is_no_entitlement_can_be_signed(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        signed(**changes)


@pytest.mark.anyio
async def test_the_community_edition_has_fifteen_jobs_and_no_deployments(tmp_path: Path) -> None:
    async with engine_on(tmp_path, edition="community", workers=3) as engine:
        assert len(engine.fleet.workers) == 1
        for number in range(license.COMMUNITY_JOBS):
            await engine.call("job_put", {"document": JOB.format(f"job-{number}")}, ADMIN)
        with pytest.raises(errors.NotLicensed, match="holds 15 jobs"):
            await engine.call("job_put", {"document": JOB.format("one-more")}, ADMIN)
        with pytest.raises(errors.NotLicensed):
            await engine.call("job_put", {"document": JOB.format("one-more"), "draft": True}, ADMIN)
        with pytest.raises(errors.NotLicensed):
            await engine.call("job_clone", {"name": "job-1", "new_name": "one-more"}, ADMIN)
        edited = await engine.call("job_put", {"document": JOB.format("job-1") + "description: edited\n"}, ADMIN)
        assert edited["version"] == 2
        for name, arguments in (("deployment_list", {}), ("deployment_plan", {"name": "a", "source": "blueprint:b"})):
            with pytest.raises(errors.NotLicensed, match="community") as refused:
                await engine.call(name, arguments, ADMIN)
            assert "license install" in refused.value.hint


@pytest.mark.anyio
async def test_mcp_needs_its_feature(tmp_path: Path) -> None:
    async with engine_on(tmp_path, edition="community", workers=0) as engine:
        over_mcp = ADMIN.__class__(ADMIN.principal, ADMIN.tenant, Surface.MCP)
        with pytest.raises(errors.NotLicensed, match="mcp-server"):
            await engine.call("trigger_list", {}, over_mcp)
        assert (await engine.call("trigger_list", {}, ADMIN))["items"] == []


@pytest.mark.anyio
async def test_an_installed_license_takes_effect_at_once_and_stays(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"edition": "community", "workers": 0, "license_keys": (PUBLIC,)}
    async with engine_on(tmp_path, **settings) as engine:
        with pytest.raises(errors.NotLicensed):
            await engine.call("deployment_list", {}, ADMIN)
        with pytest.raises(errors.InvalidDocument, match="not signed"):
            tampered = signed().replace(b"Acme", b"Mine")
            await engine.call("license_install", {"document": tampered.decode()}, ADMIN)
        with pytest.raises(errors.InvalidDocument, match="ended at"):
            old = signed(issued_at="2020-01-01T00:00:00Z", expires_at="2021-01-01T00:00:00Z")
            await engine.call("license_install", {"document": old.decode()}, ADMIN)
        assert not engine.settings.license_file.exists()
        shown = await engine.call("license_install", {"document": signed().decode()}, ADMIN)
        assert shown["features"] == {
            "deployments": True,
            "mcp-server": True,
            "portal": False,
            "external-workers": False,
        }
        assert (await engine.call("deployment_list", {}, ADMIN))["items"] == []
        assert (await engine.call("license_show", {}, ADMIN)) == shown
        assert orjson.loads(engine.settings.license_file.read_bytes()).keys() == {"license", "signature"}
    async with engine_on(tmp_path, **settings) as engine:
        assert (await engine.call("license_show", {}, ADMIN))["status"] == "valid"
