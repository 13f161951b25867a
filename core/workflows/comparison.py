"""What differs between two versions of a document: steps, channels, parameters, added, removed or changed. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from core.documents import canonical

ABSENT = object()
SHOWN = 160  # characters of one value in the text
_LISTS = {"steps": ("step", "id"), "wizard": ("wizard field", "field"), "jobs": ("job", "name")}
_MAPS = {"channels": "channel", "context": "context key"}
_SILENT = ("version",)


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that is not the same. `action` is added, removed or changed; `changes` names what, side by side."""

    action: str
    kind: str
    id: str
    changes: tuple[tuple[str, Any, Any], ...] = ()  # (key, before, after); ABSENT where there is nothing

    def to_dict(self) -> dict[str, Any]:
        sides = [
            {"key": key, **{n: v for n, v in (("before", old), ("after", new)) if v is not ABSENT}}
            for key, old, new in self.changes
        ]
        return {"action": self.action, "kind": self.kind, "id": self.id, "changes": sides}

    def __str__(self) -> str:
        mark = {"added": "+", "removed": "-", "changed": "~"}[self.action]
        said = [f"{mark} {self.kind} {self.id}".rstrip()]
        for key, old, new in self.changes:
            match self.action:
                case "changed":
                    said.append(f"    {key}: {_quoted(old)} -> {_quoted(new)}")
                case _:
                    said.append(f"    {key}: {_quoted(new if old is ABSENT else old)}")
        return "\n".join(said)


def compare(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Difference]:
    """The differences in the order of the document: the document itself, then its parts."""
    parts = {*_LISTS, *_MAPS, "messages", "parameters", *_SILENT}
    own = [key for key in dict.fromkeys((*before, *after)) if key not in parts]
    changes = [c for key in own for c in _changes(key, before.get(key, ABSENT), after.get(key, ABSENT))]
    found = [Difference("changed", "document", "", tuple(changes))] if changes else []
    for key, (kind, name) in _LISTS.items():
        sides = (_by_name(before.get(key), name), _by_name(after.get(key), name))
        found += _parts(kind, *sides)
        if not found and list(sides[0]) != list(sides[1]):
            found.append(Difference("changed", f"order of {key}", "", (("order", list(sides[0]), list(sides[1])),)))
    for key, kind in _MAPS.items():
        found += _parts(kind, before.get(key) or {}, after.get(key) or {})
    found += _parts("message", _edges(before), _edges(after))
    found += _parts("parameter", _properties(before), _properties(after))
    rest = list(_changes("parameters", _schema(before), _schema(after)))
    return [*found, Difference("changed", "parameters", "", tuple(rest))] if rest else found


def summary(differences: list[Difference]) -> dict[str, int]:
    """How many are added, removed and changed."""
    counts = {"added": 0, "removed": 0, "changed": 0}
    for one in differences:
        counts[one.action] += 1
    return counts


def text(differences: list[Difference], old: str, new: str) -> str:
    """The differences for a person."""
    counts = ", ".join(f"{count} {action}" for action, count in summary(differences).items() if count)
    return "\n".join([f"{old} -> {new}: {counts or 'no difference'}", *map(str, differences)])


def _parts(kind: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Difference]:
    for name in dict.fromkeys((*before, *after)):
        old, new = before.get(name, ABSENT), after.get(name, ABSENT)
        if old is ABSENT or new is ABSENT:
            value = new if old is ABSENT else old
            keys = value if isinstance(value, Mapping) else {"value": value}
            sides = [(k, ABSENT, v) if old is ABSENT else (k, v, ABSENT) for k, v in keys.items() if k not in _NAMES]
            yield Difference("added" if old is ABSENT else "removed", kind, name, tuple(sides))
        elif not _same(old, new):
            yield Difference("changed", kind, name, tuple(_changes("", old, new)))


_NAMES = frozenset(name for _, name in _LISTS.values())


def _changes(key: str, before: Any, after: Any) -> Iterator[tuple[str, Any, Any]]:
    """The smallest parts that differ, named by their path."""
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for name in dict.fromkeys((*before, *after)):
            inner = f"{key}.{name}" if key else str(name)
            yield from _changes(inner, before.get(name, ABSENT), after.get(name, ABSENT))
    elif before is ABSENT or after is ABSENT or not _same(before, after):
        if before is not after:
            yield key or "value", before, after


def _same(before: Any, after: Any) -> bool:
    return canonical.canonical(before) == canonical.canonical(after)


def _by_name(parts: Any, name: str) -> dict[str, Any]:
    """A list of named things as a map; of two with one name, the second gets a number."""
    out: dict[str, Any] = {}
    for index, part in enumerate(parts if isinstance(parts, list) else ()):
        key = str(part.get(name, index)) if isinstance(part, Mapping) else str(index)
        out[key if key not in out else f"{key} ({index})"] = part
    return out


def _edges(document: Mapping[str, Any]) -> dict[str, Any]:
    edges = document.get("messages")
    return {
        f"{edge.get('from')} -> {edge.get('to')} ({edge.get('tag')})": {}
        for edge in (edges if isinstance(edges, list) else ())
        if isinstance(edge, Mapping)
    }


def _properties(document: Mapping[str, Any]) -> Mapping[str, Any]:
    parameters = document.get("parameters")
    properties = parameters.get("properties") if isinstance(parameters, Mapping) else None
    return properties if isinstance(properties, Mapping) else {}


def _schema(document: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters without the properties, which are told one by one."""
    parameters = document.get("parameters")
    return {k: v for k, v in parameters.items() if k != "properties"} if isinstance(parameters, Mapping) else {}


def _quoted(value: Any) -> str:
    if value is ABSENT:
        return "nothing"
    said = value if isinstance(value, str) and value.isprintable() and value else orjson.dumps(value).decode()
    return said if len(said) <= SHOWN else f"{said[: SHOWN - 1]}…"
