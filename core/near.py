"""Near names: what was probably meant by one that is not there."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

_OPPOSITES = {
    "input": "output",
    "output": "input",
    "min": "max",
    "max": "min",
    "include": "exclude",
    "exclude": "include",
}
MANY = 500  # names; comparing with more of them takes long for what it gives


def nearest(name: str, known: Iterable[str], most: int = 1, cutoff: float = 0.6) -> list[str]:
    """The known names that are near, the nearest first, at most so many; among MANY, only those that begin alike.

    `cutoff` is how alike they must be at least, from 0 to 1, which is the same name. What says the opposite is near by
    its letters alone (`input-field` of `output-field`), and never meant.
    """
    words = name.split("-")
    contrary = {"-".join([*words[:at], _OPPOSITES.get(word, ""), *words[at + 1 :]]) for at, word in enumerate(words)}
    names = [one for one in known if one not in contrary]
    alike = [one for one in names if one.casefold() == name.casefold() and one != name]
    if alike:
        return alike[:most]
    if len(names) > MANY:
        names = [one for one in names if one[:2] == name[:2] and abs(len(one) - len(name)) <= 2][:MANY]
    return difflib.get_close_matches(name, names, most, cutoff)


def did_you_mean(name: str, known: Iterable[str], text: str = " (did you mean {}?)") -> str:
    """`text` with the nearest known name in it, or nothing when none is near."""
    found = nearest(name, known)
    return text.format(found[0]) if found else ""
