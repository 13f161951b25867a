"""What this installation may do: an entitlement file, signed with ed25519 (docs/license.md).

Without a file everything is on. A file that cannot be trusted, or whose time is over, leaves the Community Edition:
the engine starts and says why, because what already runs must not stop for the want of a paper.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypedDict

import orjson
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError, model_validator

from core import clock, errors, pointers

GRACE_DAYS = 14  # after its end a license still holds for so long, with a warning
MAX_FILE_BYTES = 64 * 1024
COMMUNITY_WORKERS = 1
COMMUNITY_JOBS = 15


class Feature(StrEnum):
    """What a license can grant."""

    DEPLOYMENTS = "deployments"
    MCP_SERVER = "mcp-server"
    PORTAL = "portal"
    EXTERNAL_WORKERS = "external-workers"


class Status(StrEnum):
    """How the license in force came to be."""

    NONE = "none"  # there is no file: everything is on
    VALID = "valid"
    GRACE = "grace"  # over, but not for long
    EXPIRED = "expired"
    INVALID = "invalid"  # not signed by a trusted key, changed since, or no license at all
    COMMUNITY = "community"  # chosen by the setting


class Limits(BaseModel):
    """How much; no number is no limit."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    workers: int | None = Field(default=None, ge=1)
    jobs: int | None = Field(default=None, ge=1)


