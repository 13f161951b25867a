"""The worker-kv action: what events leave in the KV store, one transaction for each batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from pydantic import Field

from core.dsl.actions.kv_operations import AckBatch, MakeOp, Operation
from core.dsl.component import REGISTRY, Env, Event, Run
from core.dsl.connections.leases import Leases, namespace_of
from core.dsl.events import select
from core.dsl.events.codegen import Warn
from core.dsl.language.action import Each, EventFault, Settled, Waiter, WaitingAction
from core.errors import shorten
from core.model import kv
from core.model.kv import Namespace, Op, Result


@REGISTRY.register("worker-kv")
class WorkerKv(WaitingAction):
    """Change the KV store: values, sets and work queues that outlive runs and are shared by all jobs of the tenant.

    The events of a batch are done in one transaction, in order, and go on when it is durable. An event whose key or
    value is beyond the bounds (a key of 512 bytes, a value of 1 MiB), or that lacks its value field, is dropped and
    counted. When the store cannot be written the job fails and is restarted; its input comes again.
    """

    example: ClassVar[str] = """
name: remember-the-last
input: {echo: {event: '{"sensor": "s1", "temperature": 21.5}', json: true}}
actions:
  - worker-kv:
      namespace: readings
      operation: {set: {key-field: sensor, value-field: temperature, ttl-ms: 3600000}}
output: {print: STDOUT}
"""

    namespace: str = Field(min_length=1, max_length=kv.MAX_NAMESPACE_BYTES)
    """The namespace, `tenant:name`; without a tenant it is the job's own, and another tenant's is refused."""
    operation: Operation
    """What to do: exactly one of set, set-if-absent, delete, add-to-set, remove-from-set, push, ack-batch."""

    def open(self, env: Env, warn: Warn) -> Waiter:
        space, chosen = namespace_of(env, self.namespace), self.operation.chosen
        if isinstance(chosen, AckBatch):
            return _Acknowledging(space, chosen, env)
        return _Writing(space, chosen, env, warn)

    def each(self, env: Env, warn: Warn) -> Each:
        """The dry form: tells what would be done, as if every key were absent."""
        name, chosen = namespace_of(env, self.namespace).name, self.operation.chosen
        if isinstance(chosen, AckBatch):
            lease = select.getter(select.parse(chosen.lease_field))

            def ack(event: Event, run: Run) -> Event:
                env.log("info", f"would acknowledge the lease {shorten(lease(event), 60)} in {name}", namespace=name)
                return event

            return ack
        make, store = chosen.op(env, warn), _result_setter(chosen)

        def tell(event: Event, run: Run) -> Event:
            op = make(event, run)
            if op is not None:
                if wrong := kv.fault(op):
                    raise EventFault(wrong)
                told = f"would {op.verb} {shorten(op.key or op.value, 100)} in {name}"
                env.log("info", told, namespace=name, verb=str(op.verb), key=op.key, value=op.value)
                if store is not None:
                    store(event, True)
            return event

        return tell


def _result_setter(config: Any) -> Callable[[Event, Any], None] | None:
    field = getattr(config, "result_field", None)
    return select.setter(select.parse(field)) if field is not None else None


class _Writing:
    """Does one operation for every event of a batch."""

    def __init__(self, space: Namespace, config: Any, env: Env, warn: Warn) -> None:
        self._space = space
        self._make: MakeOp = config.op(env, warn)
        self._store = _result_setter(config)
        self._drop = getattr(config, "drop", None) == "existing"
        self._env = env

    async def work(self, events: list[Event], run: Run, on_settled: Callable[[Settled], None]) -> list[Event | None]:
        out: list[Event | None] = list(events)
        ops: list[Op] = []
        places: list[int] = []
        for place, event in enumerate(events):
            try:
                op = self._make(event, run)
                wrong = kv.fault(op) if op is not None else ""
            except (EventFault, ValueError) as error:
                op, wrong = None, str(error)
            if wrong:
                out[place] = None
                run.fail(self._env, f"worker-kv: {wrong}; the event is refused", event)
            elif op is not None:
                ops.append(op)
                places.append(place)
        results = await self._space.apply(ops) if ops else []
        if self._store is not None or self._drop:
            for place, result in zip(places, results, strict=True):
                out[place] = self._judge(events[place], result, run)
        return out

    def _judge(self, event: Event, result: Result, run: Run) -> Event | None:
        if self._drop and not result.done:
            return None
        if self._store is not None:
            try:
                self._store(event, result.done)
            except ValueError as error:
                run.fail(self._env, f"worker-kv: {error}; the event is refused", event)
                return None
        return event

    async def close(self) -> None:
        pass


class _Acknowledging:
    """Acknowledges the leases of a batch when its output has accepted it."""

    def __init__(self, space: Namespace, config: AckBatch, env: Env) -> None:
        self._get = select.getter(select.parse(config.lease_field))
        self._field = config.lease_field
        self._env = env
        self._leases = Leases(space, env)

    async def work(self, events: list[Event], run: Run, on_settled: Callable[[Settled], None]) -> list[Event | None]:
        leases: dict[str, None] = {}
        for event in events:
            lease = self._get(event)
            if type(lease) is str and lease:
                leases[lease] = None
            else:
                run.refuse(self._env, f"worker-kv: the field {self._field} holds no lease")
        if leases:
            on_settled(lambda error: self._leases.end(leases, error))
        return list(events)

    async def close(self) -> None:
        await self._leases.close()
