"""Two edit one draft: the second, whose draft is not what it was, is refused and told what happened to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from core import clock, errors


@dataclass(frozen=True, slots=True)
class Words:
    """What is said of one kind of drafts: how they end and are written, and where to look when one has."""

    ended: str
    written: str
    look: str
    """What shows the draft, or what came of it, once it has ended."""
    bring: str
    """How to go on from the draft that is there; the revision to save with follows."""
    revision: str
    """The key of the details that tells at which revision the draft is; 0: there is none."""


def check(words: Words, name: str, base: int, last: Mapping[str, Any] | None, present: int, **more: Any) -> None:
    """Raises AlreadyExists (see `moved`) unless the draft is at the revision that an edit started from."""
    if base != present:
        raise moved(words, name, base, last, present, **more)


def moved(
    words: Words, name: str, base: int, last: Mapping[str, Any] | None, present: int, **more: Any
) -> errors.AlreadyExists:
    """The refusal of an edit that started from revision `base` of a draft (0: from none).

    `last` is its row, also one that has ended, and `present` its revision, 0 when there is none now. `more` goes into
    the details while there is one.
    """
    started = f"this edit started from revision {base}" if base else "this edit did not start from it"
    if last is None:
        return errors.AlreadyExists(
            f"There is no draft of {name}, and {started}.", hint="Leave base_revision out to start a new draft."
        )
    who = f"by {last['updated_by']} at {clock.iso(last['updated_at_ns'])}"
    details = {words.revision: present, "updated_by": last["updated_by"]}
    if not present:
        return errors.AlreadyExists(
            f"The draft of {name} was {words.ended} {who}, and {started}.",
            hint=f"{words.look}; leave base_revision out to start a new draft.",
            details=details,
        )
    return errors.AlreadyExists(
        f"The draft of {name} is at revision {present} ({words.written} {who}), and {started}.",
        hint=f"{words.bring} with base_revision {present}.",
        details={**details, **more},
    )
