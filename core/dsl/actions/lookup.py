"""Lookup tables: rows of a CSV or JSON file under the path rules, indexed, and read again when the file changes."""

from __future__ import annotations

import concurrent.futures
import csv
import io
import os
import threading
from collections.abc import Callable, Iterable
from typing import Any, Literal, NamedTuple

import orjson

from core import clock
from core.dsl.events.select import MISSING, Path, find
from core.dsl.language.templates import text_of
from core.errors import InvalidDocument, SluiceError, shorten
from core.guard.file_access import FileAccess

MAX_BYTES = 64 * 1024 * 1024
MAX_ROWS = 1_000_000
SMALL_BYTES = 1024 * 1024  # read in some ten milliseconds
CHECK_SECONDS = 1.0  # how often the file is looked at, at most

Format = Literal["csv", "json"]
Row = dict[str, Any]
Key = tuple[str, ...]
Index = dict[Key, Row]


def key_text(value: Any, fold: bool) -> str | None:
    """How a value is compared: as the text it has in a template. None for what cannot be looked up."""
    if value is MISSING or value is None or type(value) is dict or type(value) is list:
        return None
    text = text_of(value)
    return text.casefold() if fold else text


class _Mark(NamedTuple):
    """What tells one state of a file from others."""

    device: int
    inode: int
    bytes: int
    modified_ns: int
    changed_ns: int  # which nobody sets back


class _Read(NamedTuple):
    """What was read of a file."""

    mark: _Mark | None
    rows: Index
    lacks: tuple[str, ...] = ()
    """Fields that are wanted and that no row has."""


class Table:
    """The rows of one file by their key; the first of several rows with one key counts.

    What takes longer than a moment is read in a thread: the worker has other jobs. Use from the loop, but for `read`.
    """

    def __init__(
        self,
        path: str,
        form: Format,
        delim: str,
        fields: tuple[Path, ...],
        wanted: tuple[Path, ...],
        fold: bool,
        access: FileAccess,
        report: Callable[[str], None],
        later: list[Callable[[], None]],
    ) -> None:
        """Read a small file; `later` gets what reads a large one before the first event. `wanted` are fields that rows
        should have. Raises InvalidDocument that says why it cannot be used, as `read` does."""
        self._path = path
        self._form = form
        self._delim = delim
        self._fields = fields
        self._wanted = wanted
        self._fold = fold
        self._access = access
        self._report = report
        self._now = _Read(None, {})
        self._tried: _Mark | None = None  # the mark of what was read last, also of what could not be used
        self._next_check = clock.monotonic() + CHECK_SECONDS
        self._reading: concurrent.futures.Future[_Read | None] | None = None
        try:
            large = self._mark().bytes > SMALL_BYTES
        except (SluiceError, OSError) as error:
            raise self._unusable(error) from error
        if large:
            later.append(self.read)
        else:
            self.read()

    def read(self) -> None:
        """Read the file for the first time."""
        self._tried = None
        try:
            found = self._changed()
        except (SluiceError, OSError, ValueError) as error:
            raise self._unusable(error) from error
        if found is not None:
            self._take(found)
        self._next_check = clock.monotonic() + CHECK_SECONDS

    def index(self) -> Index:
        """The present rows. A file that has become unreadable is reported and leaves the rows that were read last."""
        if self._now.mark is None:
            self.read()
        if self._reading is not None:
            if self._reading.done():
                reading, self._reading = self._reading, None
                self._ask(reading.result)
            return self._now.rows
        now = clock.monotonic()
        if now >= self._next_check:
            self._next_check = now + CHECK_SECONDS
            self._ask(self._again)
        return self._now.rows

    def _again(self) -> _Read | None:
        mark = self._mark()
        if mark == self._tried:
            return None
        if mark.bytes <= SMALL_BYTES:
            return self._changed()
        self._reading = concurrent.futures.Future()
        threading.Thread(target=_work, args=(self._changed, self._reading), name="lookup", daemon=True).start()
        return None

    def _ask(self, read: Callable[[], _Read | None]) -> None:
        try:
            found = read()
        except (SluiceError, OSError, ValueError) as error:
            self._report(f"the lookup file cannot be read again, its old rows stay: {_reason(error)}")
            return
        if found is not None:
            if self._now.rows and not found.rows:
                self._report("the lookup file has no rows any more")
            self._take(found)

    def _take(self, found: _Read) -> None:
        self._now = found
        for name in found.lacks:
            self._report(f"no row of the lookup file has the field {name}, which is to be added")

    def _mark(self) -> _Mark:
        fd = self._access.open_read(self._path)
        try:
            return _mark_of(os.fstat(fd))
        finally:
            os.close(fd)

    def _changed(self) -> _Read | None:
        """What the file has now; None when that is known. Raises what makes it unusable."""
        fd = self._access.open_read(self._path)
        with os.fdopen(fd, "rb") as file:
            mark = _mark_of(os.fstat(fd))
            if mark == self._tried:
                return None
            data = b"" if mark.bytes > MAX_BYTES else file.read(MAX_BYTES + 1)  # it may grow meanwhile
        self._tried = mark
        if max(mark.bytes, len(data)) > MAX_BYTES:
            raise ValueError(f"it is larger than {MAX_BYTES} bytes")
        if self._form == "json":
            return self._indexed(mark, _json_rows(data))
        return self._indexed(mark, _csv_rows(data, self._delim, {path[0] for path in self._fields}))

    def _indexed(self, mark: _Mark, rows: Iterable[Row]) -> _Read:
        index: Index = {}
        count = 0
        lacks: set[str] = set()
        unseen = list(self._wanted)
        for row in rows:
            count += 1
            if count > MAX_ROWS:
                raise ValueError(f"it has more than {MAX_ROWS} rows")
            if unseen:
                unseen = [path for path in unseen if find(row, path) is MISSING]
            key = tuple(key_text(find(row, path), self._fold) for path in self._fields)
            if None in key:
                lacks.update("/".join(path) for path, text in zip(self._fields, key, strict=True) if text is None)
                continue
            index.setdefault(key, row)  # type: ignore[arg-type]
        if count and not index:
            raise ValueError(f"no row has the field {', '.join(sorted(lacks))}")
        return _Read(mark, index, tuple("/".join(path) for path in unseen) if count else ())

    def _unusable(self, error: Exception) -> InvalidDocument:
        return InvalidDocument(f"The lookup file {shorten(self._path, 200)} cannot be used: {_reason(error)}")


