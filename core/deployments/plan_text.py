"""A plan as text that a person reads in ten seconds: what stands in the way, one line a change, the count last."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from core.model.plan import Action, Change, Finding, Kind

SIGNS = {Action.CREATE: "+", Action.UPDATE: "~", Action.REMOVE: "-", Action.MOVE: "->"}
PLURAL = {Kind.JOB: "jobs", Kind.CHANNEL: "channels", Kind.TRANSPORT: "transports", Kind.PLACEMENT: "placements"}
LINES = 15
NOTES = 5
MOST_LINES = 400  # of the detailed text
MOST_NOTES = 100


def text(
    name: str,
    source: str,
    changes: Sequence[Change],
    summary: Mapping[str, int],
    warnings: Iterable[Finding],
    blockers: Iterable[Finding],
    removal: bool,
    *,
    detailed: bool = False,
) -> str:
    """The summary of a plan; long ones name the first changes and count the rest.

    The short form leaves out the placement of jobs that come or go, for their own lines say where.
    """
    shown = [change for change in changes if change.action is not Action.UNCHANGED]
    told = shown if detailed else _without_implied(shown)
    most_lines, most_notes = (MOST_LINES, MOST_NOTES) if detailed else (LINES, NOTES)
    lines = [f"Removal of {name}" if removal else f"{name} from {source}", ""]
    rows = [(SIGNS[c.action], c.kind.value, c.id, c.where, c.reason) for c in told[:most_lines]]
    widths = [max((len(row[column]) for row in rows), default=0) for column in range(4)]
    lines += [
        "  " + "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[4]]).rstrip()
        for row in rows
    ]
    if len(told) > most_lines:
        lines.append(f"  ... and {len(told) - most_lines} more")
    if not shown:
        lines.append("  Nothing to change: what was applied is what is wished for.")
    for title, findings in (("Warnings", warnings), ("Blockers: this plan cannot be applied", blockers)):
        notes = list(findings)
        if notes:
            lines += ["", f"{title}:"]
            lines += [f"  ! {note.message}" + (f" {note.hint}" if note.hint else "") for note in notes[:most_notes]]
            if len(notes) > most_notes:
                lines.append(f"  ... and {len(notes) - most_notes} more")
    lines += ["", f"Plan: {count(shown, summary)}."]
    return "\n".join(lines)


def _without_implied(shown: Sequence[Change]) -> list[Change]:
    jobs = {(change.action, change.id) for change in shown if change.kind in (Kind.JOB, Kind.TRANSPORT)}
    return [c for c in shown if c.kind is not Kind.PLACEMENT or (c.action, c.id) not in jobs]


def count(changes: Iterable[Change], summary: Mapping[str, int]) -> str:
    """How many of what: "3 to create (1 job, 1 channel, 1 placement), 2 unchanged"."""
    kinds = Counter((change.action, change.kind) for change in changes)
    parts = []
    for action in Action:
        if action is Action.UNCHANGED or not summary[action.value]:
            continue
        of = [f"{n} {kind.value if n == 1 else PLURAL[kind]}" for kind in Kind if (n := kinds[action, kind])]
        parts.append(f"{summary[action.value]} to {action.value} ({', '.join(of)})")
    return ", ".join([*parts, f"{summary['unchanged']} unchanged"])
