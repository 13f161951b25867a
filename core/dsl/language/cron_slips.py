"""What was probably meant by a cron expression that is none: the habits of other schedulers, and slips of the hand.

What is offered is one that holds: each repair is tried, and without one that does nothing is offered.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from core.near import nearest

FIELDS = ("second", "minute", "hour", "day", "month", "weekday")
_BOUNDS = {"second": (0, 59), "minute": (0, 59), "hour": (0, 23), "day": (1, 31), "month": (1, 12), "weekday": (0, 7)}
_NAMES = {
    "month": "JAN FEB MAR APR MAY JUN JUL AUG SEP OCT NOV DEC".split(),
    "weekday": "SUN MON TUE WED THU FRI SAT".split(),
}
_EVERY = re.compile(r"@?every[ _]?(\d+) ?(ms|[smhd])", re.IGNORECASE)
_WORD = re.compile(r"[A-Za-z]+")
_NUMBER = re.compile(r"(?<![/\d])\d+")
_LONGEST = 200  # characters; what is longer was no slip


def meant(expression: str, holds: Callable[[str], object]) -> str:
    """`; did you mean …?` with an expression that holds, or nothing; `holds` raises ValueError for what does not."""
    text = " ".join(expression[:_LONGEST].split())
    if found := _EVERY.fullmatch(text):
        return f"; for equal distances write interval: {found[1]}{found[2].lower()}"
    fields = text.split()
    if len(fields) in (3, 4):
        fields += ["*"] * (5 - len(fields))
    if len(fields) == 7:  # the seventh is a year elsewhere
        fields.pop()
    if len(fields) not in (5, 6):
        return ""
    names = FIELDS[-len(fields) :]
    guess = " ".join(_repaired(field, name) for field, name in zip(fields, names, strict=True))
    if guess == text:
        return ""
    try:
        holds(guess)
    except ValueError:
        return ""
    return f"; did you mean {guess}?"


def beyond(fields: list[str]) -> str:
    """The first field of six with a number that it does not take, and what it takes; nothing when there is none."""
    for field, name in zip(fields, FIELDS, strict=True):
        low, high = _BOUNDS[name]
        for number in _NUMBER.findall(field):
            if len(number) > 9 or not low <= int(number) <= high:
                return f"{name} {number[:9]} is not from {low} to {high}"
    return ""


def _repaired(field: str, name: str) -> str:
    low, high = _BOUNDS[name]
    if field == "?":
        return "*"
    if field in ("H", "h"):  # Jenkins: at any time of the field's
        return str(low)
    field = _WORD.sub(lambda word: _named(word[0], name), field)
    return re.sub(r"/0+\b", "", ",".join(_within(part, low, high) for part in field.split(",")))


def _within(part: str, low: int, high: int) -> str:
    """One number or range of a list: 24 o'clock is 0, a range ends where the field does, and may go round its end."""
    ends = part.split("-")
    if not all(end.isdigit() and len(end) < 9 for end in ends) or len(ends) > 2:
        return part
    first, last = int(ends[0]), int(ends[-1])
    if len(ends) == 1:
        return str(low) if first == high + 1 else part
    if first > last:
        return f"{first}-{high},{low}-{last}"
    return f"{first}-{min(last, high)}"


def _named(word: str, name: str) -> str:
    known = _NAMES.get(name, [])
    return next(iter(nearest(word.upper()[:3], [*known], 1, 0.5)), word) if word.upper()[:3] not in known else word[:3]
