"""Small texts that the engine has to keep and nobody may read, encrypted with a key that the vault keeps.

The key is a secret of no tenant. A rotation of the vault encrypts that one row anew: what it protects stays readable.
"""

from __future__ import annotations

import base64
import secrets

import structlog
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from core import clock, errors
from core.contexts.secrets import NONCE_BYTES, Vault
from core.model.principal import SYSTEM
from core.model.secret import Reference
from core.store import audit

log = structlog.get_logger("core.contexts")

NO_TENANT = ""  # no caller can act in it, so no operation shows what is in there
KEY_BYTES = 32


class Envelopes:
    """Seals texts for one purpose. Use from the engine's loop."""

    def __init__(self, vault: Vault, purpose: str) -> None:
        self._vault = vault
        self._who = Reference("envelopes", purpose)

    async def seal(self, text: str, bound: str, audit_id: int) -> bytes:
        """Encrypt a text; it can be opened with the same `bound` only. Makes the key at its first use.

        Raises SecretsLocked when the vault cannot be used, StorageUnavailable.
        """
        key = self._key() or await self._make(audit_id)
        nonce = secrets.token_bytes(NONCE_BYTES)
        return nonce + AESGCM(key).encrypt(nonce, text.encode(), bound.encode())

    def open(self, sealed: bytes, bound: str) -> str:
        """The text. Raises SecretsLocked when its key is not here, or it was changed or belongs to another thing."""
        key = self._key()
        try:
            if key is not None:
                return AESGCM(key).decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], bound.encode()).decode()
        except (InvalidTag, ValueError) as error:
            raise errors.SecretsLocked("What is stored was changed, or its key was replaced.") from error
        raise errors.SecretsLocked("The key of what is stored cannot be decrypted.")

    def _key(self) -> bytes | None:
        found = self._vault.values(NO_TENANT, [self._who]).get(self._who.secret)
        return None if found is None else base64.b64decode(found)

    async def _make(self, audit_id: int) -> bytes:
        key = secrets.token_bytes(KEY_BYTES)
        note = audit.row(audit_id, SYSTEM, "secret_set", self._who.secret)
        value = base64.b64encode(key).decode()
        version, _ = await self._vault.set(NO_TENANT, self._who, value, clock.now_ns(), SYSTEM.username, note)
        if version > 1:
            log.warning("envelope_key_replaced", purpose=self._who.name)
        return self._key() or key  # of two that were made at once, the last one holds for everyone
