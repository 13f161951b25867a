"""Which value a `{{name}}` has: the layers of contexts and their order (docs/jobs.md). Pure.

Highest first: the job's own override, the worker, its group, the environment, the global defaults; the `context:`
block of the document comes last. A layer that has a key gives its whole value: maps are not merged.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from core.documents import canonical

Values = Mapping[str, Any]


class Level(StrEnum):
    """Where a context value is set; from the weakest to the strongest."""

    GLOBAL = "global"
    ENVIRONMENT = "environment"
    GROUP = "group"
    WORKER = "worker"
    JOB = "job"


@dataclass(frozen=True, slots=True)
class Given:
    """One value and the place that gives it; `target` is "" on the global level."""

    value: Any
    level: Level
    target: str
    hides: tuple[Given, ...] = ()  # what weaker places give, the strongest of them first


@dataclass(frozen=True, slots=True)
class Layers:
    """The contexts of one tenant: level -> target -> key -> value."""

    values: Mapping[Level, Mapping[str, Values]] = field(default_factory=dict)

    @staticmethod
    def of(everywhere: Values) -> Layers:
        """Only global values."""
        return Layers({Level.GLOBAL: {"": everywhere}})

    @staticmethod
    def from_rows(rows: Iterable[Mapping[str, Any]]) -> Layers:
        """From rows {level, target, key, value}."""
        values: dict[Level, dict[str, dict[str, Any]]] = {}
        for row in rows:
            values.setdefault(Level(row["level"]), {}).setdefault(row["target"], {})[row["key"]] = row["value"]
        return Layers(values)

    def visible(self, *, job: str = "", worker: str = "", group: str = "", environment: str = "") -> dict[str, Given]:
        """The value of every key that a job in this place sees, with where it comes from."""
        targets = {
            Level.GLOBAL: "",
            Level.ENVIRONMENT: environment,
            Level.GROUP: group,
            Level.WORKER: worker,
            Level.JOB: job,
        }
        out: dict[str, Given] = {}
        for level, target in targets.items():
            if target or level is Level.GLOBAL:
                for key, value in self.values.get(level, {}).get(target, {}).items():
                    weaker = out.get(key)
                    hides = () if weaker is None else (Given(weaker.value, weaker.level, weaker.target), *weaker.hides)
                    out[key] = Given(value, level, target, hides)
        return out

    def resolve(self, *, job: str = "", worker: str = "", group: str = "", environment: str = "") -> dict[str, Any]:
        """Like `visible`, the values alone."""
        found = self.visible(job=job, worker=worker, group=group, environment=environment)
        return {key: given.value for key, given in found.items()}

    def example(self, *, job: str = "") -> dict[str, Any]:
        """A value for every key that a job can see anywhere, for checking its document before its place is known.

        What is global, or the job's own, is as the job will see it.
        """
        out: dict[str, Any] = {}
        for level in (Level.WORKER, Level.GROUP, Level.ENVIRONMENT):
            for values in self.values.get(level, {}).values():
                out.update(values)
        return {**out, **self.resolve(job=job)}

    def has(self, level: Level, target: str) -> bool:
        """Whether anything is set at a place."""
        return bool(self.values.get(level, {}).get(target))


def digest(value: Any) -> str:
    """Names a value without telling it; equal values have equal digests."""
    return canonical.digest(value)[:16]
