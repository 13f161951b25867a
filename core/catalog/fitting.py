"""What may fill an open step: modules whose ports fit its bindings, those first that fit its purpose. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from core.catalog import items
from core.catalog.items import Entry, Listed
from core.catalog.ranking import Ranking
from core.model.catalog import Blueprint, Ports, Slot, Step, Workflow

MOST = 3
_NAMED = re.compile(r"([a-z0-9][a-z0-9_-]*)@[0-9A-Za-z.+-]+")
_FORM = re.compile(r"\b(?:blueprint|workflow|module|port|side|one|e\.g\.)s?\b", re.IGNORECASE)
"""Words of a hint that speak of the form of a module and not of its purpose."""


def modules(step: Step, listed: Sequence[Listed], most: int = MOST) -> list[str]:
    """References of the modules that fit an open step, best first; at most `most` of them.

    What the hint of the slot names comes first, then what fits the words of the hint; of the id, when none does.
    """
    slot = step.slot or Slot()
    able = [one for one in listed if isinstance(one, Entry) and one.type.value == slot.accepts and _binds(step, one)]
    ranking = Ranking(able)
    hint = _FORM.sub(" ", _NAMED.sub(" ", slot.hint))
    purposes = (hint, step.description, re.sub("[-_]+", " ", step.id))
    scores = next(filter(None, map(ranking.weigh, purposes)), {})
    named = _NAMED.findall(slot.hint)
    order = sorted(range(len(able)), key=lambda place: (able[place].slug not in named, -scores.get(place, 0.0), place))
    return [able[place].ref for place in order[:most]]


def hint(step: Step, listed: Sequence[Listed]) -> str:
    """What to do about an open step, in words."""
    said = step.slot.hint if step.slot else ""
    found = modules(step, listed)
    if not found:
        return said or "Give it a `use`, e.g. blueprint:echo-source@1.0.0."
    known = {one.ref: one for one in listed if isinstance(one, Entry)}
    fit = ", ".join(f"{ref}{_needs(known[ref])}" for ref in found)
    return f"{said} Give it a `use`; by its ports fit: {fit}.".strip()


def _needs(one: Entry) -> str:
    """The parameters that a module must be given, for `with`."""
    needed = [question["field"] for question in items.wizard(one) if items.must(question)]
    return f" (with {', '.join(needed)})" if needed else ""


def _binds(step: Step, one: Entry) -> bool:
    """Whether the ports of a module are those that a step binds."""
    if not isinstance(one.model, Blueprint | Workflow):
        return False
    ports: Ports = one.model.ports
    outs = len(ports.out) == 1 if step.dispatch is not None else _fits(step.out, ports.out)
    return _fits(step.in_, ports.in_) and outs


def _fits(bound: str | Mapping[str, str] | None, ports: tuple[str, ...]) -> bool:
    if isinstance(bound, str):
        return len(ports) == 1
    return set(bound or ()) == set(ports)
