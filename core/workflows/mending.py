"""A document that does not fit its model, made to fit: so that what is wrong elsewhere is told in the same pass.

A misspelt key counts as the key that was meant, a name in the wrong spelling as the name that is nearest, and what
cannot stay is left out. What would follow from such a repair alone is not told.
"""

from __future__ import annotations

import copy
import re
from dataclasses import dataclass, field
from typing import Any

import pydantic

from core import pointers
from core.documents import lint
from core.model.plan import Finding
from core.near import nearest

ROUNDS = 4
_NAMED = frozenset({"id", "field", "slug", "from", "to", "tag"})  # keys that must be there and hold a name
_CODES = {"extra_forbidden": "unknown_key", "missing": "missing_key"}
_HINTS = {
    "unknown_key": "Correct the key, or remove it.",
    "missing_key": "Add it.",
    "wrong_value": "Correct the value.",
}


@dataclass(slots=True)
class Mended:
    """`model` is None when nothing could be made of the document."""

    model: Any = None
    faults: list[Finding] = field(default_factory=list)
    renamed: dict[str, str] = field(default_factory=dict)  # pointer with the key that was meant -> as it is written
    _below: set[str] = field(default_factory=set)  # what is told at or below these follows from the damage
    _at: set[str] = field(default_factory=set)  # what is told exactly there does

    def written(self, pointer: str) -> str:
        """The pointer into the document as it is written."""
        for above in _and_above(pointer) if self.renamed else ():
            if above in self.renamed:
                return self.renamed[above] + pointer[len(above) :]
        return pointer

    def follows(self, pointer: str) -> bool:
        """Whether a fault at this place may be nothing but a consequence of a fault that is told already."""
        return pointer in self._at or (bool(self._below) and any(above in self._below for above in _and_above(pointer)))

    def doubt(self, pointer: str) -> None:
        """What a transport asks for cannot be judged before it is known which one was meant."""
        channel, _, key = pointer.rpartition("/")
        if key == "transport":
            self._below.add(f"{channel}/with")
            self._at.add(channel)

    def damage(self, pointer: str) -> None:
        self._below.add(pointer)
        self.doubt(pointer)
        parent, _, key = pointer.rpartition("/")
        if key in ("use", "slot") or not parent.rpartition("/")[2].isdigit():
            self._at.add(parent)


def mend(data: dict[str, Any], model: type[pydantic.BaseModel]) -> Mended:
    """Validate a document, and validate it again without what was wrong, until the rest fits."""
    out = Mended()
    data = copy.deepcopy(data)
    for _ in range(ROUNDS):
        try:
            out.model = model.model_validate(data)
            break
        except pydantic.ValidationError as error:
            _round(out, error, model, data)
    return out


def _round(out: Mended, error: pydantic.ValidationError, model: type[pydantic.BaseModel], data: dict[str, Any]) -> None:
    problems = zip(lint.faults_of(error, model), lint.problems_of(error, model, data=data), strict=True)
    meant: set[str] = set()
    for fault, problem in sorted(problems, key=lambda one: one[0]["type"] != "extra_forbidden"):
        pointer = problem.pointer
        if fault["type"] == "missing" and pointer in meant:
            continue  # it is there, under a name that is told
        code = _CODES.get(fault["type"], "wrong_value")
        hint, told, written = _HINTS[code], out.follows(pointer), out.written(pointer)
        if fault["type"] == "extra_forbidden":
            key = _rename(data, pointer, lint.keys_at(model, fault["loc"][:-1]))
            if key:
                there = f"{pointer.rpartition('/')[0]}/{key}"
                meant.add(there)
                out.renamed[there] = written
                hint = f"Write {key}."
        elif (near := _near(fault)) is not None:
            parent, key = _parent(data, pointer)
            parent[int(key) if isinstance(parent, list) else key] = near
            hint = f"Write {near}."
            out.doubt(pointer)
        else:
            put = _replace(data, pointer, missing=fault["type"] == "missing")
            hint = f"Write {put}, for example." if put else hint
            out.damage(pointer)
        if not told:
            message = f"{problem.message[:1].upper()}{problem.message[1:]}"
            out.faults.append(Finding(code, message, hint, written))


def _rename(data: dict[str, Any], pointer: str, allowed: list[str]) -> str:
    """Move the value of an unknown key to the key that was probably meant, or remove it; the key, or nothing."""
    parent, key = _parent(data, pointer)
    if not isinstance(parent, dict) or key not in parent:
        return ""
    value = parent.pop(key)
    meant = nearest(key, [name for name in allowed if name not in parent])
    if meant:
        parent[meant[0]] = value
    return meant[0] if meant else ""


def _near(fault: Any) -> str | None:
    """The allowed word that a wrong one was probably meant to be."""
    if fault["type"] not in ("enum", "literal_error") or not isinstance(fault["input"], str):
        return None
    return next(iter(nearest(fault["input"], lint.choices(fault))), None)


def _replace(data: dict[str, Any], pointer: str, *, missing: bool) -> str:
    """Put something in the place of a value that cannot stay, or leave the key out where it may be left out.

    Returns what the author may have meant; nothing when that cannot be told.
    """
    parent, key = _parent(data, pointer)
    side = key in ("in", "out") or pointer.split("/")[-2] in ("in", "out")
    fresh = f"unnamed-{''.join(part for part in pointer if part.isalnum())}"[:60].lower()
    if isinstance(parent, list):
        old = parent[int(key)]
        parent[int(key)] = (_name(old) or fresh) if isinstance(old, str) else {"id": fresh}
        return _name(old) if isinstance(old, str) else ""
    old = parent.pop(key, None)
    name = _name(old.rpartition(":")[2] if side else old) if isinstance(old, str) else ""
    if side and name:
        parent[key] = f"channel:{name}"
        return str(parent[key])
    if key in _NAMED:
        parent[key] = name or fresh
        return name
    if missing and key == "jobs":
        parent[key] = [{}]
    return ""


def _name(text: str) -> str:
    """The nearest text that is a name; empty when there is none."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:60]


def _parent(data: Any, pointer: str) -> tuple[Any, str]:
    """What holds the value at a pointer, and the key or index of the value."""
    *above, last = pointers.split(pointer)
    for part in above:
        data = data[int(part)] if isinstance(data, list) else data[part]
    return data, last


def _and_above(pointer: str) -> list[str]:
    """The pointer and those of everything that it lies in, nearest first."""
    out = [pointer]
    while pointer:
        pointer = pointer.rpartition("/")[0]
        out.append(pointer)
    return out
