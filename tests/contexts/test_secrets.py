"""Secrets at rest: encrypted, bound to their row, rotated without loss, refused in plain words when they do not fit."""

from __future__ import annotations

import base64
import os
import shutil
import signal
import sqlite3
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from core import errors
from core.contexts import keys, secrets
from core.contexts.secrets import Vault
from core.model.principal import Caller, Principal, Role, Surface
from core.model.secret import Reference, named
from core.store import audit
from core.store.database import open_database

pytestmark = pytest.mark.anyio
CALLER = Caller(Principal("alice", Role.ADMIN, ("*",)), "t1", Surface.INTERNAL)
TOKEN = Reference("web", "token")
CANARY = "canary-7Q!x9"
ROTATING = """
import asyncio, sys
from pathlib import Path
from core.contexts import secrets
from core.contexts.secrets import Vault
from core.model.principal import SYSTEM
from core.store import audit
from core.store.database import open_database

async def main():
    home = Path(sys.argv[1])
    secrets.PIECE = 10
    database = open_database(home / "sluice.db")
    vault = Vault(database, home, {})
    await vault.load()
    write, pieces = database.write, 0

    async def counted(fn, *args):
        nonlocal pieces
        result = await write(fn, *args)
        if fn is secrets.table.rekey:
            pieces += 1
            if pieces == 2:
                print("half", flush=True)
                await asyncio.sleep(60)
        return result

    database.write = counted
    await vault.rotate(audit.row(1, SYSTEM, "secret_rotate_key", "all"))

asyncio.run(main())
"""


def note() -> tuple[Any, ...]:
    note.number += 1  # type: ignore[attr-defined]
    return audit.row(note.number, CALLER, "secret_set", "t1/x")  # type: ignore[attr-defined]


note.number = 100  # type: ignore[attr-defined]


@asynccontextmanager
async def opened(home: Path, environment: Mapping[str, str] | None = None) -> AsyncIterator[Vault]:
    database = open_database(_made(home) / "sluice.db")
    try:
        vault = Vault(database, home, environment or {})
        await vault.load()
        yield vault
    finally:
        await database.close()


async def put(vault: Vault, name: str = "web/token", value: str = CANARY, tenant: str = "t1") -> int:
    version, _ = await vault.set(tenant, named(name), value, 1, "alice", note())
    return version


def change(home: Path, sql: str, *values: Any) -> None:
    with sqlite3.connect(home / "sluice.db") as connection:
        assert connection.execute(sql, values).rowcount >= 1
    connection.close()


async def test_a_value_comes_back_after_a_restart_and_is_nowhere_in_the_home(tmp_path: Path) -> None:
    async with opened(tmp_path / "h") as vault:
        assert await put(vault) == 1
        assert await put(vault, value=CANARY + "2") == 2
    async with opened(tmp_path / "h") as vault:
        assert vault.values("t1", [TOKEN]) == {"web/token": CANARY + "2"}
        assert vault.names("t1") == {"web/token"}
        assert (vault.names("t2"), vault.values("t2", [TOKEN])) == (frozenset(), {})
        assert CANARY not in repr(vault.rows("t1"))
    for path in (tmp_path / "h").iterdir():
        assert CANARY.encode() not in path.read_bytes(), path
        assert path.stat().st_mode & 0o077 == 0


