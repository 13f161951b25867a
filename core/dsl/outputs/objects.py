"""Writing to object stores: what the outputs file-store, s3, gcs, azure-blob and web-dav-store have in common."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection
from typing import ClassVar, Literal, Self

from pydantic import model_validator

from core import clock
from core.dsl.component import Batch, Config, Env, Event, Output, Run
from core.dsl.connections.retry import Retry, attempt
from core.dsl.events import select
from core.dsl.events.select import Selector
from core.dsl.files import preprocess
from core.dsl.language import templates
from core.dsl.outputs import batching, content
from core.dsl.outputs.numbers import Numbers
from core.dsl.stores import NamesRefused, Writable
from core.errors import Forbidden
from core.guard import file_access
from core.model.letter import Code


class ObjectName(Config):
    """The name of an object: a text with templates, or a field of the (first) event."""

    scalar: ClassVar[str] = "name"

    name: templates.Text | None = None
    """A name that may hold `${field}`, `@{job}` and slashes for directories, and of the group that becomes the object
    `${stat|_BATCH_NUMBER}`, `${stat|_BATCH_SIZE}` and, with track-schema, `${stat|__SCHEMA_NUMBER}`."""
    field: Selector | None = None
    """The field whose value is the name."""

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if (self.name is None) == (self.field is None):
            raise ValueError("object-name has exactly one of name and field")
        return self


class ObjectOutput(Output):
    """Base of the outputs that write object stores: one object for each event or group, whole or not at all."""

    connects_to: ClassVar[str] = "object store"

    object_name: ObjectName
    """The name of the object; a GUID is added unless disable-object-name-guid is set. An event that gives no allowed
    name (empty, absolute, with `..`; in a `file-store` also that of a directory or below a file) is counted as an error
    and left out."""
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
    preprocessors: tuple[preprocess.Encoder, ...] = ()
    """Applied to the whole object in this order. `parquet` makes rows of the events and needs the extra `parquet`."""
    track_schema: bool = False
    """Number the schemas of what is written, as `${stat|__SCHEMA_NUMBER}`: it rises whenever the fields or their JSON
    types differ from those of the object before. For JSON only."""
    retry: Retry | None = None
    """Try again when the store cannot take an object; left out: fail at once, and the job is restarted."""

    def opener(self, env: Env) -> Callable[[Run], Writable]:
        """How to get the store of a run."""
        raise NotImplementedError

    def open(self, env: Env) -> ObjectSink:
        preprocess.require(self.preprocessors)
        return ObjectSink(self, self.opener(env), env)


class ObjectSink:
    """Makes names and contents; a batch is settled when the object with its last event is in the store."""

    def __init__(self, config: ObjectOutput, opener: Callable[[Run], Writable], env: Env) -> None:
        self._config = config
        self._env = env
        self._open = opener
        self._store: Writable | None = None
        self._encode = content.pairs(config.input_field, env, config.name)
        name = config.object_name
        self._name = templates.template(name.name, env, required=True) if name.name is not None else None
        self._name_field = select.getter(select.parse(name.field or "name"))
        self._numbers = Numbers(env.state_dir, track_schema=config.track_schema)
        self._batcher = batching.Batcher(config.batch, self._send)

    async def write(self, batch: Batch, run: Run) -> None:
        if self._config.mode == "delete":
            named: dict[str, list[Event]] = {}
            for event in batch.events:
                if (name := self._object_name(event, run=run)) is not None:
                    named.setdefault(name, []).append(event)
            store = await self._store_of(run)
            await self._all_but_refused(lambda: store.delete(list(named)), named, run)
            batch.settle(None)
            return
        items = [batching.Item(event, data) for event, data in self._encode(batch.events, run)]
        await self._batcher.add(items, batch, run)

    async def _send(self, groups: list[list[batching.Item]], run: Run) -> None:
        objects: list[tuple[str, bytes]] = []
        named: dict[str, list[Event]] = {}
        for group in groups:
            datas = [item.data for item in group]
            self._numbers.begin(datas, run, self._env)
            if (name := self._object_name(*(item.event for item in group), run=run)) is None:
                continue
            data = self._content(datas)
            if self._config.preprocessors:  # compressing may take a while: not on the loop
                data = await asyncio.to_thread(preprocess.encode, self._config.preprocessors, data)
            objects.append((name, data))
            named.setdefault(name, []).extend(item.event for item in group)
        if not objects:
            return
        store = await self._store_of(run)
        refused = await self._all_but_refused(lambda: store.put(objects), named, run)
        run.bytes_out += sum(len(data) for name, data in objects if name not in refused)

    async def _all_but_refused(
        self, action: Callable[[], Awaitable[None]], named: dict[str, list[Event]], run: Run
    ) -> Collection[str]:
        """Do it, and leave out the events whose names the store refuses; those names."""
        try:
            await attempt(self._config.retry, self._env, self._config.name, action)
        except NamesRefused as fault:
            for name, why in fault.refused.items():
                run.leave_out(self._env, Code.PATH_REFUSED, f"{self._config.name}: {why}", *named[name])
            return fault.refused
        return ()

    async def _store_of(self, run: Run) -> Writable:
        store = self._open(run)
        if self._store is not None and self._store is not store:
            await self._store.close()
        self._store = store
        return store

    def _content(self, datas: list[bytes]) -> bytes:
        if self._config.batch is not None:
            return self._config.batch.join(datas)
        return datas[0] if self._config.input_field is not None else datas[0] + b"\n"

    def _object_name(self, event: Event, *others: Event, run: Run) -> str | None:
        """The whole name; an event that gives none that is allowed is left out, with the others of its object."""
        name: object = None
        try:
            name = self._name(event, run) if self._name is not None else self._name_field(event)
            if not isinstance(name, str):
                why = f"{self._config.name}: the event has no text in {self._config.object_name.field} for its name"
                run.leave_out(self._env, Code.NO_FIELD, why, event, *others)
                return None
            if not self._config.disable_object_name_guid and self._config.mode == "put":
                # The time comes first, so that objects that differ only in their GUID sort by age.
                guid = clock.encode(clock.now_ns()) + clock.token(13)
                name = f"{name}{self._config.guid_prefix}{guid}{self._config.guid_suffix}"
            return file_access.check_name(name)
        except (Forbidden, templates.NoValue, templates.TextTooLong) as error:
            code = Code.EMPTY_PLACEHOLDER if isinstance(error, templates.NoValue) else Code.PATH_REFUSED
            why = f"{self._config.name}: {error.message if isinstance(error, Forbidden) else error}"
            more = f"; with it {len(others)} others of its object are left out" if others else ""
            run.leave_out(self._env, code, why + more, event, *others)
        return None

    async def flush(self, run: Run) -> None:
        await self._batcher.flush(run)

    async def close(self) -> None:
        await self._batcher.close()
        self._numbers.close()
        if self._store is not None:
            await self._store.close()
