"""The dedupe action: events whose key was seen a short time ago are dropped."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Annotated, ClassVar

import orjson
from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from core import backoff, clock
from core.dsl.component import REGISTRY, Env, Event, Run
from core.dsl.connections.leases import LAST_WORDS_SECONDS, namespace_of
from core.dsl.events import select
from core.dsl.events.codegen import Warn
from core.dsl.events.select import MISSING, Selector
from core.dsl.language.action import Each, Settled, Waiter, WaitingAction
from core.dsl.language.duration import Duration
from core.errors import SluiceError
from core.model import kv
from core.model.kv import Namespace, Op, Verb

SEEN = "seen"
CLAIM_MS = 60_000  # how long an output may take before an event that is on its way counts as lost
FIRST_LOOK_SECONDS = 0.05  # between looks at what others have claimed
LONGEST_LOOK_SECONDS = 1.0
KeyOf = Callable[[Event], str | None]


def _one_or_many(value: object) -> object:
    return (value,) if isinstance(value, str) else value


def _bounded(seconds: float) -> float:
    if not 0.001 <= seconds <= kv.MAX_TTL_MS / 1000:
        raise ValueError("ttl is at least 1ms and at most ten years")
    return seconds


@REGISTRY.register("dedupe")
class Dedupe(WaitingAction):
    """Drop events whose key was seen within the TTL; the first one goes on.

    Without `namespace` the keys are kept in the memory of the job: fast, not shared by replicas, gone with a restart.
    With one they are kept in the KV store and shared by all jobs that name it. There a key counts as seen when the
    output has accepted its event, so a crash in between loses nothing; until then the event is claimed, and who meets
    it in another replica waits for what becomes of it (a minute at most). An event without one of the fields goes on,
    with a warning.
    """

    example: ClassVar[str] = """
name: once-each
input:
  echo:
    json: true
    event: |
      {"id": 1}
      {"id": 1}
      {"id": 2}
actions:
  - dedupe: {fields: [id], ttl: 10m}
