"""Where a job document answers the triggers that start it: which response slots it names. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from core.dsl.language import templates
from core.model.trigger import RESPONSE


@dataclass(frozen=True, slots=True)
class Answering:
    """What a document says about answers. Content that a script makes cannot be read, and counts as an answer."""

    slots: frozenset[str] = frozenset()  # that it names
    any: bool = False  # it answers in whatever slot the message names, or in one that cannot be read off it

    def fits(self, slot: str) -> bool:
        return self.any or slot in self.slots

    @property
    def never(self) -> bool:
        return not self.any and not self.slots


def of(document: Mapping[str, Any]) -> Answering:
    """How a staged job document answers: by `respond`, as output or as emit, or by envelopes of its own."""
    output, emits = document.get("output"), document.get("emit")
    if any(isinstance(emit, Mapping) and "respond" in emit for emit in (emits if isinstance(emits, list) else [emits])):
        return Answering(any=True)
    if output == "respond" or (isinstance(output, Mapping) and "respond" in output):
        return Answering(any=True)
    found = list(_envelopes(document))
    slots = frozenset(slot for slot in found if slot is not None)
    written = orjson.dumps(document).count(RESPONSE.encode())
    return Answering(slots, any=None in found or (written > 0 and not found))


def _envelopes(value: Any) -> Iterator[str | None]:
    """The slot of each trigger_response that is written out; None for one that is filled in when the job runs."""
    if isinstance(value, Mapping):
        if value.get("type") == RESPONSE:
            slot = value.get("response_slot")
            yield slot if isinstance(slot, str) and templates.parse(slot) == [slot] else None
            return
        value = list(value.values())
    for inner in value if isinstance(value, list) else ():
        yield from _envelopes(inner)
