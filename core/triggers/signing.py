"""Signatures of callbacks as Standard Webhooks describes them: HMAC-SHA256 over id, time and the raw body."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Sequence

PREFIX = "whsec_"
LEAST_BYTES, MOST_BYTES = 24, 64


def key(secret: str) -> bytes:
    """The key in a signing secret. Raises ValueError, which tells nothing of the value."""
    try:
        material = base64.b64decode(secret.strip().removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError):
        material = b""
    if not LEAST_BYTES <= len(material) <= MOST_BYTES:
        raise ValueError(f"must be {PREFIX} and {LEAST_BYTES} to {MOST_BYTES} random bytes in base64")
    return material


def headers(keys: Sequence[bytes], id: str, seconds: int, body: bytes) -> dict[str, str]:
    """The headers of one request; several keys give several signatures, of which a receiver accepts any (rotation).

    Without a key there is no signature, and the id still tells a repeated delivery from a new one.
    """
    told = {"webhook-id": id, "webhook-timestamp": str(seconds)}
    signed = f"{id}.{seconds}.".encode() + body
    signatures = [base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode() for key in keys]
    return {**told, "webhook-signature": " ".join(f"v1,{one}" for one in signatures)} if keys else told
