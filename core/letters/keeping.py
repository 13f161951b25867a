"""What people do with dead letters besides replaying them: look, export, let go."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import orjson

from core import clock, errors
from core.dsl.language.on_error import KEEP, OnError
from core.fleet.letter_calls import letter_of
from core.model import letter
from core.model.letter import Box, Letter, Posted, Status
from core.model.principal import Caller
from core.store import audit, letter_rows
from core.store.database import Database
from core.store.letter_rows import Wanted
from core.store.letterbox import Letterbox, Owner


class DeadLetters:
    """Of one engine."""

    def __init__(self, database: Database, ids: clock.Ids, box: Letterbox) -> None:
        self._database = database
        self._ids = ids
        self.box = box
        self._tasks: set[asyncio.Task[None]] = set()

    async def page(self, wanted: Wanted, before: int, limit: int) -> tuple[Sequence[Letter], int]:
        """Letters from the newest, below an id unless it is 0, without their events; and how many there are in all."""
        rows = await self.box.read(letter_rows.page, wanted, before, limit)
        return rows, await self.box.read(letter_rows.count, wanted)

    async def whole(self, wanted: Wanted, after: int, limit: int) -> list[Letter]:
        """Letters with their events from the oldest, above an id."""
        return await self.box.read(letter_rows.whole, wanted, after, limit)

    async def get(self, tenant: str, id: int) -> Letter:
        """One letter. Raises NotFound."""
        found = await self.whole(Wanted(tenant, ids=(id,)), 0, 1)
        if not found:
            raise errors.NotFound("There is no such dead letter.", hint="dead_letter_list shows what there is.")
        return found[0]

    async def discard(self, caller: Caller, wanted: Wanted, limit: int) -> tuple[int, int]:
        """Let the oldest of some letters go: how many went, and how many stay because they are being replayed, so that
        what is gone is never delivered all the same."""
        found = [one.id for one in await self.oldest(replace(wanted, resting=True), limit)]
        gone = await self._let_go(caller, found, wanted.job) if found else 0
        return gone, await self.box.read(letter_rows.count, replace(wanted, status=Status.REPLAYING))

    async def _let_go(self, caller: Caller, found: Sequence[int], job: str) -> int:
        target = f"{len(found)} of {job or 'several jobs'}"
        row = audit.row(self._ids.next(), caller, "dead_letter_discard", target)
        await self._database.write(audit.insert, row)

        def go(db: letter_rows.Connection, touched: set[tuple[str, str]]) -> int:
            gone = letter_rows.remove(db, found, resting=True)  # a replay may have begun meanwhile
            touched |= {*gone}
            for owner in touched:
                letter_rows.forget_dropped(db, *owner)
            return len(gone)

        return await self.box.change(go)

    def given_up(
        self, owner: Owner, deployment: str, document: Mapping[str, Any], body: bytes, reason: str
    ) -> asyncio.Task[None]:
        """Keep a message that nobody will take any more, unless its job says otherwise; ends when that is done."""
        task = asyncio.create_task(self._keep_message(owner, deployment, document, body, reason))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _keep_message(
        self, owner: Owner, deployment: str, document: Mapping[str, Any], body: bytes, reason: str
    ) -> None:
        try:
            how = OnError.model_validate(document.get("on-error", "keep"))
        except ValueError:
            how = KEEP
        if how.mode != "keep" or how.send is not None:
            return  # a worker would have sent it, and there is none that could take it
        event, truncated = letter.of_event(orjson.loads(body)) if how.event else (None, False)
        posted = Posted(clock.now_ns(), "", "", "", "", "", letter.Code.GIVEN_UP, reason, event, truncated)
        one = letter_of(posted, self.box.new_id(), owner, deployment)
        await self.box.put(owner, [one])

    async def oldest(self, wanted: Wanted, limit: int) -> list[Letter]:
        """The oldest of some letters, without their events."""
        return await self.box.read(letter_rows.oldest, wanted, limit)

    def of(self, tenant: str, jobs: Iterable[str] | None = None) -> Box:
        """How it is with the letters of some jobs together, or of all jobs of a tenant."""
        every = self.box.boxes
        owners = [one for one in every if one[0] == tenant] if jobs is None else [(tenant, job) for job in {*jobs}]
        found = [self.box.box(*owner) for owner in owners]
        return Box(
            sum(one.waiting for one in found),
            sum(one.replayed for one in found),
            sum(one.bytes for one in found),
            sum(one.dropped for one in found),
            max((one.dropped_at_ns for one in found), default=0),
            min((one.oldest for one in found if one.oldest), default=0),
        )
