"""How lines of a log lie in the file: some lines of one workload together, compressed as one text.

A body is the kind of its compression and, compressed, the length of a head, the head and the text. The text is what
people read of each line (its own line ends included) and a line end; so a pattern is looked for in all lines at once,
and only of chunks in which it is found the head has to be read. Pure.
"""

from __future__ import annotations

import zlib
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from typing import NamedTuple

import orjson

from core.model.log_line import LogLine, mask

CHUNK_BYTES = 64 * 1024  # of text, that are written at once
MERGED_BYTES = 256 * 1024
QUICK, THOROUGH = 1, 6  # levels of compression: of what is written, of what is merged
_ZLIB = b"z"
_LENGTH = 4


class Source(NamedTuple):
    """Whose lines a chunk has."""

    workload: str
    deployment: str
    """Empty for a single job."""
    worker: str


class Head(NamedTuple):
    """What is known of each line of a chunk, besides its text: a list for each column, and the names of levels."""

    names: list[str]
    seqs: list[int]
    times: list[int]
    levels: list[int]
    """As places in `names`."""
    lengths: list[int]
    """Of each text with its fields and its line end, in bytes."""
    extras: list[int]
    """Of these the bytes of the fields and the blank before them."""


class Chunk(NamedTuple):
    """What is known of some lines without reading them, and the lines."""

    source: Source
    first_seq: int
    last_seq: int
    first_at_ns: int
    last_at_ns: int
    lines: int
    levels: int
    """The levels that occur, as bits."""
    raw: int
    body: bytes


def pack(source: Source, lines: Sequence[LogLine], level: int = QUICK) -> Chunk:
    """At least one line, by seq."""
    names = list(dict.fromkeys(line.level for line in lines))
    texts, extras = [], []
    for line in lines:
        text = line.text.encode("utf-8", "backslashreplace")
        fields = fields_of(line)
        texts.append(b"%b %b\n" % (text, fields) if fields else text + b"\n")
        extras.append(len(fields) + 1 if fields else 0)
    columns = Head(
        names,
        [line.seq for line in lines],
        [line.at_ns for line in lines],
        [names.index(line.level) for line in lines],
        [len(text) for text in texts],
        extras,
    )
    head = orjson.dumps(tuple(columns))
    raw = b"".join((len(head).to_bytes(_LENGTH, "big"), head, *texts))
    times = [line.at_ns for line in lines]
    levels = 0
    for name in names:
        levels |= mask(name)
    body = _ZLIB + zlib.compress(raw, level)
    return Chunk(source, lines[0].seq, lines[-1].seq, min(times), max(times), len(lines), levels, len(raw), body)


def fields_of(line: LogLine) -> bytes:
    """The fields of a line as JSON; empty without any."""
    return orjson.dumps(line.fields, default=repr, option=orjson.OPT_NON_STR_KEYS) if line.fields else b""


def text_of(line: LogLine) -> bytes:
    """What is looked at when lines are searched."""
    fields = fields_of(line)
    text = line.text.encode("utf-8", "backslashreplace")
    return b"%b %b" % (text, fields) if fields else text


class Opened:
    """The lines of a chunk: `text` at once, the rest when it is asked for."""

    def __init__(self, body: bytes) -> None:
        """Raises ValueError for what `pack` has not made."""
        if body[:1] != _ZLIB:
            raise ValueError("the lines are compressed in a way that this version does not know")
        try:
            raw = zlib.decompress(body[1:])
        except zlib.error as error:
            raise ValueError(f"the lines cannot be read: {error}") from error
        end = _LENGTH + int.from_bytes(raw[:_LENGTH], "big")
        self._head = raw[_LENGTH:end]
        self.text = raw[end:]
        self._columns: Head | None = None
        self._ends: list[int] = []

    def _read(self) -> Head:
        if self._columns is None:
            self._columns = Head(*orjson.loads(self._head))
            self._ends = list(accumulate(self._columns.lengths))
        return self._columns

    def at(self, offset: int) -> int:
        """The number of the line that has this place of the text."""
        self._read()
        return bisect_right(self._ends, offset)

    def end(self, number: int) -> int:
        """Where the next line begins in the text."""
        self._read()
        return self._ends[number]

    def text_at(self, number: int) -> bytes:
        """The text of a line with its fields."""
        lengths = self._read().lengths
        end = self._ends[number]
        return self.text[end - lengths[number] : end - 1]

    def line(self, number: int) -> LogLine:
        head = self._read()
        end = self._ends[number]
        split = end - 1 - head.extras[number]
        text = self.text[end - head.lengths[number] : split].decode("utf-8", "replace")
        fields = orjson.loads(self.text[split + 1 : end - 1]) if head.extras[number] else {}
        return LogLine(head.seqs[number], head.times[number], head.names[head.levels[number]], text, fields)

    def __len__(self) -> int:
        return len(self._read().seqs)

    def numbers(self) -> range:
        return range(len(self))


def unpack(body: bytes) -> list[LogLine]:
    """The lines of a chunk. Raises ValueError."""
    opened = Opened(body)
    return [opened.line(number) for number in opened.numbers()]


def merge(chunks: Sequence[Chunk]) -> list[Chunk]:
    """The same lines in fewer chunks, each of about MERGED_BYTES and of one source; by seq."""
    merged: list[Chunk] = []
    waiting: list[LogLine] = []
    size = 0
    for number, chunk in enumerate(chunks):
        waiting += unpack(chunk.body)
        size += chunk.raw
        after = chunks[number + 1] if number + 1 < len(chunks) else None
        if after is None or after.source != chunk.source or size + after.raw > MERGED_BYTES:
            merged.append(pack(chunk.source, waiting, THOROUGH))
            waiting, size = [], 0
    return merged
