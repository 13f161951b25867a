"""The order that a reader wants for the rows of a list: by one of their fields. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from core import errors, near

PATTERN = r"^-?[a-z][a-z_]*$"
Item = TypeVar("Item", bound=Mapping[str, Any])


def arranged(rows: Sequence[Item], sort: str) -> list[Item]:
    """The rows by the field `sort`, with `-` before its name from the highest; rows without a value come last, and
    equal ones stay as they were.

    Raises InvalidParams when no row has such a field with a text, number or boolean.
    """
    name, down = sort.removeprefix("-"), sort.startswith("-")
    known = sorted({key for row in rows for key, value in row.items() if isinstance(value, str | int | float)})
    if rows and name not in known:
        meant = near.did_you_mean(name, known, " Did you mean {}?")
        raise errors.InvalidParams(
            f"The rows have no {errors.shorten(name, 40)} to sort by.",
            hint=f"They have {', '.join(known)}.{meant}",
            errors=[errors.Problem("/sort", f"must be one of {', '.join(known)}, with - before it from the highest")],
        )
    with_value = [row for row in rows if row.get(name) is not None]
    with_value.sort(key=lambda row: _rank(row[name]), reverse=down)
    return [*with_value, *(row for row in rows if row.get(name) is None)]


def _rank(value: Any) -> tuple[bool, Any]:
    """Numbers before texts, so that a field with both has an order too."""
    return (False, value) if isinstance(value, int | float) else (True, str(value))
