"""What an action is: a declared step between input and output, and what it may say about one event."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from core.dsl.codegen import Builder, Warn
from core.dsl.component import Component, Env, Event, Run
from core.dsl.conditions import Condition
from core.errors import JobFailed

Each = Callable[[Event, Run], Event | list[Event] | None]


class EventFault(Exception):
    """This event cannot go on. It is dropped, counted in `Run.errors` and reported to the log of the job."""


class JobAborted(JobFailed):
    """The document told the job to stop here."""


class Action(Component):
    """A declared action. It is skipped for an event for which its `condition` is not true."""

    kind: ClassVar[str] = "action"
    splits: ClassVar[bool] = False  # may turn one event into a list of several
    guards: ClassVar[bool] = False  # the condition is the action itself: `emit_guarded` is called instead of `emit`

    description: str = ""
    """What this step is for; shown by trace and in logs."""
    condition: Condition | None = None
    """A Lua expression over the fields of the event; the action runs only when it is true."""
    suppress_warnings: bool = False
    """Do not write this action's warnings to the log of the job."""

    def emit(self, code: Builder) -> None:
        """Write the statements that this action does to `event`.

        The default calls `each`. Actions that are cheap and frequent write their statements in place instead.
        """
        code.call(self.each(code.env, code.warn))

    def emit_guarded(self, code: Builder, holds: str) -> None:
        """Write the statements of an action that `guards`; `holds` names what tells whether its condition holds."""
        raise NotImplementedError

    def each(self, env: Env, warn: Warn) -> Each:
        """A function of one event: returns the event, None to drop it, or (with `splits`) a list of several.

        It may raise EventFault (or any other error, which is treated alike) and JobAborted.
        """
        raise NotImplementedError
