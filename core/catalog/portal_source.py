"""Where the files of a portal are: a directory, or HTTPS behind the egress guard; bounded in size and time."""

from __future__ import annotations

import asyncio
import os
import re
import ssl
import stat
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

from core import errors
from core.catalog.portal import INDEX, MAX_INDEX_BYTES

if TYPE_CHECKING:
    from core.guard import egress

INDEX_SECONDS = 20.0
ITEM_SECONDS = 20.0
_ETAG = re.compile(r'(?:W/)?"[\x21\x23-\x7e]{0,200}"')


class Fetched(NamedTuple):
    """An index, and what tells whether it is still the same."""

    etag: str
    body: bytes


class Source(Protocol):
    """The files of one portal."""

    location: str
    remote: bool

    async def index(self, etag: str) -> Fetched | None:
        """The index, None when it is the one with this etag. Raises TargetUnavailable, Forbidden, InvalidDocument."""
        ...

    async def item(self, path: str, size: int) -> bytes:
        """A file next to the index, cut off one byte behind `size`. Raises the same."""
        ...


def open_source(location: str, http: Callable[[], egress.Egress]) -> Source:
    return Web(location, http) if location.startswith("https://") else Directory(Path(location))


class Directory:
    """A portal in a directory; nothing outside of it is read, also not through links."""

    remote = False

    def __init__(self, root: Path) -> None:
        self.location = str(root)
        self._root = root

    async def index(self, etag: str) -> Fetched | None:
        return await asyncio.to_thread(self._index, etag)

    async def item(self, path: str, size: int) -> bytes:
        return (await asyncio.to_thread(self._read, path, size + 1, ""))[1]

    def _index(self, etag: str) -> Fetched | None:
        now, body = self._read(INDEX, MAX_INDEX_BYTES + 1, etag)
        if now == etag:
            return None
        if len(body) > MAX_INDEX_BYTES:
            raise errors.InvalidDocument(f"{self.location}/{INDEX} is larger than {MAX_INDEX_BYTES} bytes.")
        return Fetched(now, body)

    def _read(self, path: str, limit: int, etag: str) -> tuple[str, bytes]:
        """(etag, content up to the limit); of a file that still has the given etag the content is not read."""
        try:
            # Unlike Path.resolve, realpath tells a circle of links as an OSError in every Python.
            file = Path(os.path.realpath(self._root / path, strict=True))
            if not file.is_relative_to(os.path.realpath(self._root, strict=True)):
                raise errors.Forbidden(f"{path} leads out of the portal {self.location}.")
            handle = os.open(file, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW)
            with os.fdopen(handle, "rb") as opened:
                about = os.fstat(handle)
                if not stat.S_ISREG(about.st_mode):
                    raise errors.Forbidden(f"{path} of the portal {self.location} is not a plain file.")
                now = f'"{about.st_mtime_ns:x}-{about.st_size:x}-{about.st_ino:x}"'
                return now, b"" if now == etag else opened.read(limit)
        except OSError as error:
            raise errors.TargetUnavailable(
                f"{path} of the portal {self.location} cannot be read: {error.strerror}.",
                hint="The directory of a portal has an index.json; `sluice catalog pack DIR` makes it.",
            ) from error


class Web:
    """A portal behind HTTPS. Redirects are not followed, compressed answers are refused."""

    remote = True

    def __init__(self, location: str, http: Callable[[], egress.Egress]) -> None:
        whole = location if location.endswith(".json") else f"{location.rstrip('/')}/{INDEX}"
        self.location = location
        self._base, _, self._index = whole.rpartition("/")
        self._http = http

    async def index(self, etag: str) -> Fetched | None:
        headers = {"if-none-match": etag} if _ETAG.fullmatch(etag) else {}
        reply = await self._get(self._index, headers, INDEX_SECONDS, MAX_INDEX_BYTES, cut=False)
        if reply.status == 304 and headers:
            return None
        self._expect_success(reply, self._index)
        now = reply.header("etag")
        return Fetched(now if _ETAG.fullmatch(now) else "", reply.body)

    async def item(self, path: str, size: int) -> bytes:
        reply = await self._get(path, {}, ITEM_SECONDS, size + 1, cut=True)
        self._expect_success(reply, path)
        return reply.body

    async def _get(self, path: str, headers: dict[str, str], seconds: float, limit: int, *, cut: bool) -> egress.Reply:
        try:
            return await self._http().request(
                "GET",
                f"{self._base}/{path}",
                headers={"accept": "application/json, */*;q=0.5", **headers},
                deadline_seconds=seconds,
                max_bytes=limit,
                cut=cut,
            )
        except errors.JobFailed as error:
            raise errors.TargetUnavailable(
                f"The portal {self.location} cannot be read: {error.message}.",
                hint="Check the address and the network. A certificate of your own: setting portal_ca_file.",
            ) from error

    def _expect_success(self, reply: egress.Reply, path: str) -> None:
        if reply.status == 200:
            return
        why = "; redirects are not followed" if 300 <= reply.status < 400 else ""
        raise errors.TargetUnavailable(
            f"The portal {self.location} answered {reply.status} for {path}{why}.",
            hint="A portal is a directory with an index.json behind HTTPS.",
        )


def tls(ca_file: Path | None) -> ssl.SSLContext:
    """What a portal's certificate is checked with. Raises TargetUnavailable for a file that holds no certificates."""
    context = ssl.create_default_context()
    if ca_file is not None:
        try:
            context.load_verify_locations(cafile=ca_file)
        except (OSError, ssl.SSLError) as error:
            raise errors.TargetUnavailable(
                f"The setting portal_ca_file names {ca_file}, which holds no certificates: {error}.",
                hint="Give a file with certificates in PEM form.",
            ) from error
    return context
