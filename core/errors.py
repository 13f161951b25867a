"""The one error tree: every fault that a caller can meet has a code, a plain message, a hint and places.

The doors map `code` to their own vocabulary (HTTP status, MCP error result, exit code); nothing below a door
knows about doors. `Problem` is one fault at one place; an error may carry several, so that all faults of a
document are told in one pass.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar, NotRequired, TypedDict


class Fault(TypedDict):
    """One fault at one place."""

    pointer: str
    """JSON Pointer into the arguments or the document."""
    message: str
    where: NotRequired[str]
    """file:line:column, when the fault is in a text."""
    pattern: NotRequired[str]
    """The regular expression that a text had to match."""


class Refusal(TypedDict):
    """Why a call is refused, or has failed."""

    code: str
    message: str
    hint: str
    """What to do next."""
    errors: list[Fault]
    details: NotRequired[dict[str, Any]]
    """What programs need to go on."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One fault at one place.

    `pointer` is a JSON Pointer (RFC 6901) into the arguments or the document; `where` is `file:line:column`
    when the fault is in a text that someone wrote. `pattern` is the regular expression that a text had to match, for
    programs; the message says the same in words.
    """

    pointer: str
    message: str
    where: str | None = None
    pattern: str | None = None

    def to_dict(self) -> Fault:
        out: Fault = {"pointer": self.pointer, "message": self.message}
        if self.where:
            out["where"] = self.where
        if self.pattern:
            out["pattern"] = self.pattern
        return out


class SluiceError(Exception):
    """Something went wrong inside Sluice."""

    code: ClassVar[str] = "internal"

    def __init__(
        self,
        message: str = "",
        *,
        hint: str = "",
        errors: Iterable[Problem] = (),
        details: dict[str, Any] | None = None,
    ) -> None:
        # The docstring is the default message, so that every error is documented by construction.
        self.message = message or (type(self).__doc__ or "").strip().splitlines()[0]
        self.hint = hint
        self.errors = tuple(errors)
        self.details = details or {}
        super().__init__(self.message)

    def to_dict(self) -> Refusal:
        """The wire form, the same behind every door."""
        out: Refusal = {
            "code": self.code,
            "message": self.message,
            "hint": self.hint,
            "errors": [problem.to_dict() for problem in self.errors],
        }
        if self.details:
            out["details"] = self.details
        return out

    def __str__(self) -> str:
        untold = (p for p in self.errors if not says(self.message, p.where, p.message))
        places = "".join(f"\n  {p.where or p.pointer or '/'}: {p.message}" for p in untold)
        hint = f"\n  hint: {self.hint}" if self.hint else ""
        return f"{self.code}: {self.message}{places}{hint}"


class InvalidParams(SluiceError):
    """The arguments do not fit the schema of this operation."""

    code = "invalid_params"


class InvalidFlags(InvalidParams):
    """What a server was told at its start does not fit, and will not by another start."""


class InvalidDocument(SluiceError):
    """The document does not fit the schema of its kind."""

    code = "invalid_document"


class NotFound(SluiceError):
    """There is no such thing, or it belongs to someone else."""

    code = "not_found"


class AlreadyExists(SluiceError):
    """A thing of that name exists already."""

    code = "already_exists"


class StalePlan(SluiceError):
    """The world has moved since this plan was computed."""

    code = "stale_plan"


class PlanUsed(SluiceError):
    """This plan has been applied or discarded already; a plan is single use."""

    code = "plan_used"


class PlanExpired(SluiceError):
    """This plan is too old to be applied."""

    code = "plan_expired"


class PlanBlocked(SluiceError):
    """This plan has blockers and cannot be applied."""

    code = "plan_blocked"


class WriteDisabled(SluiceError):
    """This session is read-only."""

    code = "write_disabled"


class Forbidden(SluiceError):
    """This identity may not do that."""

    code = "forbidden"


class Unauthenticated(SluiceError):
    """The request carries no valid credentials."""

    code = "unauthenticated"


class RateLimited(SluiceError):
    """Too many calls in the allowed window."""

    code = "rate_limited"


class QuotaExceeded(SluiceError):
    """As much is kept for this tenant or user as may be."""

    code = "quota_exceeded"


class IdempotencyMismatch(SluiceError):
    """This idempotency key was used before with other parameters."""

    code = "idempotency_mismatch"


class NotLicensed(SluiceError):
    """The license does not include this feature."""

    code = "not_licensed"


class TargetUnavailable(SluiceError):
    """Nothing is running that could take this work."""

    code = "target_unavailable"


class NoEngine(TargetUnavailable):
    """No engine is running, and this needs one."""


class StorageUnavailable(SluiceError):
    """The store cannot be written right now; nothing of this call was recorded."""

    code = "storage_unavailable"


class CommitUnconfirmed(StorageUnavailable):
    """The store failed while this was committed: it may have been recorded."""

    code = "unconfirmed"


class SecretsLocked(StorageUnavailable):
    """The secrets cannot be decrypted: their key is not here, or what is stored was changed."""


class InvalidSettings(InvalidDocument):
    """The settings of a home do not fit; no engine starts with them."""


class HomeCopied(StorageUnavailable):
    """This home is a copy of another one, and nobody has said yet that it may run."""


class Busy(SluiceError):
    """The engine cannot answer right now; nothing of this call was done; try again."""

    code = "busy"


class Unconfirmed(SluiceError):
    """No answer came: this may have been recorded; ask again with the same idempotency key, or look before you do."""

    code = "unconfirmed"


class Internal(SluiceError):
    """Something unexpected happened inside Sluice; the log of the engine says what."""

    code = "internal"


class InvalidTransition(Internal):
    """A state was asked to move along an edge that its table does not have."""


class JobFailed(Internal):
    """The job could not go on."""


BY_CODE: dict[str, type[SluiceError]] = {
    cls.code: cls
    for cls in (
        InvalidParams,
        InvalidDocument,
        NotFound,
        AlreadyExists,
        StalePlan,
        PlanUsed,
        PlanExpired,
        PlanBlocked,
        WriteDisabled,
        Forbidden,
        Unauthenticated,
        RateLimited,
        QuotaExceeded,
        IdempotencyMismatch,
        NotLicensed,
        TargetUnavailable,
        StorageUnavailable,
        Busy,
        Unconfirmed,
        Internal,
    )
}


def from_dict(data: dict[str, Any]) -> SluiceError:
    """Rebuild an error that another process sent in its wire form."""
    cls = BY_CODE.get(str(data.get("code")), Internal)
    return cls(
        str(data.get("message", "")),
        hint=str(data.get("hint", "")),
        errors=[
            Problem(e.get("pointer", ""), e.get("message", ""), e.get("where"), e.get("pattern"))
            for e in data.get("errors", ())
        ],
        details=data.get("details"),
    )


def says(message: str, where: str | None, what: str) -> bool:
    """Whether a message names the place of a fault, and what is wrong there, so that neither is printed again."""
    return bool(where) and f"{where}: " in message and what.rstrip(".") in message


def shorten(text: object, limit: int = 200) -> str:
    """Quote untrusted text inside a message: printable, one line, bounded."""
    raw = text if isinstance(text, str) else repr(text)
    clean = "".join(c if c.isprintable() else " " for c in raw[:limit])
    return clean if len(raw) <= limit else clean[: limit - 1] + "…"
