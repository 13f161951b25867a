"""The file-store output: one file for each event or group of events, complete or not there at all."""

from __future__ import annotations

import asyncio
import base64
import gzip
from typing import ClassVar, Literal, Self

from pydantic import model_validator

from core import clock
from core.dsl import expand, paths, select
from core.dsl.component import REGISTRY, Batch, Config, Env, Event, Output, Run
from core.dsl.outputs import batching, content
from core.dsl.retry import Retry, Temporary, attempt
from core.dsl.select import Selector
from core.errors import Forbidden, JobFailed


class ObjectName(Config):
    """The name of an object: a text with templates, or a field of the (first) event."""

    name: expand.Text | None = None
    """A name that may hold `${field}`, `${stat|_BATCH_NUMBER}` and `@{job}`, and slashes for directories."""
    field: Selector | None = None
    """The field whose value is the name."""

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if (self.name is None) == (self.field is None):
            raise ValueError("object-name has exactly one of name and field")
        return self


@REGISTRY.register("file-store")
class FileStoreOutput(Output):
    """Write objects below a directory: each appears under its name in one step and is on the disk when it counts.

    An object holds one line for each event. Without `batch` every event is an object of its own.
    """

    example: ClassVar[str] = """
name: to-store
input: {echo: {event: '{"hello": "world"}', json: true}}
output:
  file-store: {path: /tmp/sluice-example/store, object-name: {name: "@{job}/part"}}
"""

    path: expand.Text
    """The root directory on the worker; it is made when missing."""
    object_name: ObjectName
    """The name below the root; a GUID is added unless disable-object-name-guid is set."""
    mode: Literal["put", "delete"] = "put"
    """`delete` removes the named object for each event instead of writing one."""
    disable_object_name_guid: bool = False
    """Use the name as it is; an object of the same name is replaced."""
    guid_prefix: str = "/"
    """Put between the name and the GUID."""
    guid_suffix: str = ""
    """Put after the GUID, e.g. `.json`."""
    input_field: Selector | None = None
    """Write only this field; an event without it is counted as an error."""
    batch: batching.Batching | None = None
    """Put several events into one object."""
    preprocessors: tuple[Literal["gzip", "base64"], ...] = ()
    """Applied to the whole object in this order."""
    retry: Retry | None = None
    """Try again when the disk refuses; left out: fail at once, and the job is restarted."""

    def open(self, env: Env) -> FileStoreSink:
        return FileStoreSink(self, env)


class FileStoreSink:
    """Writes in a thread, because an fdatasync for each object would hold up every other job of the worker."""

    def __init__(self, config: FileStoreOutput, env: Env) -> None:
        self._config = config
        self._env = env
        self._access = paths.FileAccess(env.limits)
        self._encode = content.encoder(config.input_field, env, "file-store")
        self._root = expand.template(config.path, env)
        name = config.object_name
        self._name = expand.template(name.name, env) if name.name is not None else None
        self._name_field = select.getter(select.parse(name.field or "name"))
        self._batcher = batching.Batcher(config.batch, self._send)

    async def write(self, batch: Batch, run: Run) -> None:
        if self._config.mode == "delete":
            names = [name for event in batch.events if (name := self._object_name(event, run)) is not None]
            await asyncio.to_thread(self._delete, self._root({}, run), names)
            batch.settle(None)
            return
        items: list[batching.Item] = []
        if self._config.input_field is None:
            datas = self._encode(batch.events, run)
            if len(datas) == len(batch.events):
                items = [batching.Item(event, data) for event, data in zip(batch.events, datas, strict=True)]
                await self._batcher.add(items, batch, run)
                return
        for event in batch.events:
            items += [batching.Item(event, data) for data in self._encode([event], run)]
        await self._batcher.add(items, batch, run)

    async def _send(self, groups: list[list[batching.Item]], run: Run) -> None:
        objects: list[tuple[str, bytes]] = []
        for group in groups:
            run.stat["_BATCH_NUMBER"] = run.stat.get("_BATCH_NUMBER", 0) + 1
            if (name := self._object_name(group[0].event, run)) is not None:
                objects.append((name, self._content(group)))
        root = self._root({}, run)

        async def put() -> None:
            try:
                await asyncio.to_thread(self._put, root, objects)
            except JobFailed as error:
                raise Temporary(error.message, hint=error.hint) from error

        await attempt(self._config.retry, self._env, "file-store", put)
        run.bytes_out += sum(len(data) for _, data in objects)

    def _content(self, group: list[batching.Item]) -> bytes:
        data = b"\n".join([item.data for item in group])
        if self._config.input_field is None:
            data += b"\n"
        for step in self._config.preprocessors:
            data = gzip.compress(data, mtime=0) if step == "gzip" else base64.b64encode(data)
        return data

    def _object_name(self, event: Event, run: Run) -> str | None:
        """The whole name; an event that gives none that is allowed is counted and left out."""
        name: object = None
        try:
            name = self._name(event, run) if self._name is not None else self._name_field(event)
            if not isinstance(name, str):
                raise Forbidden(f"the event has no text in {self._config.object_name.field} for its name")
            if not self._config.disable_object_name_guid and self._config.mode == "put":
                # The time comes first, so that objects that differ only in their GUID sort by age.
                guid = clock.encode(clock.now_ns()) + clock.token(13)
                name = f"{name}{self._config.guid_prefix}{guid}{self._config.guid_suffix}"
            return paths.check_name(name)
        except (Forbidden, expand.TextTooLong) as error:
            run.refuse(self._env, f"file-store: {error.message if isinstance(error, Forbidden) else error}")
            return None

    def _put(self, root: str, objects: list[tuple[str, bytes]]) -> None:
        with self._access.directory(root, create=True) as directory:
            directory.write_all_synced(objects)

    def _delete(self, root: str, names: list[str]) -> None:
        with self._access.directory(root, create=True) as directory:
            for name in names:
                directory.remove(name)
            directory.sync_names()

    async def flush(self, run: Run) -> None:
        await self._batcher.flush(run)

    async def close(self) -> None:
        await self._batcher.close()
