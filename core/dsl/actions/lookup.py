"""Lookup tables: rows of a CSV or JSON file under the path rules, indexed, and read again when the file changes."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Callable, Iterable
from typing import Any, Literal

import orjson

from core import clock
from core.dsl.events.select import MISSING, Path, find
from core.dsl.language.templates import text_of
from core.errors import InvalidDocument, SluiceError, shorten
from core.guard.file_access import FileAccess

MAX_BYTES = 64 * 1024 * 1024
MAX_ROWS = 1_000_000
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


class Table:
    """The rows of one file by their key; the first of several rows with one key counts."""

    def __init__(
        self,
        path: str,
        form: Format,
        delim: str,
        fields: tuple[Path, ...],
        fold: bool,
        access: FileAccess,
        report: Callable[[str], None],
    ) -> None:
        """Read the file. Raises InvalidDocument that says why it cannot be used."""
        self._path = path
        self._form = form
        self._delim = delim
        self._fields = fields
        self._fold = fold
        self._access = access
        self._report = report
        self._next_check = clock.monotonic() + CHECK_SECONDS
        self._mark: tuple[int, ...] = ()
        self._index: Index = {}
        try:
            self._read()
        except (SluiceError, OSError, ValueError) as error:
            raise InvalidDocument(f"The lookup file {shorten(path, 200)} cannot be used: {_reason(error)}") from error

    def index(self) -> Index:
        """The present rows. A file that has become unreadable is reported and leaves the rows that were read last."""
        now = clock.monotonic()
        if now >= self._next_check:
            self._next_check = now + CHECK_SECONDS
            try:
                self._read()
            except (SluiceError, OSError, ValueError) as error:
                self._report(f"the lookup file cannot be read again, its old rows stay: {_reason(error)}")
        return self._index

    def _read(self) -> None:
        fd = self._access.open_read(self._path)
        with os.fdopen(fd, "rb") as file:
            status = os.fstat(fd)
            mark = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
            if mark == self._mark:
                return
            data = file.read(MAX_BYTES + 1)
        if len(data) > MAX_BYTES:
            raise ValueError(f"it is larger than {MAX_BYTES} bytes")
        rows = _json_rows(data) if self._form == "json" else _csv_rows(data, self._delim)
        self._index = self._indexed(rows)
        self._mark = mark

    def _indexed(self, rows: Iterable[Row]) -> Index:
        index: Index = {}
        count = 0
        lacks: set[str] = set()
        for row in rows:
            count += 1
            if count > MAX_ROWS:
                raise ValueError(f"it has more than {MAX_ROWS} rows")
            key = tuple(key_text(find(row, path), self._fold) for path in self._fields)
            if None in key:
                lacks.update("/".join(path) for path, text in zip(self._fields, key, strict=True) if text is None)
                continue
            index.setdefault(key, row)  # type: ignore[arg-type]
        if count and not index:
            raise ValueError(f"no row has the field {', '.join(sorted(lacks))}")
        return index


def _csv_rows(data: bytes, delim: str) -> Iterable[Row]:
    reader = csv.reader(io.StringIO(data.decode("utf-8-sig"), newline=""), delimiter=delim, strict=True)
    try:
        header = [name.strip() for name in next(reader, [])]
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