class Entitlement(BaseModel):
    """What is signed."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str = Field(min_length=1, max_length=100)
    customer: str = Field(min_length=1, max_length=200)
    edition: str = Field(default="enterprise", pattern=r"^[a-z][a-z0-9-]{0,39}$")
    features: tuple[Feature, ...] = ()
    limits: Limits = Limits()
    issued_at: AwareDatetime
    expires_at: AwareDatetime | None = None

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.expires_at is not None and self.expires_at <= self.issued_at:
            raise ValueError("expires_at is not after issued_at")
        return self


class LicensedLimits(TypedDict):
    """How much; null is no limit."""

    workers: int | None
    jobs: int | None


class LicenseShown(TypedDict):
    """The license in force."""

    edition: str
    status: Annotated[str, Literal["none", "valid", "grace", "expired", "invalid", "community"]]
    features: dict[str, bool]
    """Whether each one is granted."""
    limits: LicensedLimits
    customer: str
    id: str
    expires_at: str | None
    """ISO 8601 in UTC; null: never."""
    reason: str
    """Why it is not what somebody may have expected."""


@dataclass(frozen=True, slots=True)
class License:
    """The license in force. Made by `read`."""

    edition: str
    status: Status
    features: frozenset[Feature]
    limits: Limits = field(default_factory=Limits)
    customer: str = ""
    id: str = ""
    expires_at_ns: int | None = None
    reason: str = ""  # why it is not what somebody may have expected

    def require(self, feature: Feature, what: str) -> None:
        """Raises NotLicensed when the feature is not granted."""
        if feature not in self.features:
            raise errors.NotLicensed(
                f"{what} needs the license feature {feature.value}; this is the {self.edition} edition"
                + (f" ({self.reason})." if self.reason else "."),
                hint="Install a license that grants it with `sluice license install FILE`; it takes effect at once.",
                details={"feature": feature.value, "edition": self.edition},
            )

    def require_room(self, jobs: int) -> None:
        """Raises NotLicensed when there are so many jobs that no further one may be made."""
        if self.limits.jobs is not None and jobs >= self.limits.jobs:
            raise errors.NotLicensed(
                f"The {self.edition} edition holds {self.limits.jobs} jobs, and there are {jobs}.",
                hint="Delete a job, or install a license with `sluice license install FILE`. Jobs that exist can be"
                " edited and deployed as before.",
                details={"limit": "jobs", "edition": self.edition},
            )

    def to_dict(self) -> LicenseShown:
        """The license as license_show tells it."""
        return {
            "edition": self.edition,
            "status": self.status,
            "features": {feature.value: feature in self.features for feature in Feature},
            "limits": {"workers": self.limits.workers, "jobs": self.limits.jobs},
            "customer": self.customer,
            "id": self.id,
            "expires_at": clock.iso(self.expires_at_ns) if self.expires_at_ns is not None else None,
            "reason": self.reason,
        }


EVERYTHING = License("full", Status.NONE, frozenset(Feature))


def community(status: Status = Status.COMMUNITY, reason: str = "") -> License:
    """The edition that is left without a license where one is asked for."""
    limits = Limits(workers=COMMUNITY_WORKERS, jobs=COMMUNITY_JOBS)
    return License("community", status, frozenset(), limits, reason=reason)


def read(
    path: Path, edition: str, keys: Iterable[str], now_ns: int, kept: bytes | None
) -> tuple[License, bytes | None]:
    """The license in force, and what the file holds (None: there is none), to be given as `kept` the next time.

    Without a file it is what `edition` (full or community) says. A file that is there and cannot be read (no
    permission, no descriptor left, a fault of the disk) changes nothing: what it held before is in force.
    """
    keys = tuple(keys)
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_FILE_BYTES + 1)
    except FileNotFoundError:
        return _in_force(None, edition, keys, now_ns), None
    except OSError as error:
        before = _in_force(kept, edition, keys, now_ns)
        why = f"{path.name} cannot be read ({error.strerror}), so what was in force before is"
        return replace(before, reason=f"{why}; {before.reason}" if before.reason else why), kept
    return _in_force(raw, edition, keys, now_ns), raw


def _in_force(raw: bytes | None, edition: str, keys: Iterable[str], now_ns: int) -> License:
    if raw is None:
        return community() if edition == "community" else EVERYTHING
    try:
        return decide(verify(raw, keys), now_ns)
    except errors.InvalidDocument as error:
        return community(Status.INVALID, error.message)


def verify(raw: bytes, keys: Iterable[str]) -> Entitlement:
    """The entitlement of a license file that one of the trusted public keys (base64) has signed.

    Raises InvalidDocument.
    """
    if len(raw) > MAX_FILE_BYTES:
        raise errors.InvalidDocument(f"A license file has at most {MAX_FILE_BYTES} bytes.")
    try:
        document = orjson.loads(raw)
        signed, signature = document["license"], base64.b64decode(document["signature"], validate=True)
        message = signed.encode()
    except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError, binascii.Error, ValueError) as error:
        raise errors.InvalidDocument(
            "This is not a license file.", hint="It is a JSON object with the texts license and signature."
        ) from error
    if not any(_signed(key, signature, message) for key in keys):
        raise errors.InvalidDocument(
            "The license is not signed by a key that this installation trusts, or was changed since.",
            hint="Ask for the file again; trusted public keys are the setting license_keys.",
        )
    try:
        return Entitlement.model_validate_json(message)
    except ValidationError as error:
        raise errors.InvalidDocument(
            "The license says something that this version does not understand.",
            hint="Upgrade sluice-mcp, or ask for a new file.",
            errors=[errors.Problem(pointers.join(e["loc"]), e["msg"]) for e in error.errors()[:10]],
        ) from error


def _signed(key: str, signature: bytes, message: bytes) -> bool:
    from cryptography.exceptions import InvalidSignature  # workers know the features, and verify nothing
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        Ed25519PublicKey.from_public_bytes(base64.b64decode(key, validate=True)).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


def decide(entitlement: Entitlement, now_ns: int) -> License:
    """What an entitlement grants at a moment."""
    end = None if entitlement.expires_at is None else int(entitlement.expires_at.timestamp()) * clock.NANOSECONDS
    status, reason = Status.VALID, ""
    if end is not None and now_ns >= end:
        over = f"the license of {errors.shorten(entitlement.customer, 80)} ended at {clock.iso(end)}"
        if now_ns >= end + GRACE_DAYS * 86_400 * clock.NANOSECONDS:
            return community(Status.EXPIRED, over)
        status, reason = Status.GRACE, f"{over}; it still holds for {GRACE_DAYS} days"
    return License(
        entitlement.edition,
        status,
        frozenset(entitlement.features),
        entitlement.limits,
        entitlement.customer,
        entitlement.id,
        end,
        reason,
    )


def sign(entitlement: Mapping[str, Any], private_key: bytes) -> bytes:
    """The bytes of a license file; for those who issue licenses.

    Raises ValueError for an entitlement that `verify` would refuse.
    """
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    text = orjson.dumps(Entitlement.model_validate(entitlement).model_dump(mode="json")).decode()
    signature = Ed25519PrivateKey.from_private_bytes(private_key).sign(text.encode())
    file = {"license": text, "signature": base64.b64encode(signature).decode()}
    return orjson.dumps(file, option=orjson.OPT_INDENT_2)
