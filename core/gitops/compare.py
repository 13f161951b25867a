"""The decision, item by item: what files say against what is there and what was created before. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from core.documents import canonical, differences
from core.gitops.desired import ORDER, VERSIONED, Item
from core.model.gitops import Kind
from core.model.plan import Finding
from core.workflows import comparison

if TYPE_CHECKING:
    from core.model.results import gitops

SHOWN_DIFF = 4000  # characters of the difference of one item
_COMPARED = 400  # differences of one item that are looked at

Key = tuple[Kind, str]


class Action(StrEnum):
    """What happens to one item."""

    CREATE = "create"  # it is not there
    UPDATE = "update"  # it is there and different
    UNCHANGED = "unchanged"
    PRUNE = "prune"  # this manifest created it, and no file names it any more


@dataclass(frozen=True, slots=True)
class Found:
    """One thing as it is now. `data` has the form of `Item.data`."""

    data: Mapping[str, Any]
    version: str = ""
    by: str = field(default="", compare=False)  # who changed it last; empty where that is not kept
    at_ns: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Owned:
    """What manifests of a tenant have: for each thing the labels environment/manifest."""

    created: frozenset[Key] = frozenset()  # by this manifest
    named: frozenset[Key] = frozenset()  # in the files of this manifest when it was applied
    others: Mapping[Key, str] = field(default_factory=dict)  # in those of another one: its label


@dataclass(frozen=True, slots=True)
class Change:
    """One line of a diff."""

    action: Action
    kind: Kind
    name: str
    path: str = ""
    reason: str = ""
    diff: str = ""
    item: Item | None = None  # None for what is pruned
    versions: tuple[str, ...] = ()  # of what is pruned

    def to_dict(self) -> gitops.FileChange:
        return {
            "action": self.action.value,
            "kind": self.kind,
            "id": self.name,
            "path": self.path,
            "reason": self.reason,
            "diff": self.diff,
        }

    def __str__(self) -> str:
        mark = {"create": "+", "update": "~", "prune": "-", "unchanged": "="}[self.action.value]
        said = f"{mark} {self.kind.value} {self.name}"
        said += f"  ({self.path})" if self.path else ""
        said += f": {self.reason}" if self.reason else ""
        return "\n".join([said, *(f"    {line}" for line in self.diff.splitlines())])


def compare(items: Sequence[Item], there: Mapping[Key, Found], owned: Owned, *, prune: bool = True) -> list[Change]:
    """Every item with what would happen to it, in the order of an apply; then what goes, the other way round."""
    by_order = sorted(items, key=lambda item: ORDER.index(item.kind))  # stable: modules stay before what names them
    return [*(_change(item, there.get(item.key)) for item in by_order), *(_gone(items, there, owned) if prune else ())]


def _change(item: Item, found: Found | None) -> Change:
    if found is None:
        shown = item.data if item.kind in (Kind.DEPLOYMENT, Kind.CONTEXT) else {}
        reason = f"version {item.version}" if item.version else ""
        return Change(Action.CREATE, item.kind, item.name, item.path, reason, _content(shown), item)
    if item.kind in VERSIONED:
        if found.version == item.version:
            return Change(Action.UNCHANGED, item.kind, item.name, item.path, f"version {item.version}", "", item)
        reason = f"version {found.version} -> {item.version}"
        return Change(Action.UPDATE, item.kind, item.name, item.path, reason, difference(found.data, item.data), item)
    if canonical.canonical(found.data) == canonical.canonical(item.data):
        return Change(Action.UNCHANGED, item.kind, item.name, item.path, item=item)
    return Change(Action.UPDATE, item.kind, item.name, item.path, "", difference(found.data, item.data), item)


def _gone(items: Iterable[Item], there: Mapping[Key, Found], owned: Owned) -> Iterable[Change]:
    wanted = {item.key for item in items}
    gone: dict[Key, list[str]] = {}
    for kind, name in owned.created:
        slug, _, version = name.partition("@") if kind in VERSIONED else (name, "", "")
        if (kind, slug) not in wanted and (kind, name) in there and (kind, name) not in owned.others:
            gone.setdefault((kind, slug), []).append(version)
    for kind, name in sorted(gone, key=lambda key: (-ORDER.index(key[0]), key[1])):
        versions = tuple(sorted(version for version in gone[kind, name] if version))
        reason = "no file names it any more"
        if versions:
            reason += f"; {'versions' if len(versions) > 1 else 'version'} {', '.join(versions)} retire"
        yield Change(Action.PRUNE, kind, name, "", reason, versions=versions)


def difference(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    """Two sides of one thing for people, bounded."""
    found = comparison.compare(before, after)[:_COMPARED]
    text = "\n".join(line for one in found for line in (one.lines() if one.kind == "document" else [str(one)]))
    return text if len(text) <= SHOWN_DIFF else f"{text[:SHOWN_DIFF]}\n... cut"


def _content(data: Mapping[str, Any]) -> str:
    """What a new thing says, but for what is empty."""
    said = {key: value for key, value in data.items() if value not in ({}, "")}
    lines = comparison.Difference("added", "", "", tuple(differences.between({}, said))).lines()
    return "\n".join(lines)[:SHOWN_DIFF]


def blockers(changes: Iterable[Change], there: Mapping[Key, Found], owned: Owned, environment: str) -> list[Finding]:
    """What an apply must not touch, because it belongs to another environment or manifest."""
    found = []
    for change in changes:
        if change.item is None or change.kind in VERSIONED:
            continue
        key, what = (change.kind, change.name), f"{change.kind.value} {change.name}"
        holder = owned.others.get(key)
        if change.action is Action.UPDATE and holder and key not in owned.created:
            found.append(
                Finding(
                    "owned_elsewhere",
                    f"{what} belongs to {holder} (environment/manifest) and is different there.",
                    "Give it another name here, or take it out of the other manifest first.",
                )
            )
        elif change.kind is Kind.DEPLOYMENT and key in there:
            present = there[key].data.get("environment", "")
            if present not in ("", environment):
                found.append(
                    Finding(
                        "other_environment",
                        f"{what} belongs to environment {present}.",
                        f"Give the deployment of {environment or 'this manifest'} a name of its own.",
                    )
                )
    return found


def summary(changes: Iterable[Change]) -> dict[str, int]:
    """How many of each action."""
    counts = {action.value: 0 for action in Action}
    for change in changes:
        counts[change.action.value] += 1
    return counts


def digest(changes: Iterable[Change]) -> str:
    """Names a diff: what was looked at and what is applied can be held against each other by it."""
    said = [
        [
            one.action.value,
            one.kind.value,
            one.name,
            one.diff,
            one.item.version if one.item else list(one.versions),
            canonical.digest(one.item.data) if one.item else "",  # credentials are masked in the diff
        ]
        for one in changes
    ]
    return canonical.digest(said)[:16]


def text(scope: str, changes: Sequence[Change], warnings: Sequence[Finding], blocked: Sequence[Finding]) -> str:
    """A diff for people: what changes, what stands in the way, and the numbers."""
    counts = summary(changes)
    lines = [str(change) for change in changes if change.action is not Action.UNCHANGED]
    for title, findings in (("Warnings", warnings), ("Blockers", blocked)):
        if findings:
            lines += ["", f"{title}:", *(f"  ! {f.message} {f.hint}".rstrip() for f in findings[:50])]
    told = ", ".join(f"{count} {action}" for action, count in counts.items() if count) or "nothing"
    return "\n".join([f"{scope}: {told}", *lines])


def keys_of(changes: Collection[Change]) -> list[Key]:
    """What the files of a manifest name, as it is owned: versions of what has versions."""
    return [
        (change.kind, f"{change.name}@{change.item.version}" if change.kind in VERSIONED else change.name)
        for change in changes
        if change.item is not None
    ]
