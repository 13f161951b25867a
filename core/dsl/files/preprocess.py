"""Preprocessors: gzip, base64 and parquet around the content of an object, a file or a request.

Decoding works on streams, so that memory does not depend on the size: a decoder takes chunks as they come and gives
chunks of at most CHUNK_BYTES. Parquet has its index at the end, so such content goes through an unnamed temporary file.
"""

from __future__ import annotations

import base64
import binascii
import gzip
import importlib.util
import io
import tempfile
import zlib
from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO, Literal, Protocol

import orjson

from core.errors import JobFailed, shorten

Encoder = Literal["gzip", "base64", "parquet"]
Preprocessor = Literal["gzip", "base64", "parquet", "extension"]

CHUNK_BYTES = 32 * 1024
MOST_DECODED_BYTES = 256 * 1024 * 1024  # of content that is decoded at once, so that a small bomb cannot fill memory
MOST_PARQUET_BYTES = 4 * 1024 * 1024 * 1024  # of one parquet object on its way through the temporary file
MOST_ROW_GROUP_BYTES = 256 * 1024 * 1024  # uncompressed, as the file itself says
PARQUET_ROWS = 1000
_IN_MEMORY_BYTES = 8 * 1024 * 1024
_EXTENSIONS: tuple[tuple[tuple[str, ...], Encoder], ...] = (
    ((".gz", ".gzip"), "gzip"),
    ((".b64", ".base64"), "base64"),
    ((".parquet",), "parquet"),
)


class BadContent(JobFailed):
    """The content is not what its preprocessor expects."""


class Decoder(Protocol):
    """Takes one layer off a stream; both methods raise BadContent."""

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """What the next chunk gives."""

    def end(self) -> Iterator[bytes]:
        """What is left when there are no more chunks."""


def require(names: Sequence[Preprocessor]) -> None:
    """Raise JobFailed when a preprocessor needs a library that is not there; to be called when a job opens."""
    if "parquet" in names and importlib.util.find_spec("pyarrow") is None:
        raise JobFailed(
            "the preprocessor parquet needs the library pyarrow, which is not installed on this worker",
            hint="pip install 'sluice-mcp[parquet]'",
        )


def steps(names: Sequence[Preprocessor], name: str) -> list[Encoder]:
    """The preprocessors of one object; `extension` stands for what its name says, the last extension first."""
    out: list[Encoder] = []
    for step in names:
        if step != "extension":
            out.append(step)
            continue
        rest = name.lower()
        while found := next(((end, kind) for ends, kind in _EXTENSIONS for end in ends if rest.endswith(end)), None):
            out.append(found[1])
            rest = rest.removesuffix(found[0])
    return out


def decoder(names: Sequence[Preprocessor], name: str) -> Decoder:
    """Undo the preprocessors in the given order for the content of that name."""
    chain: Decoder = _Plain()
    for step in reversed(steps(names, name)):
        require([step])
        chain = _Chain(_DECODERS[step](shorten(name)), chain)
    return chain


def decode(names: Sequence[Preprocessor], data: bytes, name: str, most: int = MOST_DECODED_BYTES) -> bytes:
    """Undo the preprocessors of content that is in memory.

    Raises BadContent, which names the content, also when it would become longer than `most` bytes.
    """
    if not names:
        return data
    out = bytearray()
    chain = decoder(names, name)
    for part in _both(chain, data):
        if len(out) + len(part) > most:
            raise BadContent(f"{shorten(name)}: decoded it is longer than {most} bytes")
        out += part
    return bytes(out)


def encode(names: Sequence[Encoder], data: bytes) -> bytes:
    """Apply the preprocessors in the given order. Parquet takes lines of JSON, and each line becomes a row."""
    for step in names:
        if step == "gzip":
            data = gzip.compress(data, compresslevel=6, mtime=0)
        elif step == "base64":
            data = base64.b64encode(data)
        else:
            data = _to_parquet(data)
    return data


def _both(chain: Decoder, data: bytes) -> Iterator[bytes]:
    yield from chain.feed(data)
    yield from chain.end()


class _Plain:
    def feed(self, chunk: bytes) -> Iterator[bytes]:
        yield chunk

    def end(self) -> Iterator[bytes]:
        return iter(())


class _Chain:
    def __init__(self, outer: Decoder, inner: Decoder) -> None:
        self._outer = outer
        self._inner = inner

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        for part in self._outer.feed(chunk):
            yield from self._inner.feed(part)

    def end(self) -> Iterator[bytes]:
        for part in self._outer.end():
            yield from self._inner.feed(part)
        yield from self._inner.end()


