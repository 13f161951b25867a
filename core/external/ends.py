"""The end of a life of the worker process of this machine, kept in a file until an engine has been told of it.

It holds what no name of a job is in: a number that only who knows the workloads can resolve (core.witness.number).
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Annotated

import structlog
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from core import clock, keyfile
from core.fleet.deaths import Cause, Ended
from core.fleet.quarantine import WINDOW_SECONDS
from core.witness import ENDED

log = structlog.get_logger("core.external")

MOST_BYTES = 4096
Life = Annotated[str, Field(pattern="^[0-9a-f]{32}$")]
Number = Annotated[int, Field(gt=0, lt=ENDED, strict=True)]


class _Page(BaseModel):
    """The content of the file."""

    model_config = ConfigDict(extra="forbid")

    installation: str  # of the worker key
    worker: str
    life: Life
    cause: Cause
    number: Number
    at_ns: Annotated[int, Field(ge=0, strict=True)]  # wall clock of this machine


class _Told(BaseModel):
    """An earlier life, as an engine is told of it."""

    life: Life
    cause: Cause
    number: Number
    seconds_ago: Annotated[float, Field(ge=0, le=WINDOW_SECONDS)]


class Greeting(BaseModel):
    """What a worker says before anything else: the name of the life that begins, and how an earlier one ended."""

    life: Life
    before: _Told | None = None
    unreadable: bool = False  # there was an end to tell, and the file is none of ours, or is torn

    def ended(self) -> Ended | None:
        """The earlier end, by the clock of this machine."""
        told = self.before
        if told is None:
            return None
        at_ns = clock.now_ns() - int(told.seconds_ago * clock.NANOSECONDS)
        return Ended(told.life, told.cause, told.number, at_ns)


class Ends:
    """Of one worker name. A disk that takes nothing costs what is kept over the end of this process, and no more."""

    def __init__(self, path: Path, installation: str, worker: str) -> None:
        """Read what an earlier process has left. What cannot be believed is counted (`unreadable`) and removed."""
        self._path = path
        self._installation = installation
        self._worker = worker
        self.unreadable = 0
        self._last: _Page | None = None
        try:
            self._last = self._read()
        except (OSError, ValueError) as fault:
            self.unreadable += 1
            reason = "it is no end of a worker" if isinstance(fault, ValidationError) else str(fault)
            log.warning("worker_end_unreadable", file=str(path), reason=reason)
            self.forget()

    def _read(self) -> _Page | None:
        """Raises OSError, and ValueError for what is torn, foreign or no page."""
        try:
            fd = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        except FileNotFoundError:
            return None
        with os.fdopen(fd, "rb") as file:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                raise ValueError("it is no file")
            content = file.read(MOST_BYTES + 1)
        if len(content) > MOST_BYTES:
            raise ValueError("it is too large")
        page = _Page.model_validate_json(content)
        if (page.installation, page.worker) != (self._installation, self._worker):
            raise ValueError("it is of another worker")
        return page

    def greeting(self, life: str) -> bytes:
        """What to say when `life` begins."""
        last, told = self._last, None
        if last is not None:
            ago = (clock.now_ns() - last.at_ns) / clock.NANOSECONDS
            if 0 <= ago <= WINDOW_SECONDS:  # an older one counts no more
                told = _Told(life=last.life, cause=last.cause, number=last.number, seconds_ago=ago)
        return Greeting(life=life, before=told, unreadable=self.unreadable > 0).model_dump_json().encode()

    def greeted(self) -> None:
        """An engine has heard the greeting."""
        self.unreadable = 0
        if self._last is not None:
            self._last = None
            self.forget()

    def keep(self, life: str, cause: Cause, number: int) -> None:
        """Keep the end of a life, in place of an earlier one."""
        self._last = page = _Page(
            installation=self._installation,
            worker=self._worker,
            life=life,
            cause=cause,
            number=number,
            at_ns=clock.now_ns(),
        )
        try:
            keyfile.keep(self._path, page.model_dump_json().encode())
        except OSError as fault:
            log.warning("worker_end_not_kept", file=str(self._path), reason=str(fault))

    def forget(self) -> None:
        """Remove the file."""
        try:
            self._path.unlink(missing_ok=True)
        except OSError as fault:
            log.warning("worker_end_not_removed", file=str(self._path), reason=str(fault))
