"""What an engine has to offer to a deployment: context values, secrets, features; and what of it a deployment uses."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from core.contexts.layers import Given, Layers, Level, digest
from core.guard.openings import Candidate
from core.guard.pathrules import Locator


class Place(NamedTuple):
    """Where a job is, as far as contexts differ by it: empty when nothing is set for its group, or for itself."""

    group: str = ""
    job: str = ""


EVERYWHERE = Place()


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the engine has to offer; None means that nothing is checked."""

    contexts: Layers = field(default_factory=Layers)
    environment: str = ""
    worker: str = ""  # whose own context values are seen
    secrets: frozenset[str] | None = None  # full names, scope/name
    features: frozenset[str] | None = None
    nats: bool = True  # whether the engine knows a NATS server
    groups: frozenset[str] = frozenset()  # worker groups that exist, with workers or without
    files: Callable[[str], Locator] | None = None  # where jobs on the workers of a group may read and write
    candidates: Callable[[str], Sequence[Candidate]] | None = None  # the workers of a group, with what each opens


class Contexts:
    """The context values of one expansion, by place, with a record of those that were used."""

    def __init__(self, around: Surroundings) -> None:
        self._around = around
        self._differ = any(around.contexts.values.get(level) for level in (Level.GROUP, Level.JOB))
        self._seen: dict[Place, tuple[dict[str, Given], dict[str, Any]]] = {}
        self.used: dict[tuple[str, Level, str], str] = {}  # (key, level, target) -> digest of the value

    def place(self, group: str, job: str) -> Place:
        """The place of a job; jobs that see the same values share one."""
        if not self._differ:
            return EVERYWHERE
        layers = self._around.contexts
        return Place(group if layers.has(Level.GROUP, group) else "", job if layers.has(Level.JOB, job) else "")

    def values(self, place: Place) -> Mapping[str, Any]:
        """What a job in this place sees."""
        return self._at(place)[1]

    def note(self, names: Collection[str], context: Mapping[str, Any], place: Place) -> None:
        """Record which context values the placeholders with these names take, of all that `context` offers."""
        seen = self._at(place)[0]
        for key in seen.keys() & names:
            given = seen[key]
            if context.get(key) is given.value:
                self.used[key, given.level, given.target] = digest(given.value)

    def _at(self, place: Place) -> tuple[dict[str, Given], dict[str, Any]]:
        known = self._seen.get(place)
        if known is None:
            around = self._around
            seen = around.contexts.visible(
                job=place.job, worker=around.worker, group=place.group, environment=around.environment
            )
            known = self._seen[place] = (seen, {key: given.value for key, given in seen.items()})
        return known
