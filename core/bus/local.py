"""The bus inside the owner: groups, queues and the choice of a replica, all in memory.

Durability is not its duty: a delivery is released only after its row is committed, and at start the engine releases
again what the store still owes.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from core import clock
from core.bus.base import MAX_DEATHS, Ask, Consumer, Delivery, GroupKey, Owner
from core.channel import ChannelClosed
from core.errors import TargetUnavailable, shorten
from core.model.message import Filter, Message

# A replica whose jobs take microseconds is filled up before the next one gets work, because a second process costs
# more than it gains; a slow one gets only its share. The threshold is the time in which a worker wakes up.
FAST_SECONDS = 0.001


@dataclass(slots=True)
class _Group:
    filter: Filter
    consumers: list[Consumer] = field(default_factory=list)
    waiting: deque[Delivery] = field(default_factory=deque)
    seconds: dict[str, float] = field(default_factory=dict)  # workload -> smoothed time a delivery takes


@dataclass(slots=True)
class _Listeners:
    """The groups of one tenant. Most wait for a tag, and a message of another tag must not cost them anything."""

    tagged: dict[str, dict[GroupKey, _Group]] = field(default_factory=dict)
    others: dict[GroupKey, _Group] = field(default_factory=dict)

    def add(self, key: GroupKey, group: _Group) -> None:
        for tag in group.filter.tags:
            self.tagged.setdefault(tag, {})[key] = group
        if not group.filter.tags:
            self.others[key] = group

    def remove(self, key: GroupKey, group: _Group) -> None:
        for tag in group.filter.tags:
            del self.tagged[tag][key]
            if not self.tagged[tag]:
                del self.tagged[tag]
        self.others.pop(key, None)


class LocalBus:
    """See core.bus.base.Bus for the contract."""

    def __init__(self, owner: Owner) -> None:
        self._owner = owner
        self._groups: dict[GroupKey, _Group] = {}
        self._by_tenant: dict[str, _Listeners] = {}
        self._asks: dict[str, Ask] = {}
        self._held: dict[int, Delivery] = {}  # deliveries that a replica has

    def declare(self, group: GroupKey, filter: Filter) -> None:
        known = self._groups.get(group)
        listeners = self._by_tenant.setdefault(group[0], _Listeners())
        if known is None:
            known = self._groups[group] = _Group(filter)
        elif known.filter == filter:
            return
        else:
            listeners.remove(group, known)
            known.filter = filter
        listeners.add(group, known)

    def withdraw(self, group: GroupKey) -> list[Delivery]:
        gone = self._groups.pop(group, None)
        if gone is None:
            return []
        self._by_tenant[group[0]].remove(group, gone)
        held = [delivery for consumer in gone.consumers for delivery in consumer.outstanding.values()]
        for delivery in held:
            self._held.pop(delivery.id, None)
        return [*held, *gone.waiting]

    def groups(self) -> Iterable[GroupKey]:
        return list(self._groups)

    def filter_of(self, group: GroupKey) -> Filter | None:
        found = self._groups.get(group)
        return found.filter if found is not None else None

    def matching(self, message: Message) -> Iterable[GroupKey]:
        listeners = self._by_tenant.get(message.tenant)
        if listeners is None:
            return ()
        found = [key for key, group in listeners.others.items() if group.filter.matches(message)]
        tagged = listeners.tagged.get(message.tag) if message.tag else None
        if tagged:
            found += [key for key, group in tagged.items() if group.filter.matches(message)]
        return found

    def release(self, delivery: Delivery) -> None:
        group = self._groups.get(delivery.group)
        if group is None:
            self._owner.exhausted(delivery)
            return
        if group.waiting:
            group.waiting.append(delivery)
            return
        consumer = choose(group.consumers, group.seconds)
        if consumer is None:
            group.waiting.append(delivery)
        else:
            self._hand(delivery, consumer)

    def settle(self, delivery_id: int, worker: str) -> Delivery | None:
        delivery = self._held.get(delivery_id)
        if delivery is None or delivery.consumer is None or delivery.consumer.worker != worker:
            return None
        del self._held[delivery_id]
        consumer, delivery.consumer = delivery.consumer, None
        consumer.outstanding.pop(delivery_id, None)
        group = self._groups.get(delivery.group)
        if group is not None:
            # What waited behind others in this replica is not the job's own time, so the span is shared out.
            spent = (clock.monotonic() - delivery.sent_at) / (len(consumer.outstanding) + 1)
            known = group.seconds.get(consumer.workload, spent)
            group.seconds[consumer.workload] = known + (spent - known) * 0.2
            self._pump(group)
        return delivery

    def cancel(self, delivery_id: int, group: GroupKey) -> bool:
        found = self._groups.get(group)
        if found is None:
            return False
        for delivery in found.waiting:
            if delivery.id == delivery_id:
                found.waiting.remove(delivery)
                return True
        return False

    def held(self, delivery_id: int) -> Delivery | None:
        return self._held.get(delivery_id)

    def exhaust(self, group: GroupKey, deaths: int) -> None:
        found = self._groups.get(group)
        for delivery in [one for one in found.waiting if one.deaths >= deaths] if found is not None else ():
            assert found is not None
            found.waiting.remove(delivery)
            self._owner.exhausted(delivery)

    def backlog(self, group: GroupKey) -> tuple[int, int]:
        found = self._groups.get(group)
        if found is None or not found.waiting:
            return 0, 0
        return len(found.waiting), found.waiting[0].id

    def reach(self, worker: str, ask: Ask | None) -> None:
        if ask is None:
            self._asks.pop(worker, None)
        else:
            self._asks[worker] = ask

    async def request(self, worker: str, name: str, arguments: Any, seconds: float) -> Any:
        ask = self._asks.get(worker)
        if ask is None:
            raise TargetUnavailable(f"Worker {shorten(worker, 60)} is not connected.", hint="worker_list shows them.")
        try:
            async with asyncio.timeout(seconds):
                return await ask(name, arguments)
        except TimeoutError:
            fault = f"Worker {worker} did not answer within {seconds:g} s."
            raise TargetUnavailable(fault, hint="It may be busy; try again.") from None
        except ChannelClosed:
            raise TargetUnavailable(f"Worker {worker} went away before it answered.", hint="Try again.") from None

    def attach(self, group: GroupKey, consumer: Consumer) -> None:
        found = self._groups.get(group)
        if found is not None and consumer not in found.consumers:
            found.consumers.append(consumer)
            self._pump(found)

    def pause(self, group: GroupKey, consumer: Consumer) -> None:
        found = self._groups.get(group)
        if found is not None and consumer in found.consumers:
            found.consumers.remove(consumer)

    def detach(self, group: GroupKey, consumer: Consumer, *, died: bool) -> None:
        found = self._groups.get(group)
        if found is None:
            return
        if consumer in found.consumers:
            found.consumers.remove(consumer)
        held = sorted(consumer.outstanding.values(), key=lambda delivery: delivery.id)
        consumer.outstanding.clear()
        for delivery in reversed(held):
            delivery.consumer = None
            self._held.pop(delivery.id, None)
            delivery.attempt += died
            delivery.deaths += died
            if not self._owner.owes(delivery):
                continue
            if delivery.deaths >= MAX_DEATHS:
                self._owner.exhausted(delivery)
            else:
                if died:
                    self._owner.retried(delivery)
                found.waiting.appendleft(delivery)
        self._pump(found)

    def _pump(self, group: _Group) -> None:
        while group.waiting:
            consumer = choose(group.consumers, group.seconds)
            if consumer is None:
                return
            self._hand(group.waiting.popleft(), consumer)

    def _hand(self, delivery: Delivery, consumer: Consumer) -> None:
        delivery.consumer = consumer
        delivery.sent_at = clock.monotonic()
        consumer.outstanding[delivery.id] = delivery
        self._held[delivery.id] = delivery
        consumer.send(delivery)


def choose(consumers: list[Consumer], seconds: dict[str, float]) -> Consumer | None:
    """The replica for the next delivery: the first fast one with room, else the least loaded with room.

    Pure; `seconds` is how long a delivery takes at each workload (unknown counts as slow).
    """
    if len(consumers) == 1:
        only = consumers[0]
        return only if len(only.outstanding) < only.window else None
    best = None
    for consumer in consumers:
        load = len(consumer.outstanding)
        if load >= consumer.window:
            continue
        if seconds.get(consumer.workload, 1.0) < FAST_SECONDS:
            return consumer
        if best is None or load < len(best.outstanding):
            best = consumer
    return best
