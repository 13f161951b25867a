"""Which firings of a timer lie in a stretch of time, and what is made up for of those that were missed. Pure."""

from __future__ import annotations

import itertools
from typing import NamedTuple

from core import clock
from core.dsl.language.timers import Interval, Timer
from core.model.schedule import MOST_CAUGHT_UP

START_NS = 5 * clock.NANOSECONDS  # within which a job that is deployed, or whose engine is restarted, runs
MOST_COUNTED = 1000  # firings that were missed or skipped; of more it is known that there are at least so many


class Missed(NamedTuple):
    """What came due while nobody was there; times in ns since the epoch."""

    left_out: int = 0
    """How many; the oldest ones; the times of the first and the last of them follow."""
    first_ns: int = 0
    last_ns: int = 0
    owed: tuple[int, ...] = ()
    """The times of those that are made up for, the oldest first."""


def upcoming(timer: Timer, after_ns: int, count: int, seed: str, origin_ns: int = 0) -> list[int]:
    """The next firings after a time; an interval counts from `origin_ns`, if one is given."""
    return list(itertools.islice(timer.planned(after_ns, seed, origin_ns or None), count))


def within(timer: Timer, from_ns: int, to_ns: int, most: int, seed: str) -> list[int]:
    """The firings from one time, inclusive, to another one, exclusive; one more than `most` when there are more.

    An interval counts from the beginning.
    """
    before = itertools.takewhile(lambda at: at < to_ns, timer.planned(from_ns - 1, seed, from_ns))
    return list(itertools.islice(before, most + 1))


def between(timer: Timer, after_ns: int, before_ns: int, most: int, seed: str) -> list[int]:
    """The firings after one time and before another one, the first of them, ascending; an interval counts from the
    first time."""
    found = itertools.takewhile(lambda at: at < before_ns, timer.planned(after_ns, seed, after_ns))
    return list(itertools.islice(found, most))


def newest(timer: Timer, after_ns: int, until_ns: int, most: int, seed: str) -> list[int]:
    """The newest firings after one time and up to another one, at most so many, ascending.

    Looks back in steps that double, so that it does not pass through all that came due in a year.
    """
    back = clock.NANOSECONDS
    while True:
        begin = max(after_ns, until_ns - back)
        times = list(itertools.takewhile(lambda at: at <= until_ns, timer.planned(begin, seed, after_ns)))
        if begin == after_ns or len(times) >= most:
            return times[-most:]
        back *= 2


def missed(timer: Timer, since_ns: int, now_ns: int, seed: str) -> Missed:
    """What came due after `since_ns`, up to now, and did not run.

    Windows that follow each other are each taken, so that nothing of them is missed. An interval that fires at its
    start makes up for the last one by that; where it makes up for no other, what came due while a job was deployed
    or moved is none of its times.
    """
    if timer.sequenced or since_ns >= now_ns:
        return Missed()
    policy = timer.missed
    begins_at_once = isinstance(timer, Interval) and timer.immediate
    if begins_at_once and policy != "all":
        if now_ns - since_ns < START_NS:
            return Missed()
        policy = "skip"
    times = newest(timer, since_ns, now_ns, MOST_COUNTED, seed)
    return _decided(times[:-1] if begins_at_once else times, now_ns, policy, timer.catch_up)


def paused(timer: Timer, since_ns: int, now_ns: int, policy: str, seed: str) -> Missed:
    """What came due during a pause, and what of it is made up for when it ends, however long it was."""
    return _decided(newest(timer, since_ns, now_ns, MOST_COUNTED, seed), now_ns, policy, float("inf"))


def _decided(times: list[int], now_ns: int, policy: str, catch_up: float) -> Missed:
    recent = [at for at in times if now_ns - at <= catch_up * clock.NANOSECONDS]
    most = {"last": 1, "all": MOST_CAUGHT_UP}.get(policy, 0)
    owed = recent[-most:] if most else []
    left_out = times[: len(times) - len(owed)]
    if not left_out:
        return Missed(owed=tuple(owed))
    return Missed(len(left_out), left_out[0], left_out[-1], tuple(owed))