async def test_the_same_value_is_never_stored_in_the_same_way(tmp_path: Path) -> None:
    async with opened(tmp_path / "h") as vault:
        await put(vault, "a")
        await put(vault, "b")
        first, second = vault._rows.values()
        assert first["ciphertext"] != second["ciphertext"]
        assert first["nonce"] != second["nonce"]


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE secrets SET ciphertext = zeroblob(40) WHERE name = 'token'",
        "UPDATE secrets SET nonce = zeroblob(12) WHERE name = 'token'",
        "UPDATE secrets SET version = 9 WHERE name = 'token'",
        "UPDATE secrets SET name = 'moved' WHERE name = 'token'",
        "UPDATE secrets SET scope = 'moved' WHERE name = 'token'",
        "UPDATE secrets SET tenant = 't9' WHERE name = 'token'",
        "UPDATE secrets SET (nonce, ciphertext) = (SELECT nonce, ciphertext FROM secrets WHERE name = 'other')"
        " WHERE name = 'token'",
    ],
)
async def test_a_row_that_was_changed_moved_or_swapped_is_refused(tmp_path: Path, sql: str) -> None:
    async with opened(tmp_path / "h") as vault:
        await put(vault)
        await put(vault, "web/other", "other value")
    change(tmp_path / "h", sql)
    async with opened(tmp_path / "h") as vault:
        (row,) = [row for row in vault._rows.values() if row["name"] != "other"]
        who = Reference(row["scope"], row["name"])
        with pytest.raises(errors.SecretsLocked, match="was changed, or belongs to another") as caught:
            vault.check(row["tenant"], [who])
        assert "Set the secret again" in caught.value.hint
        assert vault.values(row["tenant"], [who]) == {}
        assert vault.values("t1", [Reference("web", "other")]) == {"web/other": "other value"}


async def test_a_lost_key_is_told_in_plain_words_and_setting_again_mends_it(tmp_path: Path) -> None:
    async with opened(tmp_path / "h") as vault:
        await put(vault)
    shutil.move(tmp_path / "h" / keys.FILE, tmp_path / "kept")
    async with opened(tmp_path / "h") as vault:
        with pytest.raises(errors.SecretsLocked, match="which is not here") as caught:
            vault.check("t1", [TOKEN])
        assert keys.FILE in caught.value.hint
        assert keys.VARIABLE in caught.value.hint
        await put(vault, value="new value")
        assert vault.values("t1", [TOKEN]) == {"web/token": "new value"}


@pytest.mark.parametrize(
    ("text", "mode", "told"),
    [
        ("nonsense", 0o600, "no key"),
        (base64.b64encode(b"x" * 31).decode(), 0o600, "no key"),
        (base64.b64encode(b"x" * 32).decode(), 0o640, "can be used by others"),
    ],
)
async def test_a_key_file_that_cannot_be_trusted_locks_secrets_and_nothing_else(
    tmp_path: Path, text: str, mode: int, told: str
) -> None:
    async with opened(tmp_path / "h") as vault:
        await put(vault)
    path = tmp_path / "h" / keys.FILE
    path.write_text(text)
    path.chmod(mode)
    async with opened(tmp_path / "h") as vault:
        assert vault.names("t1") == {"web/token"}
        for attempt in (lambda: vault.check("t1", [TOKEN]), lambda: vault._key()):
            with pytest.raises(errors.SecretsLocked, match=told) as caught:
                attempt()
            assert text not in str(caught.value)


async def test_a_key_file_that_is_a_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "h").mkdir(mode=0o700)
    (tmp_path / "elsewhere").write_text(base64.b64encode(b"x" * 32).decode())
    (tmp_path / "elsewhere").chmod(0o600)
    (tmp_path / "h" / keys.FILE).symlink_to(tmp_path / "elsewhere")
    async with opened(tmp_path / "h") as vault:
        with pytest.raises(errors.SecretsLocked, match="cannot be read"):
            await put(vault)


async def test_rotation_encrypts_every_secret_anew_and_forgets_the_old_key(tmp_path: Path) -> None:
    async with opened(tmp_path / "h") as vault:
        for number in range(250):
            await put(vault, f"s{number}", f"value {number}", f"t{number % 3}")
        old = keys.read(tmp_path / "h", {})
        id, moved, unreadable = await vault.rotate(note())
        assert (moved, unreadable) == (250, [])
        assert id not in dict(old.keys)
    ring = keys.read(tmp_path / "h", {})
    assert [id] == [known for known, _ in ring.keys]
    async with opened(tmp_path / "h") as vault:
        assert {row["key_id"] for row in vault._rows.values()} == {id}
        for number in range(250):
            one = named(f"s{number}")
            assert vault.values(f"t{number % 3}", [one]) == {one.secret: f"value {number}"}
        assert all(row["version"] == 1 for row in vault.rows("t1"))


