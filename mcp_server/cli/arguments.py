"""What the params models say of the arguments of each operation, without importing one of them.

operations.json is written from the models by docs/generate.py: loading the models takes longer than a command has.
"""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any, Literal, NamedTuple

FILE = Path(__file__).with_name("operations.json")

_LAST = {"limit": 1, "cursor": 2}

Kind = Literal["text", "whole", "number", "switch", "json", "path", "texts", "pairs", "text pairs", "whole pairs"]


class Argument(NamedTuple):
    """One argument of an operation.

    `kind` is how it is typed: a text, a whole number, a number, a switch, JSON, the path of a file here; or, given once
    for each of its items, texts or NAME=VALUE, where values are what they read as, texts or whole numbers.
    """

    name: str
    kind: Kind
    help: str
    choices: tuple[str, ...] = ()
    default: Any = None
    required: bool = False

    @property
    def many(self) -> bool:
        """Whether it is given once for each of its items."""
        return self.kind == "texts" or self.pairs

    @property
    def pairs(self) -> bool:
        """Whether its items are NAME=VALUE."""
        return self.kind.endswith("pairs")


@functools.cache
def _all() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(FILE.read_bytes())
    return found


class Declared(NamedTuple):
    """What a command has to know of an operation that somebody else does."""

    reads: bool
    idempotent: bool
    needs_engine: bool
    of_runs: bool
    told_once: bool
    """Whether its answer holds what is never told again."""
    named: bool
    """Whether each answer of it, or each row, has a name that -o name prints."""
    homeless: bool
    """Whether it is answered where there is no home, too."""


class _Declarations:
    """The same of every operation, without importing one of them."""

    def get(self, name: str) -> Declared | None:
        told = _all().get(name)
        if told is None:
            return None
        traits = told.get("traits", ())
        return Declared(*(trait in traits for trait in Declared._fields))


DECLARED = _Declarations()


def summary(operation: str) -> str:
    """The operation in one line."""
    return str(_all()[operation]["summary"])


@functools.cache
def of(operation: str) -> dict[str, Argument]:
    """The arguments of an operation by name, in the order of the model; where a page begins and ends comes last."""
    found = [
        Argument(name=name, **{**told, "choices": tuple(told.get("choices", ()))})
        for name, told in _all()[operation]["arguments"].items()
    ]
    return {one.name: one for one in sorted(found, key=lambda one: _LAST.get(one.name, 0))}
