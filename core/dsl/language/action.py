"""What an action is: a declared step between input and output, and what it may say about one event."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, Protocol

from core.dsl.component import Component, Env, Event, Run
from core.dsl.events.codegen import Builder, Warn
from core.dsl.language.conditions import Condition
from core.errors import JobFailed

Each = Callable[[Event, Run], Event | list[Event] | None]
LARGEST_PART = 4096  # events that an action which waits is given at once


class EventFault(Exception):
    """This event cannot go on. It is dropped, counted in `Run.errors` and reported to the log of the job."""


class JobAborted(JobFailed):
    """The job stops here and is not tried again: its document says so, or another try would do harm."""


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


Settled = Callable[[BaseException | None], None]


class Waiter(Protocol):
    """An opened action that waits."""

    async def work(self, events: list[Event], run: Run, on_settled: Callable[[Settled], None]) -> list[Event | None]:
        """Do the action to the events of one batch for which its condition holds.

        Returns one entry for each event in the same order: the event that goes on, or None when it is dropped. A
        function that is given to `on_settled` is called once, when the output has accepted the batch (with None) or
        will not (with the error). What it raises ends the run: the batch is not settled and its source keeps it.
        Several batches may be at work at the same time (runs of a message-triggered job).
        """

    async def close(self) -> None:
        """Finish what was begun, within a short time. Safe to call twice."""


class WaitingAction(Action):
    """An action that has to wait for something outside of the worker, so it is done batch by batch.

    It stands between two legs of a job (core.dsl.language.course). `each` of
    such an action is its dry form: it has no effect outside, and logs what the action would do.
    """

    @property
    def waits(self) -> bool:
        """Whether this declaration has to wait; one that need not is an ordinary action with `each`."""
        return True

    @property
    def most_at_once(self) -> int:
        """How many events it is given at once; what it makes of them goes on before it is given more."""
        return LARGEST_PART

    def open(self, env: Env, warn: Warn) -> Waiter:
        raise NotImplementedError
