"""Keys and certificates that flags name: read off the commands that run jobs, so that a new flag is included."""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
import typing
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from core.guard import filepolicy
from core.settings import Settings
from mcp_server.cli import connect, join, main, serve

DIRECTORIES = {"home", "data_root"}


class Stop(Exception):
    """Where a command would begin to run."""


def path_flags(function: Callable[..., Any]) -> Iterator[str]:
    """The flags of a command that name a path, without those that are directories of its own."""
    for name, annotation in typing.get_type_hints(function).items():
        if name not in DIRECTORIES and name != "return" and (annotation is Path or Path in typing.get_args(annotation)):
            yield name


@pytest.fixture
def prepared(monkeypatch: pytest.MonkeyPatch) -> list[Settings]:
    """The settings with which a command would have run jobs."""
    seen: list[Settings] = []

    def stop(settings: Settings, **_: Any) -> contextlib.AbstractAsyncContextManager[Any]:
        seen.append(settings)
        raise Stop

    monkeypatch.setattr(serve.attach, "open_session", stop)
    monkeypatch.setattr(join.filepolicy, "prepare", stop)
    return seen


COMMANDS = {"serve": serve.serve, "worker": main._join}


@pytest.mark.anyio
@pytest.mark.parametrize("command", COMMANDS)
async def test_every_file_that_a_flag_of_an_engine_or_worker_names_is_closed_to_jobs(
    command: str, tmp_path: Path, prepared: list[Settings]
) -> None:
    function = COMMANDS[command]
    flags = {name: tmp_path / name for name in path_flags(function)}
    common: dict[str, Path] = {}
    assert flags
    needed: dict[str, Any] = {"nats": "nats://127.0.0.1:1", "home": tmp_path / "home"} if command == "worker" else {}
    if "common" in inspect.signature(function).parameters:
        common = {name: tmp_path / name for name in path_flags(connect.Common)}
        assert common
        needed["common"] = dataclasses.replace(connect.DEFAULTS, home=tmp_path / "home", **common)
        needed["port"] = 0
    with pytest.raises(Stop):
        await function(**flags, **needed)
    policy = filepolicy.of(prepared[0])
    assert {str(path) for path in (*flags.values(), *common.values())} <= set(policy.private)
