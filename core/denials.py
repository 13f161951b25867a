"""Refusals on record: each of them while they are few, and how many there were when somebody repeats one."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import structlog

from core import clock, errors
from core.model.operation import Effect, Operation
from core.model.principal import Caller
from core.store import audit
from core.store.database import Database

log = structlog.get_logger("core.engine")

EACH = 20  # of one user and one operation that have a row of their own within a minute
WINDOW_SECONDS = 60.0

_NO_REFUSALS = (errors.Internal, errors.Busy, errors.NoEngine, errors.StorageUnavailable)  # faults of ours
MOST_NAME = 200  # characters
_TAIL = re.compile(r"(?<=slw_[0-9a-f]{16})_[0-9a-f_]+|(?<=sluice_[0-9A-Za-z]{4})[0-9A-Za-z_-]{12,}")
"""The secret part of a credential that somebody gives in place of its id."""
Who = tuple[str, str, str, str]  # tenant, user, surface, operation


def is_refusal(operation: Operation, error: errors.SluiceError, *, elsewhere: bool) -> bool:
    """Whether an error goes on record: what somebody may not do, and every change that was not made.

    `elsewhere`: it is about a tenant that is not the caller's.
    """
    if elsewhere or isinstance(error, errors.Forbidden | errors.WriteDisabled):
        return True
    return operation.effect is not Effect.READ and not isinstance(error, _NO_REFUSALS)


def thing(operation: Operation, arguments: Mapping[str, Any], tenant: str) -> str:
    """TENANT/NAME of what a call is about, by the route of its operation; nothing when that names nothing.

    What else was sent may be a secret, and is not looked at.
    """
    names = re.findall(r"{(\w+)}", operation.http)
    values = [arguments[name] for name in names if isinstance(arguments.get(name), str)]
    short = [_TAIL.sub("…", value) for value in values if len(value) <= MOST_NAME and value.isprintable()]
    return f"{tenant}/{'/'.join(short)}" if short else ""


@dataclass(slots=True)
class _Window:
    began: float
    caller: Caller
    code: str
    count: int = 0


class Denials:
    """Of one engine. Else whoever may do nothing could push out of the audit log what others have done."""

    def __init__(self, database: Database, ids: clock.Ids) -> None:
        self._database = database
        self._ids = ids
        self._windows: dict[Who, _Window] = {}

    async def note(self, caller: Caller, operation: str, target: str, code: str) -> None:
        """Keep a refusal. It holds, recorded or not."""
        who = (caller.tenant, caller.username, caller.surface.value, operation)
        window = self._windows.get(who)
        if window is None:
            window = self._windows[who] = _Window(clock.monotonic(), caller, code)
        window.count += 1
        if window.count <= EACH:
            await self._write(caller, operation, target, code)

    async def fold(self, *, all: bool = False) -> None:
        """Write down how many more there were in each minute that is over (with `all`, in those under way as well)."""
        over = clock.monotonic() - WINDOW_SECONDS
        for who, window in list(self._windows.items()):
            if all or window.began <= over:
                del self._windows[who]
                if window.count > EACH:
                    target = f"{window.count - EACH} more refusals within a minute"
                    await self._write(window.caller, who[-1], target, window.code)

    async def _write(self, caller: Caller, operation: str, target: str, code: str) -> None:
        row = audit.row(self._ids.next(), caller, operation, target, decision=code)
        try:
            await self._database.write(audit.insert, row)
        except errors.StorageUnavailable as error:
            log.error("denial_not_recorded", operation=operation, username=caller.username, error=str(error))
