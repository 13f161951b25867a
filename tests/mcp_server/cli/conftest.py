"""Fixtures for tests of commands."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import cyclopts
import pytest

_described: dict[int, tuple[Any, cyclopts.ArgumentCollection]] = {}


@pytest.fixture(scope="module")
def described_once() -> Iterator[None]:
    """The docstring of a command is read once in a process, for help and completion: all of them take seconds."""
    collect = cyclopts.App.assemble_argument_collection

    def collected(app: cyclopts.App, *, parse_docstring: bool = False, **options: Any) -> cyclopts.ArgumentCollection:
        if not parse_docstring:
            return collect(app, **options)
        command = app.default_command
        if id(command) not in _described:
            _described[id(command)] = command, collect(app, parse_docstring=True, **options)
        return _described[id(command)][1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cyclopts.App, "assemble_argument_collection", collected)
        yield
