"""Names that people use twice, and lists of them."""

from __future__ import annotations

from collections.abc import Collection, Iterable


def duplicates(names: Iterable[str]) -> list[tuple[int, str]]:
    """Index and name of every name that has been there before."""
    seen: set[str] = set()
    found = []
    for index, name in enumerate(names):
        if name in seen:
            found.append((index, name))
        seen.add(name)
    return found


def listed(names: Collection[str], limit: int = 20) -> str:
    """Names in order, the first ones of many; `none` when there are none."""
    shown = ", ".join(sorted(names)[:limit]) or "none"
    return f"{shown} and {len(names) - limit} more" if len(names) > limit else shown