class _Gunzip:
    """One or more gzip members; never more than CHUNK_BYTES at once comes out, whatever goes in."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._member = zlib.decompressobj(wbits=31)
        self._started = False

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        data = chunk
        while data:
            self._started = True
            try:
                out = self._member.decompress(data, CHUNK_BYTES)
            except zlib.error as error:
                raise BadContent(f"{self._name}: not valid gzip: {error}") from error
            if out:
                yield out
            data = self._member.unconsumed_tail
            if self._member.eof:  # another member may follow, as in files that were joined
                data = self._member.unused_data
                self._member = zlib.decompressobj(wbits=31)
                self._started = False

    def end(self) -> Iterator[bytes]:
        while self._started and (out := self._member.decompress(b"", CHUNK_BYTES)):
            yield out
        if self._started and not self._member.eof:
            raise BadContent(f"{self._name}: the gzip data is cut off")


class _Unbase64:
    def __init__(self, name: str) -> None:
        self._name = name
        self._rest = b""

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        data = self._rest + chunk.translate(None, b"\r\n \t")
        whole = len(data) - len(data) % 4
        self._rest = data[whole:]
        if whole:
            try:
                yield base64.b64decode(data[:whole], validate=True)
            except binascii.Error as error:
                raise BadContent(f"{self._name}: not valid base64: {error}") from error

    def end(self) -> Iterator[bytes]:
        if self._rest:
            raise BadContent(f"{self._name}: the base64 data is cut off")
        return iter(())


class _Unparquet:
    """Rows as lines of JSON."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._file: BinaryIO = tempfile.SpooledTemporaryFile(_IN_MEMORY_BYTES)  # type: ignore[assignment]
        self._size = 0

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        self._size += len(chunk)
        if self._size > MOST_PARQUET_BYTES:
            raise BadContent(f"{self._name}: longer than the {MOST_PARQUET_BYTES} bytes that parquet content may have")
        self._file.write(chunk)
        return iter(())

    def end(self) -> Iterator[bytes]:
        if not self._size:
            return
        import pyarrow
        import pyarrow.parquet

        self._file.seek(0)
        try:
            with self._file, pyarrow.parquet.ParquetFile(self._file) as rows:
                for number in range(rows.num_row_groups):
                    if rows.metadata.row_group(number).total_byte_size > MOST_ROW_GROUP_BYTES:
                        raise BadContent(f"{self._name}: a row group is longer than {MOST_ROW_GROUP_BYTES} bytes")
                for batch in rows.iter_batches(batch_size=PARQUET_ROWS, use_threads=False):
                    yield b"".join(orjson.dumps(row, default=_plain) + b"\n" for row in batch.to_pylist())
        except (pyarrow.ArrowException, OSError, TypeError, orjson.JSONEncodeError) as error:
            raise BadContent(f"{self._name}: not valid parquet: {str(error).splitlines()[0]}") from error


_DECODERS: dict[Encoder, Any] = {"gzip": _Gunzip, "base64": _Unbase64, "parquet": _Unparquet}


def _plain(value: object) -> object:
    """What has no JSON form of its own: bytes as base64, decimals and the like as text."""
    return base64.b64encode(value).decode() if isinstance(value, bytes) else str(value)


def _to_parquet(data: bytes) -> bytes:
    """A column for each field that any line has; one whose values do not fit together holds them as JSON text."""
    require(["parquet"])
    import pyarrow
    import pyarrow.parquet

    rows = [_row(line) for line in data.split(b"\n") if line]
    names = list(dict.fromkeys(name for row in rows for name in row))
    columns = {}
    for name in names:
        values = [row.get(name) for row in rows]
        try:
            columns[name] = pyarrow.array(values)
        except (pyarrow.ArrowException, OverflowError):
            columns[name] = pyarrow.array([None if value is None else _text(value) for value in values])
        if _has_no_columns(columns[name].type):
            columns[name] = pyarrow.array([None if value is None else _text(value) for value in values])
    out = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.table(columns), out)
    return out.getvalue()


def _row(line: bytes) -> dict[str, Any]:
    try:
        value = orjson.loads(line)
    except orjson.JSONDecodeError:
        value = line.decode(errors="replace")
    return value if isinstance(value, dict) else {"_raw": value}


def _has_no_columns(kind: Any) -> bool:
    """Whether this is an object without fields, at any depth, which parquet cannot hold."""
    if hasattr(kind, "value_type"):
        return _has_no_columns(kind.value_type)
    fields = [kind.field(number) for number in range(getattr(kind, "num_fields", 0))]
    is_object = str(kind).startswith("struct")
    return (is_object and not fields) or any(_has_no_columns(field.type) for field in fields)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else orjson.dumps(value).decode()
