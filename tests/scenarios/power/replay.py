"""What a disk may hold after its power was cut: rebuilt from a recording of writes and syncs (recorder.c).

The model is that of SQLite's own tests: what was synced is there; each later write to a file is there, is not there, or
is there in part, by sectors of 512 bytes, independently of the others. Names of files are durable at once.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

SECTOR = 512
NOTHING: Mapping[str, bytes] = {}
_HEAD = struct.Struct("<cHQQ")


@dataclass(frozen=True)
class Event:
    """One call that returned; kind is W (write), T (truncate), S (sync) or U (unlink)."""

    kind: str
    name: str
    offset: int
    data: bytes


def read(log: Path) -> dict[Path, list[Event]]:
    """What happened to the files of each folder, in order."""
    raw, at = log.read_bytes(), 0
    folders: dict[Path, list[Event]] = {}
    while at < len(raw):
        kind, length, offset, size = _HEAD.unpack_from(raw, at)
        at += _HEAD.size
        path = Path(raw[at : at + length].decode())
        at += length
        data = raw[at : at + size] if kind == b"W" else b""
        at += len(data)
        folders.setdefault(path.parent, []).append(Event(kind.decode(), path.name, offset, data))
    return folders


@dataclass
class File:
    synced: bytearray = field(default_factory=bytearray)
    after: list[Event] = field(default_factory=list)  # since the last sync, oldest first


def _apply(content: bytearray, event: Event, kept: slice = slice(None)) -> None:
    if event.kind == "T":
        if len(content) > event.offset:
            del content[event.offset :]
        else:
            content.extend(bytes(event.offset - len(content)))
        return
    data = event.data[kept]
    start = event.offset + (kept.start or 0)
    if len(content) < start:
        content.extend(bytes(start - len(content)))
    content[start : start + len(data)] = data


def cuts(
    events: list[Event],
    at: list[int],
    seed: int,
    unsynced: frozenset[str] = frozenset(),
    start: Mapping[str, bytes] = NOTHING,
) -> Iterator[tuple[int, dict[str, bytes]]]:
    """For each position of `at` (rising): the files as they may be when the power is cut there.

    `start`: what was on the disk before. Syncs of the files in `unsynced` are left out, as if the program had not asked
    for them.
    """
    files = {name: File(bytearray(content)) for name, content in start.items()}
    chance = random.Random(seed)
    position = 0
    for cut in at:
        for event in events[position:cut]:
            file = files.setdefault(event.name, File())
            if event.kind == "U":
                del files[event.name]
            elif event.kind == "S":
                if event.name not in unsynced:
                    for done in file.after:
                        _apply(file.synced, done)
                    file.after.clear()
            else:
                file.after.append(event)
        position = cut
        yield cut, {name: bytes(_torn(file, chance)) for name, file in files.items()}


def _torn(file: File, chance: random.Random) -> bytearray:
    content = bytearray(file.synced)
    for event in file.after:
        fate = chance.random()
        if fate < 0.4:
            _apply(content, event)
        elif fate < 0.6 and event.kind == "W":
            for start in range(0, len(event.data), SECTOR):
                if chance.random() < 0.5:
                    _apply(content, event, slice(start, start + SECTOR))
    return content
