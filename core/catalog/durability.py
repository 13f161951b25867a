"""How the hops of a graph keep what moves along them: in memory, or where a restart finds it. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from core.catalog.items import Entry, Model
from core.catalog.wiring import Lookup
from core.model.catalog import Blueprint, Graph, Step, Transport

DURABLE = "durable"
"""The tag of a graph with a durable hop. It follows from the transports; nobody types it."""
_IN_MEMORY = Transport.WORKER_CHANNEL
_DEPTH = 8  # modules inside modules


@dataclass(frozen=True, slots=True)
class Hops:
    """How many channels keep events on a disk or in a stream, and how many only in memory."""

    durable: int = 0
    in_memory: int = 0

    def __add__(self, other: Hops) -> Hops:
        return Hops(self.durable + other.durable, self.in_memory + other.in_memory)

    def __str__(self) -> str:
        return f"{self.durable} durable, {self.in_memory} in memory"


def counter(lookup: Lookup) -> Callable[[Model], Hops]:
    """Counts the channels of a document with those of its modules; each module is opened once."""
    known: dict[str, Hops] = {}

    def count(model: Model, depth: int = 0) -> Hops:
        if isinstance(model, Blueprint):
            return Hops(in_memory=len({str(end["channel"]) for end in _ends(model) if "channel" in end}))
        if not isinstance(model, Graph):
            return Hops()
        names = set(model.channels) | {name for step in model.steps for name in _channels(step)}
        kept = sum(1 for name in names if name in model.channels and model.channels[name].transport is not _IN_MEMORY)
        found = Hops(kept, len(names) - kept)
        for step in model.steps:
            if step.use and depth < _DEPTH:
                if step.use not in known:
                    module = lookup(step.use)
                    known[step.use] = Hops() if module is None else count(module, depth + 1)
                found += known[step.use]
        return found

    return count


def tagged(one: Entry, hops: Hops) -> Entry:
    """The item with its hops, and the tag `durable` set by them, whatever its author typed."""
    if not isinstance(one.model, Graph):
        return replace(one, hops=str(hops)) if hops != Hops() else one
    typed = [tag for tag in one.tags if tag.casefold() != DURABLE]
    return replace(one, hops=str(hops), tags=(*typed, *([DURABLE] if hops.durable else [])))


def _channels(step: Step) -> set[str]:
    """The channels that a step is bound to."""
    bindings = [
        binding for end in (step.in_, step.out) for binding in ([end] if isinstance(end, str) else (end or {}).values())
    ]
    return {name for kind, _, name in (binding.partition(":") for binding in bindings) if kind == "channel"}


def _ends(blueprint: Blueprint) -> list[dict[str, object]]:
    """The inputs and outputs of the jobs of a blueprint."""
    return [end for job in blueprint.jobs for end in (job.get("input"), job.get("output")) if isinstance(end, dict)]
