"""Dead letters: events that jobs refused, to look at, to replay and to let go."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

from pydantic import Field, StringConstraints

from core import errors
from core.engine import Engine
from core.model import letter, results
from core.model.letter import Code, Letter, Status
from core.model.operation import Effect, Loss, Params
from core.model.principal import Caller, Role
from core.operations.losses import counted
from core.operations.registry import LISTED, Page, fitting, operation, position, rows_page
from core.store.letter_rows import Wanted

LetterId = Annotated[str, StringConstraints(pattern="^let_[0-9a-f]{16}$")]


class _Of(Page):
    job: str | None = Field(default=None, max_length=200)
    """Only of this job."""
    code: Code | None = None
    """Only those refused for this reason."""


class DeadLetterList(_Of):
    deployment: str | None = Field(default=None, max_length=200)
    """Only of this deployment."""
    status: Status | None = None
    """Only those with this status."""


@operation(
    summary="List dead letters, newest first: events that jobs refused.",
    http="GET /api/dead-letters",
    toolset="letters",
    outline=LISTED,
    offline=False,
    role=Role.VIEWER,
)
async def dead_letter_list(engine: Engine, caller: Caller, params: DeadLetterList) -> results.letters.LetterList:
    """List dead letters, newest first, without their events. `box`: how many wait, and how many were dropped because
    there was no room (of the job, or of all)."""
    wanted = Wanted(caller.tenant, params.job or "", params.deployment or "", params.code or "", params.status or "")
    rows, total = await engine.letters.page(wanted, position(params.cursor) or 0, params.limit + 1)
    found = rows_page(rows, params.limit, Letter.summary, lambda row: str(row.id))
    box = engine.letters.of(caller.tenant, [params.job] if params.job else None)
    return {**found, "total": total, "box": box.to_dict()}


class DeadLetterGet(Params):
    id: LetterId
    """The letter."""


@operation(
    summary="Show one dead letter with its event.",
    http="GET /api/dead-letters/{id}",
    toolset="letters",
    offline=False,
    role=Role.VIEWER,
)
async def dead_letter_get(engine: Engine, caller: Caller, params: DeadLetterGet) -> results.letters.Letter:
    """Show a letter: where its event was refused, why, how often, and the event as it was at that step (the beginning
    of its text when it was cut)."""
    found = await engine.letters.get(caller.tenant, letter.number(params.id))
    return found.to_dict(is_read=engine.letter_replays.reads(caller.tenant, found.job))


@operation(
    summary="Export dead letters with their events, oldest first.",
    http="GET /api/dead-letters/export",
    toolset="letters",
    offline=False,
    role=Role.VIEWER,
)
async def dead_letter_export(engine: Engine, caller: Caller, params: _Of) -> results.Page[results.letters.Letter]:
    """Letters with their events, oldest first, a page at a time."""
    wanted = Wanted(caller.tenant, job=params.job or "", code=params.code or "")
    rows = await engine.letters.whole(wanted, position(params.cursor) or 0, params.limit + 1)
    jobs = {row.job: engine.letter_replays.reads(caller.tenant, row.job) for row in rows}
    shown = fitting(row.to_dict(is_read=jobs[row.job]) for row in rows[: params.limit])
    more = len(shown) < len(rows)
    return {"items": shown, "next_cursor": str(rows[len(shown) - 1].id) if more and shown else None}


class _Which(Params):
    ids: list[LetterId] = Field(default_factory=list, max_length=200)
    """These letters."""
    job: str | None = Field(default=None, max_length=200)
    """Those of this job."""
    code: Code | None = None
    """Of the job only those with this code."""
    limit: int = Field(default=1000, ge=1, le=10_000)
    """At most so many, the oldest first."""

    def wanted(self, tenant: str, status: str = "") -> Wanted:
        """Raises InvalidParams when it names none."""
        if not self.ids and self.job is None:
            raise errors.InvalidParams(
                "This names no letters.", hint="Give ids, or job.", errors=[errors.Problem("/ids", "is missing")]
            )
        return Wanted(tenant, self.job or "", "", self.code or "", status, tuple(letter.number(id) for id in self.ids))


class DeadLetterDiscard(_Which):
    pass


async def _letters_go(engine: Engine, caller: Caller, params: DeadLetterDiscard) -> Loss | None:
    wanted = replace(params.wanted(caller.tenant), resting=True)
    found = await engine.letters.oldest(wanted, params.limit)
    jobs = counted("job", sorted({one.job for one in found}))
    text = (
        f"Of {jobs} go for good, the oldest first, {counted('dead letter', (letter.text_id(one.id) for one in found))}."
    )
    return Loss(text, {"limit": len(found)}, where="dead_letter_list") if found else None


@operation(
    summary="Discard dead letters for good.",
    http="POST /api/dead-letters/discard",
    toolset="letters",
    effect=Effect.DESTRUCTIVE,
    destroys=_letters_go,
    role=Role.ADMIN,
)
async def dead_letter_discard(
    engine: Engine, caller: Caller, params: DeadLetterDiscard
) -> results.letters.LettersDiscarded:
    """Let letters and their events go, by ids or of a job; room for new ones is there then.

    `replaying`: so many stay, for they are being replayed; discard those that wait again when that has ended.
    """
    if params.job is not None:
        await engine.letter_replays.refuse_unknown(caller.tenant, params.job)
    gone, replaying = await engine.letters.discard(caller, params.wanted(caller.tenant), params.limit)
    return {"discarded": gone, "replaying": replaying}


class DeadLetterReplay(_Which):
    step: str = Field(default="", max_length=200, pattern=r"^(/actions/[0-9]{1,3}|/output)?$")
    """From this step (/actions/N or /output) in place of the one that refused the event."""
    wait_seconds: int = Field(default=10, ge=0, le=60)
    """How long to wait for the end; it goes on."""


@operation(
    summary="Replay dead letters through their job.",
    http="POST /api/dead-letters/replay",
    toolset="letters",
    effect=Effect.WRITE,
    role=Role.OPERATOR,
)
async def dead_letter_replay(
    engine: Engine, caller: Caller, params: DeadLetterReplay
) -> results.letters.LettersReplayed:
    """Take letters that wait through the present version of their job, from the step that refused them; 100 a second.

    `refused`: again, with one attempt more. `not_now`: not tried, or cut short by a fault that `reason` tells.
    `not_replayable`: there is no whole event.
    """
    wanted = params.wanted(caller.tenant)
    if params.job is not None:
        await engine.letter_replays.refuse_unknown(caller.tenant, params.job)
    tally = await engine.letter_replays.replay(caller, wanted, params.step, params.limit, params.wait_seconds)
    return {
        "replayed": tally.replayed,
        "refused": tally.refused,
        "not_now": tally.not_now,
        "not_replayable": tally.not_replayable,
        "replaying": len(tally.left),
        "reason": tally.reason or None,
    }
