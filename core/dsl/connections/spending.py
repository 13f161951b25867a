"""What calls of models use up: tokens and money, counted, and kept within the budget that a document sets."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from dataclasses import dataclass
from typing import Literal, Self

import msgspec
from pydantic import Field, model_validator

from core import clock
from core.dsl.component import Config, Env, Run
from core.dsl.connections.leases import namespace_of
from core.dsl.connections.models import Usage
from core.dsl.language.action import JobAborted
from core.errors import JobFailed
from core.model import kv
from core.model.kv import Namespace

KEPT_MS = 3 * 86_400_000  # how long a day is remembered
MOST_RUNS = 1000  # of one instance that are remembered at once: more than can be under way
MILLION = 1_000_000
MOST_COUNTED = 2**62  # of what others tell; a frame holds no more than 64 bits


class Prices(Config):
    """What a million tokens cost, in a unit of the document's choice."""

    prompt: float = Field(default=0.0, ge=0, le=1e6)
    """Of what the model reads."""
    completion: float = Field(default=0.0, ge=0, le=1e6)
    """Of what it writes."""


class Budget(Config):
    """How much may be used up. No call is made when it is; those in flight then come to their end. A server that does
    not tell what an answer took stops the job, which is not restarted."""

    tokens: int | None = Field(default=None, ge=1)
    """So many tokens, read and written."""
    cost: float | None = Field(default=None, gt=0)
    """So much money, in the unit of `prices`."""
    per: Literal["run", "day"] = "day"
    """`day`: of UTC, and of all replicas; the job fails, is tried again, and goes on with the next day. `run`: the job
    stops as with the action abort, and is not restarted; of a job that reads without an end that is all of it."""
    namespace: str = Field(default="infer-budget", min_length=1, max_length=kv.MAX_NAMESPACE_BYTES)
    """The namespace of the KV store in which a day is counted."""

    @model_validator(mode="after")
    def _something(self) -> Self:
        if self.tokens is None and self.cost is None:
            raise ValueError("a budget has tokens, cost, or both")
        return self


@dataclass(slots=True)
class Used:
    """What was used up."""

    tokens: int = 0
    millionths: int = 0  # of the unit of the prices


class Kept(msgspec.Struct):
    """What one action of one replica has used up on a day, as it stands in the KV store."""

    tokens: int
    cost_millionths: int


class Spending:
    """Of one opened action."""

    def __init__(self, prices: Prices, budget: Budget | None, env: Env) -> None:
        self._prices = prices
        self._budget = budget
        self._env = env
        self._told_nothing = False
        self._runs: OrderedDict[str, Used] = OrderedDict()
        self._day = ""
        self._own = Used()  # of that day
        self._others = Used()
        self._saving = asyncio.Lock()
        self._space: Namespace | None = None
        if budget is not None and budget.per == "day":
            self._space = namespace_of(env, budget.namespace)

    async def begin(self, acting: str) -> None:
        """Before the calls of a part of a batch: what others have used up today. `acting` is the pointer of the action.

        Raises what the KV store raises: a budget that cannot be read is none that can be kept.
        """
        if self._space is None:
            return
        day = self._today()
        own_key = self._key(day, acting)
        own, others, after = None, Used(), ""
        while True:
            page = await self._space.list(f"{self._env.job}/{day}/", after)
            for entry in page.entries:
                kept = _kept(entry)
                if entry.key == own_key:
                    own = Used(kept.tokens, kept.cost_millionths)
                else:
                    others = Used(others.tokens + kept.tokens, others.millionths + kept.cost_millionths)
            if not page.more:
                break
            after = page.entries[-1].key
        self._others = others
        if day != self._day:
            self._day, self._own = day, own or Used()

    def check(self, run: Run) -> None:
        """Before a call: raises JobFailed or JobAborted when the budget is used up."""
        budget = self._budget
        if budget is None:
            return
        if budget.per == "run":
            used = self._of_run(run)
        else:
            if self._today() != self._day:
                self._day, self._own, self._others = self._today(), Used(), Used()
            used = Used(self._own.tokens + self._others.tokens, self._own.millionths + self._others.millionths)
        over = []
        if budget.tokens is not None and used.tokens >= budget.tokens:
            over.append(f"{used.tokens} of {budget.tokens} tokens")
        if budget.cost is not None and used.millionths >= budget.cost * MILLION:
            over.append(f"{used.millionths / MILLION:.6f} of {budget.cost:g} in money")
        if over and budget.per == "run":
            raise JobAborted(f"infer: the budget of the run is used up: {' and '.join(over)}")
        if over:
            raise JobFailed(
                f"infer: the budget of {self._day} is used up: {' and '.join(over)}",
                hint="It begins anew at 00:00 UTC; raise budget in the document to go on now.",
            )

    async def add(self, usage: Usage | None, run: Run, acting: str) -> int:
        """After a call; what it has cost, in millionths. Raises JobAborted when a budget cannot be kept."""
        if usage is None:
            if self._budget is not None:
                raise JobAborted(  # the next try would be paid for as well
                    "infer: the server does not tell how many tokens it used, so the budget cannot be kept",
                    hint="Use a server that answers with usage, or leave budget out.",
                )
            if not self._told_nothing:
                self._told_nothing = True
                self._env.log("warning", "infer: the server does not tell how many tokens it used; none are counted")
            return 0
        cost = round(usage.prompt * self._prices.prompt + usage.completion * self._prices.completion)
        tally = self._env.tally
        tally.prompt_tokens = min(tally.prompt_tokens + usage.prompt, MOST_COUNTED)
        tally.completion_tokens = min(tally.completion_tokens + usage.completion, MOST_COUNTED)
        tally.cost_millionths = min(tally.cost_millionths + cost, MOST_COUNTED)
        if self._budget is not None:
            for used in (self._own, self._of_run(run)):
                used.tokens = min(used.tokens + usage.prompt + usage.completion, MOST_COUNTED)
                used.millionths = min(used.millionths + cost, MOST_COUNTED)
        if self._space is not None:
            async with self._saving:  # one after the other, so that what is kept only grows
                kept = Kept(self._own.tokens, self._own.millionths)
                await self._space.set(self._key(self._day, acting), msgspec.json.encode(kept).decode(), KEPT_MS)
        return cost

    def _of_run(self, run: Run) -> Used:
        used = self._runs.setdefault(run.id, Used())
        if len(self._runs) > MOST_RUNS:
            self._runs.popitem(last=False)
        return used

    def _today(self) -> str:
        return clock.iso(clock.now_ns())[:10]

    def _key(self, day: str, acting: str) -> str:
        return f"{self._env.job}/{day}/{self._env.workload.rpartition('#')[2]}{acting}"


def _kept(entry: kv.Entry) -> Kept:
    try:
        return msgspec.json.decode(entry.value, type=Kept)
    except msgspec.MsgspecError as error:
        raise JobFailed(
            f"infer: the key {entry.key} of the budget holds what is no count of tokens",
            hint="Delete it, or give budget a namespace of its own.",
        ) from error