def _work(read: Callable[[], _Read | None], into: concurrent.futures.Future[_Read | None]) -> None:
    try:
        into.set_result(read())
    except Exception as error:  # told where it is awaited
        into.set_exception(error)


def _mark_of(status: os.stat_result) -> _Mark:
    return _Mark(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def _csv_rows(data: bytes, delim: str, needed: set[str]) -> Iterable[Row]:
    """Raises ValueError for what is no table with the columns that are needed: a file that is written anew is empty
    for a moment."""
    reader = csv.reader(io.StringIO(data.decode("utf-8-sig"), newline=""), delimiter=delim, strict=True)
    try:
        header = [name.strip() for name in next(reader, [])]
        if not header:
            raise ValueError("it is empty")
        if lacks := needed - set(header):
            raise ValueError(f"no row has the field {', '.join(sorted(lacks))}")
        for cells in reader:
            if cells:
                yield dict(zip(header, cells, strict=False))
    except csv.Error as error:
        raise ValueError(f"line {reader.line_num}: {error}") from None


def _json_rows(data: bytes) -> Iterable[Row]:
    """An array of objects, or an object of them; there the name of each is its field `key`."""
    value = orjson.loads(data)
    if type(value) is dict:
        return [{"key": key, **(row if type(row) is dict else {"value": row})} for key, row in value.items()]
    if type(value) is not list or not all(type(row) is dict for row in value):
        raise ValueError("it is neither an array of objects nor an object")
    return value


def _reason(error: Exception) -> str:
    return error.message if isinstance(error, SluiceError) else shorten(str(error), 200)
