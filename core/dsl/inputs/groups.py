"""The `batch` block of inputs: events that came together are marked as one group."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any, Self

from pydantic import model_validator

from core import clock
from core.dsl.component import Batch, Config, Env, Event, Run
from core.dsl.events import select
from core.dsl.events.select import Selector


class Group(Config):
    """Which fields tell to what group an event belongs. A group is one object, one response or one run of a command."""

    uuid_field: Selector | None = None
    """Put the id of the group here, the same for all its events."""
    invocation_time_field: Selector | None = None
    """Put the time here at which the group was begun."""
    line_num_field: Selector | None = None
    """Put the number of the event in its group here, from 1."""
    line_count_field: Selector | None = None
    """Put the number of events of the group here; only the last event has it, because the events before it are on
    their way when it becomes known."""
    begin_marker_field: Selector | None = None
    """Put true here in the first event of the group."""
    end_marker_field: Selector | None = None
    """Put true here in the last event of the group."""

    @model_validator(mode="after")
    def _marks_something(self) -> Self:
        if not self.model_fields_set:
            raise ValueError("batch of an input names at least one field, such as uuid-field or end-marker-field")
        return self


class _Marker:
    def __init__(self, config: Group, run: Run, env: Env) -> None:
        self._run, self._env = run, env
        self._id = _setter(config.uuid_field)
        self._time = _setter(config.invocation_time_field)
        self._number = _setter(config.line_num_field)
        self._count = _setter(config.line_count_field)
        self._begin = _setter(config.begin_marker_field)
        self._end = _setter(config.end_marker_field)
        self.count = 0
        self._group = self._started = ""

    def mark(self, events: list[Event]) -> None:
        """Mark further events of the group."""
        if not self.count:
            self._group, self._started = clock.token(20), clock.iso(clock.now_ns())
        for event in events:
            self.count += 1
            self._put(self._id, event, self._group)
            self._put(self._time, event, self._started)
            self._put(self._number, event, self.count)
            if self.count == 1:
                self._put(self._begin, event, True)

    def end(self, last: Event | None) -> None:
        """The group is complete; `last` is its last event."""
        if last is not None:
            self._put(self._count, last, self.count)
            self._put(self._end, last, True)
        self.count = 0

    def _put(self, put: Callable[[Event, Any], None] | None, event: Event, value: Any) -> None:
        if put is None:
            return
        try:
            put(event, value)
        except ValueError as error:
            self._run.refuse(self._env, f"batch: {error}")


def _setter(field: str | None) -> Callable[[Event, Any], None] | None:
    return None if field is None else select.setter(select.parse(field))


def marked(config: Group | None, batches: AsyncIterator[Batch], run: Run, env: Env) -> AsyncIterator[Batch]:
    """The same batches with their events marked; a group ends where a batch says `document_end`."""
    return batches if config is None else _marked(_Marker(config, run, env), batches)


async def _marked(marker: _Marker, batches: AsyncIterator[Batch]) -> AsyncIterator[Batch]:
    """Hold back the last batch with events, because which event is the last is known only when more is there."""
    held: list[Batch] = []
    try:
        async for batch in batches:
            marker.mark(batch.events)
            if batch.events:
                for earlier in held:
                    yield earlier
                held = []
            held.append(batch)
            if batch.document_end:
                marker.end(_last(held))
                for earlier in held:
                    yield earlier
                held = []
        marker.end(_last(held))
        for earlier in held:
            yield earlier
    finally:
        close = getattr(batches, "aclose", None)
        if close is not None:
            await close()


def _last(held: list[Batch]) -> Event | None:
    return next((batch.events[-1] for batch in held if batch.events), None)
