"""What is decided about streams without a server: names, where readers begin, what may be deleted, what fits."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from core.dsl.connections import streams
from core.dsl.connections.streams import Consumer, Extent
from core.dsl.outputs import jetstream
from tests import cases

HUNDRED = Extent(first=1, messages=100, size=10_000)


@given(st.lists(st.text("ab.+%~_-*> ", min_size=1, max_size=6), min_size=2, max_size=8, unique=True))
def test_different_names_stay_different_and_mean_nothing_to_the_server(names: list[str]) -> None:
    made = [streams.plain(name) for name in names]
    assert len(set(made)) == len(names)
    assert not set("".join(made)) & set(".+*> ~/\\")


def test_every_replay_of_a_job_has_a_consumer_of_its_own_that_is_known_as_the_jobs() -> None:
    names = {streams.consumer_name("demo--x.1", replay) for replay in ("", "now", "beginning", "beginning again")}
    assert len(names) == 4
    known = [Consumer(name, 7 + at) for at, name in enumerate(sorted(names))]
    assert streams.floor_of("demo--x.1", known) == 7
    assert streams.floor_of("demo--x", known) is None


@cases.table(
    ("since", "floor", "start"),
    [
        (1, None, 1),  # a new reader, from the beginning
        (None, None, None),  # a new reader, from now
        (40, None, 40),
        (40, 20, 21),  # what was not read before the point is read as well
        (40, 70, 40),  # what was read after the point is read once more
        (None, 20, 21),  # now, or no replay at all: it goes on
        (0, 0, 1),
    ],
)
def test_a_replay_passes_over_nothing_that_was_not_read(
    since: int | None, floor: int | None, start: int | None
) -> None:
    assert streams.start_of(since, floor) == start


@cases.table(
    ("floors", "since", "max_bytes", "to"),
    [
        ([100], 60, None, 60),  # all that is too old
        ([30, 100], 60, None, 31),  # and was read by everyone
        ([None, 100], 60, None, None),
        ([], 60, None, None),
        ([100], None, 4_000, 61),  # the oldest, until the rest fits
        ([10], None, 4_000, 11),
        ([100], None, 10_000, None),
        ([100], 20, 4_000, 61),
        ([100], 101, None, 101),
        ([0], 101, 1, None),
    ],
)
def test_only_what_every_reader_has_read_is_deleted(
    floors: list[int | None], since: int | None, max_bytes: int | None, to: int | None
) -> None:
    assert streams.purge_to(HUNDRED, floors, since, max_bytes) == to


def test_nothing_is_deleted_of_an_empty_stream() -> None:
    assert streams.purge_to(Extent(first=101, messages=0, size=0), [100], 101, 1) is None


@given(st.lists(st.binary(max_size=20), max_size=30), st.integers(20, 60))
def test_messages_hold_all_events_in_order_and_none_is_too_large(datas: list[bytes], most: int) -> None:
    datas = [data.replace(b"\n", b" ") or b"." for data in datas]
    made = list(jetstream.messages(datas, most))
    assert [line for message in made for line in message.split(b"\n")] == datas
    assert all(len(message) <= most for message in made)
    assert all(len(one) + 1 + len(other.split(b"\n")[0]) > most for one, other in itertools.pairwise(made))
