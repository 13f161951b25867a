"""The way of a batch through the legs of a job, beside the plain meaning of it: every leg over all events at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.dsl.component import Event, Run
from core.dsl.language import course
from core.dsl.language.course import Leg, Numbers, Passage, Wait
from core.errors import JobFailed
from tests import waiting

pytestmark = pytest.mark.anyio


class Clock:
    """A clock that a leg moves on."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(course, "clock", made)
    return made


def leg(each: Callable[[int], list[int]], slow: bool = True) -> Leg:
    """A leg over events `{"n": …}`."""

    def through(events: Iterable[Event], run: Run, numbers: Numbers) -> tuple[list[Event], Numbers]:
        out, left = [], []
        for event, number in zip(events, numbers, strict=False):
            for n in each(event["n"]):
                out.append({"n": n, "from": event.get("from", number)})
                left.append(number)
        return out, left

    return Leg(through, slow)


class Waiter:
    """Lets every third event go, and remembers what it was given at once."""

    def __init__(self) -> None:
        self.given: list[int] = []

    async def work(self, events: list[Event], run: Run, on_settled: Any) -> list[Event | None]:
        self.given.append(len(events))
        await waiting.turn()  # work that waits gives the loop away, also when its answer is there
        return [event if event["n"] % 3 else None for event in events]

    async def close(self) -> None:
        pass


def events(*numbers: int) -> list[Event]:
    return [{"n": n} for n in numbers]


async def walk(passage: Passage, until: float = 0.0) -> list[Event]:
    out = passage.work(until)
    while not passage.done:
        if passage.due is not None:
            await passage.wait(lambda told: None)
        out += passage.work(until)
    return out


def test_a_slice_ends_after_the_first_event_that_takes_it_up_wherever_it_is(clock: Clock) -> None:
    def spin(n: int) -> list[int]:
        clock.now += 1.0
        return [n]

    passage = Passage((leg(lambda n: list(range(1000))), leg(spin)), events(0), Run())
    sizes = []
    while not passage.done:
        started = clock.now
        sizes.append(len(passage.work(started + 2.0)))
        assert clock.now - started <= 2.0
    assert sum(sizes) == 1000


def test_a_slice_of_cheap_actions_ends_within_a_stride(clock: Clock) -> None:
    def spin(n: int) -> list[int]:
        clock.now += 1.0
        return [n]

    passage = Passage((leg(spin, slow=False),), events(*range(1000)), Run())
    while not passage.done:
        assert len(passage.work(clock.now + 1.0)) <= course.STRIDE


def test_one_event_through_many_actions_ends_a_slice_between_two_of_them(clock: Clock) -> None:
    def spin(n: int) -> list[int]:
        clock.now += 1.0
        return [n]

    passage, slices = Passage((leg(spin),) * 300, events(1), Run()), 0
    while not passage.done:
        passage.work(clock.now + 1.0)
        slices += 1
    assert slices == 300


def test_of_a_fan_out_of_fan_outs_little_waits(clock: Clock) -> None:
    """A million events pass, of which no more than a few hundreds are there at the same time."""
    fan = leg(lambda n: list(range(100)))
    passage, out, most = Passage((fan, fan, fan), events(0), Run()), 0, 0
    while not passage.done:
        clock.now += 1.0
        out += len(passage.work(clock.now))
        most = max(most, passage._waiting())
    assert out == 1_000_000
    assert most <= 300


def test_a_fan_out_beyond_all_measure_fails_the_run(monkeypatch: pytest.MonkeyPatch, clock: Clock) -> None:
    monkeypatch.setattr(course, "MOST_WAITING", 250)
    monkeypatch.setattr(course, "STRIDE", 64)
    passage = Passage((leg(lambda n: list(range(100))),) * 5, events(0), Run())
    with pytest.raises(JobFailed, match="more than 250 events"):
        while not passage.done:
            passage.work(0.0)


@given(
    st.lists(st.tuples(st.sampled_from(["fan", "drop", "pass", "wait"]), st.booleans()), max_size=6),
    st.integers(0, 150),
    st.sampled_from([0.0, 1e12]),
)
async def test_what_comes_out_is_what_every_action_over_all_events_would_leave(
    kinds: list[tuple[str, bool]], count: int, until: float
) -> None:
    eachs: dict[str, Callable[[int], list[int]]] = {
        "fan": lambda n: [n, n + 1, n + 2],
        "drop": lambda n: [] if n % 4 == 1 else [n],
        "pass": lambda n: [n],
        "wait": lambda n: [n] if n % 3 else [],
    }
    waiters = [Waiter() for _ in kinds]
    legs = [
        Wait(waiter, None) if kind == "wait" else leg(eachs[kind], slow)
        for (kind, slow), waiter in zip(kinds, waiters, strict=True)
    ]
    run = Run(events_in=10)
    passed = await walk(Passage(legs, events(*range(count)), run), until)
    wanted = [(n, n + 11) for n in range(count)]
    for kind, _ in kinds:
        wanted = [(after, number) for n, number in wanted for after in eachs[kind](n)]
    assert [event["n"] for event in passed] == [n for n, _ in wanted]
    if any(kind != "wait" for kind, _ in kinds):
        assert [event["from"] for event in passed] == [number for _, number in wanted], "an event keeps its number"
    assert run.events_in == 10 + count


async def test_an_action_that_waits_gets_a_batch_at_once_and_a_fan_out_in_bounded_parts() -> None:
    few, many = Waiter(), Waiter()
    await walk(Passage((leg(lambda n: [n]), Wait(few, None)), events(*range(500)), Run()))
    assert few.given == [500]
    await walk(Passage((leg(lambda n: list(range(100))), Wait(many, None)), events(*range(100)), Run()))
    assert sum(many.given) == 10_000
    assert max(many.given) <= course.LARGEST_PART


def test_every_leg_hears_once_that_a_document_begins() -> None:
    heard: list[tuple[str, bool]] = []

    def noted(name: str) -> Leg:
        def through(events: Iterable[Event], run: Run, numbers: Numbers) -> tuple[list[Event], Numbers]:
            heard.append((name, run.begins))
            return list(events), numbers

        return Leg(through)

    passage = Passage((noted("first"), noted("second")), events(*range(3)), Run(begins=True))
    while not passage.done:
        passage.work(0.0)
    assert [name for name, begins in heard if begins] == ["first", "second"]
    assert heard[:2] == [("first", True), ("second", True)]
