"""Several events out of one: copies that share nothing which a later action could change."""

from __future__ import annotations

from collections.abc import Callable

import orjson

from core.dsl.component import Event
from core.dsl.events import values
from core.dsl.language.action import EventFault

MAX_EVENTS = 1_000_000  # out of one event
MAX_BYTES = 256 * 1024 * 1024  # that the copies of nested values may take


def copier(event: Event, count: int) -> Callable[[], Event]:
    """A function that makes one of `count` independent copies of the event.

    Raises EventFault when they would be too many or too large.
    """
    if count > MAX_EVENTS:
        raise EventFault(f"this would become {count} events; at most {MAX_EVENTS} are allowed")
    nested = {key: value for key, value in event.items() if type(value) is dict or type(value) is list}
    if not nested:  # texts and numbers cannot be changed in place
        return event.copy
    kept = values.to_json(nested)
    if len(kept) * count > MAX_BYTES:
        raise EventFault(f"{count} copies of this event would take more than {MAX_BYTES} bytes")

    def copy() -> Event:
        made = event.copy()
        made.update(orjson.loads(kept))
        return made

    return copy
