"""What differs between two versions of a document: steps, channels, parameters, added, removed or changed. Pure.

Which parts belong to each other is decided here; which values differ in them, and how a value is said: in differences.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from core.documents import differences
from core.documents.differences import ABSENT
from core.documents.differences import Difference as Value

if TYPE_CHECKING:
    from core.model.results import workflows

_LISTS = {"steps": ("step", "id"), "wizard": ("wizard field", "field"), "jobs": ("job", "name")}
_MAPS = {"channels": "channel", "context": "context key"}
_SILENT = ("version",)


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that is not the same. `action` is added, removed or changed; `changes` names what, side by side."""

    action: str
    kind: str
    id: str
    changes: tuple[Value, ...] = ()

    def to_dict(self) -> workflows.PartChange:
        return {"action": self.action, "kind": self.kind, "id": self.id, "changes": list(map(_sides, self.changes))}

    def __str__(self) -> str:
        mark = {"added": "+", "removed": "-", "changed": "~"}[self.action]
        return "\n".join([f"{mark} {self.kind} {self.id}".rstrip(), *(f"    {line}" for line in self.lines())])

    def lines(self) -> list[str]:
        """What differs; of what came or went, what it says."""
        if self.action == "changed":
            return [line for one in self.changes for line in one.lines()]
        sides = ((one.path, one.after if one.before is ABSENT else one.before) for one in self.changes)
        return [f"{path}: {differences.quoted(value)}" for path, value in sides]


def _sides(one: Value) -> workflows.ValueChange:
    said: workflows.ValueChange = {"key": one.path}
    if one.before is not ABSENT:
        said["before"] = one.before
    if one.after is not ABSENT:
        said["after"] = one.after
    return said


def compare(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Difference]:
    """The differences in the order of the document: the document itself, then its parts."""
    parts = {*_LISTS, *_MAPS, "messages", "parameters", *_SILENT}
    own = [key for key in dict.fromkeys((*before, *after)) if key not in parts]
    old, new = ({key: side[key] for key in own if key in side} for side in (before, after))
    changes = list(differences.between(old, new))
    found = [Difference("changed", "document", "", tuple(changes))] if changes else []
    for key, (kind, name) in _LISTS.items():
        sides = (_by_name(before.get(key), name), _by_name(after.get(key), name))
        found += _parts(kind, *sides)
        if not found and list(sides[0]) != list(sides[1]):
            order = Value("order", list(sides[0]), list(sides[1]))
            found.append(Difference("changed", f"order of {key}", "", (order,)))
    for key, kind in _MAPS.items():
        found += _parts(kind, before.get(key) or {}, after.get(key) or {})
    found += _parts("message", _edges(before), _edges(after))
    found += _parts("parameter", _properties(before), _properties(after))
    rest = list(differences.between(_schema(before), _schema(after), "parameters"))
    return [*found, Difference("changed", "parameters", "", tuple(rest))] if rest else found


def summary(differences: list[Difference]) -> workflows.ChangeCounts:
    """How many are added, removed and changed."""
    actions = [one.action for one in differences]
    return {"added": actions.count("added"), "removed": actions.count("removed"), "changed": actions.count("changed")}


def text(differences: list[Difference], old: str, new: str) -> str:
    """The differences for a person."""
    counts = ", ".join(f"{count} {action}" for action, count in summary(differences).items() if count)
    return "\n".join([f"{old} -> {new}: {counts or 'no difference'}", *map(str, differences)])


def _parts(kind: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Difference]:
    for name in dict.fromkeys((*before, *after)):
        old, new = before.get(name, ABSENT), after.get(name, ABSENT)
        if old is ABSENT or new is ABSENT:
            came, went = ({} if side is ABSENT else _without_name(side) for side in (new, old))
            yield Difference(
                "added" if old is ABSENT else "removed", kind, name, tuple(differences.between(went, came))
            )
        elif found := tuple(differences.between(old, new)):
            yield Difference("changed", kind, name, found)


_NAMES = frozenset(name for _, name in _LISTS.values())


def _without_name(part: Any) -> Mapping[str, Any]:
    if not isinstance(part, Mapping):
        return {"value": part}
    return {key: value for key, value in part.items() if key not in _NAMES}


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
