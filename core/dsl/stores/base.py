"""What every object store can do; the inputs and outputs know nothing else of it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from typing import NamedTuple, Protocol

from core.dsl.component import Run
from core.dsl.connections.retry import Temporary
from core.errors import JobFailed

MOST_OBJECTS = 1_000_000  # that one listing may hold in memory


class Object(NamedTuple):
    """One object of a listing."""

    name: str
    size: int  # bytes
    modified: float  # seconds since the epoch
    version: str  # changes whenever the content does: an etag, or the time in ns


class StoreFault(Temporary):
    """The store could not be asked; it may work at the next try."""


class NamesRefused(JobFailed):
    """The store can have no objects of these names, whatever they hold; all the others are done."""

    def __init__(self, refused: dict[str, str]) -> None:
        """`refused`: the names, each with why."""
        super().__init__(next(iter(refused.values())))
        self.refused = refused


class Writable(Protocol):
    """Where objects are put under names with slashes: all that an output needs of a store.

    Every method raises NotThere for what does not exist, Forbidden or JobFailed for what will not work at a second
    try either, and StoreFault (or another Temporary) for what may.
    """

    async def put(self, objects: Sequence[tuple[str, bytes]]) -> None:
        """Write whole objects; each is there completely or not at all, and durable when this returns.

        Raises NamesRefused when it has written the others.
        """

    async def delete(self, names: Sequence[str]) -> None:
        """Remove objects; those that do not exist are no fault. Raises NamesRefused when it has removed the others."""

    async def close(self) -> None:
        """Release connections. Safe to call twice."""


class Store(Writable, Protocol):
    """Objects that can be listed and read as well; faults are the same."""

    async def listing(self, prefixes: Sequence[str], keep: Callable[[Object], bool]) -> list[Object]:
        """The objects whose names start with one of the prefixes (none: all) and that `keep` takes.

        Raises JobFailed when more than MOST_OBJECTS are kept.
        """

    def skip(self, run: Run) -> None:
        """Skip what the last listing has found and nobody can read. Raises like `Run.skip`."""

    async def find(self, names: Sequence[str]) -> list[Object]:
        """Those of the named objects that exist."""

    def get(self, name: str) -> AsyncGenerator[bytes, None]:
        """The content in chunks of bounded size."""


Opener = Callable[[Run], Store]
"""Gives the store for a run; its address and credentials may come from variables, so they can change between runs."""


def too_many(where: str) -> JobFailed:
    return JobFailed(
        f"{where} has more than {MOST_OBJECTS} objects to read at once",
        hint="narrow it down with object-names, include-regex or maximum-age",
    )
