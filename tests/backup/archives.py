"""Homes and archives for the tests of backups."""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
from contextlib import closing
from functools import cache
from pathlib import Path

from core.backup import making, restoring
from core.backup.manifest import Manifest
from core.settings import Settings
from tests.engines import engine_on

PASSPHRASE = "correct horse battery"
KEYS = {
    "secrets.key": "k1 " + "A" * 43 + "=\n",
    "jwt.key": "j" * 64,
    "worker.key": "w" * 64,
    "admin.token": "t" * 40 + "\n",
}


@cache
def _template() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="sluice-home-")


async def home(place: Path) -> Path:
    """A home that an engine has used, with keys and files beside its database. A copy: who runs on it adopts it."""
    template = Path(_template().name) / "home"
    if not template.exists():
        await _furnish(template)
    return Path(shutil.copytree(template, place, ignore=shutil.ignore_patterns("engine.sock")))


async def _furnish(place: Path) -> None:
    async with engine_on(place, workers=0):
        pass
    for name, text in KEYS.items():
        (place / name).write_text(text)
        (place / name).chmod(0o600)
    (place / "tls").mkdir()
    (place / "tls" / "cert.pem").write_text("cert")
    (place / "tls" / "key.pem").write_text("key")
    (place / "state").mkdir(exist_ok=True)
    (place / "state" / ("long" * 40)).mkdir()
    (place / "state" / ("long" * 40) / "files.json").write_text('{"place": 7}')
    (place / "sluice.toml").write_text("workers = 1\n")


async def backup(home: Path, to: Path, passphrase: str | None = PASSPHRASE, *, data: bool = False) -> Manifest:
    return await making.make(making.Order(Settings(home=home), to, passphrase, data), dict(os.environ))


def restore(file: Path, home: Path, passphrase: str | None = PASSPHRASE) -> restoring.Restored:
    return restoring.restore(restoring.Order(Settings(home=home), file, passphrase, keys=passphrase is not None))


def ids(home: Path) -> set[int]:
    """The invocations that a home has recorded."""
    with closing(sqlite3.connect(home / "sluice.db")) as db:
        return {id for (id,) in db.execute("SELECT id FROM invocations")}


def tree(home: Path) -> dict[str, str]:
    """The files of a home but its databases and what belongs to processes, each with what is in it."""
    return {
        path.relative_to(home).as_posix(): path.read_text()
        for path in home.rglob("*")
        if path.is_file()
        and ".db" not in path.name
        and path.name not in ("engine.lock", "backup.lock", "restored.json")
    }
