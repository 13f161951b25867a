"""The runs of one instance of a job that are under way, and which of them take so long that the engine is told."""

from __future__ import annotations

from dataclasses import dataclass

from core import clock

LONG_NS = clock.NANOSECONDS  # what takes longer is told before its end


@dataclass(slots=True)
class Begun:
    """A run that has begun."""

    run: str
    trigger: str
    started_ns: int
    delivery: int = 0
    cause: str = ""
    scheduled_ns: int = 0
    order: int = 0
    told: bool = False


class UnderWay:
    """By id; a run that is over before it was told is told of with its end alone."""

    def __init__(self) -> None:
        self._begun: dict[str, Begun] = {}

    def begin(self, begun: Begun) -> None:
        self._begun[begun.run] = begun

    def end(self, run: str) -> bool:
        """It is over; whether the engine knows of it."""
        begun = self._begun.pop(run, None)
        return begun is not None and begun.told

    def long_ones(self, now_ns: int) -> list[Begun]:
        """Those that are long by now and were not told: they count as told."""
        found = [one for one in self._begun.values() if not one.told and now_ns - one.started_ns >= LONG_NS]
        for one in found:
            one.told = True
        return found
