"""The bus contract: every group once, one replica each, nothing lost when a replica dies."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.bus import base
from core.bus.base import Delivery
from core.bus.local import LocalBus, choose
from core.channel import ChannelClosed
from core.errors import TargetUnavailable
from core.model.message import Filter, Message


class Replica:
    def __init__(self, workload: str, window: int = 4) -> None:
        self.workload = workload
        self.worker = "here"
        self.window = window
        self.outstanding: dict[int, Delivery] = {}
        self.got: list[int] = []

    def send(self, delivery: Delivery) -> None:
        self.got.append(delivery.id)


class Owner:
    def __init__(self) -> None:
        self.again: list[tuple[int, int]] = []
        self.lost: list[int] = []
        self.ended: set[int] = set()

    def retried(self, delivery: Delivery) -> None:
        self.again.append((delivery.id, delivery.attempt))

    def owes(self, delivery: Delivery) -> bool:
        return delivery.id not in self.ended

    def exhausted(self, delivery: Delivery) -> None:
        self.lost.append(delivery.id)


KEY = ("default", "job")


def _bus(*replicas: Replica) -> tuple[LocalBus, Owner]:
    owner = Owner()
    bus = LocalBus(owner)
    bus.declare(KEY, Filter())
    for replica in replicas:
        bus.attach(KEY, replica)
    return bus, owner


def _message(**fields: str) -> Message:
    values = {"tenant": "default", "kind": "user", "source": "server", "type": "user-generated", **fields}
    return Message(id=1, **values)  # type: ignore[arg-type]


def test_a_message_goes_to_every_group_whose_filter_matches_in_its_tenant() -> None:
    bus = LocalBus(Owner())
    bus.declare(("a", "tagged"), Filter(tag="x"))
    bus.declare(("a", "all"), Filter())
    bus.declare(("a", "system"), Filter(kind="system"))
    bus.declare(("b", "all"), Filter())
    assert set(bus.matching(_message(tenant="a", tag="x"))) == {("a", "tagged"), ("a", "all")}
    assert set(bus.matching(_message(tenant="a"))) == {("a", "all")}
    assert list(bus.matching(_message(tenant="c"))) == []


def test_a_delivery_without_a_replica_waits_for_one() -> None:
    bus, _ = _bus()
    bus.release(Delivery(1, KEY, b"{}"))
    late = Replica("late")
    bus.attach(KEY, late)
    assert late.got == [1]


def test_only_the_worker_that_holds_a_delivery_settles_it() -> None:
    one = Replica("one")
    bus, _ = _bus(one)
    bus.release(Delivery(1, KEY, b"{}"))
    assert bus.settle(1, "elsewhere") is None and set(one.outstanding) == {1}
    assert bus.settle(1, "here") is not None and not one.outstanding


def test_a_full_replica_gets_more_only_when_it_settles() -> None:
    one = Replica("one", window=2)
    bus, _ = _bus(one)
    for n in range(5):
        bus.release(Delivery(n, KEY, b"{}"))
    assert one.got == [0, 1]
    assert bus.settle(0, "here") is not None
    assert one.got == [0, 1, 2]
    assert bus.settle(0, "here") is None, "a second settlement of the same delivery changes nothing"


def test_what_a_dead_replica_held_goes_out_again_in_order_as_a_further_attempt() -> None:
    dying, other = Replica("dying", window=3), Replica("other", window=10)
    bus, owner = _bus(dying)
    for n in range(4):
        bus.release(Delivery(n, KEY, b"{}"))
    bus.attach(KEY, other)
    assert other.got == [3]
    bus.detach(KEY, dying, died=True)
    assert other.got == [3, 0, 1, 2]
    assert sorted(owner.again) == [(0, 2), (1, 2), (2, 2)]


def test_a_replica_that_is_stopped_in_order_costs_no_attempt() -> None:
    stopping, other = Replica("stopping"), Replica("other")
    bus, owner = _bus(stopping)
    bus.release(Delivery(1, KEY, b"{}"))
    bus.pause(KEY, stopping)
    bus.attach(KEY, other)
    bus.release(Delivery(2, KEY, b"{}"))
    assert (stopping.got, other.got) == ([1], [2])
    bus.detach(KEY, stopping, died=False)
    assert other.got == [2, 1]
    assert owner.again == []


def test_a_delivery_that_kills_its_workers_is_given_up() -> None:
    bus, owner = _bus()
    bus.release(Delivery(1, KEY, b"{}"))
    for n in range(base.MAX_DEATHS):
        replica = Replica(f"r{n}")
        bus.attach(KEY, replica)
        assert replica.got == [1]
        bus.detach(KEY, replica, died=True)
    assert owner.lost == [1]


def test_cancel_takes_back_only_what_no_replica_has() -> None:
    one = Replica("one", window=1)
    bus, _ = _bus(one)
    bus.release(Delivery(1, KEY, b"{}"))
    bus.release(Delivery(2, KEY, b"{}"))
    assert not bus.cancel(1, KEY)
    assert bus.cancel(2, KEY)
    bus.settle(1, "here")
    assert one.got == [1]


def test_withdrawing_a_group_returns_all_that_was_owed() -> None:
    one = Replica("one", window=1)
    bus, owner = _bus(one)
    bus.release(Delivery(1, KEY, b"{}"))
    bus.release(Delivery(2, KEY, b"{}"))
    assert {delivery.id for delivery in bus.withdraw(KEY)} == {1, 2}
    assert bus.filter_of(KEY) is None
    bus.release(Delivery(3, KEY, b"{}"))
    assert owner.lost == [3], "a group that is gone cannot be owed anything"


def test_a_fast_replica_is_filled_before_the_next_and_slow_ones_share() -> None:
    a, b = Replica("a", window=3), Replica("b", window=3)
    assert choose([a, b], {"a": 0.00001, "b": 0.00001}) is a
    a.outstanding = {1: Delivery(1, KEY, b""), 2: Delivery(2, KEY, b"")}
    assert choose([a, b], {"a": 0.00001, "b": 0.00001}) is a
    assert choose([a, b], {"a": 0.2, "b": 0.2}) is b
    a.outstanding[3] = Delivery(3, KEY, b"")
    assert choose([a, b], {"a": 0.00001}) is b
    b.outstanding = dict(a.outstanding)
    assert choose([a, b], {}) is None


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("release"), st.integers(0, 0)),
            st.tuples(st.just("settle"), st.integers(0, 40)),
            st.tuples(st.just("attach"), st.integers(0, 3)),
            st.tuples(st.just("die"), st.integers(0, 3)),
            st.tuples(st.just("stop"), st.integers(0, 3)),
        ),
        max_size=60,
    )
)
def test_no_order_of_events_loses_or_doubles_a_delivery(steps: list[tuple[str, int]]) -> None:
    bus, owner = _bus()
    replicas = [Replica(f"r{n}", window=2) for n in range(4)]
    attached: set[int] = set()
    released, settled = 0, set()
    for action, n in steps:
        if action == "release":
            bus.release(Delivery(released, KEY, b"{}"))
            released += 1
        elif action == "settle":
            if bus.settle(n, "here") is not None:
                assert n not in settled
                settled.add(n)
        elif action == "attach":
            bus.attach(KEY, replicas[n])
            attached.add(n)
        elif n in attached:
            bus.detach(KEY, replicas[n], died=action == "die")
            attached.discard(n)
        holders = [d for n in attached for d in replicas[n].outstanding]
        assert len(holders) == len(set(holders)), "two replicas hold one delivery"
    owed = {delivery.id for delivery in bus.withdraw(KEY)}
    assert owed | settled | set(owner.lost) == set(range(released))
    assert not owed & settled


_VALUE = st.sampled_from(["a", "b", "c"])
_WANTED = st.one_of(st.just(""), _VALUE, st.lists(_VALUE, min_size=2, max_size=2, unique=True).map(tuple))


@given(
    filters=st.lists(st.tuples(_WANTED, st.lists(_VALUE).map(tuple), _WANTED, _WANTED, _WANTED), max_size=8),
    changed=st.integers(0, 7),
    sent=st.tuples(_VALUE, _VALUE, st.one_of(st.just(""), _VALUE), _VALUE, _VALUE),
)
def test_the_listeners_found_by_tag_are_those_whose_every_wish_fits(
    filters: list[tuple[Any, ...]], changed: int, sent: tuple[str, ...]
) -> None:
    kind, type, tag, job, worker = sent
    message = _message(kind=kind, type=type, tag=tag, job=job, worker=worker)
    made = [Filter(kind=k, types=t, tag=g, job=j, worker=w) for k, t, g, j, w in filters]
    bus = LocalBus(Owner())
    for number, filter in enumerate(made):
        bus.declare(("default", str(number)), Filter(tag="else") if number == changed else filter)
    if changed < len(made):
        bus.declare(("default", str(changed)), made[changed])  # a new version listens to something else

    def fits(wish: Any, value: str) -> bool:
        return not wish or value == wish or (isinstance(wish, tuple) and value in wish)

    expected = {
        ("default", str(number))
        for number, (k, t, g, j, w) in enumerate(filters)
        if fits(k, kind) and (not t or type in t) and fits(g, tag) and fits(j, job) and fits(w, worker)
    }
    assert set(bus.matching(message)) == expected
    for number in range(len(made)):
        bus.withdraw(("default", str(number)))
    assert not list(bus.matching(message))


def test_a_filter_with_lists_is_kept_as_json_and_read_back() -> None:
    filter = Filter(("user", "system"), ("x",), ("a", "b"), ("job",), "j", ("w1", "w2"))
    assert Filter.from_dict(orjson.loads(orjson.dumps(filter.to_dict()))) == filter


def test_the_backlog_is_what_no_replica_has_taken() -> None:
    bus, _ = _bus(Replica("w", window=1))
    assert bus.backlog(KEY) == (0, 0)
    for number in (11, 12, 13):
        bus.release(Delivery(number, KEY, b"{}"))
    assert bus.backlog(KEY) == (2, 12)
    assert bus.backlog(("default", "unknown")) == (0, 0)


@pytest.mark.anyio
async def test_a_request_reaches_one_worker_and_brings_its_reply() -> None:
    bus, _ = _bus()

    async def ask(name: str, arguments: Any) -> Any:
        return [name, arguments]

    bus.reach("w1", ask)
    assert await bus.request("w1", "tail", {"lines": 3}, 1) == ["tail", {"lines": 3}]


@pytest.mark.anyio
async def test_a_request_to_a_worker_that_is_away_silent_or_going_is_unavailable() -> None:
    bus, _ = _bus()

    async def silent(name: str, arguments: Any) -> Any:
        await asyncio.get_running_loop().create_future()

    async def going(name: str, arguments: Any) -> Any:
        raise ChannelClosed()

    with pytest.raises(TargetUnavailable, match="not connected"):
        await bus.request("w1", "report", {}, 1)
    bus.reach("w1", silent)
    with pytest.raises(TargetUnavailable, match="did not answer"):
        await bus.request("w1", "report", {}, 0.01)
    bus.reach("w1", going)
    with pytest.raises(TargetUnavailable, match="went away"):
        await bus.request("w1", "report", {}, 1)
    bus.reach("w1", None)
    with pytest.raises(TargetUnavailable, match="not connected"):
        await bus.request("w1", "report", {}, 1)


def test_what_a_quarantined_job_kept_dying_with_is_given_up_and_the_rest_waits() -> None:
    replica = Replica("w")
    bus, owner = _bus(replica)
    for number in (1, 2):
        bus.release(Delivery(number, KEY, b"{}"))
    for _ in range(3):
        bus.detach(KEY, replica, died=True)
        replica = Replica("w", window=1)
        bus.attach(KEY, replica)
    bus.detach(KEY, replica, died=False)
    bus.release(Delivery(3, KEY, b"{}"))
    bus.exhaust(KEY, 3)
    assert owner.lost == [1]
    assert bus.backlog(KEY)[0] == 2


def test_what_is_owed_no_longer_when_its_replica_dies_goes_to_nobody() -> None:
    replica = Replica("a")
    bus, owner = _bus(replica)
    for id in (1, 2):
        bus.release(Delivery(id, KEY, b"{}"))
    held = bus.held(1)
    assert held is not None and held.consumer is replica and bus.held(3) is None
    owner.ended.add(1)
    bus.detach(KEY, replica, died=True)
    other = Replica("b")
    bus.attach(KEY, other)
    assert (other.got, owner.lost) == ([2], [])
