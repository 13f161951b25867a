"""A run is canceled: what is recorded of it first, and how it comes to an end where its message is.

That somebody wants its end is committed, with who and why; from then on its message goes to nobody again. A message
that no replica has taken is withdrawn, and the run ends at once. The worker that has it is asked to stop at its next
wait, and the run ends when it says that it has, or has not said so for CONFIRM_SECONDS: no worker is ended for it.
Between this end and every other one the store decides (Pending), and what comes after it is an event of the record.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import orjson

from core import clock, errors
from core.bus.base import Bus
from core.model.canceling import Stopped
from core.model.message import Type
from core.model.principal import Caller
from core.model.states import InvocationState
from core.store import audit, invocations, run_commits
from core.store.database import Database
from core.triggers.pending import Open, Pending

CONFIRM_SECONDS = 10.0
REQUESTED = "cancel_requested"  # the event of a record

_WITHDRAWN = "No replica of the job had taken its message, which was withdrawn: nothing was done."
_STOPPED = "Its worker has stopped the run of the job; what it had done by then stays done."
_OVER = "The run of the job was over, without a valid answer; what it has done stays done."
_SHARED = "The job takes messages in batches, and had taken this one: the work may go on, and no answer counts."
_SILENT = "Its worker has not said that it has stopped ({}): the work may go on, and no answer counts."


async def ask(bus: Bus, worker: str, name: str, arguments: list[Any]) -> tuple[Stopped | None, str]:
    """What a worker answers that is asked to end a run; None, and why, when it does not answer, or not that."""
    try:
        return Stopped(await bus.request(worker, name, arguments, CONFIRM_SECONDS)), ""
    except errors.SluiceError as fault:
        return None, errors.shorten(fault.message.rstrip("."), 200)
    except ValueError:
        return None, "it answered in words of another version"


class Canceler:
    """Use from the engine's loop."""

    def __init__(
        self, database: Database, bus: Bus, ids: clock.Ids, pending: Pending, tell: Callable[..., Any]
    ) -> None:
        """`tell` sends a message of the engine (Traffic.tell)."""
        self._database = database
        self._bus = bus
        self._ids = ids
        self._pending = pending
        self._tell = tell
        self._under_way: dict[int, asyncio.Task[None]] = {}
        self.listeners: list[Callable[[str, int, str, str], Callable[[], None]]] = []
        """Called before the worker of a workload is asked to end the run of a delivery, with who wants it and why; what
        they return is called when it has answered, or has not within CONFIRM_SECONDS."""

    async def cancel(self, id: int, caller: Caller, reason: str) -> None:
        """Bring a run to an end; returns when it has one, whichever that is. One that has ended stays as it is.

        It goes on when whoever waits here goes away. Raises StorageUnavailable when the wish could not be recorded.
        """
        task = self._under_way.get(id)
        if task is None:
            entry = self._pending.find(id)
            if entry is None:
                return
            task = self._begin(entry, self._asked(entry, caller, reason))
        await asyncio.shield(task)

    def resume(self, entry: Open) -> bool:
        """End a run that an earlier owner was canceling when it ended; false for any other one."""
        asked = next((one for one in orjson.loads(entry.run.events) if one["type"] == REQUESTED), None)
        if asked is None:
            return False
        entry.canceling = True
        self._begin(entry, self._ended(entry, asked, None, "the engine ended meanwhile"))
        return True

    def _begin(self, entry: Open, work: Any) -> asyncio.Task[None]:
        task: asyncio.Task[None] = asyncio.create_task(work)
        self._under_way[entry.run.id] = task

        def done(task: asyncio.Task[None]) -> None:
            del self._under_way[entry.run.id]
            if not task.cancelled():
                task.exception()  # told to whoever waits; nobody may

        task.add_done_callback(done)
        return task

    async def _asked(self, entry: Open, caller: Caller, reason: str) -> None:
        run = entry.run
        asked = {"by": caller.username, "surface": caller.surface.value, **({"reason": reason} if reason else {})}
        event = invocations.encode_event(clock.now_ns(), REQUESTED, **asked)
        operation, target = "trigger_invocation_cancel", f"{run.tenant}/{entry.text_id}"
        note = audit.row(self._ids.next(), caller, operation, target, reason=reason)
        if not await self._database.write(run_commits.request_cancel, run.id, event, note):
            return
        if self._pending.find(run.id) is not entry:
            return  # it ended meanwhile: only the history has more
        self._pending.cancel_requested(entry, event)
        if run.message_id is not None and self._bus.cancel(run.message_id, entry.group):
            await self._ended(entry, asked, Stopped.STOPPED, hint=_WITHDRAWN)
            return
        held = None if run.message_id is None else self._bus.held(run.message_id)
        if held is None or held.consumer is None:
            await self._ended(entry, asked, Stopped.OVER)
            return
        workload = held.consumer.workload
        heard = [listener(workload, held.id, caller.username, reason) for listener in self.listeners]
        try:
            answer, why = await ask(self._bus, held.consumer.worker, "cancel", [workload, held.id])
        finally:
            for over in heard:
                over()
        await self._ended(entry, asked, answer, why)

    async def _ended(
        self, entry: Open, asked: dict[str, Any], answer: Stopped | None, why: str = "", *, hint: str = ""
    ) -> None:
        """End the run as its worker answered (None: it did not, and `why`), and tell, if that is how it ended."""
        hints = {Stopped.STOPPED: _STOPPED, Stopped.OVER: _OVER, Stopped.SHARED: _SHARED}
        confirmed = answer in (Stopped.STOPPED, Stopped.OVER)
        by, reason = str(asked["by"]), str(asked.get("reason", ""))
        if self._pending.find(entry.run.id) is entry:
            result = {
                "status": "accepted_for_dispatch",
                "mode": "response_slot",
                "state": InvocationState.CANCELED.value,
                "canceled_by": by,
                "reason": reason,
                "confirmed": confirmed,
                "hint": hint or (_SILENT.format(why) if answer is None else hints[answer]),
            }
            self._pending.canceled(entry, result, confirmed=confirmed)
        record = await self._pending.get(entry.run.id, CONFIRM_SECONDS)
        if record is not None and record["state"] == InvocationState.CANCELED:
            told: dict[str, Any] = {"invocation_id": entry.text_id, "trigger_slug": entry.run.slug, "by": by}
            told |= {"reason": reason, "confirmed": confirmed}
            self._tell(entry.run.tenant, type=Type.INVOCATION_CANCELED, job=entry.group[1], data=told)

    def close(self) -> None:
        """What is under way is ended by the next owner: it reads what was wanted in the records."""
        for task in list(self._under_way.values()):
            task.cancel()
