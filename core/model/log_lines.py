"""Lines of the log of one workload as they travel and wait: written out once, where they come from, and read when
somebody asks for them.

The text is what people read of each line (its own line ends included), its fields as JSON behind a blank, and a line
end. The columns tell the rest of each line, and in which run it was written: that once for all lines in a row that have
it in common, with the invocation behind the run, so that neither has to be looked up to find them. What another process
has sent is looked at before it is believed.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from functools import lru_cache
from itertools import accumulate
from typing import Annotated, Any, NamedTuple

import msgspec
import orjson

from core.model.log_line import NO_RUN, InRun, LogLine

BUNDLE_BYTES = 300  # that one takes in memory besides its lines
_MOST = 2**63 - 1
_SHORT = 64  # characters of a value
Natural = Annotated[int, msgspec.Meta(ge=0)]
Level = Annotated[str, msgspec.Meta(max_length=32)]
Id = Annotated[str, msgspec.Meta(pattern="^[0-9A-Za-z_-]{0,64}$")]  # no text that may say something to who reads it


class Stretch(NamedTuple):
    """Lines in a row that were written in the same run, or in none."""

    run: Id
    invocation: Id
    lines: Annotated[int, msgspec.Meta(ge=1)]


class Columns(msgspec.Struct, array_like=True, gc=False):
    """A list for each thing that is told of each line, and the names of levels."""

    names: Annotated[list[Level], msgspec.Meta(max_length=32)]
    levels: list[Natural]
    """As places in `names`."""
    times: list[int]
    """The first in nanoseconds since the epoch, and by how much each grows."""
    lengths: list[Annotated[int, msgspec.Meta(ge=1)]]
    """Of each text with its fields and its line end, in bytes."""
    extras: list[Natural]
    """Of these the bytes of the fields and the blank before them."""
    stretches: list[Stretch] = []
    """All of them; none, when no line was written in a run."""


_decode = msgspec.json.Decoder(Columns).decode


class Bundle(NamedTuple):
    """Lines of one workload, which follow each other."""

    first_seq: int
    lines: int
    columns: bytes | msgspec.Raw
    """JSON."""
    text: bytes | msgspec.Raw
    """A text as JSON."""

    @property
    def last_seq(self) -> int:
        return self.first_seq + self.lines - 1

    @property
    def size(self) -> int:
        """How many bytes it takes in memory."""
        return len(memoryview(self.columns)) + len(memoryview(self.text)) + BUNDLE_BYTES

    def read(self) -> tuple[Columns, bytes]:
        """What is told of its lines, and their text. Raises ValueError when these are none."""
        try:
            columns = _decode(self.columns)
        except msgspec.MsgspecError as error:
            raise ValueError(f"these are no lines of a log: {error}") from error
        told = orjson.loads(memoryview(self.text))
        text = told.encode() if isinstance(told, str) else b""
        levels, times, lengths, extras = columns.levels, columns.times, columns.lengths, columns.extras
        if (
            {len(levels), len(times), len(lengths), len(extras)} != {self.lines}
            or not self.lines
            or max(levels) >= len(columns.names)
            or sum(lengths) != len(text)
            or any(map(operator.ge, extras, lengths))
            or (columns.stretches and sum(one.lines for one in columns.stretches) != self.lines)
            or not _are_times(list(accumulate(times)))
        ):
            raise ValueError("these are no lines of a log: what is told of them does not fit")
        return columns, text


def _are_times(times: list[int]) -> bool:
    return 0 <= min(times) and max(times) <= _MOST


class Gathered:
    """Lines that one process puts together."""

    __slots__ = ("_began", "_extras", "_in_run", "_lengths", "_levels", "_names", "_texts", "_times", "size")

    def __init__(self) -> None:
        self._names: dict[str, int] = {}
        self._levels: list[int] = []
        self._times: list[int] = []
        self._lengths: list[int] = []
        self._extras: list[int] = []
        self._texts: list[str] = []
        self._in_run = NO_RUN
        self._began: list[tuple[int, InRun]] = []  # with which line another run began than before
        self.size = 0
        """Of the text and of what names runs, in bytes."""

    def __len__(self) -> int:
        return len(self._texts)

    def add(self, at_ns: int, level: str, text: str, fields: dict[str, Any], in_run: InRun = NO_RUN) -> int:
        """Add one line; how many bytes it took."""
        given = _written(fields) if fields else ""
        whole = f"{text} {given}\n" if given else f"{text}\n"
        if whole.isascii():
            length = len(whole)
            extra = len(given) + 1 if given else 0
        else:
            raw = whole.encode("utf-8", "backslashreplace")  # half of a surrogate pair is no text
            whole, length = raw.decode(), len(raw)
            extra = len(given.encode()) + 1 if given else 0
        self._levels.append(self._names.setdefault(level, len(self._names)))
        self._times.append(at_ns)
        self._lengths.append(length)
        self._extras.append(extra)
        taken = length
        if in_run is not self._in_run:
            self._in_run = in_run
            self._began.append((len(self._texts), in_run))
            taken += len(in_run.run) + len(in_run.invocation)
        self._texts.append(whole)
        self.size += taken
        return taken

    def columns(self) -> bytes:
        """What a bundle tells of them, as JSON. At least one line."""
        times = self._times
        grown = [times[0], *map(operator.sub, times[1:], times)]
        told = (list(self._names), self._levels, grown, self._lengths, self._extras)
        return orjson.dumps((*told, self._stretches()) if self._began else told)

    def _stretches(self) -> list[tuple[str, str, int]]:
        began = self._began if self._began[0][0] == 0 else [(0, NO_RUN), *self._began]
        ends = [*(start for start, _ in began[1:]), len(self._texts)]
        return [(*in_run, end - start) for (start, in_run), end in zip(began, ends, strict=True)]

    def text(self) -> bytes:
        """Their text, as JSON."""
        return orjson.dumps("".join(self._texts))


def _written(fields: dict[str, Any]) -> str:
    if len(fields) == 1:
        ((name, value),) = fields.items()
        if type(value) is str and len(value) <= _SHORT:
            return _of_one(name, value)
    return orjson.dumps(fields, default=repr, option=orjson.OPT_NON_STR_KEYS).decode()


@lru_cache(maxsize=1024)  # all lines that a job prints have the same
def _of_one(name: str, value: str) -> str:
    return orjson.dumps({name: value}, option=orjson.OPT_NON_STR_KEYS).decode()


def bundle(lines: Sequence[LogLine]) -> Bundle:
    """Lines that follow each other, at least one."""
    gathered = Gathered()
    for line in lines:
        gathered.add(line.at_ns, line.level, line.text, line.fields, line.in_run)
    return Bundle(lines[0].seq, len(lines), gathered.columns(), gathered.text())
