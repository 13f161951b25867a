"""Reading files in chunks, and the preprocessors gzip and base64 as streams: memory does not depend on the size."""

from __future__ import annotations

import base64
import binascii
import os
import zlib
from collections.abc import Iterable, Iterator
from typing import Literal

from core.dsl.inputs.lines import BATCH_BYTES
from core.errors import JobFailed

Preprocessor = Literal["gzip", "base64", "extension"]


class BadContent(JobFailed):
    """The content is not what its preprocessor expects."""


def read(fd: int, size: int = BATCH_BYTES) -> Iterator[bytes]:
    """The chunks of a file from its present offset to its present end."""
    while chunk := os.read(fd, size):
        yield chunk


def decode(chunks: Iterable[bytes], steps: Iterable[Preprocessor], name: str) -> Iterator[bytes]:
    """Put the chunks of one object through its preprocessors, in order.

    The iterator raises BadContent, which says what is wrong with the object of that name.
    """
    for step in steps:
        if step == "gzip" or (step == "extension" and name.endswith(".gz")):
            chunks = _gunzip(chunks, name)
        elif step == "base64" or (step == "extension" and name.endswith((".b64", ".base64"))):
            chunks = _unbase64(chunks, name)
    return iter(chunks)


def _gunzip(chunks: Iterable[bytes], name: str) -> Iterator[bytes]:
    member = zlib.decompressobj(wbits=31)
    started = False
    for chunk in chunks:
        data = chunk
        while data:
            started = True
            try:
                out = member.decompress(data, BATCH_BYTES)  # bounded, so that a small file cannot fill the memory
            except zlib.error as error:
                raise BadContent(f"{name}: not valid gzip: {error}") from error
            if out:
                yield out
            data = member.unconsumed_tail
            if member.eof:
                data = member.unused_data  # another member may follow (concatenated gzip files)
                member = zlib.decompressobj(wbits=31)
                started = bool(data)
    while started and member.unconsumed_tail == b"" and (out := member.decompress(b"", BATCH_BYTES)):
        yield out
    if started and not member.eof:
        raise BadContent(f"{name}: the gzip data is cut off")


def _unbase64(chunks: Iterable[bytes], name: str) -> Iterator[bytes]:
    rest = b""
    for chunk in chunks:
        data = rest + chunk.translate(None, b"\r\n \t")
        whole = len(data) - len(data) % 4
        rest = data[whole:]
        if whole:
            yield _base64_part(data[:whole], name)
    if rest:
        raise BadContent(f"{name}: the base64 data is cut off")


def _base64_part(data: bytes, name: str) -> bytes:
    try:
        return base64.b64decode(data, validate=True)
    except binascii.Error as error:
        raise BadContent(f"{name}: not valid base64: {error}") from error
