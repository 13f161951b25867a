"""The way of a batch through the actions of one job: leg by leg, in bounded time and memory whatever they make of it.

The actions are cut into legs: functions over some events, and actions that wait between them. What a leg leaves goes
through the later ones before the leg goes on, so of a fan-out no more waits than what one slice or one event has made,
at each leg; and the clock is looked at between events, so that a slice ends soon after its time is over.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count, islice
from operator import length_hint

from core import clock
from core.dsl.component import Event, Run
from core.dsl.language.action import LARGEST_PART, Settled, Waiter
from core.errors import JobFailed

STRIDE = 256  # events of a leg between two looks at the clock
MOST_WAITING = 2_000_000  # events of one batch that wait for later legs

Numbers = Iterable[int]
Pass = Callable[[Iterable[Event], Run, Numbers], tuple[list[Event], Numbers]]
Holds = Callable[[list[Event], Run, Numbers], list[bool]]
Tell = Callable[[Settled], None]


@dataclass(frozen=True, slots=True)
class Leg:
    """Actions that are done to one event after the other, in one function.

    `through(events, run, numbers)` returns the events that are left and their numbers (the place of each in the run,
    from 1). It uses up `events`, and as many of `numbers`.
    """

    through: Pass
    slow: bool = True  # one event may take long: the clock is looked at after each


@dataclass(frozen=True, slots=True)
class Wait:
    """One action that waits, and the test for which events it is done (None: for all)."""

    waiter: Waiter
    holds: Holds | None
    acting: tuple[str, str] = ("", "")
    """Its pointer in the document, and its name."""
    most: int = LARGEST_PART
    """Events that it is given at once."""


Legs = Sequence[Leg | Wait]


def waits(legs: Legs) -> bool:
    """Whether there is an action that waits."""
    return any(isinstance(leg, Wait) for leg in legs)


def quick(legs: Legs) -> Sequence[Leg] | None:
    """The legs if a few events are through in no time: nothing waits, none may take long, and none becomes many."""
    found = [leg for leg in legs if isinstance(leg, Leg) and not leg.slow]
    return found if len(found) == len(legs) else None


def at_once(legs: Sequence[Leg], events: list[Event], run: Run) -> list[Event]:
    """What quick legs leave of at most STRIDE events of a run that has had none yet."""
    run.events_in = len(events)
    numbers: Numbers = iter(range(1, len(events) + 1))
    for leg in legs:
        events, kept = leg.through(events, run, numbers)
        numbers = iter(kept)
    return events


async def whole(legs: Legs, event: Event, run: Run, on_settled: Tell) -> list[Event]:
    """What the legs leave of one event. Raises what an action raises."""
    passage = Passage(legs, [event], run)
    out: list[Event] = []
    while True:
        out += passage.work(clock.monotonic())
        if passage.done:
            return out
        if passage.due is not None:
            await passage.wait(on_settled)


async def close(legs: Legs) -> None:
    """Let every waiting action finish what it has begun. Safe to call twice."""
    for leg in legs:
        if isinstance(leg, Wait):
            await leg.waiter.close()


class Passage:
    """One batch on its way. The order of its events is kept, and every event keeps its number.

    Call `work` until `done`, and `wait` whenever `due`. `run.events_in` grows with what has been begun.
    """

    __slots__ = ("_gathered", "_legs", "_out", "_run", "_under_way", "due")

    def __init__(self, legs: Legs, events: list[Event], run: Run) -> None:
        """`run` says which document the events are from; a leg hears that one begins before it gets any event."""
        self._legs = legs
        self._run = run
        self._out: list[Event] = []
        self._under_way: list[tuple[int, Iterator[Event], Iterator[int]]] = []  # the deepest leg last
        self._gathered = {at: _Gathered([], [], leg.most) for at, leg in enumerate(legs) if type(leg) is Wait}
        if run.begins:
            for leg in legs:
                if isinstance(leg, Leg):
                    leg.through((), run, ())
            run.begins = False
        if not legs:
            run.events_in += len(events)
        self._put(0, events, count(run.events_in + 1))
        self.due: int | None = None  # the leg at which an action has to wait
        self._choose_due()

    @property
    def done(self) -> bool:
        return not self._under_way and self.due is None

    def work(self, until: float) -> list[Event]:
        """Go on until an action has to wait, nothing is left, or it is `until` (monotonic); what the output gets.

        At least one event goes through a leg. Raises JobAborted when an action says so, and JobFailed for a fan-out
        beyond all measure.
        """
        while self._under_way and self.due is None:
            self._step(until)
            if clock.monotonic() >= until:
                break
        out, self._out = self._out, []
        return out

    def _step(self, until: float) -> None:
        at, events, numbers = self._under_way[-1]
        leg, before = self._legs[at], length_hint(events)
        assert isinstance(leg, Leg)
        chunk = _looking(events, until) if leg.slow else events if before <= STRIDE else islice(events, STRIDE)
        try:
            left, kept = leg.through(chunk, self._run, numbers)
        finally:
            if at == 0:
                self._run.events_in += before - length_hint(events)
        if not length_hint(events):
            self._under_way.pop()
        if left:
            self._put(at + 1, left, iter(kept))
        if self._gathered:
            self._choose_due()

    def _put(self, at: int, events: list[Event], numbers: Iterator[int]) -> None:
        """These events have come as far as the leg `at`."""
        if at == len(self._legs):
            if self._out:
                self._out += events
            else:
                self._out = events
        elif at in self._gathered:
            gathered = self._gathered[at]
            gathered.events += events
            gathered.numbers += islice(numbers, len(events))
            if at == 0:
                self._run.events_in += len(events)
        elif events:
            self._under_way.append((at, iter(events), numbers))
        if len(events) > STRIDE and self._waiting() > MOST_WAITING:
            raise JobFailed(f"one batch has become more than {MOST_WAITING} events that wait for later actions")

    def _waiting(self) -> int:
        return sum(length_hint(events) for _, events, _ in self._under_way) + sum(map(len, self._gathered.values()))

    def _choose_due(self) -> None:
        """Whether an action that waits has enough to be worth its while, or all that there will be."""
        deepest = self._under_way[-1][0] if self._under_way else -1
        full = [at for at, found in self._gathered.items() if len(found) >= found.most and at > deepest]
        if full:
            self.due = full[-1]
        elif not self._under_way:
            self.due = next((at for at, found in self._gathered.items() if len(found)), None)

    async def wait(self, on_settled: Tell) -> None:
        """Do the action that is due. What it raises ends the run."""
        at = self.due
        assert at is not None
        leg = self._legs[at]
        assert isinstance(leg, Wait)
        events, numbers = self._gathered[at].take()
        self.due = None
        left, kept = await _wait(leg, events, self._run, numbers, on_settled)
        self._put(at + 1, left, iter(kept))
        self._choose_due()


@dataclass(slots=True)
class _Gathered:
    """Events that an action which waits has not been given yet."""

    events: list[Event]
    numbers: list[int]
    most: int  # that it is given at once

    def __len__(self) -> int:
        return len(self.events)

    def take(self) -> tuple[list[Event], list[int]]:
        taken = self.events[: self.most], self.numbers[: self.most]
        del self.events[: self.most], self.numbers[: self.most]
        return taken


def _looking(events: Iterator[Event], until: float) -> Iterator[Event]:
    """The next events, the first one at least, until the time is over."""
    now = clock.monotonic
    for event in events:
        yield event
        if now() >= until:
            return


async def _wait(
    part: Wait, events: list[Event], run: Run, numbers: list[int], on_settled: Tell
) -> tuple[list[Event], Numbers]:
    run.acting = part.acting
    if part.holds is None:
        done = await part.waiter.work(events, run, on_settled)
    else:
        holds = part.holds(events, run, numbers)
        chosen = [event for event, held in zip(events, holds, strict=True) if held]
        answers = iter(await part.waiter.work(chosen, run, on_settled) if chosen else ())
        done = [next(answers) if held else event for event, held in zip(events, holds, strict=True)]
    kept = [(event, number) for event, number in zip(done, numbers, strict=True) if event is not None]
    return [event for event, _ in kept], [number for _, number in kept]
