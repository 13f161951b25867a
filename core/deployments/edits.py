"""Hand edits of a job document: where it differs from the applied one, and which differences someone accepts. Pure."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from core import pointers


def differences(applied: Any, found: Any) -> list[str]:
    """JSON pointers of what differs, the deepest that say it, in document order.

    Lists of different lengths differ as a whole, so that a pointer means the same place in both.
    """
    return list(_walk(applied, found, ""))


def _walk(applied: Any, found: Any, at: str) -> Iterator[str]:
    if isinstance(applied, Mapping) and isinstance(found, Mapping):
        for key in [*applied, *(key for key in found if key not in applied)]:
            below = f"{at}/{pointers.escape(key)}"
            if key in applied and key in found:
                yield from _walk(applied[key], found[key], below)
            else:
                yield below
    elif isinstance(applied, list) and isinstance(found, list) and len(applied) == len(found):
        for index, (one, other) in enumerate(zip(applied, found, strict=True)):
            yield from _walk(one, other, f"{at}/{index}")
    elif applied != found or type(applied) is not type(found):
        yield at


def keep(applied: Mapping[str, Any], found: Mapping[str, Any], places: Iterable[str]) -> dict[str, Any]:
    """The applied document with what `found` says at these places (pointers, which `differences` gave)."""
    out = copy.deepcopy(dict(applied))
    for pointer in places:
        *path, last = pointers.split(pointer)
        target, source = _at(out, path), _at(found, path)
        if isinstance(target, list):
            target[int(last)] = source[int(last)]
        elif last in source:
            target[last] = source[last]
        else:
            del target[last]
    return out


def _at(document: Any, path: Iterable[str]) -> Any:
    for part in path:
        document = document[int(part)] if isinstance(document, list) else document[part]
    return document


class Ignored:
    """Drift that someone knows and wants to be left alone: entries `job:NAME` or `job:NAME/FIELD`.

    NAME is a job or `*`. FIELD is `state`, `worker`, `version`, or `document/…`, a JSON pointer into the job document;
    an entry covers everything below its field, and one without a field covers all drift of its jobs.
    """

    def __init__(self, entries: Iterable[str]) -> None:
        self._fields: dict[str, list[str]] = {}
        for entry in entries:
            job, _, field = entry.removeprefix("job:").partition("/")
            self._fields.setdefault(job, []).append(field)

    def covers(self, job: str, field: str) -> bool:
        if not self._fields:
            return False
        return any(
            not one or field == one or field.startswith(f"{one}/")
            for name in (job, "*")
            for one in self._fields.get(name, ())
        )


NOTHING = Ignored(())
