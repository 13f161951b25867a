"""Runs one compiled job: fires it, moves batches from its input to its output, and tells what happened.

It only raises when the job cannot go on; what follows from that (restart, back-off, status) is the runtime's.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from itertools import count
from typing import Any, Literal

from core import backoff, clock
from core.dsl.component import (
    Batch,
    BehindSource,
    ConcludingSink,
    Env,
    Event,
    InstantSink,
    InstantSource,
    Refusal,
    Run,
    Sink,
    Source,
)
from core.dsl.files import threads
from core.dsl.inputs.internal_messages import MessageSource
from core.dsl.language import course
from core.dsl.language.action import JobAborted
from core.dsl.language.compile import CompiledJob
from core.dsl.language.emit import Emitters
from core.dsl.language.schedule import Clocks, MessageFilter, Trigger
from core.dsl.language.timers import Timer
from core.errors import Busy, JobFailed
from core.model import frames, message, trace_context
from core.model.canceling import Stopped
from core.model.letter import Code
from core.model.log_line import NO_RUN
from core.worker import in_run, runs
from core.worker.firings import Firings
from core.worker.flight import Flight, add
from core.worker.lease import Lease
from core.worker.letters import Outbox
from core.worker.orders import Orders
from core.worker.pump import Pump
from core.worker.replaying import ACCEPTED, REFUSED, NoStep, Outcome, Replayer
from core.worker.runs import Delivery, Metrics, RunReport, reason_of
from core.worker.timetable import Firing, Now
from core.worker.turns import SLICE_SECONDS, Turns
from core.worker.under_way import Begun, UnderWay
from core.worker.waits import Waits

MOST_RUNS_AT_ONCE = 16  # of one message-triggered instance whose output has to wait
SLOW_RUN_NS = 500_000  # a message-triggered job whose runs take longer waits for its turn

Mode = Literal["once", "scheduled", "message", "continuous"]


class Executor:
    """One instance of a job. `run` is awaited once; `deliver` and `drain` are called beside it."""

    def __init__(
        self,
        job: CompiledJob,
        env: Env,
        *,
        on_run: Callable[[RunReport], None],
        turns: Turns | None = None,
        metrics: Metrics | None = None,
        lease: Lease | None = None,
        orders: Orders | None = None,
        outbox: Outbox | None = None,
    ) -> None:
        """`turns` are those of the worker, which its jobs share; `metrics` and `orders` go on from an instance before.

        `lease` is asked before each run, and `outbox` takes its refused events: without one they are counted.
        """
        self.metrics = metrics or Metrics()
        self.filter: message.Filter | None = None
        self.mode: Mode
        self._job = job
        self._env = env
        self._on_run = on_run
        self._turns = turns or Turns()
        self._lease = lease
        self._orders = orders or Orders()
        self._outbox = outbox
        self._emitters = Emitters(job.emit, env)
        self._run_ns = 0  # smoothed, of a run without a wait
        self._flight: Flight | None = None  # of the firing that is under way, in other modes than message
        self._firing: Run | None = None  # that firing
        self.failed_in = NO_RUN  # the firing with which the job failed, for the log
        self._firings: Firings | None = None
        trigger: Trigger | None = getattr(job.input, "trigger", None)
        if isinstance(job.input, MessageFilter):
            self.mode, self.filter = "continuous", job.input.filter()
        elif job.input.continuous:
            self.mode = "continuous"
        elif trigger is None:
            self.mode = "once"
        elif trigger.message is not None:
            self.mode, self.filter = "message", trigger.message.filter()
        else:
            self.mode = "scheduled"
        self._source: Source
        self._behind: BehindSource | None = None  # the source, when it knows how far behind it is
        self._sink: Sink
        self._concluding: ConcludingSink | None = None  # the sink, when it has something to say at the end of a run
        self._instant: tuple[Callable[[Run], list[Event]], Callable[[list[Event], Run], None]] | None = None
        self._quick = course.quick(job.legs)
        self._waiting: deque[Delivery] = deque()  # deliveries that came before the job was open, or above the bound
        self._held: dict[int, Delivery] = {}  # taken and not yet settled
        self._canceling: dict[int, asyncio.Future[None]] = {}  # deliveries whose end is wanted; done when settled
        self._runs: set[asyncio.Task[None]] = set()
        self._run_of: dict[int, asyncio.Task[None]] = {}  # the task that has a delivery to itself
        self.under_way = UnderWay()
        self._firing_ends: asyncio.Future[None] | None = None  # its end is wanted; done when it has come
        self._overtaken = False  # it is wanted by the schedule
        self._open = False
        self._task: asyncio.Task[Any] | None = None
        self._waits = Waits()  # for input or time: the only moments in which an interrupt may cancel
        self._pump: Pump
        self._stopping = False
        self._overdue = False
        self._drained = asyncio.Event()  # it is to end
        self._finished = asyncio.Event()
        self._finished.set()  # not running
        self._replayer: Replayer | None = None
        self._messages = 0  # that were replayed, counted downwards
        self._run_prefix = clock.token(8)
        self._run_numbers = count(1)

    async def run(self) -> None:
        """Open the job and work until it is complete (a job that runs once) or drained.

        Raises JobFailed with the reason; a cancellation stops at once and leaves unsettled what is in flight.
        """
        self._task = asyncio.current_task()
        self._waits.begin()
        self._finished.clear()
        try:
            await self._open_and_work()
        except JobFailed:
            raise
        except asyncio.CancelledError:
            if self._overdue and self._task is not None and self._task.uncancel() == 0:
                raise JobFailed("the job did not end in time when it was drained; some events may come twice") from None
            raise
        except Exception as error:  # the boundary of a job: whatever it is, it is told as the reason of the failure
            raise JobFailed(reason_of(error)) from error
        finally:
            self._finished.set()

    async def _open_and_work(self) -> None:
        await threads.each(self._env.before_events)
        self._open_source()
        try:
            self._open_sink()
            try:
                await self._work()
            finally:
                self._open = False
                await self._cancel_runs()
                await self._sink.close()
                await course.close(self._job.legs)
        finally:
            await self._source.close()

    def _open_source(self) -> None:
        self._source = self._job.input.open(self._env.at(self._job.input))
        self._behind = self._source if isinstance(self._source, BehindSource) else None

    def _open_sink(self) -> None:
        self._sink = self._job.output.open(self._env.at(self._job.output))
        self._concluding = self._sink if isinstance(self._sink, ConcludingSink) else None
        self._pump = Pump(self._job.legs, self._sink, self._emitters, self.metrics, self._turns, self._outbox)
        self._replayer = self._make_replayer()

    async def _work(self) -> None:
        if self.mode == "message" and not course.waits(self._job.legs):
            if isinstance(self._source, InstantSource) and isinstance(self._sink, InstantSink):
                self._instant = (self._source.events, self._sink.write_now)
        self._open = True
        while self._waiting and self.mode != "message":
            self.deliver(self._waiting.popleft())
        match self.mode:
            case "once" | "continuous":
                await self._fire(self.mode)
            case "scheduled":
                timer = self._job.input.trigger.timer  # type: ignore[attr-defined]
                await self._keep_schedule(timer)
            case "message":
                early, self._waiting = self._waiting, deque()
                for delivery in early:
                    self.deliver(delivery)
                if not self._stopping:
                    await self._waits.wait(asyncio.get_running_loop().create_future())
                if self._runs:  # what is under way is finished; what waits stays unsettled and goes to someone else
                    await asyncio.wait(self._runs)
                if self._outbox is not None:
                    await self._outbox.answered()

    def deliver(self, delivery: Delivery) -> None:
        """Take one message that passed `filter`. Never blocks and never raises.

        One that comes when the job is being drained is kept for `unsettled`.
        """
        if self._instant is not None and not self._stopping and self._run_ns < SLOW_RUN_NS:
            if not self._waiting and not self._runs:
                self._run_now(delivery)
                return
        self._held[delivery.id] = delivery
        if self._stopping:
            return
        if self._open and self.mode == "continuous" and isinstance(self._source, MessageSource):
            self._source.offer(delivery.message, self._on_settled(delivery))
        else:
            self._waiting.append(delivery)
            self._start_runs()

    def unsettled(self, *, failed: bool) -> list[Delivery]:
        """What this instance took and never settled, for the one that takes its place; asked after `run` has ended.

        With `failed` each counts as a further attempt, and what was tried MOST_ATTEMPTS times is given up.
        """
        held, self._held = list(self._held.values()), {}
        again = []
        for delivery in held:
            if delivery.id in self._canceling:
                self._settle(delivery, None)
                continue
            delivery.attempt += failed
            if delivery.attempt > runs.MOST_ATTEMPTS:
                self._give_up(Run(), delivery, runs.GIVEN_UP)
                if self._outbox is not None:
                    self._outbox.when_answered(functools.partial(delivery.settle, runs.GIVEN_UP))
                else:
                    delivery.settle(runs.GIVEN_UP)
            else:
                again.append(delivery)
        return again

    async def cancel(self, delivery_id: int) -> Stopped:
        """End the run of one message at its next wait, and settle the message; returns when that is done.

        Nobody is answered in the place of the run, and it is not tried again.
        """
        delivery = self._held.get(delivery_id)
        if delivery is None:
            return Stopped.OVER
        if delivery in self._waiting:
            self._waiting.remove(delivery)
            self._settle(delivery, None)
            return Stopped.STOPPED
        if self.mode != "message":
            if not isinstance(self._source, MessageSource) or not self._source.withdraw(delivery.message):
                return Stopped.SHARED
            self._settle(delivery, None)
            return Stopped.STOPPED
        if delivery_id not in self._canceling:
            self._canceling[delivery_id] = asyncio.get_running_loop().create_future()
            if (task := self._run_of.get(delivery_id)) is not None:
                task.cancel()
        await asyncio.shield(self._canceling[delivery_id])
        return Stopped.STOPPED

    async def cancel_run(self, run_id: str) -> Stopped:
        """End the run of a firing at its next wait; returns when its input and output are closed and opened anew.

        Its job goes on: a schedule with the next firing, while a job that runs once is complete.
        """
        if self._firing is None or run_id != self._firing.id or self._task is None:
            return Stopped.OVER
        if self._firing_ends is None:
            self._firing_ends = asyncio.get_running_loop().create_future()
            self._task.cancel()
        await asyncio.shield(self._firing_ends)
        return Stopped.STOPPED

    def _overtake(self) -> None:
        """The next firing is due: end the run that is under way, unless it ends already."""
        if self._firing is None or self._firing_ends is not None or self._stopping or self._task is None:
            return
        self._overtaken = True
        self._firing_ends = asyncio.get_running_loop().create_future()
        self._task.cancel()

    def _settle(self, delivery: Delivery, reason: str | None) -> None:
        """This instance is done with a message; with a reason, its run failed."""
        self._held.pop(delivery.id, None)
        delivery.settle(reason)
        ended = self._canceling.pop(delivery.id, None)
        if ended is not None and not ended.done():
            ended.set_result(None)

    def _give_up(self, run: Run, delivery: Delivery, reason: str) -> None:
        """A message that nobody else will hear of becomes a letter, as a whole."""
        heard = delivery.replay or message.is_invocation(delivery.message)  # by whoever asked for it
        if self._outbox is not None and not heard:
            with contextlib.suppress(JobFailed):  # on-error: fail: it has failed often enough
                self._outbox.take(run, Refusal("", Code.GIVEN_UP, reason, delivery.message))

    @property
    def open(self) -> bool:
        """Whether it takes events."""
        return self._open

    @contextlib.asynccontextmanager
    async def for_replays(self) -> AsyncIterator[None]:
        """Open the output of a job that does not run, for replays alone."""
        self._sink = self._job.output.open(self._env.at(self._job.output))
        try:
            self._replayer = self._make_replayer()
            self._open = True
            yield
        finally:
            self._open = False
            await self._sink.close()
            await course.close(self._job.legs)

    def _make_replayer(self) -> Replayer:
        new_run = functools.partial(self._new_run, event=None)
        return Replayer(self._job, self._env, self._sink, self._emitters, self.metrics, new_run)

    async def replay(self, step: str, event: Event, msg: dict[str, Any] | None) -> Outcome:
        """Take the event of a dead letter from a step on, beside the runs of the job; see Replayer.

        Raises Busy when the job does not run.
        """
        if not self._open or self._replayer is None:
            raise Busy("The job does not run now.")
        if step:
            return await self._replayer.replay(step, event, msg)
        if self.filter is None:
            raise NoStep("The job waits for no message now.")
        ended: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()
        self._messages -= 1  # no delivery of the bus has such a number
        self.deliver(Delivery(self._messages, runs.MOST_ATTEMPTS, event, ended.set_result, replay=True))
        reason = await ended
        return Outcome(ACCEPTED) if reason is None else Outcome(REFUSED, Code.GIVEN_UP, reason)

    def _on_settled(self, delivery: Delivery) -> Callable[[BaseException | None], None]:
        def settle(error: BaseException | None) -> None:
            # A stopped or failed job has not judged the message: it stays unsettled and is delivered again.
            if error is None and delivery.id in self._held:
                self._settle(delivery, None)

        return settle

    async def drain(self, deadline_seconds: float) -> None:
        """Take nothing new, finish and flush what is in flight; at the deadline stop hard. Safe to call twice."""
        self._stopping = True
        self._drained.set()
        self._waits.interrupt()
        try:
            async with asyncio.timeout(deadline_seconds):
                await self._finished.wait()
        except TimeoutError:
            if self._task is not None:
                self._overdue = True
                self._task.cancel()
            await self._finished.wait()

    def _run_now(self, delivery: Delivery) -> None:
        """One whole run without a task or a wait: the path of a trigger invocation. A long one is cut into turns.

        The output hands its message to the bus before the acknowledgement is handed over, and both travel in order
        on one stream, so the engine never sees the acknowledgement without the message.
        """
        run = self._instant_run(delivery)
        if run.step():
            self._held[delivery.id] = delivery
            self._start(self._take_turns(run))

    def _instant_run(self, delivery: Delivery) -> in_run.Sliced:
        started = clock.now_ns()
        run = self._new_run(started, delivery.message)
        begun = in_run.Begun(self._env.workload, run.id, delivery.message)
        return in_run.Sliced(begun, self._slices(run, delivery, started))

    def _slices(self, run: Run, delivery: Delivery, started: int) -> Iterator[Run]:
        """Works for a slice, and again for each item that is taken; one item for each slice but the last."""
        assert self._instant is not None
        events_of, write = self._instant
        reason = ""
        try:
            events = events_of(run)
            if self._quick is not None and len(events) <= course.STRIDE:
                events = course.at_once(self._quick, events, run)
                write(events, run)
                run.events_out = len(events) - run.left_out
            else:
                passage = course.Passage(self._job.legs, events, run)
                while True:
                    events = passage.work(clock.monotonic() + SLICE_SECONDS)
                    if events:
                        left_out = run.left_out
                        write(events, run)
                        run.events_out += len(events) - (run.left_out - left_out)
                    if passage.done:
                        break
                    yield run
                    if delivery.id in self._canceling:
                        raise runs.RunCanceled
            if self._emitters:
                self._emitters.batch(run, True)
                self._emitters.run(run, complete=True)
        except runs.RunCanceled:
            add(self.metrics, run)
            self._report(run, "message", started, runs.CANCELED, canceled=True)
            self._settle(delivery, None)
            return
        except Exception as error:  # the boundary of a run: it is told to the sender and to the log
            reason = reason_of(error)
        add(self.metrics, run)
        ended = self._end_message_run(delivery, run, started, reason)
        self._run_ns += (ended - started - self._run_ns) // 4

    def _end_message_run(self, delivery: Delivery, run: Run, started: int, reason: str) -> int:
        reason = reason or runs.lost(run)
        if reason:
            self._env.log("error", f"a run failed: {reason}")
        if self._emitters:
            self._emitters.conclude(run, reason)
        if self._concluding is not None:
            self._concluding.conclude(run, reason)
        if run.trace is not None and run.requests is not None:
            itself = frames.Span(run.trace.span_id, started, clock.now_ns(), bool(reason))
            delivery.spans = (itself, *run.requests)
        if self._outbox is not None and self._outbox.owed:
            self._held[delivery.id] = delivery  # until then it would come again
            self._outbox.when_answered(lambda: self._settle(delivery, reason or None))
        else:
            self._settle(delivery, reason or None)
        return self._report(run, "message", started, reason)

    def _start_runs(self) -> None:
        if self._instant is not None:
            if self._open and self._waiting and not self._runs:
                self._start(self._take_turns())
            return
        while self._open and self._waiting and len(self._runs) < MOST_RUNS_AT_ONCE:
            delivery = self._waiting.popleft()
            task = self._run_of[delivery.id] = self._start(self._run_delivery(delivery))
            task.add_done_callback(functools.partial(self._delivery_done, delivery))

    def _start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._runs.add(task)
        task.add_done_callback(self._run_done)
        return task

    def _run_done(self, task: asyncio.Task[None]) -> None:
        self._runs.discard(task)
        if not self._stopping:
            self._start_runs()

    async def _take_turns(self, run: in_run.Sliced | None = None) -> None:
        """Runs that need no wait but take long: one after the other, between the turns of other jobs."""
        try:
            while run is not None or self._waiting:
                await self._turns.next(self)
                if run is None:
                    if self._stopping:  # what waits stays unsettled and goes to someone else
                        return
                    run = self._instant_run(self._waiting.popleft())
                if not run.step():
                    run = None
        finally:
            if run is not None:
                run.close()

    def _delivery_done(self, delivery: Delivery, _: asyncio.Task[None]) -> None:
        del self._run_of[delivery.id]
        if delivery.id in self._canceling:  # otherwise one that was cut off is unsettled: the bus delivers it again
            self._settle(delivery, None)

    async def _run_delivery(self, delivery: Delivery) -> None:
        """A run that fails is tried again: nobody else would send its message once more."""
        for tries in count(1):
            pause = backoff.pause(tries, runs.FIRST_PAUSE_SECONDS, runs.LONGEST_PAUSE_SECONDS)
            if not await self._try_delivery(delivery, pause):
                return
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._drained.wait()
            if self._stopping:  # it stays unsettled and goes to someone else
                return

    async def _try_delivery(self, delivery: Delivery, pause: float) -> bool:
        """One run; whether the message must be tried again after that pause, in seconds."""
        started = clock.now_ns()
        run = self._new_run(started, delivery.message)
        with in_run.Begun(self._env.workload, run.id, delivery.message):
            return await self._carry_delivery(delivery, run, started, pause)

    async def _carry_delivery(self, delivery: Delivery, run: Run, started: int, pause: float) -> bool:
        self.under_way.begin(Begun(run.id, "message", started, delivery.id))
        flight = Flight(_nothing, self._outbox)
        reason = ""
        try:
            await self._carry(run, flight)
        except asyncio.CancelledError:
            canceled = delivery.id in self._canceling
            why = runs.CANCELED if canceled else runs.STOPPED
            flight.abandon(JobFailed(f"the run was {why}"))
            self._report(run, "message", started, why, canceled=canceled)
            raise
        except Exception as error:  # the boundary of a run: it is told to the sender and to the log
            flight.abandon(error)
            reason = reason_of(error)
            if not isinstance(error, JobAborted) and not message.is_invocation(delivery.message):
                if delivery.attempt < runs.MOST_ATTEMPTS and not delivery.replay:
                    delivery.attempt += 1
                    flight.count(run, self.metrics)
                    self._env.log("warning", f"a run failed: {reason}; its message is tried again in {pause:g} s")
                    self._report(run, "message", started, reason)
                    return True
                reason = f"{runs.GIVEN_UP}: {reason}"
                self._give_up(run, delivery, reason)
        flight.count(run, self.metrics)
        self._end_message_run(delivery, run, started, reason)
        return False

    async def _cancel_runs(self) -> None:
        for task in self._runs:
            task.cancel()
        if self._runs:
            await asyncio.wait(self._runs)

    async def _keep_schedule(self, timer: Timer) -> None:
        firings = self._firings = await Firings.begun(timer, self._orders, self._env)
        while not self._stopping:
            firing = await firings.next(self._waits)
            if firing is None:
                continue
            with firings.overtaking(firing, self._overtake):
                came_through = await self._fire(firings.trigger, firing)
            if came_through and not self._stopping:
                await firings.succeeded(firing)

    async def _fire(self, trigger: str, firing: Firing | None = None) -> bool:
        """One run; whether it came to its end: false when somebody wanted another one."""
        started = clock.now_ns()
        run = self._new_run(started, None, firing)
        with in_run.Begun(self._env.workload, run.id, None):
            return await self._carry_firing(trigger, run, started, firing)

    async def _carry_firing(self, trigger: str, run: Run, started: int, firing: Firing | None) -> bool:
        why = () if firing is None else (firing.cause.value, firing.scheduled_ns, firing.order)
        self.under_way.begin(Begun(run.id, trigger, started, 0, *why))
        flight, self._firing = Flight(self._waits.interrupt, self._outbox), run
        self._flight = flight
        try:
            await self._carry(run, flight)
        except asyncio.CancelledError:
            flight.abandon(JobFailed("the job was stopped before its output accepted the batch"))
            canceled = self._firing_ends is not None and self._task is not None and self._task.uncancel() == 0
            wanted = runs.OVERTAKEN if self._overtaken else runs.CANCELED
            self._report(run, trigger, started, wanted if canceled else runs.STOPPED, firing, canceled=canceled)
            if not canceled:
                raise
            await self._open_anew()
            return False
        except Exception as error:
            flight.abandon(error)
            self._report(run, trigger, started, reason_of(error), firing)
            self.failed_in = in_run.of(self._env.workload)
            raise
        finally:
            flight.count(run, self.metrics)
            self._flight = self._firing = None
            self._fired()
        reason = runs.lost(run) if trigger != "continuous" else ""  # that one ends when it is stopped
        self._report(run, trigger, started, reason, firing)
        return True

    def _fired(self) -> None:
        """The firing is over: whoever wanted its end is told."""
        ends, self._firing_ends, self._overtaken = self._firing_ends, None, False
        if ends is None:
            return
        if self._task is not None and self._task.cancelling() and not self._overdue:
            self._task.uncancel()  # it came too late, or a component has kept it to itself
        if not ends.done():
            ends.set_result(None)

    async def _open_anew(self) -> None:
        """Nothing of what a run that was ended had begun is there for the next one."""
        await self._sink.close()
        await self._source.close()
        self._open_source()
        self._open_sink()

    async def _carry(self, run: Run, flight: Flight) -> None:
        """Move the batches of one firing; return when the output has accepted all of them."""
        batches = self._source.batches(run)
        try:
            while (batch := await self._next(batches)) is not None:
                await self._pump.move(batch, run, flight)
        finally:
            close = getattr(batches, "aclose", None)
            if close is not None:
                await close()
        if flight.fault is not None:
            raise flight.fault
        await self._sink.flush(run)
        await flight.landed()
        self._emitters.run(run, complete=self.mode in ("continuous", "message") or not self._stopping)

    async def _next(self, batches: AsyncIterator[Batch]) -> Batch | None:
        """The next batch, or None at the end of the input, when the job is being drained, or when a batch failed."""
        if self.mode == "message":  # a task of its own: the executor's task is the one that may be interrupted
            return await anext(batches, None)
        return None if self._stopping else await self._waits.wait(anext(batches, None))

    def _new_run(self, started_ns: int, event: dict[str, Any] | None, firing: Firing | None = None) -> Run:
        if self._lease is not None:
            self._lease.hold()
        payload = None if event is None else event.get("message_data") or {}
        span, scheduled_ns = (None, 0) if firing is None else (firing.span, firing.scheduled_ns)
        clocks = Clocks(started_ns, span, scheduled_ns)
        run = Run(f"{self._run_prefix}-{next(self._run_numbers)}", payload, clocks, letters=self._outbox)
        if event is not None and (traceparent := event.get("traceparent")):
            run.trace = trace_context.parse(str(traceparent))
            if run.trace is not None and run.trace.sampled:
                run.trace, run.requests = run.trace._replace(span_id=trace_context.new_span()), []
        return run

    def _report(
        self,
        run: Run,
        trigger: str,
        started: int,
        reason: str,
        firing: Firing | None = None,
        *,
        canceled: bool = False,
    ) -> int:
        self.metrics.runs += 1
        if reason and not canceled:
            self.metrics.runs_failed += 1
        ended = clock.now_ns()
        told = self.under_way.end(run.id)
        self._on_run(
            RunReport(
                run.id,
                trigger,
                started,
                ended,
                run.events_in,
                run.events_out,
                run.errors,
                ok=not reason,
                reason=reason,
                cause="" if firing is None else firing.cause.value,
                scheduled_ns=0 if firing is None else firing.scheduled_ns,
                order=0 if firing is None else firing.order,
                canceled=canceled,
                told=told,
                refused=run.failed + run.left_out,
                skipped=run.skipped,
            )
        )
        return ended

    def count(self) -> None:
        """Add to the totals what the firing that is under way has done, also one that only skips what it sees."""
        if self._flight is not None and self._firing is not None:
            self._flight.count(self._firing, self.metrics)

    def lag_seconds(self, now: Now) -> float:
        """The age of the oldest message or batch that was taken and that the output has not accepted.

        Also how long an input that knows it has been behind what it reads from (files), and how long the next window
        of a sequence has been waiting.
        """
        oldest = 0.0
        for delivery in self._held.values():
            at_ns = delivery.message.get("nanoseconds_since_epoch")
            if isinstance(at_ns, int):
                oldest = (now.wall_ns - at_ns) / clock.NANOSECONDS
            break
        taken = self._flight.oldest() if self._flight is not None else None
        behind = self._behind.behind_since() if self._open and self._behind is not None else None
        for since in (taken, behind):
            if since is not None:
                oldest = max(oldest, now.monotonic - since)
        if self._firings is not None:
            oldest = max(oldest, self._firings.table.lag_seconds(now))
        return oldest


def _nothing() -> None:
    """There is no wait to interrupt."""
