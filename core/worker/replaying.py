"""Dead letters on their way through their job again: from the step that each names, into the output that runs.

An event that is refused again goes back to the engine with the reason and becomes no letter of its own: it is the same
one, tried once more.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, NamedTuple

from core import clock, errors
from core.dsl.component import Batch, Env, Event, Refusal, Run, Sink
from core.dsl.files import threads
from core.dsl.language import compile as compiler
from core.dsl.language import course
from core.dsl.language.action import Settled
from core.dsl.language.compile import CompiledJob
from core.dsl.language.emit import Emitters
from core.worker.flight import add
from core.worker.letters import Outbox
from core.worker.runs import Metrics

ACCEPTED, REFUSED, NOT_NOW = "accepted", "refused", "not-now"


class Outcome(NamedTuple):
    """What became of one letter."""

    state: str
    """accepted, refused (it is the event), or not-now (it may be the job, or what cannot be reached)"""
    code: str = ""
    reason: str = ""


class NoStep(errors.NotFound):
    """The job has no such step any more."""


class Refused:
    """Takes the place of an outbox for the run of one letter: it remembers why its event was refused.

    An output may send events of other runs together with it. What it refuses of those goes the usual way, and other
    runs hand over what is ours.
    """

    def __init__(self, outbox: Outbox | None) -> None:
        self._outbox = outbox
        self._ours: dict[int, Event] | None = None  # by identity; None while nobody else's can be there
        self.first: Refusal | None = None

    def sent(self, events: list[Event]) -> None:
        """From now on these, and no other ones, are ours."""
        self._ours = {id(event): event for event in events}  # they live as long as this: no other one has their id
        if self._outbox is not None:
            self._outbox.replays.update(dict.fromkeys(self._ours, self))

    def close(self) -> None:
        for id in self._ours or ():
            if self._outbox is not None:
                self._outbox.replays.pop(id, None)

    def take(self, run: Run, refused: Refusal) -> None:
        if self._ours is None or id(refused.event) in self._ours:
            self.first = self.first or refused
        elif self._outbox is not None:
            self._outbox.take(run, refused)

    @property
    def lost(self) -> int:
        """Nothing: the letter that is replayed holds its event."""
        return 0

    @property
    def outcome(self) -> Outcome:
        if self.first is None:
            return Outcome(ACCEPTED)
        return Outcome(REFUSED, self.first.code, self.first.reason)


class Replayer:
    """Of one open job, whose output it shares."""

    def __init__(
        self,
        job: CompiledJob,
        env: Env,
        sink: Sink,
        emitters: Emitters,
        metrics: Metrics,
        new_run: Callable[[int], Run],
    ) -> None:
        """`new_run` makes a run that starts at a time, with the outbox of the job."""
        self._job = job
        self._env = env
        self._sink = sink
        self._emitters = emitters
        self._metrics = metrics
        self._new_run = new_run
        self._legs: dict[int, course.Legs] = {0: job.legs}  # the actions from one on

    async def replay(self, step: str, event: Event, msg: dict[str, Any] | None) -> Outcome:
        """Take one event from a step on; returns when the output has accepted or refused it."""
        try:
            at = begins_at(self._job, step)
        except NoStep as error:
            return _not_now(error)
        if at not in self._legs:
            self._legs[at] = compiler.legs_from(self._job.document, at, self._env)
        run = self._new_run(clock.now_ns())
        outbox = run.letters
        run.msg, run.replay = msg, True
        run.letters = refused = Refused(outbox if isinstance(outbox, Outbox) else None)
        told: list[Settled] = []
        fault: BaseException | None = None
        try:
            await threads.each(self._env.before_events)
            events = await course.whole(self._legs[at], event, run, told.append)
            if events:
                refused.sent(events)
                await self._deliver(events, run)
        except Exception as error:  # the boundary of a run: it is told to who asked for it
            fault = error
            return _not_now(error)
        finally:
            refused.close()
            for tell in told:
                tell(fault)
            add(self._metrics, run)
        return refused.outcome

    async def _deliver(self, events: list[Event], run: Run) -> None:
        accepted: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def settle(error: BaseException | None) -> None:
            if accepted.done():
                return
            if error is None:
                accepted.set_result(None)
            else:
                accepted.set_exception(error)
                accepted.exception()  # the write may raise it before anybody waits

        count = len(events)
        await self._sink.write(Batch(events, settle, True), run)
        await self._sink.flush(run)
        await accepted
        run.events_out = count - run.left_out
        if self._emitters:
            self._emitters.batch(run, True)
            self._emitters.run(run, complete=True)


def begins_at(job: CompiledJob, step: str) -> int:
    """How many actions are left out in front of a step, given as a pointer into the document.

    An action is where its letter says, or where the only one of its name is now. Raises NoStep.
    """
    names = [one.name for one in job.steps]
    match step.split("/")[1:]:
        case ["output", *_]:
            return len(names)
        case ["actions", number, *named] if number.isdigit():
            at, name = int(number), named[0] if named else ""
            if at < len(names) and name in ("", names[at]):
                return at
            if names.count(name) == 1:
                return names.index(name)
    raise NoStep(
        f"Job {job.name} has no step {errors.shorten(step, 100)} now.",
        hint="Replay from another one: /actions/N, or /output.",
    )


def _not_now(error: BaseException) -> Outcome:
    """What is told of a run that failed: what cannot be reached, and not the event, may be at fault."""
    text = error.message if isinstance(error, errors.SluiceError) else f"{type(error).__name__}: {error}"
    return Outcome(NOT_NOW, "", errors.shorten(text, 500))
