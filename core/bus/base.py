"""What a bus promises, whatever carries it. The local bus is the reference; NATS is the second implementation.

Words: a *group* is all replicas of one job (tenant, job name) that listens to messages. A message goes to every group
whose filter matches, and within a group to one replica. A *delivery* is owed to a group until a replica settles it:
`ack` (done) or `term` (given up, with a reason). When the replica's worker dies the delivery goes out again with
`attempt + 1`; one that MAX_DEATHS workers died with is given up, for it may well be what kills them.

Beside messages the bus carries *requests*: the engine asks one worker and waits for its reply. A request is not
durable and is never sent twice; whoever asks decides what a missing reply means. Requests are
`report {}` -> {memory, loop lag, channels}, `holdings {}` -> {workload: fingerprint}, `cancel [workload, delivery]` and
`cancel_run [workload, run]` -> what became of the run (core.model.canceling). Over NATS a request is a core
request to the subject of the worker, and `reach` the subscription of that subject.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol

from core.model.message import Filter, Message

MAX_DEATHS = 10
GroupKey = tuple[str, str]  # (tenant, job)
Ask = Callable[[str, Any], Awaitable[Any]]
"""Sends (name, JSON arguments) to one worker and gives its reply; raises a SluiceError that it answered with."""


@dataclass(slots=True, eq=False)
class Delivery:
    """One message owed to one group."""

    id: int
    group: GroupKey
    body: bytes  # the message event as JSON, the same bytes that are stored and sent
    attempt: int = 1
    deaths: int = 0  # of workers that held it, under this owner
    invocation_id: int | None = None
    of_open_run: bool = False  # the open record of its run owes it, and no row of its own (core.store.dispatches)
    consumer: Consumer | None = field(default=None, repr=False)
    sent_at: float = 0.0  # monotonic seconds


class Consumer(Protocol):
    """One replica that takes deliveries: a workload on a connected worker."""

    workload: str
    worker: str  # the name of the worker that it is on
    outstanding: dict[int, Delivery]
    window: int  # how many deliveries it may hold at once

    def send(self, delivery: Delivery) -> None:
        """Put the delivery on its way; must not block or fail (a dead worker is told through `detach`)."""


class Owner(Protocol):
    """Who owes the deliveries: it keeps them durable and hears their end."""

    def retried(self, delivery: Delivery) -> None:
        """The delivery is about to go out again; `attempt` is already raised."""

    def owes(self, delivery: Delivery) -> bool:
        """Whether a delivery that a replica gave back is still owed; one that is not goes to nobody again."""

    def exhausted(self, delivery: Delivery) -> None:
        """MAX_DEATHS workers died with the delivery, or its group is gone: it is given up."""


class Bus(Protocol):
    """Deliveries of one engine. All methods are for the engine's loop and none of them blocks."""

    def declare(self, group: GroupKey, filter: Filter) -> None:
        """The job is deployed and listens; deliveries may be owed to it although no replica is connected yet."""

    def withdraw(self, group: GroupKey) -> list[Delivery]:
        """The job is no longer deployed; what was still owed to it is returned."""

    def groups(self) -> Iterable[GroupKey]:
        """Every declared group."""

    def filter_of(self, group: GroupKey) -> Filter | None:
        """The filter of a declared group, None when the job does not listen to messages."""

    def matching(self, message: Message) -> Iterable[GroupKey]:
        """The groups of the message's tenant whose filter matches."""

    def release(self, delivery: Delivery) -> None:
        """The delivery is durable: send it to one replica now, or as soon as one has room."""

    def settle(self, delivery_id: int, worker: str) -> Delivery | None:
        """A replica of `worker` is done with a delivery; None when none of it holds it (late, or already settled)."""

    def cancel(self, delivery_id: int, group: GroupKey) -> bool:
        """Withdraw a delivery that no replica has taken; false when one has."""

    def held(self, delivery_id: int) -> Delivery | None:
        """A delivery that a replica has, its `consumer`; None when none has it."""

    def exhaust(self, group: GroupKey, deaths: int) -> None:
        """Give up what waits for the group and what at least so many workers died with: its job is quarantined."""

    def backlog(self, group: GroupKey) -> tuple[int, int]:
        """(deliveries that no replica has taken, id of the oldest of them; ids are times in ns), (0, 0) for none."""

    def attach(self, group: GroupKey, consumer: Consumer) -> None:
        """A replica is ready."""

    def pause(self, group: GroupKey, consumer: Consumer) -> None:
        """A replica is being stopped: it gets nothing new and may still settle what it holds."""

    def detach(self, group: GroupKey, consumer: Consumer, *, died: bool) -> None:
        """A replica is gone; what it held goes out again (as a further attempt when it died)."""

    def reach(self, worker: str, ask: Ask | None) -> None:
        """How requests reach a connected worker; None when it has gone."""

    async def request(self, worker: str, name: str, arguments: Any, seconds: float) -> Any:
        """Ask a worker and wait for its reply.

        Raises TargetUnavailable when it is not connected, goes away or does not reply within `seconds`, or the
        SluiceError that it replied with.
        """
