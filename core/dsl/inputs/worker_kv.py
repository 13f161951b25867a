"""The worker-kv input: a value, the items of a queue, or the changes of keys, out of the KV store."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Annotated, Any, ClassVar, Literal, Self, TypeVar

from pydantic import Field, model_validator

from core.dsl.component import REGISTRY, Batch, Config, Env, Event, Run, Source
from core.dsl.connections.kv_operation import OneOperation
from core.dsl.connections.leases import LEASE_FIELD, Leases, namespace_of
from core.dsl.connections.retry import Retry, Temporary, attempt
from core.dsl.events import select, values
from core.dsl.events.select import Selector
from core.dsl.inputs import lines
from core.dsl.inputs.scheduled import Scheduled
from core.dsl.language import templates
from core.dsl.language.schedule import Trigger
from core.errors import Busy, StorageUnavailable
from core.model import kv
from core.model.kv import Changes, Lease, Op, Verb

T = TypeVar("T")
WAIT_SECONDS = 300.0  # of one call; the engine wakes it when there is something
READ_AT_ONCE = kv.MAX_PAGE_CHARACTERS // kv.MAX_VALUE_BYTES  # keys whose values surely fit in one answer


class Get(Config):
    """Read the value of one key. A key that is not there gives no event."""

    key: templates.Text = Field(min_length=1)
    """The key; `@{job}`, `${msg|...}` and `${dyn|...}` are filled in."""


class PopBatch(Config):
    """Take items out of the queue, the oldest first, under a lease.

    Without a trigger it runs until it is stopped and sleeps while the queue is empty; with one, each firing takes one
    batch. What is not acknowledged before the lease runs out comes again.
    """

    size: int = Field(default=100, ge=1, le=kv.MAX_POP)
    """At most so many items in one batch."""
    lease_ms: Annotated[int, Field(ge=1, le=kv.MAX_LEASE_MS)] = kv.LEASE_MS
    """Nobody else gets the items for so many milliseconds."""
    max_attempts: int = Field(default=kv.ATTEMPTS, ge=1, le=1000)
    """An item that was handed out so often without an acknowledgement is dead; `sluice kv queue` shows it."""
    ack: Literal["auto", "manual"] = "auto"
    """`auto`: acknowledge when the output has accepted the batch. `manual`: an action with `ack-batch` does it."""
    lease_field: Selector = LEASE_FIELD
    """With `ack: manual`, the field for the lease that `ack-batch` needs."""
    attempt_field: Selector | None = None
    """Put there how often the item has been handed out, counting this time."""


class Watch(Config):
    """The keys with a prefix: first all that are there, then each one that changes, as long as the job runs.

    Events are {key, value, deleted}. Of quick changes the last one counts; after a restart all come again.
    """

    prefix: str = Field(default="", max_length=kv.MAX_KEY_BYTES)
    """The beginning of the keys; empty: all."""


class Operation(OneOperation):
    """What to read: exactly one of these."""

    must = "operation has exactly one of get, pop-batch and watch"

    get: Get | None = None
    """The value of a key."""
    pop_batch: PopBatch | None = None
    """Items of the queue."""
    watch: Watch | None = None
    """Keys and their changes."""


@REGISTRY.register("worker-kv")
class WorkerKv(Scheduled):
    """Read the KV store: the value of a key, leased items of a work queue, or the keys that change.

    A value that is a JSON object is the event; any other value is under `_raw`. One that was to be JSON and is none
    stays text under `_raw`, and is counted. When the store cannot be reached, and `retry` does not help, the job fails
    and is restarted.
    """

    connects_to: ClassVar[str] = "KV store"
    example: ClassVar[str] = """
name: consume
input:
  worker-kv: {namespace: tickets, operation: {pop-batch: {size: 10, lease-ms: 60000}}}
