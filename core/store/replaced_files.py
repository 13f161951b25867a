"""The files of an open database: whether their names still lead to them, and what is saved when they do not.

SQLite goes on with a file that was deleted or replaced as if nothing had happened, and what it writes there is gone
with the process (https://www.sqlite.org/howtocorrupt.html, 2.4). So the writer looks at the names before and after each
commit, and once a second, which costs a stat(2) of their directory as long as no name in it changes. Nothing is read
and nothing opened: see core.store.stray_opens.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from core import clock, errors

SETTLED_SECONDS = 0.1  # times of files come in ticks (of 10 ms at most): two changes within one show as one
RESCUED = ".rescued-"  # between the name of the database and a time: a copy of one that was deleted under its owner

_Id = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Loss:
    """A name that does not lead where it did.

    `replaced`: the name of the database leads nowhere, or to another one. `safe`: all that was committed is in the file
    at that name all the same. `where`: a sentence on where what was committed is. `help`: what to do about it.
    """

    what: str
    replaced: bool
    safe: bool
    where: str
    help: str = "Restart the engine."

    def refusal(self) -> errors.StorageUnavailable:
        """What callers are told; nothing of their calls was recorded."""
        return errors.StorageUnavailable(
            f"{self.what} while the engine runs; nothing is written any more, so that nothing gets lost.",
            hint=f"{self.where} {self.help}".strip(),
        )

    def open_outcome(self) -> errors.CommitUnconfirmed:
        """What those are told whose commit was under way when it happened."""
        return errors.CommitUnconfirmed(
            f"{self.what} while this was written; it may or may not have been recorded.",
            hint=f"{self.where} {self.help} Then look, or ask again with the same key.",
        )


class Files:
    """What the names led to when the database was opened. Made while it is open, and its log is there."""

    def __init__(self, database: Path, beside: Iterable[Path] = ()) -> None:
        """`beside`: further files that must stay in their place, such as the lock of the home."""
        place = database.resolve()  # SQLite puts the log beside the file that a link leads to
        self._database, *self._log_names = (f"{place}{suffix}" for suffix in ("", "-wal", "-shm"))
        self._ids = [(name, _id(name)) for name in (self._database, *self._log_names, *map(str, beside))]
        self._home = _id(str(place.parent))
        self._directories = sorted({str(Path(name).parent) for name, _ in self._ids})
        self._changed_ns: list[int] = []
        self._seen_at, self._settled = 0.0, False

    def missing(self) -> str:
        """The first name that does not lead where it did, as the beginning of a sentence; empty when all do.

        The time of the last change of a directory moves whenever a name in it is made, removed or changed, and nobody
        can set it. As long as it stands still, and has stood for longer than a tick of it, the names are as they were.
        """
        changed_ns = [_changed_ns(directory) for directory in self._directories]
        if changed_ns == self._changed_ns and self._settled:
            return ""
        now = clock.monotonic()
        if changed_ns != self._changed_ns:
            self._changed_ns, self._seen_at, self._settled = changed_ns, now, False
        for name, id in self._ids:
            if (found := _id(name)) != id:
                self._settled = False
                return f"{Path(name).name} {'was deleted' if found is None else 'was replaced'}"
        self._settled = now - self._seen_at > SETTLED_SECONDS
        return ""

    def log_is_foreign(self) -> bool:
        """Whether the name of the log, or of its index, leads to a file that is not this database's."""
        wanted = dict(self._ids)
        return any(_id(name) not in (None, wanted[name]) for name in self._log_names)

    def save(self, connection: sqlite3.Connection) -> Loss | None:
        """Bring what is committed to where it can be found again, after a look that found something missing.

        None when by now everything is in its place. Called by the thread that writes, outside of a transaction.
        """
        what = self.missing()
        if not what:
            return None
        wanted = dict(self._ids)
        replaced = _id(self._database) != wanted[self._database]
        # With a log that somebody else has begun beside this database, writing into it would mix the two.
        emptied = not self.log_is_foreign() and _checkpointed(connection)
        if emptied and not replaced:
            return Loss(what, False, True, f"All that was accepted is in {self._database}.")
        if emptied and (now := _name(wanted[self._database])) is not None:
            where = f"All that was accepted is in the file that was moved away, {now}."
            if now.parent == Path(self._database).parent or _id(str(now.parent)) != self._home:
                return Loss(what, True, False, where, f"Put it back as {self._database}, and restart the engine.")
            # Never only "restart": a start where no home is any more begins with an empty one.
            help = f"Put the directory back as {Path(self._database).parent}, or start with --home {now.parent}."
            return Loss(f"The home was moved to {now.parent}", True, False, where, help)
        try:
            copy = _copied(connection, Path(self._database))
        except (OSError, sqlite3.Error) as error:
            where = f"What was accepted could not be saved ({error}) and ends with this process: copy it out first."
            begun = "" if Path(self._database).parent.exists() else "A start with this --home begins with an empty one."
            return Loss(what, replaced, False, where, begun or "Restart the engine.")
        return Loss(
            what, replaced, False, f"All that was accepted is saved in {copy}: put it in the place of the other."
        )


def _changed_ns(directory: str) -> int:
    try:
        return os.stat(directory).st_ctime_ns  # noqa: PTH116 - as in _id
    except OSError:
        return -1


def _id(name: str) -> _Id | None:
    try:
        info = os.stat(name)  # noqa: PTH116 - runs at every commit: no Path objects here
    except OSError:
        return None
    return info.st_dev, info.st_ino


def _name(id: _Id | None) -> Path | None:
    """Where the file lies now that this process has open and that has this id; None when it has no name any more, or
    nothing tells."""
    try:
        for entry in Path("/proc/self/fd").iterdir():
            with suppress(OSError):  # closed since
                info = entry.stat()
                if (info.st_dev, info.st_ino) == id and info.st_nlink:
                    return entry.readlink()
    except OSError:
        return None
    return None


def _checkpointed(connection: sqlite3.Connection) -> bool:
    """Whether all of the log is in the database itself now, synced, and the log is empty."""
    try:
        busy, _, _ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    except sqlite3.Error:
        return False
    return not busy


def _copied(connection: sqlite3.Connection, database: Path) -> Path:
    """Copy the whole database, as its connection sees it, beside the place where it was."""
    at = datetime.fromtimestamp(clock.now_ns() / clock.NANOSECONDS, UTC).strftime("%Y%m%dT%H%M%SZ")
    copy = database.with_name(f"{database.name}{RESCUED}{at}")
    os.close(os.open(copy, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    try:
        with closing(sqlite3.connect(copy, isolation_level=None)) as target:
            target.execute("PRAGMA synchronous = FULL")
            connection.backup(target)
            target.execute("PRAGMA journal_mode = DELETE")  # one file, that can be moved by itself
    except BaseException:
        copy.unlink(missing_ok=True)
        raise
    return copy


def refuse_beside_a_rescue(database: Path) -> None:
    """Raises StorageUnavailable when a database was saved here and nobody has said yet which one is to be used."""
    saved = sorted(database.parent.glob(database.name + RESCUED + "*"))
    if saved:
        names = f"{database.name}-wal {database.name}-shm"
        raise errors.StorageUnavailable(
            f"{database.name} was deleted or replaced while an engine ran, which saved what it had as {saved[-1]}.",
            hint=f"To go on with that: cd {database.parent} && rm -f {names} && mv {saved[-1].name} {database.name}. To"
            " go on with what is there now, move it out of this directory.",
        )
