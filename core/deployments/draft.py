"""A job on its way from a step to what a worker runs, and how long a generated name may be."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from core.model.deployment import Role

LONGEST_NAME = 120


@dataclass(slots=True, eq=False)
class Draft:
    """A job whose ends may still be ports. `ins` and `outs` map ports to channels, `spread` ports to dispatches."""

    name: str
    step: str
    role: Role
    origin: str
    group: str
    replicas: int
    document: dict[str, Any]
    ins: Mapping[str, str] = field(default_factory=dict)
    outs: Mapping[str, str] = field(default_factory=dict)
    pointer: str = ""
    spread: Mapping[str, str] = field(default_factory=dict)


def bounded(name: str) -> str:
    """The name itself, or of a long one the beginning with a hash of the whole: stable, and as good as unique."""
    if len(name) <= LONGEST_NAME:
        return name
    mark = hashlib.blake2b(name.encode(), digest_size=6).hexdigest()
    return f"{name[: LONGEST_NAME - len(mark) - 1].rstrip('-._')}-{mark}"
