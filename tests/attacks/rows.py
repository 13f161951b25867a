"""The table of hostile input: one entry for each row, with the check that its expected result holds."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.attacks.rig import Target

TESTS = Path(__file__).parents[1]


@dataclass
class Scene:
    """What a check works with."""

    server: Target
    patch: pytest.MonkeyPatch
    folder: Path


Check = Callable[[Scene], Awaitable[None]]
ROWS: dict[str, Check] = {}


def row(id: str) -> Callable[[Check], Check]:
    """Declare the check of a row; its docstring says what is tried and what is expected."""

    def declare(check: Check) -> Check:
        assert id not in ROWS and check.__doc__, id
        ROWS[id] = check
        return check

    return declare


def elsewhere(id: str, file: str, *names: str) -> None:
    """A row whose checks are tests with a stage of their own: they have to be there."""

    async def check(scene: Scene) -> None:
        text = (TESTS / file).read_text(encoding="utf-8")
        for name in names:
            assert f"def {name}(" in text, f"{name} of {file}, which proves {id}, is gone"

    check.__doc__ = f"{file}: {', '.join(names)}"
    row(id)(check)
