"""Whether the input and the output of a workload reach what they connect to, for as long as its worker is to run it."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from core import clock
from core.dsl.component import Component
from core.model import frames

MOST_RAW = 8192  # characters of a reason before secrets are taken out: half of one would not be found


@dataclass(slots=True)
class Contact:
    """Of one component (core.dsl.component.Contact)."""

    component: str
    target: str
    failing: bool = False
    outage: frames.TargetOutage | None = None  # that lasts, or the last one; a new value with each try

    def failed(self, reason: str) -> None:
        known = self.outage if self.failing else None
        since_ns, tries = (clock.now_ns(), 0) if known is None else (known.since_ns, known.tries)
        self.failing = True
        self.outage = frames.TargetOutage(self.component, self.target, since_ns, tries + 1, reason[:MOST_RAW])

    def reached(self) -> None:
        self.failing = False
        if self.outage is not None:
            self.outage = msgspec.structs.replace(self.outage, ended_ns=clock.now_ns())


class Contacts:
    """Those of one workload, over restarts of its job after failures: an outage ends when its target is reached."""

    def __init__(self) -> None:
        self._of: dict[str, Contact] = {}

    def of(self, component: Component) -> Contact:
        """The one of a component, which stays the same for its kind."""
        known = self._of.get(component.kind)
        if known is None:
            known = self._of[component.kind] = Contact(component.name, component.connects_to)
        return known

    def outage(self, kind: str) -> frames.TargetOutage | None:
        """What is told of the component of a kind; None when it has never failed to reach its target."""
        known = self._of.get(kind)
        return None if known is None else known.outage
