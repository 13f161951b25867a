"""Calls that an action makes for its events: several in flight in the order of the events, paced, and what becomes of
an event whose call has failed."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Sequence
from enum import StrEnum
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import BeforeValidator, Field, WithJsonSchema, field_validator, model_validator

from core import clock
from core.dsl.component import Config, Env, Event, Run
from core.dsl.connections import http
from core.dsl.connections.answers import Answer, Answers, Cache
from core.dsl.connections.retry import Temporary
from core.dsl.events import select
from core.dsl.events.select import Selector
from core.dsl.language import duration
from core.dsl.language.action import LARGEST_PART
from core.errors import JobFailed, shorten
from core.guard import egress

MOST_AT_ONCE = 64  # calls of one action
PARTS = 16  # how often a part fills all calls: the more, the less is lost by waiting for the slowest of each
HELD_BYTES = 256 * 1024 * 1024  # of answers of one part, at most
LONGEST_SECONDS = 600.0

T = TypeVar("T")
R = TypeVar("R")
_RATE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*/\s*(.+)")


def _rate(value: Any) -> Any:
    """Calls in a second, of `10/s` or `600/1m`. Raises ValueError."""
    if isinstance(value, str):
        found = _RATE.fullmatch(value)
        if found is None:
            raise ValueError(f"{shorten(value, 40)} is not a rate; write a number and a time, as in 10/s or 600/1m")
        per = found[2] if found[2][:1].isdigit() else f"1{found[2]}"
        seconds = duration.parse(per)
        value = float(found[1]) / seconds if seconds else 0.0
    if not isinstance(value, float) or not 1e-6 <= value <= 1e6:
        raise ValueError("a rate is between one in eleven days and a million in a second, as in 10/s or 600/1m")
    return value


Rate = Annotated[
    float,
    BeforeValidator(_rate),
    WithJsonSchema({"type": "string", "pattern": r"^\s*\d+(\.\d+)?\s*/", "examples": ["10/s", "600/1m"]}),
]


class Calling(Config):
    """The keys of an action that calls somebody for its events."""

    concurrency: int = Field(default=4, ge=1, le=MOST_AT_ONCE)
    """How many calls are in flight at once, of events that came in together; their order is kept."""
    rate_limit: Rate | None = None
    """At most so many calls in a time, retries too, evenly spread: `10/s`, `600/1m`. Of each replica."""
    cache: Cache | None = None
    """Remember answers, so that the same request is not sent again."""
    on_error: Literal["fail", "skip", "field"] = "fail"
    """What becomes of an event whose call has failed. `fail`: it is refused as the `on-error` of the job says, by
    default as a dead letter; an outage fails the run, whose events come again. `skip`: it goes on as it is. `field`: it
    goes on with what went wrong in `error-field`. All are counted."""
    error_field: Selector = "error"
    """With `on-error: field`, the field for {code, message, status}; codes: refused, denied, unreachable,
    unusable, unsendable."""

    @field_validator("on_error", mode="before")
    @classmethod
    def _no_queue(cls, value: object) -> object:
        if isinstance(value, str) and value.startswith("dlq:"):
            raise ValueError(
                "dead letters have no queues with names; write fail, and give the job an on-error with send for a"
                " channel or a message"
            )
        return value

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if "error_field" in self.model_fields_set and self.on_error != "field":
            raise ValueError("error-field is for on-error: field")
        return self


class Why(StrEnum):
    """Why a call gave no usable answer, for programs."""

    REFUSED = "refused"  # a 3xx or 4xx: the other side does not do this for this event
    DENIED = "denied"  # 401, 403 or 407: it does nothing for us
    UNREACHABLE = "unreachable"  # no answer, 408, 429 or 5xx, after all tries
    UNUSABLE = "unusable"  # an answer that is not what the action needs
    UNSENDABLE = "unsendable"  # the values of the event make no request


OUTAGES = frozenset((Why.DENIED, Why.UNREACHABLE))  # no event is at fault


class CallFailed(JobFailed):
    """A call gave no usable answer."""

    def __init__(self, why: Why, message: str, *, hint: str = "", status: int = 0, said: str = "") -> None:
        """`said` is what the other side said of it. That is for logs, in which secrets are masked, and not for events:
        it may repeat what it was sent."""
        super().__init__(f"{message}: {said}" if said else message, hint=hint)
        self.why = why
        self.status = status
        self.plain = message


def check_answer(reply: egress.Reply, where: str) -> None:
    """Raise for a status that is no success: Temporary for what may pass, CallFailed for the others."""
    if 200 <= reply.status < 300:
        return
    http.check_temporary(reply, where)
    why = Why.DENIED if reply.status in (401, 403, 407) else Why.REFUSED
    text, said = f"{where} answered {reply.status}", shorten(reply.body.decode(errors="replace"), 120)
    if 300 <= reply.status < 400:
        text, said = f"{where} redirects, and redirects are not followed", shorten(reply.header("location"), 120)
    raise CallFailed(why, text, status=reply.status, said=said)


class Caller:
    """Makes the calls of one opened action."""

    def __init__(self, config: Calling, env: Env, name: str) -> None:
        """`name` is that of the action, for messages."""
        self._config = config
        self._env = env
        self._name = name
        self._free = asyncio.Semaphore(config.concurrency)  # also among runs at the same time
        self._pause = 1.0 / config.rate_limit if config.rate_limit else 0.0
        self._next = 0.0  # when a call may begin, on the monotonic clock
        self._answers = None if config.cache is None else Answers(config.cache, env)
        self._put_error = select.setter(select.parse(config.error_field))

    async def of_events(
        self,
        events: list[Event],
        together: int,
        run: Run,
        take: Callable[[Event, Run], T],
        ask: Callable[[list[tuple[Event, T]]], Awaitable[list[Event | None]]],
    ) -> list[Event | None]:
        """Each event with its answer, or None for one that is refused.

        `take` gives what is sent of an event, and may raise Unsendable. `ask` asks about the events of one request, up
        to `together`, and may raise JobFailed; when it is refused, each of them is asked about by itself.
        """
        acting = run.acting
        out: list[Event | None] = [None] * len(events)

        async def call(places: Sequence[int]) -> None:
            asked: list[tuple[int, T]] = []
            for place in places:
                try:
                    asked.append((place, take(events[place], run)))
                except http.Unsendable as fault:
                    out[place] = self.failed(fault, events[place], run, acting)
            if not asked:
                return
            try:
                answered = await ask([(events[place], taken) for place, taken in asked])
            except JobFailed as fault:
                if len(asked) > 1 and isinstance(fault, CallFailed) and fault.why is Why.REFUSED:
                    for place, _ in asked:  # which of them is it
                        await call([place])
                    return
                answered = [self.failed(fault, events[place], run, acting) for place, _ in asked]
            for (place, _), event in zip(asked, answered, strict=True):
                out[place] = event

        await self.in_order(
            [range(at, min(at + together, len(events))) for at in range(0, len(events), together)], call
        )
        return out

    async def in_order(self, items: Sequence[T], call: Callable[[T], Awaitable[R]]) -> list[R]:
        """What `call` makes of each item, in their order, with as many at once as there may be.

        The first fault is raised when all that was begun has come to its end: the other side does it, and may want
        money for it, whoever waits for the answer, which a cache then has.
        """
        out: list[Any] = [None] * len(items)
        left = iter(enumerate(items))
        faults: list[Exception] = []

        async def work() -> None:
            for at, item in left:
                async with self._free:
                    if faults:
                        return
                    try:
                        out[at] = await call(item)
                    except Exception as fault:  # raised below, when the others have ended
                        faults.append(fault)
                        return

        tasks = {asyncio.create_task(work()) for _ in range(min(self._config.concurrency, len(items)))}
        try:
            if tasks:
                await asyncio.wait(tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        if faults:
            raise faults[0]
        return out

    async def answer(self, request: Any, ask: Callable[[], Awaitable[Answer]]) -> Any:
        """The answer to a request, asked for or remembered; see Answers.of."""
        if self._answers is None:
            return (await ask()).value
        return await self._answers.of(request, ask)

    async def begin(self) -> None:
        """Wait until one more call may be sent, and count it."""
        if self._pause:
            now = clock.monotonic()
            at = self._next = max(now, self._next)
            self._next += self._pause
            if at > now:
                await asyncio.sleep(at - now)
        self._env.tally.calls += 1

    def failed(self, fault: JobFailed, event: Event, run: Run, acting: tuple[str, str]) -> Event | None:
        """What becomes of an event whose call has failed; None: it is refused.

        Raises the fault when the run is to fail of it.
        """
        why = _why(fault)
        if why is None:
            raise fault
        self._env.tally.calls_failed += 1
        text = f"{self._name}: {fault.message}"
        if self._config.on_error == "fail":
            if why in OUTAGES:
                raise fault
            run.fail(self._env, f"{text}; the event is refused", event, acting)
            return None
        run.refuse(self._env, f"{text}; the event goes on without an answer")
        if self._config.on_error == "skip":
            return event
        message = fault.plain if isinstance(fault, CallFailed) else fault.message
        told: dict[str, Any] = {"code": str(why), "message": shorten(message, 300)}
        if isinstance(fault, CallFailed | Temporary) and fault.status:
            told["status"] = fault.status
        try:
            self._put_error(event, told)
        except ValueError as error:
            run.fail(self._env, f"{self._name}: {error}; the event is refused", event, acting)
            return None
        return event


def _why(fault: JobFailed) -> Why | None:
    """Why a call has failed; None for what is wrong with the document or its secrets, or that stops the job."""
    match fault:
        case CallFailed():
            return fault.why
        case http.Unsendable():
            return Why.UNSENDABLE
        case http.BadAnswer():
            return Why.UNUSABLE
        case Temporary():
            return Why.UNREACHABLE
    return None


def most_at_once(concurrency: int, together: int, answer_bytes: int) -> int:
    """How many events an action takes at once: enough to keep its calls in flight, few enough for what is in memory."""
    calls = min(concurrency * PARTS, max(concurrency, HELD_BYTES // answer_bytes))
    return max(1, min(LARGEST_PART, calls * together))
