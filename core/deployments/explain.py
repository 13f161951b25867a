"""A plan as text that a person reads in ten seconds: what stands in the way, one line a change, the count last."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from core.model.plan import Action, Change, Finding

SIGNS = {Action.CREATE: "+", Action.UPDATE: "~", Action.REMOVE: "-", Action.MOVE: "->"}
MOST_LINES = 40
MOST_NOTES = 20


def text(
    name: str,
    source: str,
    changes: Sequence[Change],
    summary: Mapping[str, int],
    warnings: Iterable[Finding],
    blockers: Iterable[Finding],
    removal: bool,
) -> str:
    """The summary of a plan; long ones name the first changes and count the rest."""
    shown = [change for change in changes if change.action is not Action.UNCHANGED]
    lines = [f"Removal of {name}" if removal else f"{name} from {source}", ""]
    rows = [(SIGNS[c.action], c.kind.value, c.id, c.where, c.reason) for c in shown[:MOST_LINES]]
    widths = [max((len(row[column]) for row in rows), default=0) for column in range(4)]
    lines += [
        "  " + "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[4]]).rstrip()
        for row in rows
    ]
    if len(shown) > MOST_LINES:
        lines.append(f"  ... and {len(shown) - MOST_LINES} more")
    if not shown:
        lines.append("  Nothing to change: what was applied is what is wished for.")
    for title, findings in (("Warnings", warnings), ("Blockers: this plan cannot be applied", blockers)):
        notes = list(findings)
        if notes:
            lines += ["", f"{title}:"]
            lines += [f"  ! {note.message}" + (f" {note.hint}" if note.hint else "") for note in notes[:MOST_NOTES]]
            if len(notes) > MOST_NOTES:
                lines.append(f"  ... and {len(notes) - MOST_NOTES} more")
    counts = [f"{summary[a.value]} to {a.value}" for a in Action if a is not Action.UNCHANGED and summary[a.value]]
    unchanged = f"{summary['unchanged']} unchanged"
    lines += ["", f"Plan: {', '.join([*counts, unchanged])}."]
    return "\n".join(lines)
