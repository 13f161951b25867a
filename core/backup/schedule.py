"""Backups that the engine takes by itself, and what it knows of them: when the last one was, and why none is.

What it knows is kept in the home (`backup.json`), so that a restart neither forgets a failure nor takes a backup anew.
A failed one is tried again soon, and is told until one has been made: by `sluice status`, `sluice doctor`, the measures
and the log.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import msgspec
import structlog

from core import clock, errors
from core.settings import Settings

log = structlog.get_logger("core.backup")

FILE = "backup.json"
AGAIN_SECONDS = 300.0  # after one that failed, or sooner when they are more frequent than that
LATE = 1.5  # so many times their interval without one are too many,
LATE_SECONDS = (
    180.0  # and never less than so long beyond it: a backup takes its time, and so does the look for a due one
)
LOOK_SECONDS = 30.0  # how often a due one is looked for: the wall clock may be set


class Task(msgspec.Struct, frozen=True):
    """What is to be done."""

    home: str
    home_id: str
    to: str
    keep: int
    data: bool
    passphrase_file: str


class Outcome(msgspec.Struct, frozen=True):
    """How it went: an empty `fault` says well. `bytes`: of the archive; `dropped`: older ones that were removed."""

    fault: str = ""
    archive: str = ""
    bytes: int = 0
    moment_ns: int = 0
    dropped: int = 0
    left_out: tuple[str, ...] = ()


class Known(msgspec.Struct):
    """Of the backups of this home. Times are of the wall clock; 0: never."""

    succeeded_at_ns: int = 0
    moment_ns: int = 0
    archive: str = ""
    bytes: int = 0
    left_out: tuple[str, ...] = ()
    failed_at_ns: int = 0
    fault: str = ""
    """Of the last one, empty when it succeeded."""
    taken: int = 0
    failures: int = 0
    since_ns: int = 0
    """When the engine was first told to take them."""
    every_ns: int = 0
    """How far apart they are to be, as the last engine was told; 0: it took none, or did not note it."""


def due_ns(known: Known, every_ns: int) -> int:
    """When the next one is to be taken."""
    last = known.succeeded_at_ns + every_ns if known.succeeded_at_ns else 0
    if known.fault:
        return max(last, known.failed_at_ns + min(every_ns, int(AGAIN_SECONDS * clock.NANOSECONDS)))
    return last


def trouble(known: Known, every_ns: int, now_ns: int) -> str:
    """Why there is no backup as there should be, in a sentence; empty when there is one."""
    if known.fault:
        return f"The last backup failed: {known.fault}"
    last = known.succeeded_at_ns or known.since_ns
    if last and now_ns - last > max(LATE * every_ns, every_ns + LATE_SECONDS * clock.NANOSECONDS):
        return "There has been no backup for longer than they are apart."
    return ""


class Backups:
    """Those of one engine. Without the setting `backup_to` it takes none."""

    def __init__(self, settings: Settings) -> None:
        """`home_id` is set when the engine knows it: backups are called by it."""
        self.home_id = ""
        self._settings = settings
        self._file = settings.home / FILE
        self.known = recorded(settings.home)
        self.running = False

    @property
    def wanted(self) -> bool:
        return bool(self._settings.backup_to)

    @property
    def every_ns(self) -> int:
        return int(self._settings.backup_every_hours * 3600 * clock.NANOSECONDS)

    def trouble(self) -> str:
        """Why there is no backup as there should be; empty when all is well, or none are wanted."""
        return trouble(self.known, self.every_ns, clock.now_ns()) if self.wanted else ""

    async def keep(self) -> None:
        """Take one when it is due; wait. A step of a loop of the engine."""
        if not self.known.since_ns or self.known.every_ns != self.every_ns:
            self.known.since_ns = self.known.since_ns or clock.now_ns()
            self.known.every_ns = self.every_ns
            self._note()
        now = clock.now_ns()
        if self.known.succeeded_at_ns > now + self.every_ns:  # the clock was set back: better one too many
            self.known.succeeded_at_ns = 0
        if now >= due_ns(self.known, self.every_ns):
            await self.take()
        wait_ns = due_ns(self.known, self.every_ns) - clock.now_ns()
        await asyncio.sleep(min(LOOK_SECONDS, max(1.0, wait_ns / clock.NANOSECONDS)))

    def retire(self) -> None:
        """Note that none are wanted any more, so that nobody misses one."""
        if self.known.every_ns or self.known.since_ns:
            self.known.every_ns = self.known.since_ns = 0
            self._note()

    async def take(self) -> None:
        """Take one now, and keep in mind how it went."""
        chosen = self._settings
        task = Task(
            str(chosen.home),
            self.home_id,
            chosen.backup_to,
            chosen.backup_keep,
            chosen.backup_data,
            str(chosen.backup_passphrase_file or ""),
        )
        self.running = True
        try:
            outcome = await _in_a_process(task)
        finally:
            self.running = False
        now = clock.now_ns()
        if outcome.fault:
            self.known.failed_at_ns, self.known.fault = now, errors.shorten(outcome.fault, 500)
            self.known.failures += 1
            log.error("backup_failed", error=self.known.fault, failures=self.known.failures)
        else:
            self.known.succeeded_at_ns, self.known.fault = now, ""
            self.known.moment_ns, self.known.archive, self.known.bytes = (
                outcome.moment_ns,
                outcome.archive,
                outcome.bytes,
            )
            self.known.left_out = outcome.left_out
            self.known.taken += 1
            log.info("backup_taken", archive=outcome.archive, bytes=outcome.bytes, dropped=outcome.dropped)
        self._note()

    def _note(self) -> None:
        """Keep it, whole or as it was. A home that cannot be written is told by the store."""
        new = self._file.with_suffix(".new")
        try:
            new.touch(mode=0o600)
            new.write_bytes(msgspec.json.encode(self.known))
            new.replace(self._file)
        except OSError as error:
            log.warning("backup_not_noted", error=error.strerror)


def recorded(home: Path) -> Known:
    """What a home keeps of its backups."""
    file = home / FILE
    try:
        return msgspec.json.decode(file.read_bytes(), type=Known)
    except FileNotFoundError:
        return Known()
    except (OSError, msgspec.MsgspecError) as error:  # then one is taken at once, which is safe
        log.warning("backup_note_not_read", file=str(file), error=str(error))
        return Known()


async def _in_a_process(task: Task) -> Outcome:
    """Have it done; one that is cancelled ends, and leaves nothing under the name of an archive."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "core.backup",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env=dict(os.environ),
        start_new_session=True,
    )
    try:
        said, _ = await process.communicate(msgspec.json.encode(task) + b"\n")
    except asyncio.CancelledError:
        process.kill()
        await process.wait()
        raise
    try:
        return msgspec.json.decode(said, type=Outcome)
    except msgspec.MsgspecError:
        return Outcome(fault=f"its process ended with {process.returncode} and said nothing")
