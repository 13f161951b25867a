"""Bytes to events: what `json` and `ignore-linebreaks` mean, the same for every input that reads text."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any, ClassVar, Literal

import orjson

from core.dsl.component import Env, Event, Run
from core.dsl.inputs.scheduled import Scheduled
from core.errors import JobFailed, shorten

# What is read at once, and so the size of a batch: about 250 events of 130 bytes. Measured: a batch that stays in the
# processor's cache and below malloc's trim threshold runs twice as fast as one of 256 KiB.
BATCH_BYTES = 32 * 1024
RAW = "_raw"
_DICT = {dict}


class TextInput(Scheduled):
    """Base of the inputs that read text: one event for each line, in the field `_raw` or parsed."""

    spellings: ClassVar = {"ignore-line-breaks": "ignore-linebreaks"}

    json_: bool = False
    """Each line is a JSON object and becomes the event. A line that is not stays text in `_raw`, and is counted.
    Integers of up to 64 bits stay exact; a longer one becomes a floating-point number."""
    ignore_linebreaks: bool = False
    """The whole text is one event instead of one event for each line."""


class LinesInput(TextInput):
    """Base of the inputs that read content of any size, in chunks."""

    long_lines: Literal["fail", "skip", "cut"] = "fail"
    """What to do with a line that is longer than the limit of the worker (16 MiB): `fail` the job (in an object store
    the object is skipped), or count an error and `skip` the line or `cut` it at the limit. Memory is bounded in any
    case."""


def decode_text(data: bytes, env: Env, run: Run, where: str) -> str:
    """UTF-8 with replacement characters for what is none; that is counted and logged, nothing is dropped."""
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        run.refuse(env, f"{where}: not UTF-8 ({error.reason}); the bytes were replaced")
        return data.decode(errors="replace")


def from_lines(lines: list[bytes], json: bool, env: Env, run: Run, where: str) -> list[Event]:
    """Events of lines without their line ends; empty lines give none.

    A line that does not fit (`json`: not an object; text: not UTF-8) stays in the data as text under `_raw`.
    """
    if json:
        try:
            events: list[Event] = [orjson.loads(line) for line in lines if line]
        except orjson.JSONDecodeError:
            return _from_mixed_lines(lines, env, run, where)
        if set(map(type, events)) <= _DICT:
            return events
        return _from_mixed_lines(lines, env, run, where)
    try:
        return [{RAW: line.decode()} for line in lines if line]
    except UnicodeDecodeError:
        return [{RAW: decode_text(line, env, run, where)} for line in lines if line]


def _from_mixed_lines(lines: list[bytes], env: Env, run: Run, where: str) -> list[Event]:
    events: list[Event] = []
    for line in lines:
        if not line or line.isspace():
            continue
        try:
            value: Any = orjson.loads(line)
            fault = "" if type(value) is dict else "JSON, but not an object"
        except orjson.JSONDecodeError as error:
            value, fault = None, f"not JSON ({error.msg})"
        if fault:
            run.refuse(env, f"{where}: {fault}: {shorten(line.decode(errors='replace'), 80)}")
            value = {RAW: line.decode(errors="replace")}
        events.append(value)
    return events


def from_text(data: bytes, json: bool, ignore_linebreaks: bool, env: Env, run: Run, where: str) -> list[Event]:
    """Events of a text that is complete and in memory."""
    if not ignore_linebreaks:
        return from_lines(split(data), json, env, run, where)
    if not data:
        return []
    if json:
        return _from_mixed_lines([data], env, run, where)
    return [{RAW: decode_text(data, env, run, where)}]


def from_bytes(data: bytes | bytearray) -> list[Event]:
    """One event with bytes as they are, in base64; nothing gives none."""
    return [{RAW: base64.b64encode(data).decode()}] if data else []


def split(data: bytes) -> list[bytes]:
    """Lines at LF or CRLF; a lone CR is data."""
    lines = data.split(b"\n")
    if b"\r" in data:
        lines = [line[:-1] if line.endswith(b"\r") else line for line in lines]
    return lines


class LongLines:
    """What happens to a line, or a whole text that is one event, that is longer than one event may be."""

    def __init__(
        self, mode: Literal["fail", "skip", "cut"], max_bytes: int, where: str, refuse: Callable[[str, bool], None]
    ) -> None:
        """`refuse` hears of each, and whether nothing is left of it."""
        self.max_bytes = max_bytes
        self.cut = mode == "cut"
        self._mode = mode
        self._where = where
        self._refuse = refuse

    def tell(self) -> None:
        """One more of them. Raises JobFailed when that is a failure, otherwise it is counted and logged."""
        text = f"{self._where}: a line is longer than {self.max_bytes} bytes"
        if self._mode == "fail":
            raise JobFailed(
                text,
                hint="is this a text file with line ends? ignore-linebreaks makes one event of a file, and "
                "long-lines: skip or cut goes on with the next line",
            )
        self._refuse(f"{text} and was {'cut' if self.cut else 'left out'}", not self.cut)

    def grow(self, data: bytearray, chunk: bytes) -> bool:
        """Add a chunk of what becomes one event; False when no more of it is wanted (`data` is then what is kept).

        Raises JobFailed with `fail`.
        """
        if len(data) + len(chunk) <= self.max_bytes:
            data += chunk
            return True
        if self._mode == "fail":
            raise JobFailed(f"{self._where}: longer than the {self.max_bytes} bytes that one event may have")
        told = f"{self._where}: longer than {self.max_bytes} bytes and {'cut' if self.cut else 'left out'}"
        self._refuse(told, not self.cut)
        data += chunk[: self.max_bytes - len(data)]
        if not self.cut:
            data.clear()
        return False


class Splitter:
    """Cuts a stream of chunks into lists of whole lines and never holds more than one line that is not complete."""

    def __init__(self, max_line_bytes: int, where: str, long: LongLines | None = None) -> None:
        self._max = max_line_bytes
        self._long = long or LongLines("fail", max_line_bytes, where, lambda text, lost: None)
        self._rest = bytearray()
        self._dropped = 0  # bytes that were left out of the line that has not ended yet

    def feed(self, chunk: bytes) -> list[bytes]:
        """The lines that this chunk completes.

        Raises JobFailed when a line is longer than the limit and that is a failure.
        """
        end = chunk.rfind(b"\n")
        if end < 0:
            self._keep(chunk)
            return []
        head = chunk[:end]
        if self._dropped:
            head = head[chunk.index(b"\n") + 1 :]
            lines = [*self._cut_line(), *split(head)]
        else:
            if self._rest:
                head = bytes(self._rest) + head
                self._rest.clear()
            lines = split(head)
        # Only the first can be longer than a chunk, but a chunk may be longer than the limit.
        if len(head) > self._max and max(map(len, lines)) > self._max:
            lines = self._within_limit(lines)
        if end + 1 < len(chunk):
            self._keep(chunk[end + 1 :])
        return lines

    @property
    def pending(self) -> int:
        """Bytes that belong to a line which has not ended; who resumes begins before them."""
        return len(self._rest) + self._dropped

    def end(self) -> list[bytes]:
        """The last line, when it has no line end."""
        if self._dropped:
            return self._cut_line()
        last = split(bytes(self._rest))
        self._rest.clear()
        return last

    def _keep(self, part: bytes) -> None:
        if self._dropped:
            self._dropped += len(part)
        elif len(self._rest) + len(part) <= self._max:
            self._rest += part
        else:
            self._long.tell()
            total = len(self._rest) + len(part)
            if self._long.cut:
                self._rest += part[: self._max - len(self._rest)]
            else:
                self._rest.clear()
            self._dropped = total - len(self._rest)

    def _cut_line(self) -> list[bytes]:
        """What is kept of a line that was too long and has now ended."""
        kept = [bytes(self._rest)] if self._long.cut else []
        self._rest.clear()
        self._dropped = 0
        return kept

    def _within_limit(self, lines: list[bytes]) -> list[bytes]:
        out = []
        for line in lines:
            if len(line) <= self._max:
                out.append(line)
                continue
            self._long.tell()
            if self._long.cut:
                out.append(line[: self._max])
        return out