output: {print: STDOUT}
"""

    fields: Annotated[
        tuple[Selector, ...],
        BeforeValidator(_one_or_many),
        WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}),
    ] = ()
    """The fields whose values together are the key. Left out: the whole event."""
    ttl: Annotated[Duration, AfterValidator(_bounded)] = 3600.0
    """How long a key is remembered after it was first seen."""
    namespace: str | None = Field(default=None, min_length=1, max_length=kv.MAX_NAMESPACE_BYTES)
    """Remember the keys in this namespace of the KV store instead of in memory."""
    max_keys: int = Field(default=100_000, ge=1, le=10_000_000)
    """In memory, remember at most so many keys; the oldest are forgotten first."""

    @property
    def waits(self) -> bool:
        return self.namespace is not None

    def each(self, env: Env, warn: Warn) -> Each:
        """In memory; that is also the dry form of the other."""
        key_of, ttl, most = self._key_of(warn), self.ttl, self.max_keys
        seen: dict[str, float] = {}  # key -> when it is forgotten; the oldest first, for all live equally long
        now = clock.monotonic

        def dedupe(event: Event, run: Run) -> Event | None:
            key = key_of(event)
            if key is None:
                return event
            moment = now()
            if seen.get(key, 0.0) > moment:
                return None
            seen.pop(key, None)
            seen[key] = moment + ttl
            while (oldest := next(iter(seen))) and (len(seen) > most or seen[oldest] <= moment):
                del seen[oldest]
            return event

        return dedupe

    def _key_of(self, warn: Warn) -> KeyOf:
        getters = [(field, select.getter(select.parse(field))) for field in self.fields]

        def key(event: Event) -> str | None:
            parts = []
            for field, get in getters:
                value = get(event)
                if value is MISSING:
                    warn(f"the field {field} is missing; the event goes on")
                    return None
                parts.append(value)
            text = orjson.dumps(parts if getters else event, option=orjson.OPT_SORT_KEYS)
            return text.decode() if len(text) <= 64 else hashlib.blake2b(text, digest_size=20).hexdigest()

        return key

    def open(self, env: Env, warn: Warn) -> Waiter:
        assert self.namespace is not None
        return _Shared(namespace_of(env, self.namespace), self._key_of(warn), int(self.ttl * 1000), env)


class _Shared:
    """Keys in the KV store: claimed when an event comes, seen when its output has accepted it."""

    def __init__(self, space: Namespace, key_of: KeyOf, ttl_ms: int, env: Env) -> None:
        self._space = space
        self._key_of = key_of
        self._ttl_ms = ttl_ms
        self._env = env
        self._claim = f"claim {env.workload} {clock.token()}"
        # One process runs a workload, so a claim of ours under another token was left by a run that has ended.
        self._left_behind = f"claim {env.workload} "
        self._claimed: set[str] = set()  # by this instance, and not yet told to the store as seen
        self._tasks: set[asyncio.Task[None]] = set()

    async def work(self, events: list[Event], run: Run, on_settled: Callable[[Settled], None]) -> list[Event | None]:
        out: list[Event | None] = list(events)
        fresh: dict[str, int] = {}
        for place, event in enumerate(events):
            key = self._key_of(event)
            if key is None:
                continue
            if key in fresh or key in self._claimed:
                out[place] = None
            else:
                fresh[key] = place
        if not fresh:
            return out
        mine: set[str] = set()
        self._claimed |= fresh.keys()
        on_settled(lambda error: self._settled(mine, error))
        try:
            async for key, ours in self._decide(list(fresh)):
                if ours:
                    mine.add(key)
                else:
                    out[fresh[key]] = None
        finally:
            self._claimed -= fresh.keys() - mine
        return out

    async def _decide(self, keys: list[str]) -> AsyncIterator[tuple[str, bool]]:
        """Yield (key, whether we have claimed it) until every key is decided."""
        looks = 0
        while keys:
            claimed = await self._space.apply([self._claiming(Verb.SET_IF_ABSENT, key) for key in keys])
            there = []
            for key, result in zip(keys, claimed, strict=True):
                if result.done:
                    yield key, True
                else:
                    there.append(key)
            found = await self._space.apply([Op(Verb.GET, key) for key in there]) if there else []
            keys, again = [], []
            for key, result in zip(there, found, strict=True):
                if result.value is None:
                    keys.append(key)
                elif result.value.startswith(self._left_behind):
                    again.append(key)
                elif result.value.startswith("claim "):
                    keys.append(key)  # on its way in another replica
                else:
                    yield key, False
            if again:
                await self._space.apply([self._claiming(Verb.SET, key) for key in again])
                for key in again:
                    yield key, True
            if keys:
                looks += 1
                await asyncio.sleep(backoff.pause(looks, FIRST_LOOK_SECONDS, LONGEST_LOOK_SECONDS, jitter=0.5))

    def _claiming(self, verb: Verb, key: str) -> Op:
        return Op(verb, key, self._claim, CLAIM_MS)

    def _settled(self, keys: set[str], error: BaseException | None) -> None:
        if not keys:
            return
        if error is None:
            ops = [Op(Verb.SET, key, SEEN, self._ttl_ms) for key in keys]
        else:
            ops = [Op(Verb.DELETE, key) for key in keys]
        task = asyncio.get_running_loop().create_task(self._tell(keys, ops))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _tell(self, keys: Iterable[str], ops: list[Op]) -> None:
        try:
            await self._space.apply(ops)
        except SluiceError as error:  # the claims run out: duplicates may pass, and nothing is lost
            self._env.log("warning", f"dedupe: keys could not be kept: {error.message}")
        finally:
            self._claimed.difference_update(keys)

    async def close(self) -> None:
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=LAST_WORDS_SECONDS)
