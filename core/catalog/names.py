"""Names that people mistype or use twice."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable

MANY = 500  # names; comparing with more of them takes long for what it gives


def duplicates(names: Iterable[str]) -> list[tuple[int, str]]:
    """Index and name of every name that has been there before."""
    seen: set[str] = set()
    found = []
    for index, name in enumerate(names):
        if name in seen:
            found.append((index, name))
        seen.add(name)
    return found


def did_you_mean(name: str, known: Iterable[str], prefix: str = "") -> str:
    """` (did you mean x?)`, or nothing when no known name is close. Among many, only alike beginnings are compared.

    `prefix` is told before the name, and is no part of the comparison: it would make all names alike.
    """
    names = list(known)
    if len(names) > MANY:
        names = [one for one in names if one[:2] == name[:2] and abs(len(one) - len(name)) <= 2][:MANY]
    near = difflib.get_close_matches(name, names, 1)
    return f" (did you mean {prefix}{near[0]}?)" if near else ""


def listed(names: Collection[str], limit: int = 20) -> str:
    """Names in order, the first ones of many; `none` when there are none."""
    shown = ", ".join(sorted(names)[:limit]) or "none"
    return f"{shown} and {len(names) - limit} more" if len(names) > limit else shown
