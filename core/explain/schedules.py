"""What the schedule of a job has to do with it: paused by whom, firings missed or late, the next. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from core import clock
from core.explain.chain import Call, Cause
from core.model.schedule import Punctuality, Schedule

SHOWN = 2  # schedules of a deployment


@dataclass(frozen=True, slots=True)
class Timing:
    """Where the schedule of a deployed job stands."""

    schedule: Schedule
    punctuality: Punctuality
    following: str = ""  # when it fires next, in its zone; empty: not at all

    @property
    def wrong(self) -> bool:
        """Whether it is why something did not run."""
        return self.punctuality.on_time is not True


def sentence(one: Timing) -> str:
    """Why nothing runs by it, or what did not."""
    schedule = one.schedule
    if not schedule.paused:
        return f"Of the schedule of {schedule.job} {one.punctuality.message}."
    until = f" until {clock.iso(schedule.paused_until_ns)}" if schedule.paused_until_ns else ""
    why = f": {schedule.pause_reason}" if schedule.pause_reason else ""
    since = clock.iso(schedule.paused_at_ns)
    return f"The schedule of {schedule.job} is paused by {schedule.paused_by} since {since}{until}{why}."


def causes(one: Timing) -> list[Cause]:
    """What is to tell of it, also of one that is as it should be."""
    told = [Cause(sentence(one).removesuffix("."), one.punctuality.since_ns)] if one.wrong else []
    if not one.schedule.paused:
        when = f"fires next at {one.following}" if one.following else "does not fire any more"
        told.append(Cause(f"its schedule {when}"))
    return told


def calls(one: Timing) -> list[Call]:
    """What to do about one that is paused, or of which firings were missed or are late."""
    name = {"name": one.schedule.job}
    if one.schedule.paused:
        return [Call("schedule_resume", name, "have it fire by its times again, from now on")]
    if one.wrong:
        return [Call("schedule_get", name, "see what was missed, its last runs and when it fires next")]
    return []


def wrong(timings: Sequence[Timing]) -> list[Timing]:
    """Those that are why something did not run, what is paused last: somebody meant it."""
    return sorted((one for one in timings if one.wrong), key=lambda one: one.schedule.paused)
