"""How lines of a log lie in the file: some lines of one workload together, compressed as one text.

A body is the kind of its compression and, compressed, the text, a head, and the length of the head. The text is what
people read of each line (its own line ends included) and a line end; so a pattern is looked for in all lines at once,
and only of chunks in which it is found the head is read, and only of lines in which it is found the text. Pure.

A head names runs and invocations once for all lines in a row (core/model/log_lines.py), as texts: a chunk whose head
does not have the text of an id has no line of it, and is not read any further.

Bodies of kind `z` are from before there was zstandard: zlib, with the head in front. Heads without `stretches` are from
before lines named their run.
"""

from __future__ import annotations

import threading
import zlib
from bisect import bisect_right
from collections.abc import Callable, Sequence
from itertools import accumulate, chain, groupby
from typing import Any, NamedTuple

import orjson
import zstandard

from core.model.log_line import NO_RUN, InRun, LogLine, mask
from core.model.log_lines import Bundle

MERGED_BYTES = 256 * 1024  # of text, that are together at most, more or less
WHOLE_BYTES = MERGED_BYTES // 2  # a chunk with so many is merged no more
QUICK, THOROUGH = 1, 3  # levels of compression: of what is written, of what is merged
MOST_BYTES = 64 * 1024 * 1024  # of one chunk; what says that it has more is damaged
_ZLIB, _ZSTD = b"z", b"s"
_LENGTH = 4
_own = threading.local()  # compressors and decompressors, of which a thread has its own


class Source(NamedTuple):
    """Whose lines a chunk has."""

    workload: str
    deployment: str
    """Empty for a single job."""
    worker: str


class Head(NamedTuple):
    """What is known of each line of a chunk, besides its text: a list for each column, and the names of levels."""

    names: list[str]
    runs: list[tuple[int, int]]
    """Of lines whose seqs follow each other: the first, and how many."""
    times: list[int]
    """For the first line of each run its time, for the others by how much they are later than the one before."""
    levels: list[int]
    """As places in `names`."""
    lengths: list[int]
    """Of each text with its fields and its line end, in bytes."""
    extras: list[int]
    """Of these the bytes of the fields and the blank before them."""
    stretches: Sequence[tuple[str, str, int]] = ()
    """Run, invocation, and how many lines in a row have them; none, when no line was written in a run."""


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


def pack(source: Source, bundles: Sequence[Bundle], level: int = QUICK) -> Chunk:
    """At least one bundle, by seq. Raises ValueError for what is none."""
    return _packed(source, [of_bundle(one) for one in bundles], level)


def _packed(source: Source, parts: Sequence[Opened], level: int) -> Chunk:
    head = _joined([part.head for part in parts])
    levels = 0
    for name in head.names:
        levels |= mask(name)
    end = orjson.dumps(tuple(head))
    times = _times(head)
    raw = b"".join((*(part.text for part in parts), end, len(end).to_bytes(_LENGTH, "big")))
    body = _ZSTD + _compressor(level).compress(raw)
    first, last = head.runs[0][0], head.runs[-1][0] + head.runs[-1][1] - 1
    return Chunk(source, first, last, min(times), max(times), len(times), levels, len(raw), body)


def _joined(heads: Sequence[Head]) -> Head:
    names = list(dict.fromkeys(chain.from_iterable(head.names for head in heads)))
    levels: list[int] = []
    for head in heads:
        places = [names.index(name) for name in head.names]
        levels += [places[level] for level in head.levels]
    return Head(
        names,
        list(chain.from_iterable(head.runs for head in heads)),
        list(chain.from_iterable(head.times for head in heads)),
        levels,
        list(chain.from_iterable(head.lengths for head in heads)),
        list(chain.from_iterable(head.extras for head in heads)),
        _stretches(heads),
    )


def _stretches(heads: Sequence[Head]) -> list[tuple[str, str, int]]:
    if not any(head.stretches for head in heads):
        return []
    every = chain.from_iterable(head.stretches or [(*NO_RUN, len(head.lengths))] for head in heads)
    return [(*ids, sum(lines for *_, lines in alike)) for ids, alike in groupby(every, lambda one: (one[0], one[1]))]


def _compressor(level: int) -> zstandard.ZstdCompressor:
    made: dict[int, zstandard.ZstdCompressor] = _own.__dict__.setdefault("compressors", {})
    if level not in made:
        made[level] = zstandard.ZstdCompressor(level=level, write_checksum=True)
    return made[level]


def _times(head: Head) -> list[int]:
    times: list[int] = []
    for _, count in head.runs:
        start = len(times)
        times += accumulate(head.times[start : start + count])
    return times


