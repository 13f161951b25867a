"""A plan as text that a person reads in ten seconds: which plan it is, what stands in the way, what changes with the
values on both sides, what stays behind, the count last.

The same text is answered, asked about before an apply, and printed. Lines that begin with `QUOTED` repeat documents and
values of others; all others are Sluice's own words, with names in them that are bounded and printable.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from core import clock
from core.deployments import changes
from core.documents import differences
from core.documents.differences import Difference
from core.errors import shorten
from core.model.plan import QUOTED, Action, Change, Finding, Kind, Plan, Remnant

SIGNS = {Action.CREATE: "+", Action.UPDATE: "~", Action.REMOVE: "-", Action.MOVE: "->"}
PLURAL = {Kind.JOB: "jobs", Kind.CHANNEL: "channels", Kind.TRANSPORT: "transports", Kind.PLACEMENT: "placements"}
LINES = 15  # changes of the short text
NOTES = 5
VALUES = 12  # of the wish, and of each change
CHARACTERS = 5_500  # of the short text: what one answer of a tool holds
QUESTION_CHARACTERS = 2_800  # of the text that a user is asked about
_LONGEST_MORE = 40
_LONGEST_NOTE = 300
_LONGEST_CELL = 130
_SIZES = ("bytes", "kB", "MB", "GB", "TB")


@dataclass(frozen=True, slots=True)
class Room:
    """How much one page of the detailed text holds: characters of its changes with their documents, values of the wish,
    notes of each sort."""

    characters: int
    values: int
    notes: int


WHOLE = Room(100_000, 400, 100)
TOOL = Room(4_000, VALUES, NOTES)  # for who reads answers of a bounded size


@dataclass(frozen=True, slots=True)
class Standing:
    """What a plan is by now: its id (None: a read-only session saves none), on which revision it was made (0: of
    nothing), until when it can be applied."""

    plan_id: str | None
    base_revision: int
    expires_ns: int | None

    def __str__(self) -> str:
        on = f"revision {self.base_revision}" if self.base_revision else "revision 0 (nothing was deployed)"
        if self.plan_id is None:
            return f"Plan not saved: read-only session; made on {on}."
        until = f", valid until {clock.iso(self.expires_ns)}" if self.expires_ns is not None else ""
        return f"Plan {self.plan_id}, made on {on}{until}."

    def rest(self, cursor: int | None = None) -> str:
        """The call that answers what a text leaves out."""
        if self.plan_id is None:
            return "deployment_plan with detail='detailed'"
        page = f", cursor='{cursor}'" if cursor else ""
        return f"plan_get(plan_id='{self.plan_id}', detail='detailed'{page})"


def short(plan: Plan, standing: Standing | None = None, characters: int = CHARACTERS) -> str:
    """The text of a plan within so many characters; the first changes and values, and how to see the rest.

    The placement of jobs that come or go is left out, for their own lines say where.
    """
    wish = _of_wish(plan)
    rest = f": {standing.rest()}" if standing is not None else ""
    return _bounded(_head(plan, standing), plan, wish, _tail(plan, wish, NOTES), rest, characters)


def compared(plan: Plan, head: Sequence[str]) -> str:
    """What differs between two revisions, as a plan from the one to the other, below lines that say which they are."""
    wish = changes.of_wish(plan.desired, plan.base)
    changed = _changed(plan)
    same = ["  No difference."] if not changed and not wish else []
    after = [*same, "", f"In all: {count(changed, plan.summary)}."]
    return _bounded([*head, ""], plan, wish, after, "", CHARACTERS)


def _bounded(
    before: Sequence[str],
    plan: Plan,
    wish: Sequence[Difference],
    after: Sequence[str],
    rest: str,
    characters: int,
) -> str:
    """The changes of a plan between the lines before and after them, as far as there is room."""
    told = _without_implied(_changed(plan))
    room = characters - sum(len(line) + 1 for line in (*before, *after)) - len(rest) - _LONGEST_MORE
    blocks = [[row, *_values(changes.values(change), VALUES)] for change, row in _rows(told[:LINES])]
    lines, left = _within([_values(wish, VALUES), *blocks], room)
    left += max(0, len(told) - LINES)
    if left:
        lines.append(f"  ... and {left} more{rest}")
    return "\n".join([*before, *lines, *after])


def detailed(
    plan: Plan, standing: Standing, page: Sequence[Change], documents: Sequence[str], end: int, room: Room = WHOLE
) -> str:
    """The text of a plan with a page of its changes, which ends before the change number `end`; `documents` are those
    of the page, as diffs."""
    wish = _of_wish(plan)
    lines = [*_head(plan, standing), *_values(wish, room.values)]
    for (_, row), document in zip(_rows(page), documents, strict=True):
        lines += [row, *quote(document)]
    left = len(_changed(plan)) - end
    if left:
        lines.append(f"  ... and {left} more: {standing.rest(end)}")
    return "\n".join([*lines, *_tail(plan, wish, room.notes)])


def quote(document: str) -> list[str]:
    """The lines of a document as a text of a plan repeats them."""
    return [f"{QUOTED}{differences.printable(line)}" for line in document.splitlines()]


def _head(plan: Plan, standing: Standing | None) -> list[str]:
    name, source = shorten(plan.deployment, _LONGEST_CELL), shorten(plan.source, _LONGEST_CELL)
    back = f", back to revision {plan.to_revision}" if plan.to_revision else ""
    lines = [f"Removal of {name}" if plan.remove else f"{name} from {source}{back}"]
    return [*lines, *([str(standing)] if standing is not None else []), ""]


def _tail(plan: Plan, wish: Sequence[Difference], most: int) -> list[str]:
    lines = []
    if not _changed(plan):
        lines.append(
            "  What would change is not known: a blocker stands in the way."
            if plan.blockers
            else "  No job, channel or placement changes."
            if wish
            else "  Nothing to change: what was applied is what is wished for."
        )
    if plan.refused_until:
        lines += ["", *(f"An apply would be refused until {shorten(one)}." for one in plan.refused_until[:most])]
    lines += _notes("Warnings", plan.warnings, most)
    lines += _notes("Blockers: this plan cannot be applied", plan.blockers, most)
    lines += _stays(plan.stays, most) if plan.base.jobs.keys() - plan.desired.jobs.keys() else []
    unknown = plan.blockers and not _changed(plan)  # what was applied is there, but says nothing of what is wished for
    return [*lines, "", "Plan: blocked." if unknown else f"Plan: {count(_changed(plan), plan.summary)}."]


def _notes(title: str, findings: Sequence[Finding], most: int) -> list[str]:
    if not findings:
        return []
    lines = ["", f"{title}:"]
    lines += [
        f"  ! {shorten(' '.join(filter(None, (one.message, one.hint))), _LONGEST_NOTE)}" for one in findings[:most]
    ]
    return lines + ([f"  ... and {len(findings) - most} more"] if len(findings) > most else [])


def _stays(remnants: Sequence[Remnant], most: int) -> list[str]:
    lines = ["", "Stays behind:"]
    for one in remnants[:most]:
        size = f", {size_of(one.bytes)}" if one.bytes is not None else ""
        what = "state (offsets)" if one.kind == "state" else one.kind
        lines.append(f"  {what} {shorten(one.where, 200)}{size}, of {shorten(one.job, _LONGEST_CELL)}")
    if len(remnants) > most:
        lines.append(f"  ... and {len(remnants) - most} more")
    return [*lines, "  logs of the jobs for as long as logs are kept, and the history with every revision"]


def size_of(count: int) -> str:
    """A number of bytes for a person: 0 bytes, 1.5 kB."""
    size, unit = float(count), 0
    while size >= 1000 and unit < len(_SIZES) - 1:
        size, unit = size / 1000, unit + 1
    return f"{count} byte{'' if count == 1 else 's'}" if unit == 0 else f"{size:.1f} {_SIZES[unit]}"


def _changed(plan: Plan) -> list[Change]:
    return [change for change in plan.changes if change.action is not Action.UNCHANGED]


def _of_wish(plan: Plan) -> list[Difference]:
    """What is asked for differently; of a first wish without what the title says, of a removal nothing."""
    if plan.remove:
        return []
    found = changes.of_wish(plan.desired, plan.base)
    return found if plan.base.source else [one for one in found if one.path not in ("source", "worker_group")]


def _rows(told: Sequence[Change]) -> Iterator[tuple[Change, str]]:
    """Each change with its line; the lines are aligned."""
    rows = [
        (SIGNS[c.action], c.kind.value, *(shorten(cell, _LONGEST_CELL) for cell in (c.id, c.where, c.reason)))
        for c in told
    ]
    widths = [max((len(row[column]) for row in rows), default=0) for column in range(4)]
    for change, row in zip(told, rows, strict=True):
        cells = [cell.ljust(width) for cell, width in zip(row[:4], widths, strict=True)]
        yield change, "  " + "  ".join([*cells, row[4]]).rstrip()


def _values(found: Sequence[Difference], most: int) -> list[str]:
    lines = [f"{QUOTED}{line}" for one in found[:most] for line in one.lines()]
    return lines + ([f"{QUOTED}... and {len(found) - most} more values"] if len(found) > most else [])


def _within(blocks: Iterable[list[str]], room: int) -> tuple[list[str], int]:
    """The lines of the blocks as far as there is room, and how many blocks are left out or cut."""
    out: list[str] = []
    left = 0
    for block in blocks:
        for line in block:
            room -= len(line) + 1
            if room < 0:
                left += 1
                break
            out.append(line)
    return out, left


def _without_implied(shown: Sequence[Change]) -> list[Change]:
    jobs = {(change.action, change.id) for change in shown if change.kind in (Kind.JOB, Kind.TRANSPORT)}
    return [
        c
        for c in shown
        if c.kind is not Kind.PLACEMENT or c.action in (Action.UPDATE, Action.MOVE) or (c.action, c.id) not in jobs
    ]


def count(changed: Iterable[Change], summary: Mapping[str, int]) -> str:
    """How many of what: "3 to create (1 job, 1 channel, 1 placement), 2 unchanged"."""
    kinds = Counter((change.action, change.kind) for change in changed)
    parts = []
    for action in Action:
        if action is Action.UNCHANGED or not summary[action.value]:
            continue
        of = [f"{n} {kind.value if n == 1 else PLURAL[kind]}" for kind in Kind if (n := kinds[action, kind])]
        parts.append(f"{summary[action.value]} to {action.value} ({', '.join(of)})")
    return ", ".join([*parts, f"{summary['unchanged']} unchanged"])
