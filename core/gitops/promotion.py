"""Which deployment of one environment is which of another, and what it takes over. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from core.gitops.desired import Item
from core.model.gitops import Kind

_PARTS = re.compile(r"[-_]")


@dataclass(frozen=True, slots=True)
class Promotion:
    """The deployments of the target with the sources that they take over, and those that have no counterpart there."""

    items: tuple[Item, ...]
    without: tuple[str, ...]


def stem(name: str, environment: str) -> tuple[str, ...]:
    """What a deployment is called in every environment: its name without the environment's.

    `orders-dev` in dev is `orders-prod` in prod; a name without its environment in it stands for itself.
    """
    parts = _PARTS.split(name)
    marks = _PARTS.split(environment) if environment else []
    for start in range(len(parts) - len(marks), -1, -1):
        rest = parts[:start] + parts[start + len(marks) :]
        if marks and rest and parts[start : start + len(marks)] == marks:
            return tuple(rest)
    return tuple(parts)


def promote(reviewed: Sequence[Item], there: Mapping[str, Mapping[str, Any]], source: str, target: str) -> Promotion:
    """The deployments of `target` ({name: data}) with the sources of the reviewed ones of `source`.

    Only what is deployed is taken over: values, worker group, placement and replicas stay those of the target.
    """
    wanted = {stem(item.name, source): item for item in reviewed if item.kind is Kind.DEPLOYMENT}
    items = []
    for name, data in sorted(there.items()):
        one = wanted.pop(stem(name, target), None)
        if one is not None:
            items.append(Item(Kind.DEPLOYMENT, name, {**data, "source": one.data["source"]}))
    return Promotion(tuple(items), tuple(sorted(item.name for item in wanted.values())))


def left_behind(before: Sequence[Item], deployments: Sequence[Item]) -> list[Item]:
    """The desired state after a promotion: that of the run before, with these deployments."""
    new = {item.name: item for item in deployments}
    kept = [
        replace(new[item.name], path=item.path) if item.kind is Kind.DEPLOYMENT and item.name in new else item
        for item in before
    ]
    known = {item.name for item in before if item.kind is Kind.DEPLOYMENT}
    return [*kept, *(item for item in deployments if item.name not in known)]