async def test_a_rotation_that_is_killed_half_way_is_finished_by_the_next_start(tmp_path: Path) -> None:
    home = tmp_path / "h"
    async with opened(home) as vault:
        for number in range(45):
            await put(vault, f"s{number:02}", f"value {number}")
    with anyio.fail_after(30):
        async with await anyio.open_process([sys.executable, "-c", ROTATING, str(home)], stderr=None) as child:
            assert child.stdout is not None
            assert await child.stdout.receive(4) == b"half"
            child.send_signal(signal.SIGKILL)
            assert await child.wait() == -signal.SIGKILL
    both = keys.read(home, {})
    assert len(both.keys) == 2
    with sqlite3.connect(home / "sluice.db") as connection:
        stored = dict(connection.execute("SELECT key_id, count(*) FROM secrets GROUP BY key_id").fetchall())
    connection.close()
    assert stored == {both.keys[0][0]: 20, both.keys[1][0]: 25}
    async with opened(home) as vault:
        for number in range(45):
            one = named(f"s{number:02}")
            assert vault.values("t1", [one]) == {one.secret: f"value {number}"}
        assert {row["key_id"] for row in vault._rows.values()} == {both.keys[0][0]}
    assert keys.read(home, {}).keys == both.keys[:1]


async def test_an_unreadable_row_does_not_keep_a_rotation_from_its_end(tmp_path: Path) -> None:
    async with opened(tmp_path / "h") as vault:
        await put(vault, "good", "fine")
        await put(vault, "bad")
    change(tmp_path / "h", "UPDATE secrets SET ciphertext = zeroblob(40) WHERE name = 'bad'")
    async with opened(tmp_path / "h") as vault:
        _, moved, unreadable = await vault.rotate(note())
        assert (moved, unreadable) == (1, ["default/bad"])
        assert vault.values("t1", [named("good")]) == {"default/good": "fine"}


async def test_keys_may_come_from_the_environment_and_replace_those_of_the_file(tmp_path: Path) -> None:
    new, newer = (base64.b64encode(os.urandom(32)).decode() for _ in range(2))
    async with opened(tmp_path / "h") as vault:
        await put(vault)
    async with opened(tmp_path / "h", {keys.VARIABLE: new}) as vault:
        assert vault.values("t1", [TOKEN]) == {"web/token": CANARY}
        assert (await vault.rotate(note()))[1] == 1
        assert not (tmp_path / "h" / keys.FILE).exists()
        with pytest.raises(errors.InvalidParams, match="already"):
            await vault.rotate(note())
    async with opened(tmp_path / "h", {keys.VARIABLE: f"{newer},{new}"}) as vault:
        assert vault.values("t1", [TOKEN]) == {"web/token": CANARY}
        assert (await vault.rotate(note()))[1] == 1
    async with opened(tmp_path / "h", {keys.VARIABLE: newer}) as vault:
        assert vault.values("t1", [TOKEN]) == {"web/token": CANARY}
    async with opened(tmp_path / "h", {keys.VARIABLE: new}) as vault:
        with pytest.raises(errors.SecretsLocked, match="which is not here"):
            vault.check("t1", [TOKEN])


def test_a_keyring_does_not_show_its_keys() -> None:
    id, key = keys.make()
    ring = keys.Keyring(((id, key),), False)
    shown = repr(ring)
    assert id in shown
    assert repr(key) not in shown
    assert secrets.reveal(secrets.seal(_row(), "v", (id, key)), ring) == "v"


def _made(home: Path) -> Path:
    home.mkdir(mode=0o700, exist_ok=True)
    return home


def _row() -> dict[str, Any]:
    return {"tenant": "t", "scope": "s", "name": "n", "version": 1}
