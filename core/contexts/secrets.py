"""Secrets: encrypted at rest with AES-256-GCM, decrypted only to be sent to a worker that needs them.

Each row names its key; tenant, scope, name and version are authenticated with the value, so that a row that was
changed, or put in the place of another one, is refused. The rows are kept in memory as they are stored: encrypted.
"""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import orjson
import structlog
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from core import errors
from core.contexts import keys
from core.model.secret import Reference
from core.store import secrets as table
from core.store.audit import AuditRow
from core.store.database import Database

log = structlog.get_logger("core.contexts")

NONCE_BYTES = 12
MAX_BYTES = 64 * 1024  # of one secret
PIECE = 100  # rows that one transaction of a rotation encrypts anew

Row = dict[str, Any]
Name = tuple[str, str, str]
"""(tenant, scope, name)"""


def seal(row: Row, value: str, key: tuple[str, bytes]) -> Row:
    """The row with its value encrypted."""
    id, material = key
    nonce = secrets.token_bytes(NONCE_BYTES)
    sealed = {**row, "key_id": id, "nonce": nonce}
    return {**sealed, "ciphertext": AESGCM(material).encrypt(nonce, value.encode(), _bound(sealed))}


def reveal(row: Mapping[str, Any], ring: keys.Keyring) -> str:
    """The value of a row. Raises SecretsLocked, which names the secret and never tells anything of its value."""
    who = f"{row['scope']}/{row['name']}"
    material = ring.find(row["key_id"])
    if material is None:
        raise errors.SecretsLocked(
            f"Secret {who} was encrypted with the key {errors.shorten(row['key_id'], 20)}, which is not here.",
            hint=f"Put the key back ({keys.FILE} in the home directory, or {keys.VARIABLE}) and start again, "
            "or set the secret again.",
        )
    try:
        return AESGCM(material).decrypt(row["nonce"], row["ciphertext"], _bound(row)).decode()
    except (InvalidTag, ValueError) as error:
        raise errors.SecretsLocked(
            f"Secret {who} cannot be decrypted: what is stored was changed, or belongs to another secret.",
            hint="Set the secret again, and find out who wrote into the database.",
        ) from error


def _bound(row: Mapping[str, Any]) -> bytes:
    """What is authenticated beside the value, so that it holds for this tenant, name, version and key only."""
    return orjson.dumps(["sluice-secret-1", row["tenant"], row["scope"], row["name"], row["version"], row["key_id"]])


