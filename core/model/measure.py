"""Measures: what is counted and timed, each family under one name with its type and its help.

Names, types and units are those of the Prometheus text format
(https://prometheus.io/docs/instrumenting/exposition_formats/): seconds and bytes, and counters end in `_total`. Plain
numbers, because each run pays for them: a count takes a sixth of what a client library takes.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

if TYPE_CHECKING:
    from core.model.results import engine

SECONDS: tuple[float, ...] = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
"""Upper bounds of how long something takes; the last bucket, which is not named, has no bound."""

MOST_JOBS = 2000
"""Jobs, or replicas of jobs, of a tenant that are named in labels."""
OTHER = "other"
"""The tenant, or the job, of those that are too many to be named, all together."""

Type = Literal["counter", "gauge", "histogram"]


class Histogram:
    """How often a value was at most so large."""

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: Sequence[float] = SECONDS, counts: Sequence[int] = (), sum: float = 0.0) -> None:
        self.bounds = tuple(bounds)
        self.counts = list(counts) or [0] * (len(bounds) + 1)
        """Of each bucket alone."""
        self.sum = sum

    def observe(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value

    def to_dict(self) -> engine.Histogram:
        return {"bounds": list(self.bounds), "counts": list(self.counts), "sum": self.sum}


class Sample(NamedTuple):
    """One value of a family."""

    value: float | Histogram
    labels: Mapping[str, str] = {}


@dataclass(frozen=True, slots=True)
class Family:
    """Samples that differ in their labels."""

    name: str
    """Without the `sluice_` in front."""
    type: Type
    help: str
    samples: Sequence[Sample] = field(default=())

    def to_dict(self) -> engine.Family:
        samples: list[engine.Sample] = [
            {
                "labels": dict(one.labels),
                "value": one.value.to_dict() if isinstance(one.value, Histogram) else one.value,
            }
            for one in self.samples
        ]
        return {"name": self.name, "type": self.type, "help": self.help, "samples": samples}

    @staticmethod
    def from_dict(told: Mapping[str, Any]) -> Family:
        """What `to_dict` made."""
        samples = [
            Sample(Histogram(**value) if isinstance(value := one["value"], dict) else value, one["labels"])
            for one in told["samples"]
        ]
        return Family(told["name"], told["type"], told["help"], samples)


def single(name: str, type: Type, help: str, value: float | Histogram) -> Family:
    """A family of one sample without labels."""
    return Family(name, type, help, [Sample(value)])


def by_label(name: str, type: Type, help: str, label: str, values: Iterable[tuple[str, float | Histogram]]) -> Family:
    """A family whose samples differ in one label."""
    return Family(name, type, help, [Sample(value, {label: key}) for key, value in values])
