"""A directory of the worker as an object store: the file-store."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Callable, Sequence
from functools import partial

from core import clock
from core.dsl.component import Run
from core.dsl.files import threads
from core.dsl.files.links import Links
from core.dsl.files.preprocess import CHUNK_BYTES
from core.dsl.stores import base
from core.dsl.stores.base import NamesRefused, Object, StoreFault
from core.errors import JobFailed, shorten
from core.guard import file_access


class LocalStore:
    """Files below one root, through core.guard.file_access: no links, no devices, nothing outside of it.

    Listing and writing happen in threads, because an fdatasync would hold up every other job of the worker; reading
    is done in place, a chunk at a time.
    """

    def __init__(self, access: file_access.FileAccess, root: str, links: Links | None = None) -> None:
        """`links` hears of the symbolic links that a listing leaves out."""
        self._access = access
        self._links = links
        self._root = root

    async def listing(self, prefixes: Sequence[str], keep: Callable[[Object], bool]) -> list[Object]:
        if self._links is not None:
            self._links.begin()
        return await asyncio.to_thread(self._list, tuple(prefixes), keep)

    def skip(self, run: Run) -> None:
        if self._links is not None:
            self._links.skip(run)

    def _list(self, prefixes: tuple[str, ...], keep: Callable[[Object], bool]) -> list[Object]:
        found: list[Object] = []
        with self._access.directory(self._root) as directory:
            linked = None if self._links is None else self._links.within(directory.path, partial(_concerns, prefixes))
            for name, status in directory.files(linked=linked):
                if prefixes and not name.startswith(prefixes):
                    continue
                one = _object(name, status)
                if keep(one):
                    found.append(one)
                    if len(found) > base.MOST_OBJECTS:
                        raise base.too_many(shorten(self._root))
        return found

    async def find(self, names: Sequence[str]) -> list[Object]:
        return await asyncio.to_thread(self._find, names)

    def _find(self, names: Sequence[str]) -> list[Object]:
        found = []
        with self._access.directory(self._root) as directory:
            for name in dict.fromkeys(names):
                try:
                    fd = directory.open_read(file_access.check_name(name))
                except file_access.NotThere:
                    continue
                try:
                    found.append(_object(name, os.fstat(fd)))
                finally:
                    os.close(fd)
        return found

    async def get(self, name: str) -> AsyncGenerator[bytes, None]:
        with self._access.directory(self._root) as directory:
            fd = directory.open_read(name)
        try:
            while chunk := os.read(fd, CHUNK_BYTES):
                yield chunk
        except OSError as error:
            raise JobFailed(f"cannot read {shorten(name)}: {error.strerror}") from error
        finally:
            os.close(fd)

    async def put(self, objects: Sequence[tuple[str, bytes]]) -> None:
        try:
            await threads.whole(self._put, list(objects))
        except (file_access.NotThere, NamesRefused):
            raise
        except JobFailed as error:  # a full disk may have room again
            raise StoreFault(error.message, hint=error.hint) from error

    def _put(self, objects: list[tuple[str, bytes]]) -> None:
        with self._access.directory(self._root, create=True) as directory:
            refused = directory.write_allowed(objects)
        if refused:
            raise NamesRefused({name: fault.message for name, fault in refused.items()})

    async def delete(self, names: Sequence[str]) -> None:
        await threads.whole(self._delete, names)

    def _delete(self, names: Sequence[str]) -> None:
        refused: dict[str, str] = {}
        with self._access.directory(self._root, create=True) as directory:
            for name in names:
                try:
                    directory.remove(name)
                except file_access.NAMES_REFUSED as error:
                    refused[name] = error.message
            directory.sync_names()
        if refused:
            raise NamesRefused(refused)

    async def close(self) -> None:
        pass


def _concerns(prefixes: tuple[str, ...], name: str, leads_down: bool) -> bool:
    """Whether a listing with these prefixes would have this name, or names below it."""
    return not prefixes or any(name.startswith(one) or (leads_down and one.startswith(f"{name}/")) for one in prefixes)


def _object(name: str, status: os.stat_result) -> Object:
    return Object(name, status.st_size, status.st_mtime_ns / clock.NANOSECONDS, str(status.st_mtime_ns))
