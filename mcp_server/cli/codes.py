"""How commands end: the exit codes, which scripts decide by. docs/cli.md has this table, written from it."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from core import errors

OK = 0
FAILED = 1
USAGE = 2
CHANGES = 2  # the code of terraform and diff for it, where a command was asked by --exit-code
NO_ENGINE = 3
REFUSED = 4
BLOCKED = 5
DEGRADED = 6
UNFINISHED = 7
UNWRITTEN = 74  # EX_IOERR of sysexits.h
INTERRUPTED = 130
UNREAD = 141

MEANING: Mapping[int, str] = MappingProxyType(
    {
        OK: "Done. Also: nothing had to be done.",
        FAILED: "An error that no other code tells, or the work that was asked for has failed.",
        USAGE: "Wrong usage: flags and arguments that the command does not take, or lacks; settings that do not fit,"
        " and where `serve` shall listen. (Another value or a document that is refused is 1, and so is a `sluice.toml`"
        " that cannot be read or that others may read.) For `gitops diff`, and with `--exit-code`: changes or drift are"
        " pending.",
        NO_ENGINE: "No engine is running, and the command needs one.",
        REFUSED: "Refused, and nothing was done: the caller may not, or it does not fit what is there.",
        BLOCKED: "The plan has blockers: nothing was applied.",
        DEGRADED: "Applied, and not all of it is up, also where `up` or `reconcile` had nothing to change; with `status"
        " --exit-code`: something is degraded or failed.",
        UNFINISHED: "The time to wait has ended first: it goes on, or its outcome is open.",
        UNWRITTEN: "Its output cannot be written, as on a full disk. A command that has begun to change something does"
        " so to its end, and its own code goes before this one unless it is 0.",
        INTERRUPTED: "Interrupted.",
        UNREAD: "Whoever read its output has gone, as `| head` does, before anything was changed. A command that has"
        " begun to change something goes on unread, with the code that tells what became of it.",
    }
)

ERRORS: Mapping[type[errors.SluiceError], int] = MappingProxyType(
    {
        errors.NoEngine: NO_ENGINE,
        errors.InvalidSettings: USAGE,
        errors.InvalidFlags: USAGE,
        errors.PlanBlocked: BLOCKED,
        errors.Unconfirmed: UNFINISHED,
        errors.CommitUnconfirmed: UNFINISHED,
        errors.Busy: UNFINISHED,
        **dict.fromkeys(
            (
                *(errors.Forbidden, errors.Unauthenticated, errors.WriteDisabled, errors.NotLicensed),
                *(errors.RateLimited, errors.QuotaExceeded, errors.AlreadyExists, errors.IdempotencyMismatch),
                *(errors.StalePlan, errors.PlanUsed, errors.PlanExpired),
            ),
            REFUSED,
        ),
    }
)

NARROWER: Mapping[type[errors.SluiceError], str] = MappingProxyType(
    {
        errors.NoEngine: "when no engine is running",
        errors.InvalidSettings: "of settings, in a `sluice.toml` or flags",
        errors.InvalidFlags: "of where `serve` shall listen",
    }
)
"""When a fault of these classes is meant, of those with the code of theirs."""


def of_error(error: errors.SluiceError) -> int:
    """The code for a fault: that of its class, or of the nearest one above that has one."""
    return next((ERRORS[kind] for kind in type(error).__mro__ if kind in ERRORS), FAILED)


def of_apply(state: str, *, waited: bool) -> int:
    """The code for what became of a plan, by the state of its deployment."""
    if state == "applying":
        return UNFINISHED if waited else OK
    return {"failed": FAILED, "degraded": DEGRADED}.get(state, OK)
