"""What a worker and the process that reads files for it say to each other, over one socket: typed and bounded frames.

A frame is its length (4 bytes, big-endian) and MessagePack. A request is followed by the content of the file.
"""

from __future__ import annotations

import struct
from enum import StrEnum
from typing import TypeVar

import msgspec

LENGTH = struct.Struct(">I")
MOST_CHARACTERS = 8 * 1024 * 1024  # of the text of one file
MOST_REPLY_BYTES = 4 * MOST_CHARACTERS + 8 * 1024 * 1024  # in UTF-8, and what is around the texts of many pages
MOST_REQUEST_BYTES = 1024
MOST_REASON_CHARACTERS = 200


class Format(StrEnum):
    """What kind of file it is."""

    PDF = "pdf"
    DOCX = "docx"


class Unreadable(Exception):
    """A file whose text cannot be had; the message says why, to follow `it`."""


class Bounds(msgspec.Struct, frozen=True):
    """How much of one file is read."""

    pages: int = 1000
    characters: int = MOST_CHARACTERS


class Request(msgspec.Struct, frozen=True):
    """Read the content that follows this frame."""

    length: int  # of the content, in bytes
    seconds: float  # after which the process ends by itself
    bounds: Bounds
    base64: bool = True  # whether the content is written so


class Reply(msgspec.Struct, frozen=True):
    """What became of it; also the first word of a process that is ready, with nothing in it."""

    texts: list[str] = []
    """Of each page, or of the whole file where there are no pages."""
    refused: str = ""
    """Why there is none, to follow `it`."""
    spent: bool = False
    """Whether the process ends after this: it may not be what it was."""


T = TypeVar("T", Request, Reply)


def encode(frame: Request | Reply) -> bytes:
    data = msgspec.msgpack.encode(frame)
    return LENGTH.pack(len(data)) + data


def length(head: bytes, most_bytes: int) -> int:
    """How long the frame is that begins so. Raises ValueError for one that is longer than `most_bytes`."""
    (count,) = LENGTH.unpack(head)
    if count > most_bytes:
        raise ValueError(f"a frame of {count} bytes")
    return int(count)


def parse(data: bytes, kind: type[T]) -> T:
    """What a frame says. Raises ValueError."""
    return msgspec.msgpack.decode(data, type=kind)