class Vault:
    """The secrets of all tenants. Use from the engine's loop."""

    def __init__(self, database: Database, home: Path, environment: Mapping[str, str] | None = None) -> None:
        self._database = database
        self._home = home
        self._environment = os.environ if environment is None else environment
        self._rows: dict[Name, Row] = {}
        self._fault: errors.SecretsLocked | None = None
        self._ring = keys.Keyring((), False)
        self._changing = asyncio.Lock()  # one change at a time: a rotation sees no row come or go

    async def load(self) -> None:
        """Read rows and keys, and finish a rotation that was cut off.

        Does not raise for keys that are not there or cannot be used: jobs without secrets go on.
        """
        self._rows = {_name(row): row for row in await self._database.read(table.all_rows)}
        self._read_keys()
        if self._fault is None and len(self._ring.keys) > 1 and not self._ring.from_environment:
            try:
                moved, unreadable = await self._rekey()
            except errors.StorageUnavailable as error:  # both keys stay, so nothing is lost; the next start tries again
                log.error("secret_rotation_not_finished", error=error.message)
            else:
                log.warning("secret_rotation_finished", count=moved, unreadable=len(unreadable))

    def _read_keys(self) -> None:
        self._fault = None
        try:
            self._ring = keys.read(self._home, self._environment)
        except errors.SecretsLocked as error:
            self._fault, self._ring = error, keys.Keyring((), False)
            log.error("secret_keys_not_read", error=error.message)

    # -- what there is -------------------------------------------------------------------------------------

    def names(self, tenant: str) -> frozenset[str]:
        """The full names of a tenant's secrets."""
        return frozenset(f"{scope}/{name}" for owner, scope, name in self._rows if owner == tenant)

    def rows(self, tenant: str) -> list[dict[str, Any]]:
        """What may be shown: {scope, name, version, key_id, created_at_ns, updated_at_ns, updated_by}, by name."""
        shown = ("scope", "name", "version", "key_id", "created_at_ns", "updated_at_ns", "updated_by")
        mine = sorted((name, row) for name, row in self._rows.items() if name[0] == tenant)
        return [{key: row[key] for key in shown} for _, row in mine]

    def missing(self, tenant: str, wanted: Iterable[Reference]) -> list[str]:
        """The full names of the secrets that are not set."""
        return sorted({one.secret for one in wanted if (tenant, one.scope, one.name) not in self._rows})

    def stamp(self, tenant: str, wanted: Iterable[Reference]) -> tuple[tuple[str, int, int], ...]:
        """Names the present values of some secrets without decrypting them: it changes when one of them does."""
        found = ((one, self._rows.get((tenant, one.scope, one.name))) for one in wanted)
        return tuple(
            sorted((one.secret, row["version"], row["updated_at_ns"]) for one, row in found if row is not None)
        )

    def version(self, tenant: str, secret: str) -> int | None:
        """The present version of a secret by its full name; None when it is not set."""
        scope, _, name = secret.partition("/")
        row = self._rows.get((tenant, scope, name))
        return None if row is None else int(row["version"])

    def values(self, tenant: str, wanted: Iterable[Reference]) -> dict[str, str]:
        """The values of some secrets by full name, for a worker that needs them; what cannot be had is left out."""
        out: dict[str, str] = {}
        for one in wanted:
            row = self._rows.get((tenant, one.scope, one.name))
            if row is None:
                continue
            try:
                out[one.secret] = self._reveal(row)
            except errors.SecretsLocked as error:
                log.error("secret_not_readable", tenant=tenant, secret=one.secret, error=error.message)
        return out

    def check(self, tenant: str, wanted: Iterable[Reference]) -> None:
        """Make sure that every one of these secrets that is set can be decrypted. Raises SecretsLocked."""
        for one in wanted:
            row = self._rows.get((tenant, one.scope, one.name))
            if row is not None:
                self._reveal(row)

    def _reveal(self, row: Row) -> str:
        if self._fault is not None:
            raise self._fault
        return reveal(row, self._ring)

    # -- changes -------------------------------------------------------------------------------------------

    async def set(
        self, tenant: str, who: Reference, value: str, now_ns: int, username: str, audit_row: AuditRow
    ) -> tuple[int, bool]:
        """Keep a value as the next version. Returns (version, whether it is new); raises SecretsLocked."""
        async with self._changing:
            return await self._set(tenant, who, value, now_ns, username, audit_row)

    async def _set(
        self, tenant: str, who: Reference, value: str, now_ns: int, username: str, audit_row: AuditRow
    ) -> tuple[int, bool]:
        name = (tenant, who.scope, who.name)
        old = self._rows.get(name)
        row = {
            "tenant": tenant,
            "scope": who.scope,
            "name": who.name,
            "version": old["version"] + 1 if old is not None else 1,
            "created_at_ns": old["created_at_ns"] if old is not None else now_ns,
            "updated_at_ns": now_ns,
            "updated_by": username,
        }
        sealed = seal(row, value, self._key())
        await self._database.write(table.put, sealed, audit_row)
        self._rows[name] = sealed
        return sealed["version"], old is None

    async def delete(self, tenant: str, who: Reference, audit_row: AuditRow) -> bool:
        """Remove a secret; returns whether it was there."""
        async with self._changing:
            gone = await self._database.write(table.delete, tenant, who.scope, who.name, audit_row)
            self._rows.pop((tenant, who.scope, who.name), None)
            return gone

    def _key(self) -> tuple[str, bytes]:
        """The key that encrypts, made at its first use."""
        if self._fault is not None:
            self._read_keys()  # someone may have mended it
            if self._fault is not None:
                raise self._fault
        if self._ring.current is None:
            keys.write(self._home, (keys.make(),))
            self._ring = keys.read(self._home, self._environment)
        assert self._ring.current is not None
        return self._ring.current

    async def rotate(self, audit_row: AuditRow) -> tuple[str, int, list[str]]:
        """Encrypt every secret anew with a new key, and forget the old one.

        The new key is on the disk before the first row uses it, and the old one leaves it after the last row: a crash
        in between leaves both, and the next start goes on. With keys from the environment the first one is the new
        one. Returns (key id, rows, names of secrets that could not be read and stay as they are).
        """
        async with self._changing:
            return await self._rotate(audit_row)

    async def _rotate(self, audit_row: AuditRow) -> tuple[str, int, list[str]]:
        self._read_keys()
        if self._fault is not None:
            raise self._fault
        await self._database.write(table.note, audit_row)
        if not self._ring.from_environment:
            keys.write(self._home, (keys.make(), *self._ring.keys))
            self._read_keys()
        elif all(row["key_id"] == self._key()[0] for row in self._rows.values()):
            raise errors.InvalidParams(
                f"The key comes from {keys.VARIABLE}, and every secret is encrypted with it already.",
                hint=f"Start with {keys.VARIABLE}=NEW,OLD, then call this again.",
            )
        moved, unreadable = await self._rekey()
        return self._key()[0], moved, unreadable

    async def _rekey(self) -> tuple[int, list[str]]:
        """Encrypt what is not encrypted with the first key, a piece at a time, then forget keys that nobody needs."""
        key, moved = self._key(), 0
        unreadable: dict[Name, Row] = {}
        while True:
            piece = [
                (name, row) for name, row in self._rows.items() if row["key_id"] != key[0] and name not in unreadable
            ][:PIECE]
            if not piece:
                break
            anew = []
            for name, row in piece:
                try:
                    anew.append(seal(row, self._reveal(row), key))
                except errors.SecretsLocked as error:
                    unreadable[name] = row
                    log.error("secret_not_rotated", tenant=name[0], secret=f"{name[1]}/{name[2]}", error=error.message)
            for row, written in zip(anew, await self._database.write(table.rekey, anew), strict=True):
                if written and self._rows.get(_name(row), {}).get("version") == row["version"]:
                    self._rows[_name(row)] = row
                    moved += 1
        keys.write(self._home, () if self._ring.from_environment else (key,))
        self._read_keys()
        return moved, [f"{scope}/{name}" for _, scope, name in unreadable]


def _name(row: Mapping[str, Any]) -> Name:
    return row["tenant"], row["scope"], row["name"]
