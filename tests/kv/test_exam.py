"""The exam that every implementation of the KV store sits: what core.model.kv promises, sentence by sentence."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import pytest

from core import errors
from core.model import kv
from core.model.kv import Change, Depth, Namespace, Op, Verb
from tests import waiting
from tests.kv.stores import IMPLEMENTATIONS, Sitting

pytestmark = pytest.mark.anyio


@pytest.fixture(params=sorted(IMPLEMENTATIONS))
async def sitting(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Sitting]:
    with anyio.fail_after(20):
        async with IMPLEMENTATIONS[request.param](tmp_path) as made:
            yield made


@pytest.fixture
def space(sitting: Sitting) -> Namespace:
    return sitting.namespace()


# ---- values --------------------------------------------------------------------------------------------------------


async def test_what_was_set_is_read_until_it_is_deleted(space: Namespace) -> None:
    assert not (await space.get("a")).done
    written = await space.set("a", '{"n": 1}')
    found = await space.get("a")
    assert (found.done, found.value, found.revision) == (True, '{"n": 1}', written.revision)
    assert (await space.delete("a")).done
    assert not (await space.delete("a")).done
    assert (await space.get("a")) == kv.Result(False)


async def test_a_revision_grows_with_every_write_and_survives_a_delete(space: Namespace) -> None:
    first = (await space.set("a", "1")).revision
    second = (await space.set("b", "1")).revision
    await space.delete("a")
    third = (await space.set("a", "1")).revision
    assert 0 < first < second < third


async def test_only_the_first_sets_what_is_absent(space: Namespace) -> None:
    first = await space.set_if_absent("lock", "me")
    second = await space.set_if_absent("lock", "you")
    assert (first.done, second.done) == (True, False)
    assert second.revision == first.revision
    assert (await space.get("lock")).value == "me"


async def test_of_many_at_once_exactly_one_sets_what_is_absent(space: Namespace) -> None:
    done = await asyncio.gather(*(space.set_if_absent("lock", str(n)) for n in range(50)))
    assert sum(result.done for result in done) == 1


async def test_a_holder_keeps_its_lock_and_another_gets_it_when_its_time_is_over(
    sitting: Sitting, space: Namespace
) -> None:
    assert (await space.acquire("lock", "me", 1000)).done
    sitting.advance(900)
    assert (await space.acquire("lock", "me", 1000)).done
    sitting.advance(900)
    assert not (await space.acquire("lock", "you", 1000)).done
    sitting.advance(100)
    assert (await space.acquire("lock", "you", 1000)).done
    assert not (await space.acquire("lock", "me", 1000)).done


async def test_a_value_is_replaced_only_at_the_expected_revision(space: Namespace) -> None:
    assert (await space.compare_and_set("a", "1", 0)).done
    at = (await space.get("a")).revision
    assert not (await space.compare_and_set("a", "2", 0)).done
    assert (await space.compare_and_set("a", "2", at)).done
    stale = await space.compare_and_set("a", "3", at)
    assert (stale.done, stale.revision) == (False, (await space.get("a")).revision)
    assert (await space.get("a")).value == "2"


async def test_of_many_increments_with_compare_and_set_none_is_lost(space: Namespace) -> None:
    async def add_one() -> None:
        while True:
            found = await space.get("count")
            if (await space.compare_and_set("count", str(int(found.value or 0) + 1), found.revision)).done:
                return

    await asyncio.gather(*(add_one() for _ in range(10)))
    assert (await space.get("count")).value == "10"


async def test_a_value_with_a_ttl_is_there_until_the_millisecond(sitting: Sitting, space: Namespace) -> None:
    await space.set("a", "1", 1000)
    sitting.advance(999)
    assert (await space.get("a")).done
    sitting.advance(1)
    assert not (await space.get("a")).done
    assert (await space.list()).entries == ()
    assert not (await space.delete("a")).done
    assert (await space.set_if_absent("a", "2")).done
    sitting.advance(10_000)
    assert (await space.get("a")).value == "2"


async def test_a_write_without_a_ttl_lifts_the_one_before(sitting: Sitting, space: Namespace) -> None:
    await space.set("a", "1", 1000)
    await space.set("a", "2")
    sitting.advance(2000)
    assert (await space.get("a")).value == "2"


async def test_pruning_takes_away_only_what_is_over(sitting: Sitting, space: Namespace) -> None:
    await space.apply([Op(Verb.SET, f"short-{n}", "x", 1000) for n in range(3000)])
    await space.add("set", "short", 1000)
    await space.add("set", "long")
    await space.set("stays", "x")
    sitting.advance(1000)
    await sitting.prune()
    assert [entry.key for entry in (await space.list()).entries] == ["stays"]
    assert await space.members("set") == ("long",)


# ---- lists ---------------------------------------------------------------------------------------------------------


async def test_a_list_goes_by_key_and_pages_do_not_overlap(space: Namespace) -> None:
    keys = ["a", "b/1", "b/2", "b/é", "b/\U0010ffff", "c"]
    await space.apply([Op(Verb.SET, key, key) for key in reversed(keys)])
    assert [entry.key for entry in (await space.list()).entries] == keys
    first = await space.list("b/", limit=2)
    second = await space.list("b/", after=first.entries[-1].key, limit=2)
    assert [entry.key for entry in first.entries] == ["b/1", "b/2"]
    assert first.more
    assert [entry.value for entry in second.entries] == ["b/é", "b/\U0010ffff"]
    assert not second.more


async def test_a_page_of_large_values_is_bounded_in_bytes(space: Namespace) -> None:
    value = "x" * kv.MAX_VALUE_BYTES
    for n in range(10):
        await space.set(str(n), value)
    page = await space.list()
    assert 0 < len(page.entries) < 10
    assert page.more


# ---- sets ----------------------------------------------------------------------------------------------------------


async def test_a_set_has_each_member_once(space: Namespace) -> None:
    assert (await space.add("s", "b")).done
    assert (await space.add("s", "a")).done
    assert not (await space.add("s", "a")).done
    assert await space.members("s") == ("a", "b")
    assert (await space.remove("s", "a")).done
    assert not (await space.remove("s", "a")).done
    assert await space.members("s") == ("b",)
    assert (await space.delete("s")).done
    assert await space.members("s") == ()


async def test_a_member_with_a_ttl_leaves_the_set_and_adding_it_again_prolongs_it(
    sitting: Sitting, space: Namespace
) -> None:
    await space.add("s", "a", 1000)
    await space.add("s", "b", 1000)
    sitting.advance(500)
    assert not (await space.add("s", "b", 1000)).done
    sitting.advance(500)
    assert await space.members("s") == ("b",)
    assert not (await space.remove("s", "a")).done
    assert (await space.add("s", "a")).done


async def test_a_set_and_a_value_of_the_same_key_do_not_meet(space: Namespace) -> None:
    await space.set("k", "value")
    await space.add("k", "member")
    assert (await space.get("k")).value == "value"
    assert await space.members("k") == ("member",)


# ---- namespaces and batches ----------------------------------------------------------------------------------------


async def test_namespaces_do_not_see_each_other(sitting: Sitting) -> None:
    one, two = sitting.namespace("tenant-a:one"), sitting.namespace("tenant-a:two")
    await one.set("k", "1")
    await one.push("item")
    await one.add("s", "m")
    assert not (await two.get("k")).done
    assert await two.pop_batch() is None
    assert await two.members("s") == ()
    lease = await one.pop_batch()
    assert lease is not None
    assert not (await two.ack(lease.id)).done
    assert (await one.ack(lease.id)).done


async def test_operations_of_one_batch_see_each_other_in_order(space: Namespace) -> None:
    done = await space.apply(
        [
            Op(Verb.SET_IF_ABSENT, "a", "1"),
            Op(Verb.SET_IF_ABSENT, "a", "2"),
            Op(Verb.GET, "a"),
            Op(Verb.DELETE, "a"),
            Op(Verb.GET, "a"),
            Op(Verb.ADD, "s", "m"),
            Op(Verb.MEMBERS, "s"),
        ]
    )
    assert [result.done for result in done] == [True, False, True, True, False, True, True]
    assert done[2].value == "1"
    assert done[6].members == ("m",)


@pytest.mark.parametrize(
    "op",
    [
        Op(Verb.SET, "", "x"),
        Op(Verb.SET, "k" * 513, "x"),
        Op(Verb.SET, "é" * 257, "x"),
        Op(Verb.SET, "k", "x" * (kv.MAX_VALUE_BYTES + 1)),
        Op(Verb.SET, "k", "\ud800"),
        Op(Verb.SET, "k", "x", -1),
        Op(Verb.ADD, "k", "m" * 513),
        Op("no-such-verb", "k"),
    ],
    ids=lambda op: f"{op.verb} {op.key[:3]!r}",
)
async def test_what_is_beyond_the_bounds_is_refused_and_nothing_of_its_batch_is_done(space: Namespace, op: Op) -> None:
    with pytest.raises(errors.InvalidParams) as caught:
        await space.kv.apply(space.name, [Op(Verb.SET, "before", "x"), op])
    assert caught.value.errors[0].pointer == "/ops/1"
    assert not (await space.get("before")).done


async def test_what_is_just_within_the_bounds_is_taken(space: Namespace) -> None:
    key, value = "é" * 256, "x" * kv.MAX_VALUE_BYTES
    assert (await space.set(key, value)).done
    assert (await space.get(key)).value == value


async def test_more_than_one_batch_may_hold_is_done_in_pieces(space: Namespace) -> None:
    done = await space.apply([Op(Verb.SET_IF_ABSENT, str(n % 5000), "x") for n in range(10_000)])
    assert sum(result.done for result in done) == 5000


# ---- queues --------------------------------------------------------------------------------------------------------


async def test_items_come_in_the_order_in_which_they_were_pushed(space: Namespace) -> None:
    await space.push("a", "b", "c")
    first, second = await space.pop_batch(2), await space.pop_batch(2)
    assert first is not None
    assert second is not None
    assert [item.value for item in first.items] == ["a", "b"]
    assert [item.value for item in second.items] == ["c"]
    assert {item.attempt for item in first.items} == {1}
    assert await space.pop_batch() is None


async def test_what_is_acknowledged_never_comes_again(sitting: Sitting, space: Namespace) -> None:
    await space.push("a", "b")
    lease = await space.pop_batch(2, lease_ms=1000)
    assert lease is not None
    acked = await space.ack(lease.id)
    assert (acked.done, acked.affected) == (True, 2)
    assert not (await space.ack(lease.id)).done
    sitting.advance(2000)
    assert await space.pop_batch() is None
    assert await space.depth() == Depth(0, 0, 0)


async def test_a_lease_that_runs_out_gives_its_items_back_before_younger_ones(
    sitting: Sitting, space: Namespace
) -> None:
    await space.push("old")
    lease = await space.pop_batch(lease_ms=1000)
    assert lease is not None
    await space.push("young")
    sitting.advance(999)
    assert await space.depth() == Depth(1, 1, 0)
    sitting.advance(1)
    assert await space.depth() == Depth(2, 0, 0)
    again = await space.pop_batch(2)
    assert again is not None
    assert [(item.value, item.attempt) for item in again.items] == [("old", 2), ("young", 1)]
    assert not (await space.ack(lease.id)).done
    assert (await space.ack(again.id)).affected == 2


async def test_an_acknowledgement_after_the_end_of_the_lease_counts_for_nothing(
    sitting: Sitting, space: Namespace
) -> None:
    await space.push("a")
    lease = await space.pop_batch(lease_ms=1000)
    assert lease is not None
    sitting.advance(1000)
    assert not (await space.ack(lease.id)).done
    assert await space.depth() == Depth(1, 0, 0)


async def test_a_released_lease_gives_its_items_back_at_once(space: Namespace) -> None:
    await space.push("a")
    lease = await space.pop_batch()
    assert lease is not None
    released = await space.release(lease.id)
    assert (released.done, released.affected) == (True, 1)
    again = await space.pop_batch()
    assert again is not None
    assert again.items[0].attempt == 2


async def test_an_item_that_nobody_acknowledges_is_dead_after_so_many_attempts(
    sitting: Sitting, space: Namespace
) -> None:
    await space.push("poison")
    for attempt in (1, 2, 3):
        lease = await space.pop_batch(lease_ms=10, max_attempts=3)
        assert lease is not None
        assert lease.items[0].attempt == attempt
        sitting.advance(10)
    assert await space.depth() == Depth(0, 0, 1)
    assert await space.pop_batch(max_attempts=3) is None
    assert await space.depth() == Depth(0, 0, 1)


async def test_of_many_consumers_each_item_goes_to_one(space: Namespace) -> None:
    await space.push(*map(str, range(200)))
    seen: list[str] = []

    async def consume() -> None:
        while (lease := await space.pop_batch(7)) is not None:
            seen.extend(item.value for item in lease.items)
            await space.ack(lease.id)

    await asyncio.gather(*(consume() for _ in range(8)))
    assert sorted(map(int, seen)) == list(range(200))


async def test_a_pop_that_waits_is_woken_by_a_push(space: Namespace) -> None:
    asked = asyncio.create_task(space.pop_batch(wait_seconds=10))
    await waiting.begun(asked)
    await space.push("a")
    lease = await asked
    assert lease is not None
    assert lease.items[0].value == "a"


async def test_several_pops_that_wait_share_what_is_pushed_at_once(space: Namespace) -> None:
    asked = [asyncio.create_task(space.pop_batch(wait_seconds=10)) for _ in range(5)]
    await waiting.begun(*asked)
    await space.push("a", "b", "c", "d", "e")
    leases = await asyncio.gather(*asked)
    assert sorted(lease.items[0].value for lease in leases if lease is not None) == ["a", "b", "c", "d", "e"]


@pytest.mark.parametrize("ticks", [0, 1, 2, 3, 4, 5, 6, 7, 8, 12, 20])
async def test_what_a_pop_that_was_given_up_got_goes_to_the_next_one(space: Namespace, ticks: int) -> None:
    for n in range(10):
        asked = asyncio.create_task(space.pop_batch(wait_seconds=10))
        await waiting.begun(asked)
        pushed = asyncio.create_task(space.push(str(n)))
        for _ in range(ticks):
            await waiting.turn()  # how many rounds the push is ahead is what is tried
        asked.cancel()
        await asyncio.wait({asked, pushed})
        lease = await space.pop_batch(wait_seconds=5) if asked.cancelled() else asked.result()
        assert lease is not None
        assert [item.value for item in lease.items] == [str(n)]
        await space.ack(lease.id)


async def test_a_pop_ends_without_anything_when_its_time_is_over(space: Namespace) -> None:
    assert await space.pop_batch(wait_seconds=0.02) is None


@pytest.mark.parametrize(("size", "lease_ms", "attempts"), [(0, 1, 1), (1, 0, 1), (1001, 1, 1), (1, 1, 0)])
async def test_a_pop_beyond_the_bounds_is_refused(space: Namespace, size: int, lease_ms: int, attempts: int) -> None:
    with pytest.raises(errors.InvalidParams):
        await space.pop_batch(size, lease_ms, attempts)


async def test_a_batch_of_large_items_is_bounded_in_bytes(space: Namespace) -> None:
    for _ in range(10):
        await space.push("x" * kv.MAX_VALUE_BYTES)
    lease = await space.pop_batch(100)
    assert lease is not None
    assert len(lease.items) == 4


# ---- watches -------------------------------------------------------------------------------------------------------


async def test_a_watch_tells_of_writes_and_deletes_below_its_prefix(space: Namespace) -> None:
    await space.set("c/before", "x")
    watch = await space.watch("c/")
    await space.set("c/a", "1")
    await space.set("d/a", "1")
    await space.set("c/b", "1")
    await space.delete("c/b")
    await space.delete("c/before")
    told = await watch.next(5)
    assert sorted(told.changes) == [Change("c/a", False), Change("c/b", True), Change("c/before", True)]
    assert not told.lagged
    assert (await watch.next(0.01)).changes == ()
    await watch.close()


async def test_a_watch_that_waits_is_woken(space: Namespace) -> None:
    watch = await space.watch()
    asked = asyncio.create_task(watch.next(10))
    await waiting.begun(asked)
    await space.set_if_absent("a", "1")
    assert (await asked).changes == (Change("a", False),)


async def test_a_write_that_changed_nothing_is_not_told(space: Namespace) -> None:
    await space.set("a", "1")
    watch = await space.watch()
    await space.set_if_absent("a", "2")
    await space.compare_and_set("a", "2", 0)
    await space.delete("b")
    assert (await watch.next(0.01)).changes == ()


async def test_a_watch_tells_of_a_value_whose_time_is_over(sitting: Sitting, space: Namespace) -> None:
    await space.set("a", "1", 1000)
    watch = await space.watch()
    sitting.advance(1000)
    await sitting.prune()
    assert (await watch.next(5)).changes == (Change("a", True),)


async def test_a_watch_that_lags_too_far_says_so(space: Namespace) -> None:
    watch = await space.watch()
    await space.apply([Op(Verb.SET, str(n), "x") for n in range(kv.MAX_WATCHED + 1)])
    told = await watch.next(5)
    while not told.lagged:
        told = await watch.next(5)
    assert told.lagged
