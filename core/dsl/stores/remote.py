"""A bucket of a cloud as an object store, through the library obstore (extra `s3`)."""

from __future__ import annotations

import importlib
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from datetime import timedelta
from types import ModuleType
from typing import Any, Literal, NoReturn

from core.dsl.component import Run
from core.dsl.files.preprocess import CHUNK_BYTES
from core.dsl.stores import base
from core.dsl.stores.base import Object, StoreFault
from core.dsl.stores.gate import Gate
from core.errors import Forbidden, JobFailed, shorten
from core.guard import file_access

Kind = Literal["S3Store", "GCSStore", "AzureStore"]
_METADATA = ("169.254.169.254", "metadata.google.internal", "metadata ")  # where clients look when they have none
_NO_CREDENTIALS = (
    "name them in the document, best as ${secret|scope/name}; or give the engine variables for them, which the setting "
    "cloud_credentials lets jobs use; or open the metadata service with egress_allow"
)
_LIST_CHUNK = 1000
_READ_CHUNK = 1024 * 1024
_RETRIES = {"max_retries": 2, "retry_timeout": timedelta(seconds=20)}
_TIMES = {"connect_timeout": "10s", "read_timeout": "60s", "timeout": "10m"}


def load() -> ModuleType:
    """The library.

    Raises JobFailed with the way out when it is not installed.
    """
    try:
        return importlib.import_module("obstore")
    except ImportError as error:
        raise JobFailed(
            "object stores of clouds need the library obstore, which is not installed on this worker",
            hint="pip install 'sluice-mcp[s3]'",
        ) from error


class RemoteStore:
    """One bucket. Connections are made by a gate that lets them reach allowed addresses only.

    `config` are the settings of the store as obstore names them. What it leaves out obstore would take from the
    environment of the process, where a worker has nothing for it, and from the provider's metadata service.
    """

    def __init__(
        self,
        kind: Kind,
        bucket: str,
        config: Mapping[str, Any],
        *,
        where: str,
        plain_http: bool,
        allow: Sequence[str],
        credentials: Callable[[], Any] | None = None,
    ) -> None:
        self._library = load()
        self._kind = kind
        self._bucket = bucket
        self._config = dict(config)
        self._where = where
        self._plain_http = plain_http
        self._credentials = credentials
        self._gate = Gate(allow)
        self._client: Any = None

    def skip(self, run: Run) -> None:
        """Every object can be read."""

    async def _store(self) -> Any:
        if self._client is None:
            made = getattr(importlib.import_module("obstore.store"), self._kind)
            options = {"proxy_url": await self._gate.url(), "allow_http": self._plain_http, **_TIMES}
            more = {} if self._credentials is None else {"credential_provider": self._credentials}
            try:
                self._client = made(
                    self._bucket, config=self._config, client_options=options, retry_config=_RETRIES, **more
                )
            except (self._library.exceptions.BaseError, ValueError) as error:
                raise JobFailed(f"{self._where} cannot be used: {_first_line(error)}") from error
        return self._client

    async def listing(self, prefixes: Sequence[str], keep: Callable[[Object], bool]) -> list[Object]:
        store, found = await self._store(), []
        wanted = tuple(prefixes)
        try:
            for directory in _directories(wanted):
                async for chunk in store.list_async(directory, chunk_size=_LIST_CHUNK):
                    for meta in chunk:
                        one = _object(meta)
                        if wanted and not one.name.startswith(wanted):
                            continue
                        if keep(one):
                            found.append(one)
                            if len(found) > base.MOST_OBJECTS:
                                raise base.too_many(self._where)
        except (self._library.exceptions.BaseError, OSError, ValueError) as error:
            self._fail(error, "list")
        return found

    async def find(self, names: Sequence[str]) -> list[Object]:
        store, found = await self._store(), []
        for name in dict.fromkeys(names):
            try:
                found.append(_object(await store.head_async(name)))
            except FileNotFoundError:
                continue
            except (self._library.exceptions.BaseError, OSError, ValueError) as error:
                self._fail(error, "look for", name)
        return found

    async def get(self, name: str) -> AsyncGenerator[bytes, None]:
        store = await self._store()
        try:
            answer = await store.get_async(name)
            async for chunk in answer.stream(min_chunk_size=_READ_CHUNK):
                data = bytes(chunk)
                for at in range(0, len(data), CHUNK_BYTES):
                    yield data[at : at + CHUNK_BYTES]
        except FileNotFoundError as error:
            raise file_access.NotThere(f"{self._where} has no object {shorten(name)}") from error
        except (self._library.exceptions.BaseError, OSError, ValueError) as error:
            self._fail(error, "read", name)

    async def put(self, objects: Sequence[tuple[str, bytes]]) -> None:
        store = await self._store()
        for name, data in objects:
            try:
                await store.put_async(name, data)
            except (self._library.exceptions.BaseError, OSError, ValueError) as error:
                self._fail(error, "write", name)

    async def delete(self, names: Sequence[str]) -> None:
        store = await self._store()
        for name in names:
            try:
                await store.delete_async(name)
            except FileNotFoundError:
                continue
            except (self._library.exceptions.BaseError, OSError, ValueError) as error:
                self._fail(error, "delete", name)

    def _fail(self, error: Exception, verb: str, name: str = "") -> NoReturn:
        blocked = self._gate.take_fault()
        what = f"{self._where}: cannot {verb}{' ' + shorten(name) if name else ''}"
        if isinstance(blocked, Forbidden) and blocked.message.startswith(_METADATA):
            raise JobFailed(f"{what}: there are no credentials", hint=_NO_CREDENTIALS) from error
        if isinstance(blocked, Forbidden):
            raise JobFailed(f"{what}: {blocked.message}", hint=blocked.hint) from error
        if blocked is not None:
            raise StoreFault(f"{what}: {blocked.message}") from error
        faults, text = self._library.exceptions, str(error)
        if isinstance(error, FileNotFoundError) or "404 Not Found" in text:
            raise JobFailed(f"{what}: it does not exist", hint=f"is {self._bucket} the right name?") from error
        if isinstance(error, faults.PermissionDeniedError | faults.UnauthenticatedError) or "403 Forbidden" in text:
            raise JobFailed(f"{what}: the credentials do not allow it") from error
        if isinstance(error, ValueError | faults.InvalidPathError | faults.NotSupportedError):
            raise JobFailed(f"{what}: {_first_line(error)}") from error
        raise StoreFault(f"{what}: {_first_line(error)}") from error

    async def close(self) -> None:
        self._client = None
        await self._gate.close()


def _directories(prefixes: tuple[str, ...]) -> list[str | None]:
    """What to list: the library takes whole directories only, so a prefix is looked for in its directory."""
    found = sorted({prefix.rpartition("/")[0] for prefix in prefixes})
    if not found or "" in found:
        return [None]
    return [one for one in found if not any(one.startswith(f"{other}/") for other in found)]


def _object(meta: Mapping[str, Any]) -> Object:
    modified = meta["last_modified"].timestamp()
    return Object(meta["path"], meta["size"], modified, meta.get("e_tag") or meta.get("version") or str(modified))


def _first_line(error: Exception) -> str:
    """What is wrong, without the library's long tail of nested causes."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return shorten(lines[0] if lines else type(error).__name__, 200)
