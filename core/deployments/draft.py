"""The pieces that a deployment is woven of: jobs whose ends may be open, hops between them, ends of channels."""

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


@dataclass(slots=True)
class Hop:
    """One worker channel of the deployment: the jobs at its two ends, and whether its readers share the events."""

    writers: list[str] = field(default_factory=list)
    readers: list[str] = field(default_factory=list)
    shared: bool = False


@dataclass(slots=True)
class Ends:
    """The jobs of steps at the two ends of a channel, and the jobs that read its objects."""

    producers: list[Draft] = field(default_factory=list)
    consumers: list[Draft] = field(default_factory=list)
    readers: list[Draft] = field(default_factory=list)


def bounded(name: str) -> str:
    """The name itself, or of a long one the beginning with a hash of the whole: stable, and as good as unique."""
    if len(name) <= LONGEST_NAME:
        return name
    mark = hashlib.blake2b(name.encode(), digest_size=6).hexdigest()
    return f"{name[: LONGEST_NAME - len(mark) - 1].rstrip('-._')}-{mark}"
