"""What a reader of a spool does beyond reading: deleting what all have read."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple, Self

import orjson
from pydantic import Field, model_validator

from core import clock
from core.dsl.component import Config
from core.dsl.language.duration import Duration
from core.dsl.stores import Object, Store
from core.errors import Forbidden
from core.guard import file_access

SWEEP_SECONDS = 2.0  # between two looks at what may be deleted, and between two receipts


class Retention(Config):
    """Delete objects that have been read, when one of the bounds says so; without a bound nothing is deleted. What is
    all there is of a refused event (its dead letter was cut, has no event or found no room) is kept, until it was read
    once more and came through."""

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
