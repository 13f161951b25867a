"""The outbox of a job: what becomes of its refused events, and what has to wait until that is done.

Letters leave one after the other, as many together as have come meanwhile. Who has to wait for them is called in order.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol

from core import backoff, clock, errors
from core.channel import ChannelClosed
from core.dsl.component import Letters, Refusal, Run
from core.dsl.language.on_error import OnError
from core.model import letter
from core.model.letter import Posted
from core.model.message import TRIGGER_INVOKE
from core.model.typed_condition import Type
from core.worker.forwarding import Forward
from core.worker.redact import Redactor
from core.worker.runs import Metrics

TOGETHER_BYTES = 1024 * 1024  # of the events of one call
TOGETHER = 1000  # letters of one call
CROWDED_BYTES = 4 * 1024 * 1024  # of events that are owed; then the job waits
FULL_SECONDS = 2.0  # after the answer that there is no room, letters are only counted for so long
TELL_SECONDS = 1.0  # between two counts of those
FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 10.0
ENVELOPE = "trigger_proxy"  # a field of events that holds a credential, the nonce of an invocation

Posting = Callable[[int, Sequence[Posted]], Awaitable[Sequence[Any]]]
"""(count of those that were dropped, letters) -> (kept, dropped, full), when the engine has written them."""


class Log(Protocol):
    def __call__(self, level: str, text: str, **fields: Any) -> None: ...


class Outbox:
    """Of one workload and version; it goes on over the restarts of its job. Use from the loop of the worker."""

    def __init__(
        self,
        on_error: OnError,
        version: str,
        ends: Mapping[str, str],
        metrics: Metrics,
        log: Log,
        post: Posting,
        redactor: Callable[[], Redactor | None],
        forward: Forward | None = None,
    ) -> None:
        """`ends`: the component of /input and of /output; `forward`: where letters go instead of to the engine."""
        self._on_error = on_error
        self._version = version
        self._ends = ends
        self._metrics = metrics
        self._log = log
        self._post = post
        self._redactor = redactor
        self._forward = forward
        self.replays: dict[int, Letters] = {}
        """Who hears of an event that is refused again, by the identity of the event."""
        self._letters: deque[Posted] = deque()  # not answered yet
        self._bytes = 0
        self._taken = 0
        self._answered = 0
        self._waiting: deque[tuple[int, Callable[[], None]]] = deque()
        self.lost = 0
        """How many events were refused that no letter holds as they were, though the job wants letters."""
        self._missed = 0  # dropped, and not told to the engine yet
        self._to_tell = False
        self._timer: asyncio.TimerHandle | None = None
        self._full_until = 0.0
        self._is_full = False
        self._task: asyncio.Task[None] | None = None
        self._room: asyncio.Event | None = None

    # -- what a run asks -----------------------------------------------------------------------------------

    @property
    def owed(self) -> bool:
        """Whether a letter is not answered yet."""
        return self._taken > self._answered

    @property
    def crowded(self) -> bool:
        """Whether so much is owed that the job should wait (`room`)."""
        return self._bytes > CROWDED_BYTES

    def take(self, run: Run, refused: Refusal) -> None:
        """Do with a refused event as the job says. Raises JobFailed with `on-error: fail`."""
        if self.replays and (replay := self.replays.get(id(refused.event))) is not None:
            replay.take(run, refused)  # of a letter, which an output has taken together with events of this run
            return
        how = self._on_error
        if refused.read is not None:
            self._settle(run, refused, refused.read)
            return
        if how.mode == "log":
            return
        if how.mode == "fail":
            raise errors.JobFailed(refused.reason, hint="The job has on-error: fail.")
        if clock.monotonic() < self._full_until:
            self.lost += 1
            self._drop(1)
            return
        posted = self._posted(run, refused)
        never_event = refused.step.startswith("/input") and refused.code != letter.Code.SKIPPED  # that comes again
        self.lost += never_event or posted.event is None or posted.truncated or posted.redacted
        self._append(posted)

    def _settle(self, run: Run, refused: Refusal, then: Callable[[], None]) -> None:
        """The letter of something that was skipped waits no more, if the engine has one; a full box takes that too."""
        if self._on_error.mode != "keep" or self._forward is not None:
            then()
            return
        posted = self._posted(run, refused)
        posted.read = True
        self._append(posted)
        self.when_answered(then)

    def _append(self, posted: Posted) -> None:
        self._letters.append(posted)
        self._bytes += len(posted.event or "")
        self._taken += 1
        self._begin()

    def when_answered(self, then: Callable[[], None]) -> None:
        """Call when all that is owed now is answered; not at all when the worker ends before."""
        if self.owed:
            self._waiting.append((self._taken, then))
        else:
            then()

    async def room(self) -> None:
        """Wait while it is crowded."""
        while self.crowded:
            self._room = self._room or asyncio.Event()
            await self._room.wait()

    async def answered(self) -> None:
        """Wait until nothing is owed."""
        done = asyncio.Event()
        self.when_answered(done.set)
        await done.wait()

    def close(self) -> None:
        """The worker runs the job no more: nobody waits. What was dropped is told all the same."""
        self._waiting.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._tell()
        elif self._task is not None:
            self._task.cancel()

    # -- letters leave -------------------------------------------------------------------------------------

    def _posted(self, run: Run, refused: Refusal) -> Posted:
        event, truncated, redacted = None, False, False
        redactor = self._redactor()
        if refused.event is not None and self._on_error.event:
            event, truncated, redacted = _kept(refused.event, redactor)
        message = None
        if run.msg is not None and event is not None:  # for templates of the steps that are still to come
            message, long, secret = _kept(run.msg, redactor)
            message, truncated, redacted = (None if long else message), truncated or long, redacted or secret
        most = letter.MOST_REASON_CHARACTERS
        reason = refused.reason[: most + 1] if redactor is None else redactor.beginning(refused.reason, most + 1)
        reason = errors.shorten(reason, most)
        component = refused.component or self._ends.get(refused.step, "")
        return Posted(
            clock.now_ns(),
            self._version,
            run.id,
            _invocation(run),
            f"{refused.step}/{component}" if component else refused.step,
            component,
            refused.code,
            reason,
            event,
            truncated,
            redacted,
            message,
        )

    def _begin(self) -> None:
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._work())

    async def _work(self) -> None:
        pause = 0
        while self._letters or self._to_tell:
            await asyncio.sleep(0)  # what this tick still brings goes with it
            together, missed = self._together(), self._missed
            self._to_tell = False
            try:
                if self._forward is not None:
                    await self._forward(together)
                    dropped, full = 0, False
                else:
                    _, dropped, full = await self._post(missed, together)
            except ChannelClosed:
                return  # the worker ends, and nothing that waits is settled
            except (errors.Busy, errors.StorageUnavailable, errors.Internal, errors.JobFailed):
                pause += 1
                self._to_tell = missed > 0
                await asyncio.sleep(backoff.pause(pause, FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS))
                continue
            except errors.SluiceError as error:  # an engine that keeps none
                self._log("error", f"dead letters are not kept: {error.message}")
                dropped, full = len(together), True
            pause = 0
            self._missed -= missed
            self.lost += dropped
            self._metrics.letters_dropped += dropped
            if full and not self._is_full:
                text = "there is no room for dead letters: refused events are counted and dropped"
                self._log("warning", text, condition=Type.ROOM_FOR_LETTERS.value)
            self._is_full = full if together else self._is_full
            if full:
                self._full_until = clock.monotonic() + FULL_SECONDS
            self._done(len(together))

    def _together(self) -> list[Posted]:
        """What leaves with the next call."""
        found: list[Posted] = []
        size = 0
        for one in self._letters:
            if found and (size >= TOGETHER_BYTES or len(found) >= TOGETHER):
                break
            found.append(one)
            size += len(one.event or "")
        return found

    def _done(self, count: int) -> None:
        for _ in range(count):
            self._bytes -= len(self._letters.popleft().event or "")
        self._answered += count
        if self._room is not None and not self.crowded:
            self._room.set()
            self._room = None
        while self._waiting and self._waiting[0][0] <= self._answered:
            self._waiting.popleft()[1]()

    def _drop(self, count: int) -> None:
        """There was no room a moment ago: count, and tell the engine of it once a second."""
        self._metrics.letters_dropped += count
        self._missed += count
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(TELL_SECONDS, self._tell)

    def _tell(self) -> None:
        self._timer = None
        self._to_tell = True
        self._begin()


def _invocation(run: Run) -> str:
    body = run.msg.get("job_event") if run.msg else None
    if not isinstance(body, dict) or body.get("type") != TRIGGER_INVOKE:
        return ""
    return str(body.get("invocation_id", ""))


def _kept(value: Any, redactor: Redactor | None) -> tuple[str, bool, bool]:
    """A value as JSON without the secrets that the worker was given, whether it was cut, and whether there was one.

    The envelope of an invocation goes as well: it holds a credential, and is of no use once the run has ended.

    What is done here holds up every job of the worker, so only what is kept is looked through: of a value that is too
    long its beginning, as text.
    """
    bare = _without_envelope(value, 2)
    data, whole = letter.as_json(bare)
    if redactor is None:
        text, long = letter.cut(data)
        return text, long or not whole, False
    if len(data) > letter.MOST_EVENT_BYTES:
        most = len(letter.cut(data)[0])
        begin = letter.cut(data, letter.MOST_EVENT_BYTES + 4 * redactor.longest)[0]  # bytes of a character at most
        text = redactor.beginning(begin, most)
        return text, True, text != begin[:most]
    if not redactor.may_be_in(data.decode()):
        return data.decode(), not whole, False
    try:
        clean = redactor.value(bare)
    except RecursionError:  # so deep that it is kept as Python shows it
        clean, whole = redactor.text(repr(bare)), False
    text, long = letter.of_event(clean)
    return text, long or not whole, clean != bare


def _without_envelope(value: Any, depth: int) -> Any:
    """It is in the event itself, or in the payload of a message."""
    if not isinstance(value, dict) or not depth:
        return value
    if ENVELOPE in value or any(isinstance(inner, dict) for inner in value.values()):
        return {key: _without_envelope(inner, depth - 1) for key, inner in value.items() if key != ENVELOPE}
    return value
