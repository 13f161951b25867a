"""What of a home goes into a backup, and where: what Sluice keeps there, what settings name, and nothing else."""

from __future__ import annotations

import os
import tarfile
from pathlib import Path

import pytest
import zstandard

from core.backup import contents, making, sealing
from core.backup.manifest import Manifest, Part
from core.settings import Settings
from tests import waiting
from tests.backup.archives import PASSPHRASE, backup, home, restore
from tests.backup.test_hostile import rewritten, tar_of
from tests.engines import engine_on, served

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def quick_to_seal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Guesses need not be slow here."""
    monkeypatch.setattr(sealing, "_COST", 16)


def plain_text(archive: Path) -> bytes:
    """All that an archive says to who has no passphrase."""
    with tarfile.open(archive) as tar:
        parts = [(one.name, file.read()) for one in tar if (file := tar.extractfile(one)) is not None]
    return b"".join(
        zstandard.ZstdDecompressor().stream_reader(data).read() if name.endswith(".zst") else data
        for name, data in parts
    )


def why(made: Manifest) -> dict[str, str]:
    return {one.what: one.why for one in made.left_out}


@pytest.mark.parametrize("place", ["phrase", "state/phrase", "tls/phrase", "x.key", "../home-data/acme/phrase"])
@pytest.mark.parametrize("by", ["the command", "the setting", "the engine"])
async def test_the_passphrase_of_a_backup_is_nowhere_in_it(tmp_path: Path, place: str, by: str) -> None:
    at = await home(tmp_path / "home")
    (tmp_path / "home-data" / "acme").mkdir(parents=True)
    file = at / place
    file.write_text(PASSPHRASE)
    settings = Settings(home=at, backup_passphrase_file=file if by == "the setting" else None)
    order = making.Order(settings, tmp_path / "b.tar", PASSPHRASE, data=True)
    if by == "the engine":
        async with engine_on(at, workers=0, adopt=True, backup_passphrase_file=file):
            made = await making.make(order, {})
    else:
        if by == "the command":
            order = making.Order(settings, tmp_path / "b.tar", PASSPHRASE, data=True, passphrase_file=file)
        made = await making.make(order, {})
    assert PASSPHRASE.encode() not in plain_text(tmp_path / "b.tar")
    assert any("phrase" in f"{one.what} {one.why}" for one in made.left_out)
    restore(tmp_path / "b.tar", tmp_path / "other")
    assert not (tmp_path / "other" / place.replace("home-", "other-")).exists()


async def test_what_sluice_does_not_keep_in_a_home_is_left_out_and_told_by_name(tmp_path: Path) -> None:
    at = await home(tmp_path / "home")
    for name in ("notes.txt", "tls/old.pem", "own.key", ".ssh"):
        (at / name).write_text("nothing of Sluice")
    (at / "certs").mkdir()
    (at / "certs" / "ca.pem").write_text("nothing of Sluice")
    made = await backup(at, tmp_path / "b.tar")
    told = why(made)
    assert {"notes.txt", "tls/old.pem", "own.key", ".ssh", "certs"} <= told.keys()
    assert "nothing that Sluice keeps" in told["notes.txt"]
    assert b"nothing of Sluice" not in plain_text(tmp_path / "b.tar")
    restore(tmp_path / "b.tar", tmp_path / "other")
    assert (tmp_path / "other" / "tls" / "cert.pem").read_text() == "cert"
    assert not (tmp_path / "other" / "notes.txt").exists() and not (tmp_path / "other" / "own.key").exists()


async def test_a_file_of_the_home_that_a_setting_names_is_sealed_and_comes_back(tmp_path: Path) -> None:
    at = await home(tmp_path / "home")
    (at / "certs").mkdir()
    (tmp_path / "home-data").mkdir()
    named = {"oidc_client_secret_file": "oidc.secret", "jwt_key_file": "certs/jwt", "portal_ca_file": "state/ca.pem"}
    for name in (*named.values(), "../home-data/private", "../elsewhere"):
        (at / name).write_text("s3cret " * 8)
    settings = Settings(
        home=at,
        **{name: at / file for name, file in named.items()},
        private_files=(tmp_path / "home-data" / "private", tmp_path / "elsewhere"),
    )
    made = await making.make(making.Order(settings, tmp_path / "b.tar", PASSPHRASE, data=True), dict(os.environ))
    assert b"s3cret" not in plain_text(tmp_path / "b.tar")
    assert "outside of the home" in why(made)[str(tmp_path / "elsewhere")]
    restore(tmp_path / "b.tar", tmp_path / "other")
    assert {name: (tmp_path / "other" / name).read_text() for name in named.values()} == dict.fromkeys(
        named.values(), "s3cret " * 8
    )
    assert not (tmp_path / "other-data" / "private").exists()
    made = await making.make(making.Order(settings, tmp_path / "c.tar", None), dict(os.environ))
    done = restore(tmp_path / "c.tar", tmp_path / "without", None)
    assert b"s3cret" not in plain_text(tmp_path / "c.tar")
    assert any("oidc.secret" in sentence for sentence in done.next)


async def test_settings_with_a_token_in_an_address_go_with_the_keys(tmp_path: Path) -> None:
    at = await home(tmp_path / "home")
    (at / "sluice.toml").write_text('nats = "nats://s3cret@10.0.0.5:4222"\n')
    await backup(at, tmp_path / "b.tar")
    assert b"s3cret" not in plain_text(tmp_path / "b.tar")


async def test_all_that_an_engine_leaves_in_its_home_is_known(tmp_path: Path) -> None:
    place = tmp_path / "home"
    with served(place, workers=1):
        waiting.until_now(lambda: (place / "admin.token").exists())
        found = contents.sort(place, (), set())
    assert found.left_out == ()
    assert "admin.token" in found.keys and "state" in found.plain
    assert contents.sort(place, (), set()).left_out == ()


async def test_what_a_backup_of_before_holds_besides_is_restored(tmp_path: Path) -> None:
    at = await home(tmp_path / "home")
    await backup(at, tmp_path / "b.tar")
    entries = (("notes.txt", tarfile.REGTYPE, b"mine"), ("certs", tarfile.DIRTYPE, b""))
    inner = tar_of(*entries, ("certs/ca.pem", tarfile.REGTYPE, b"ca"))

    def change(part: Part, data: bytes) -> tuple[Part, bytes]:
        if part.kind != "files":
            return part, data
        return Part(part.name, part.kind, 0, "", len(inner), 2), zstandard.ZstdCompressor().compress(inner)

    rewritten(tmp_path / "b.tar", tmp_path / "before.tar", change)
    restore(tmp_path / "before.tar", tmp_path / "other")
    assert (tmp_path / "other" / "notes.txt").read_text() == "mine"
    assert (tmp_path / "other" / "certs" / "ca.pem").read_text() == "ca"


def test_what_is_sealed_has_a_name_within_the_home_that_is_of_no_process() -> None:
    assert all(map(contents.can_be_sealed, (*contents.KEYS, "own.key", "oidc.secret", "certs/a/b.pem", "state/ca.pem")))
    odd = ("", "../x", "/etc/x", "a/../../x", "a//b", "./a", "engine.lock", "sluice.db", "sluice.db-wal", "scratch/x")
    assert not any(map(contents.can_be_sealed, odd))
