"""When a cron expression comes true, in the time of a place: the rules for days and for the nights when clocks change.

Days: when both the day of the month and the weekday are named, either is enough; when one of them begins with `*`, both
have to fit (as Debian's cron has it). Weekdays are 0 to 7, both ends Sunday, or SUN to SAT.

Clocks that change: an hour and a minute that are named stand for one moment of each day. What lies in the hour that is
left out comes at its end (02:30 at 03:00), and of an hour that comes twice the first counts. With `*` in one of the
two, the expression counts the hours that there are: none in the gap, and both of an hour that comes twice.

The search is cronsim's. It knows such rules for five fields alone, and only from the time at which it was begun (and
leaves out times after a night in which clocks are set back by half an hour); so it is asked for times without a zone
here, and these are laid onto the zone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache
from heapq import heappop, heappush
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from core import clock
from core.dsl.language import cron_slips
from core.errors import shorten
from core.near import did_you_mean

SHORTCUTS = {
    "@yearly": "0 0 0 1 1 *",
    "@annually": "0 0 0 1 1 *",
    "@monthly": "0 0 0 1 * *",
    "@weekly": "0 0 0 * * 0",
    "@daily": "0 0 0 * * *",
    "@midnight": "0 0 0 * * *",
    "@hourly": "0 0 * * * *",
}
_MINUTE = timedelta(minutes=1)
_DAY = timedelta(days=1)
_OF_THE_MACHINE = ("localtime", "posixrules")  # each machine has another zone under these names
_OTHER_CLOCKS = ("right/", "posix/")  # the zones once more, and with leap seconds, which no clock here counts


def fields_of(expression: str) -> str:
    """An expression with six fields, the second first; one of five means second 0.

    Raises ValueError for what is no expression, and for one that never comes true, with the one that was probably
    meant.
    """
    try:
        return _fields_of(expression)
    except ValueError as error:
        raise ValueError(f"{error}{cron_slips.meant(expression, _fields_of)}") from error


def _fields_of(expression: str) -> str:
    text = SHORTCUTS.get(expression.strip(), expression.strip())
    shown = shorten(expression, 60)
    if text.startswith("@"):
        guess = did_you_mean(text, SHORTCUTS, "; did you mean {}?")
        raise ValueError(f"{shown} is not a known shortcut; allowed: {', '.join(SHORTCUTS)}{guess}")
    fields = text.split()
    if len(fields) == 5:
        fields.insert(0, "0")
    if len(fields) != 6:
        raise ValueError(
            f"a cron expression has five fields (minute hour day month weekday), or six with the second first;"
            f" {shown} has {len(fields)}"
        )
    text = " ".join(fields)
    try:
        next(CronSim(text, datetime(2000, 1, 1, tzinfo=UTC)))
    except CronSimError as error:
        if _days_are_read(fields):
            raise ValueError(f"{shown} never comes true: none of its months has such a day") from None
        why = cron_slips.beyond(fields) or f"{error}".replace("Bad ", "cannot read the ")
        raise ValueError(f"{shown} is not a cron expression: {why}") from error
    except StopIteration:
        raise ValueError(f"{shown} never comes true") from None
    return text


def _days_are_read(fields: list[str]) -> bool:
    """Whether cronsim reads the fields when it has any month: what it calls a bad day is one that the months lack."""
    try:
        CronSim(" ".join([*fields[:4], "*", fields[5]]), datetime(2000, 1, 1, tzinfo=UTC))
        CronSim(" ".join([*fields[:3], "*", *fields[4:]]), datetime(2000, 1, 1, tzinfo=UTC))
    except CronSimError:
        return False
    return True


@lru_cache(maxsize=64)
def zone_of(name: str) -> tzinfo:
    """The zone of an IANA name. Raises ValueError for another one, and for files beside the zones of a system."""
    if name.upper() == "UTC":
        return UTC
    try:
        if name in _OF_THE_MACHINE or name.startswith(_OTHER_CLOCKS):
            raise KeyError(name)
        return ZoneInfo(name)
    except (KeyError, OSError, ValueError):  # not known, a directory of zones, no name of one
        shown = shorten(name, 60)
        raise ValueError(f"there is no time zone {shown}; write it as in Europe/Berlin, or UTC") from None


def times(fields: str, zone: tzinfo, after: int) -> Iterator[int]:
    """The times at which six fields come true, in ns since the epoch, ascending and each later than `after`."""
    begin = datetime.fromtimestamp(after // clock.NANOSECONDS, zone)  # they are whole seconds
    _, minutes, hours, *_ = fields.split()
    found: Iterator[int]
    if zone is UTC:
        found = (clock.from_datetime(time) for time in CronSim(fields, begin))
    elif minutes.startswith("*") or hours.startswith("*"):
        found = _all(CronSim(fields, begin.replace(tzinfo=None) - _lost(begin)), zone)
    else:
        found = (_laid(local, zone) for local in CronSim(fields, begin.replace(tzinfo=None)))
    last = after
    for at in found:
        if at > last:
            yield at
            last = at


def _lost(begin: datetime) -> timedelta:
    """By how much the clock on the wall is set back within a day: what it shows then, it shows once more."""
    before, behind = begin.utcoffset(), (begin.astimezone(UTC) + _DAY).astimezone(begin.tzinfo).utcoffset()
    assert before is not None and behind is not None
    return max(timedelta(0), before - behind)


def _all(locals: Iterable[datetime], zone: tzinfo) -> Iterator[int]:
    """Every moment at which the clock on the wall shows one of these times, which ascend; ascending as well."""
    again: list[int] = []  # the second moments, of times that come twice
    for local in locals:
        first, second = (local.replace(tzinfo=zone, fold=fold) for fold in (0, 1))
        if not _comes(first):
            continue
        at = clock.from_datetime(first)
        while again and again[0] < at:
            yield heappop(again)
        if second.utcoffset() != first.utcoffset():
            heappush(again, clock.from_datetime(second))
        yield at
    while again:
        yield heappop(again)


def _comes(at: datetime) -> bool:
    """Whether a clock ever shows it: none does in the hour that is left out."""
    return at.astimezone(UTC).astimezone(at.tzinfo).replace(tzinfo=None) == at.replace(tzinfo=None)


def _laid(local: datetime, zone: tzinfo) -> int:
    """A time of the clock on the wall as ns since the epoch: the first of two, and the end of a gap in it."""
    while not _comes(at := local.replace(tzinfo=zone)):
        local += _MINUTE
    return clock.from_datetime(at)
