"""What a reader of a spool does beyond reading: reading again from a point in time, and deleting what all have read."""

from __future__ import annotations

import contextlib
import math
import re
from collections.abc import Collection, Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, ClassVar, NamedTuple, Self

import orjson
from pydantic import AfterValidator, Field, model_validator

from core import clock
from core.dsl.component import Config
from core.dsl.files import memory
from core.dsl.language.duration import Duration
from core.dsl.stores import Object, Store
from core.errors import Forbidden, shorten
from core.guard import file_access

BEGINNING, NOW = "beginning", "now"
SWEEP_SECONDS = 2.0  # between two looks at what may be deleted, and between two receipts
_MOMENT = re.compile(r"\d{4}-\d{2}-\d{2}(T\d{2}:\d{2}(:\d{2}(\.\d{1,6})?)?(Z|[+-]\d{2}:\d{2}))?")


def _check_point(text: str) -> str:
    if text not in (BEGINNING, NOW):
        _seconds(text)
    return text


def _seconds(text: str) -> float:
    """Seconds since the epoch of a written time; a date alone is its midnight in UTC."""
    if _MOMENT.fullmatch(text):
        with contextlib.suppress(ValueError):  # there is no such day or hour
            moment = datetime.fromisoformat(text)
            return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    raise ValueError(f"{shorten(text, 40)} is no point to read from; write beginning, now, or 2026-01-31T00:00:00Z")


class Replay(Config):
    """Where reading begins, and what is read once more when this changes."""

    scalar: ClassVar[str] = "from"

    from_: Annotated[str, Field(max_length=40), AfterValidator(_check_point)] = BEGINNING
    """`beginning`, `now`, or a time: of a reader without a past the first objects that it reads. A reader with a past
    reads the objects since then once more, and misses none that it has not read yet; `now` changes nothing for it."""
    marker: str = Field(default="", max_length=100)
    """Any text; another one makes it another replay."""

    @property
    def name(self) -> str:
        """Tells one replay from another."""
        return f"{self.from_} {self.marker}".rstrip()

    def since(self, now: float) -> float:
        """The point in seconds since the epoch."""
        return -math.inf if self.from_ == BEGINNING else now if self.from_ == NOW else _seconds(self.from_)


class Retention(Config):
    """Delete objects that have been read, when one of the bounds says so; without a bound nothing is deleted."""

    age: Duration | None = None
    """Delete objects that were last modified longer ago; `0s` deletes what was read."""
    max_bytes: int | None = Field(default=None, ge=1)
    """Delete the oldest while all objects together are larger."""
    max_objects: int | None = Field(default=None, ge=1)
    """Delete the oldest while there are more objects."""
    readers: tuple[str, ...] = Field(default=(), max_length=1000)
    """The jobs that must have read an object before it may be deleted; left out: only this one."""
    receipts: str = Field(default="", max_length=1024)
    """Begin of the names of the objects in which the readers note for each other what they have read."""

    @model_validator(mode="after")
    def _readers_tell_each_other(self) -> Self:
        if self.readers and not self.receipts:
            raise ValueError("several readers need receipts, where they tell each other what they have read")
        if self.receipts:
            try:
                file_access.check_name(f"{self.receipts}x")
            except Forbidden as error:
                raise ValueError(f"receipts: {error.message}") from error
        return self

    def over(self, objects: Sequence[Object], read: Collection[str], now: float) -> list[str]:
        """The names of the objects that the bounds allow to delete, of those in `read`; oldest first."""
        size, count, out = sum(one.size for one in objects), len(objects), []
        for one in sorted(objects, key=lambda one: (one.modified, one.name)):
            old = self.age is not None and now - one.modified >= self.age
            large = self.max_bytes is not None and size > self.max_bytes
            many = self.max_objects is not None and count > self.max_objects
            if (old or large or many) and one.name in read:
                out.append(one.name)
                size, count = size - one.size, count - 1
        return out


class Seen(NamedTuple):
    """One object of a listing."""

    one: Object
    mark: str  # its fingerprint
    at: float  # seconds since the epoch, by timestamp-mode
    read: bool  # nothing more will be read of it


class Rewind:
    """Carries out a replay: once, when it is new, and remembers that it has."""

    def __init__(self, config: Replay, directory: Path, now: float) -> None:
        self._places = memory.Places(directory / "replay.json")
        self._name = config.name
        self._since = config.since(now)
        self._only_new = config.from_ == NOW
        self.due = self._places.data.get("replay") != self._name
        skip = self._places.data.get("skip_before")
        self.skip_before: float = -math.inf if skip is None else skip  # objects that are never read

    def carry_out(self, marks: memory.Fingerprints, present: Iterable[Seen]) -> None:
        """Forget which objects were read, of those that are to be read again."""
        if marks.new:
            self.skip_before = self._since
        elif not self._only_new:
            self.skip_before = min(self.skip_before, self._since)
            marks.forget([seen.mark for seen in present if seen.at >= self._since])
        self.due = False
        skip = self.skip_before if math.isfinite(self.skip_before) else None
        self._places.set("skip_before", skip, math.inf)
        self._places.set("replay", self._name, 0.0)


class Sweeper:
    """Deletes what every reader has read, as the retention says.

    What a reader has read it notes in a receipt, an object of its own beside the spool; the receipt is only written
    when there is another reader. An object goes when the receipts of all readers name it.
    """

    def __init__(self, config: Retention, job: str) -> None:
        self._config = config
        self._job = job
        self._others = [reader for reader in config.readers if reader != job]
        self._told: frozenset[str] | None = None
        self._next = 0.0

    async def sweep(self, store: Store, present: Sequence[Seen]) -> list[str]:
        """Delete what may go; returns the names. `present` are all objects of the spool."""
        if clock.monotonic() < self._next:
            return []
        self._next = clock.monotonic() + SWEEP_SECONDS
        read = {seen.mark: seen.one.name for seen in present if seen.read}
        if self._others:
            await self._tell(store, frozenset(read))
        now = clock.now_ns() / clock.NANOSECONDS
        objects = [seen.one for seen in present]
        if not self._config.over(objects, set(read.values()), now):
            return []
        for reader in self._others:
            theirs = await self._receipt(store, reader)
            read = {mark: name for mark, name in read.items() if mark in theirs}
        names = self._config.over(objects, set(read.values()), now)
        if names:
            await store.delete(names)
        return names

    async def _tell(self, store: Store, read: frozenset[str]) -> None:
        if read != self._told:
            await store.put([(self._receipt_name(self._job), orjson.dumps({"read": sorted(read)}))])
            self._told = read

    async def _receipt(self, store: Store, reader: str) -> frozenset[str]:
        name = self._receipt_name(reader)
        if not await store.find([name]):
            return frozenset()  # it has read nothing yet
        data = b"".join([chunk async for chunk in store.get(name)])
        try:
            return frozenset(orjson.loads(data)["read"])
        except (orjson.JSONDecodeError, KeyError, TypeError):
            return frozenset()  # not a receipt: then nothing is known to be read

    def _receipt_name(self, reader: str) -> str:
        return f"{self._config.receipts}{reader}.json"