class Opened:
    """Lines of one workload: `raw` holds their texts up to `size`, the rest is read when it is asked for."""

    __slots__ = ("_ends", "_head", "_read", "_seqs", "_stretch_ends", "_times", "raw", "size")

    def __init__(self, raw: bytes, size: int, read: Callable[[], Head]) -> None:
        self.raw = raw
        self.size = size
        self._read = read
        self._head: Head | None = None
        self._ends: list[int] | None = None
        self._seqs: list[int] | None = None
        self._times: list[int] | None = None
        self._stretch_ends: list[int] | None = None

    @property
    def head(self) -> Head:
        if self._head is None:
            self._head = self._read()
        return self._head

    @property
    def ends(self) -> list[int]:
        """Where the line after each one begins."""
        if self._ends is None:
            self._ends = list(accumulate(self.head.lengths))
        return self._ends

    @property
    def seqs(self) -> list[int]:
        if self._seqs is None:
            self._seqs = [seq for first, count in self.head.runs for seq in range(first, first + count)]
        return self._seqs

    @property
    def times(self) -> list[int]:
        """In nanoseconds since the epoch."""
        if self._times is None:
            self._times = _times(self.head)
        return self._times

    @property
    def text(self) -> bytes:
        return self.raw[: self.size]

    def at(self, offset: int) -> int:
        """The number of the line that has this place of the text."""
        return bisect_right(self.ends, offset)

    def in_run(self, number: int) -> InRun:
        """In which run a line was written."""
        stretches = self.head.stretches
        if not stretches:
            return NO_RUN
        if self._stretch_ends is None:
            self._stretch_ends = list(accumulate(lines for *_, lines in stretches))
        run, invocation, _ = stretches[bisect_right(self._stretch_ends, number)]
        return InRun(run, invocation)

    def written_in(self, run: str, invocation: str) -> set[int]:
        """The numbers of the lines of a run, of an invocation, or of both; empty is whatever there is."""
        behind = len(self.raw) > self.size  # then the head is behind the text, and perhaps not read yet
        if behind and any(id and self.raw.find(orjson.dumps(id), self.size) < 0 for id in (run, invocation)):
            return set()
        numbers: set[int] = set()
        start = 0
        for of_run, of_invocation, lines in self.head.stretches:
            if run in ("", of_run) and invocation in ("", of_invocation):
                numbers.update(range(start, start + lines))
            start += lines
        return numbers

    def text_at(self, number: int) -> bytes:
        """The text of a line with its fields."""
        end = self.ends[number]
        return self.raw[end - self.head.lengths[number] : end - 1]

    def line(self, number: int) -> LogLine:
        head, text = self.head, self.text_at(number)
        split = len(text) - head.extras[number]
        fields = _fields(text[split + 1 :])
        if fields is not None:
            text = text[:split]
        level = head.names[head.levels[number]]
        said, in_run = text.decode("utf-8", "replace"), self.in_run(number)
        return LogLine(self.seqs[number], self.times[number], level, said, fields or {}, in_run)

    def lines(self) -> list[LogLine]:
        return [self.line(number) for number in range(len(self))]

    def __len__(self) -> int:
        return len(self.head.lengths)


def _fields(text: bytes) -> dict[str, Any] | None:
    """Fields as they were written; None for what is none, which is shown as text."""
    if not text:
        return None
    try:
        fields = orjson.loads(text)
    except ValueError:
        return None
    return fields if isinstance(fields, dict) else None


def of_bundle(bundle: Bundle) -> Opened:
    """Raises ValueError for what is none."""
    columns, text = bundle.read()
    runs = [(bundle.first_seq, bundle.lines)]
    known = (columns.names, runs, columns.times, columns.levels, columns.lengths, columns.extras)
    head = Head(*known, columns.stretches)
    return Opened(text, len(text), lambda: head)


def of_body(body: bytes) -> Opened:
    """Raises ValueError for what `pack` has not made."""
    kind = body[:1]
    if kind == _ZSTD:
        raw = _decompress(memoryview(body)[1:])
        size = len(raw) - _LENGTH - int.from_bytes(raw[-_LENGTH:], "big")
        if size < 0:
            raise ValueError("the lines cannot be read: their head is too long")
        return Opened(raw, size, lambda: Head(*orjson.loads(raw[size:-_LENGTH])))
    if kind == _ZLIB:
        raw = _decompress_zlib(body)
        end = _LENGTH + int.from_bytes(raw[:_LENGTH], "big")
        return Opened(raw[end:], len(raw) - end, lambda: _head_before(raw[_LENGTH:end]))
    raise ValueError("the lines are compressed in a way that this version does not know")


def _head_before(json: bytes) -> Head:
    """The head of a body of kind `z`, which has the seq and the time of each line as they are."""
    names, seqs, times, levels, lengths, extras = orjson.loads(json)
    return Head(names, [(seq, 1) for seq in seqs], times, levels, lengths, extras)


def _decompress(body: memoryview) -> bytes:
    """Raises ValueError."""
    if not hasattr(_own, "decompressor"):
        _own.decompressor = zstandard.ZstdDecompressor()
    try:
        if zstandard.frame_content_size(body) > MOST_BYTES:
            raise ValueError("the lines cannot be read: there are too many")
        raw: bytes = _own.decompressor.decompress(body)
    except zstandard.ZstdError as error:
        raise ValueError(f"the lines cannot be read: {error}") from error
    return raw


def _decompress_zlib(body: bytes) -> bytes:
    """Raises ValueError."""
    try:
        return zlib.decompress(body[1:])
    except zlib.error as error:
        raise ValueError(f"the lines cannot be read: {error}") from error


def unpack(body: bytes) -> list[LogLine]:
    """The lines of a chunk. Raises ValueError."""
    return of_body(body).lines()


def merge(chunks: Sequence[Chunk]) -> list[Chunk]:
    """The same lines in fewer chunks, each of about MERGED_BYTES and of one source; by seq. Raises ValueError."""
    merged: list[Chunk] = []
    waiting: list[Opened] = []
    size = 0
    for number, chunk in enumerate(chunks):
        waiting.append(of_body(chunk.body))
        size += chunk.raw
        after = chunks[number + 1] if number + 1 < len(chunks) else None
        if after is None or after.source != chunk.source or size + after.raw > MERGED_BYTES:
            merged.append(_packed(chunk.source, waiting, THOROUGH))
            waiting, size = [], 0
    return merged
