"""What an action is: a declared step between input and output, and what it may say about one event."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar

from core.dsl.component import Component, Env, Event, Run
from core.dsl.conditions import Condition

if TYPE_CHECKING:
    from core.dsl.codegen import Builder

Each = Callable[[Event, Run], Event | list[Event] | None]


class EventFault(Exception):
    """This event cannot go on. It is dropped, counted in `Run.errors` and reported to the log of the job."""


class JobAborted(Exception):
    """The document told the job to stop here. The run ends as failed with this message; no batch is settled."""


class Action(Component):
    """A declared action. Its keys may include `condition`: the action is skipped when that is not true."""

    kind: ClassVar[str] = "action"

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

    def each(self, env: Env, warn: Callable[[str], None]) -> Each:
        """A function of one event: returns the event, None to drop it, or a list to go on with several.

        It may raise EventFault (or any other error, which is treated alike) and JobAborted.
        """
        raise NotImplementedError