output: {print: STDOUT}
"""

    trigger: Trigger | None = None
    """When to read. Left out: get reads once, pop-batch and watch run until they are stopped."""
    namespace: str = Field(min_length=1, max_length=kv.MAX_NAMESPACE_BYTES)
    """The namespace, `tenant:name`; without a tenant it is the job's own, and another tenant's is refused."""
    operation: Operation
    """What to read: exactly one of get, pop-batch, watch."""
    value_format: Literal["json", "raw-string"] = "json"
    """What values are: JSON, or text as it is."""
    retry: Retry | None = None
    """Try again when the store cannot be reached or written."""

    @model_validator(mode="after")
    def _watch_has_no_trigger(self) -> Self:
        if self.operation.watch is not None and self.trigger is not None:
            raise ValueError("watch runs until it is stopped; it takes no trigger")
        return self

    @property
    def continuous(self) -> bool:
        return self.operation.get is None and self.trigger is None

    def effect_of_reading(self) -> str:
        return "" if self.operation.get is not None else super().effect_of_reading()

    def open(self, env: Env) -> Source:
        if self.operation.get is not None:
            return _Getting(self, env)
        if self.operation.watch is not None:
            return _Watching(self, env)
        return _Popping(self, env)


class _Reading:
    """What the three have in common."""

    def __init__(self, config: WorkerKv, env: Env) -> None:
        self._config = config
        self._env = env
        self._space = namespace_of(env, config.namespace)
        self._json = config.value_format == "json"

    async def _try(self, call: Callable[[], Awaitable[T]]) -> T:
        async def once() -> T:
            try:
                return await call()
            except (Busy, StorageUnavailable) as error:
                raise Temporary(f"worker-kv: {error.message}", hint=error.hint) from error

        return await attempt(self._config.retry, self._env, "worker-kv", once)

    def _value(self, text: str, run: Run) -> Any:
        """What a stored text means; one that is no JSON stays text."""
        run.bytes_in += len(text)
        if not self._json:
            return text
        try:
            return values.from_json(text)
        except ValueError as error:
            run.refuse(self._env, f"worker-kv: a value is not JSON ({error}); it stays text")
            return text

    def _event(self, text: str, run: Run) -> Event:
        value = self._value(text, run)
        return value if type(value) is dict else {lines.RAW: value}

    async def close(self) -> None:
        pass


class _Getting(_Reading):
    def __init__(self, config: WorkerKv, env: Env) -> None:
        super().__init__(config, env)
        assert config.operation.get is not None
        self._key = templates.template(config.operation.get.key, env)

    async def batches(self, run: Run) -> AsyncIterator[Batch]:
        key = self._key({}, run)
        found = await self._try(lambda: self._space.get(key))
        if found.value is not None:
            yield Batch([self._event(found.value, run)], document_end=True)


class _Popping(_Reading):
    def __init__(self, config: WorkerKv, env: Env) -> None:
        super().__init__(config, env)
        assert config.operation.pop_batch is not None
        self._pop = config.operation.pop_batch
        self._manual = self._pop.ack == "manual"
        self._put_lease = select.setter(select.parse(self._pop.lease_field))
        attempts = self._pop.attempt_field
        self._put_attempt = select.setter(select.parse(attempts)) if attempts is not None else None
        self._leases = Leases(self._space, env)

    async def batches(self, run: Run) -> AsyncIterator[Batch]:
        once = self._config.trigger is not None
        while True:
            lease = await self._try(lambda: self._take(0.0 if once else WAIT_SECONDS))
            if lease is not None:
                yield self._batch(lease, run)
            if once:
                return

    async def _take(self, wait_seconds: float) -> Lease | None:
        pop = self._pop
        return await self._space.pop_batch(pop.size, pop.lease_ms, pop.max_attempts, wait_seconds)

    def _batch(self, lease: Lease, run: Run) -> Batch:
        events = []
        for item in lease.items:
            event = self._event(item.value, run)
            try:
                if self._manual:
                    self._put_lease(event, lease.id)
                if self._put_attempt is not None:
                    self._put_attempt(event, item.attempt)
            except ValueError as error:
                run.refuse(self._env, f"worker-kv: {error}")
            events.append(event)
        if self._manual:
            return Batch(events, document_end=True)
        return Batch(events, lambda error: self._leases.end([lease.id], error), document_end=True)

    async def close(self) -> None:
        await self._leases.close()


class _Watching(_Reading):
    async def batches(self, run: Run) -> AsyncIterator[Batch]:
        assert self._config.operation.watch is not None
        prefix = self._config.operation.watch.prefix
        watch = await self._try(lambda: self._space.watch(prefix))  # before the list, so that no change is missed
        try:
            lagged = True
            while True:
                if lagged:
                    async for batch in self._all(prefix, run):
                        yield batch
                told: Changes = await self._try(lambda: watch.next(WAIT_SECONDS))
                lagged = told.lagged
                if told.changes:
                    yield await self._changed(told, run)
        finally:
            await watch.close()

    async def _all(self, prefix: str, run: Run) -> AsyncIterator[Batch]:
        after, more = "", True
        while more:
            page = await self._try(lambda after=after: self._space.list(prefix, after))  # type: ignore[misc]
            if page.entries:
                events = [self._state(entry.key, entry.value, run) for entry in page.entries]
                yield Batch(events, document_end=not page.more)
                after = page.entries[-1].key
            more = page.more

    async def _changed(self, told: Changes, run: Run) -> Batch:
        keys = [change.key for change in told.changes]
        found = []
        for at in range(0, len(keys), READ_AT_ONCE):
            ops = [Op(Verb.GET, key) for key in keys[at : at + READ_AT_ONCE]]
            found += await self._try(lambda ops=ops: self._space.apply(ops))  # type: ignore[misc]
        return Batch(
            [self._state(key, got.value, run) for key, got in zip(keys, found, strict=True)], document_end=True
        )

    def _state(self, key: str, text: str | None, run: Run) -> Event:
        if text is None:
            return {"key": key, "value": None, "deleted": True}
        return {"key": key, "value": self._value(text, run), "deleted": False}
