"""Long work has a bar for people who watch, on stderr, and none for programs."""

from __future__ import annotations

import io
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest

from mcp_server.cli import connect, progress


class Terminal(io.StringIO):
    """A stderr that somebody watches."""

    def isatty(self) -> bool:
        return True


class Session:
    """An engine that announces what the test tells it."""

    def __init__(self) -> None:
        self.listeners: list[Callable[[str, dict[str, Any]], None]] = []

    def subscribe(self, callback: Callable[[str, dict[str, Any]], None]) -> Callable[[], None]:
        self.listeners.append(callback)
        return lambda: self.listeners.remove(callback)

    def tell(self, **data: Any) -> None:
        for listener in self.listeners:
            listener("progress", data)


def client(session: Session) -> connect.Client:
    return cast(connect.Client, SimpleNamespace(session=session))


def test_the_bar_shows_what_the_engine_announces_of_this_work_and_goes_away(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    screen, session = Terminal(), Session()
    monkeypatch.setattr("sys.stderr", screen)
    monkeypatch.setenv("TERM", "xterm")
    with progress.bar(client(session), "plan_1", "applying plan_1"):
        session.tell(id="plan_2", done=7, total=9, text="another one")
        session.tell(id="plan_1", done=1, total=2, text="[bold]1 of 2 jobs is up")
    said = screen.getvalue()
    assert "[bold]1 of 2 jobs is up" in said
    assert "1/2" in said
    assert "another one" not in said
    assert session.listeners == []
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(("screen", "quiet"), [(io.StringIO(), False), (Terminal(), True)])
def test_nothing_is_drawn_for_programs(screen: io.StringIO, quiet: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    session = Session()
    monkeypatch.setattr("sys.stderr", screen)
    with progress.bar(client(session), "plan_1", "applying plan_1", quiet=quiet):
        session.tell(id="plan_1", done=1, total=2, text="x")
    assert screen.getvalue() == ""


def test_the_bar_goes_away_when_the_work_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    session = Session()
    monkeypatch.setattr("sys.stderr", Terminal())
    with pytest.raises(RuntimeError), progress.bar(client(session), "x", "x"):
        raise RuntimeError("it failed")
    assert session.listeners == []
