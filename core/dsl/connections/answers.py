"""Answers that are remembered: in memory, bounded in number, bytes and age, and with a namespace in the KV store."""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

import orjson
from pydantic import Field, field_validator

from core import clock
from core.dsl.component import Config, Env
from core.dsl.connections.leases import namespace_of
from core.dsl.language.duration import Duration
from core.errors import SluiceError
from core.model import kv
from core.model.kv import Namespace

ENTRY_BYTES = 200  # that an entry takes besides its text, about
MOST_TTL_SECONDS = 30 * 86_400.0


class Cache(Config):
    """Remember answers that are a success, by the whole request: method, address, headers and body."""

    ttl: Duration = 300.0
    """How long an answer is remembered, at most 30 days."""
    max_entries: int = Field(default=10_000, ge=1, le=1_000_000)
    """In memory, remember at most so many; those that were not asked for longest are forgotten first."""
    max_bytes: int = Field(default=16 * 1024 * 1024, ge=1024, le=256 * 1024 * 1024)
    """The same in bytes, about."""
    namespace: str | None = Field(default=None, min_length=1, max_length=kv.MAX_NAMESPACE_BYTES)
    """Keep them in this namespace of the KV store as well, for replicas, other jobs, and after a restart; an answer of
    more than 1 MiB, or with a secret of the tenant in it, stays in memory."""

    @field_validator("ttl")
    @classmethod
    def _bounded(cls, value: float) -> float:
        if not 0.001 <= value <= MOST_TTL_SECONDS:
            raise ValueError("ttl is at least 1ms and at most 30d")
        return value


class Answer(NamedTuple):
    """What a call gave: a JSON value, and whether it is to be remembered."""

    value: Any
    success: bool = True


class Answers:
    """Those of one opened action. The same request is under way only once; who asks meanwhile waits for its answer."""

    def __init__(self, config: Cache, env: Env) -> None:
        self._config = config
        self._env = env
        self._space: Namespace | None = None if config.namespace is None else namespace_of(env, config.namespace)
        self._kept: OrderedDict[str, tuple[float, bytes]] = OrderedDict()  # the last asked for last
        self._bytes = 0
        self._under_way: dict[str, asyncio.Event] = {}

    async def of(self, request: Any, ask: Callable[[], Awaitable[Answer]]) -> Any:
        """The answer to a request (any JSON value that tells it from others), remembered or asked for.

        Raises what `ask` raises; faults are not remembered.
        """
        key = hashlib.blake2b(orjson.dumps(request, option=orjson.OPT_SORT_KEYS), digest_size=20).hexdigest()
        while (text := self._remembered(key)) is None and (other := self._under_way.get(key)) is not None:
            await other.wait()
        if text is not None:
            self._env.tally.cache_hits += 1
            return orjson.loads(text)
        ended = self._under_way[key] = asyncio.Event()
        try:
            if (text := await self._stored(key)) is not None:
                self._env.tally.cache_hits += 1
                return orjson.loads(text)
            self._env.tally.cache_misses += 1
            answer = await ask()
            if answer.success:
                self._remember(key, text := orjson.dumps(answer.value), self._config.ttl)
                await self._store(key, text)
            return answer.value
        finally:
            del self._under_way[key]
            ended.set()

    def _remembered(self, key: str) -> bytes | None:
        found = self._kept.get(key)
        if found is None:
            return None
        until, text = found
        if until <= clock.monotonic():
            self._forget(key)
            return None
        self._kept.move_to_end(key)
        return text

    def _remember(self, key: str, text: bytes, seconds: float) -> None:
        self._forget(key)
        if len(text) + ENTRY_BYTES > self._config.max_bytes:
            return
        self._kept[key] = (clock.monotonic() + seconds, text)
        self._bytes += len(text) + ENTRY_BYTES
        while len(self._kept) > self._config.max_entries or self._bytes > self._config.max_bytes:
            self._forget(next(iter(self._kept)))

    def _forget(self, key: str) -> None:
        if (found := self._kept.pop(key, None)) is not None:
            self._bytes -= len(found[1]) + ENTRY_BYTES

    async def _stored(self, key: str) -> bytes | None:
        """What the KV store has, now remembered here for as long as it holds there."""
        found = None if self._space is None else (await self._space.get(key)).value
        try:
            until_ms, value, proof = orjson.loads(found or "null")
            left = until_ms / 1000 - clock.now_ns() / clock.NANOSECONDS
        except (TypeError, ValueError):  # nothing, or what somebody else has put there
            return None
        if left <= 0 or proof != _digest(text := orjson.dumps(value)):
            return None
        self._remember(key, text, min(left, self._config.ttl))
        return text

    async def _store(self, key: str, text: bytes) -> None:
        """Keep it in the store, too. One that takes nothing now costs calls and no event, so it is told and no more."""
        if self._space is None or len(text) > kv.MAX_VALUE_BYTES - ENTRY_BYTES:
            return
        until_ms = clock.now_ns() // 1_000_000 + int(self._config.ttl * 1000)
        try:
            kept = f'[{until_ms},{text.decode()},"{_digest(text)}"]'
            await self._space.set(key, kept, int(self._config.ttl * 1000))
        except SluiceError as error:
            self._env.log("warning", f"cache: an answer could not be kept in the KV store: {error.message}")


def _digest(text: bytes) -> str:
    """By which an answer is known to be what was given: the store takes secrets out of what it keeps."""
    return hashlib.blake2b(text, digest_size=12).hexdigest()
