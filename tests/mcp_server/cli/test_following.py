"""Commands that follow what happens, while engines end and begin: nothing is printed twice, and nothing is left out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson
import pytest

from core import channel, errors
from mcp_server.cli import connect, following, job_log, messages

pytestmark = pytest.mark.anyio
FEW = 3  # that one answer of this engine has


class Engine:
    """One that has some lines and messages, and breaks off each second call; when all was asked for, it refuses."""

    def __init__(self, count: int) -> None:
        self._ids = [f"{number:016x}" for number in range(1, count + 1)]
        self._calls = 0
        self.faults: list[errors.SluiceError] = [
            channel.ChannelClosed("The engine has gone."),
            errors.NoEngine("No engine is running."),
            errors.StorageUnavailable("The home is being opened."),
        ]

    def subscribe(self, notice: Callable[..., None]) -> Callable[[], None]:
        notice("registry", {})
        return lambda: None

    async def call(self, operation: str, given: dict[str, Any], caller: object) -> dict[str, Any]:
        if given.get("limit") == 1 or "after" not in given:  # where it begins
            return {"items": [], "after": "0" * 16, "cursor": "0" * 16, "unreachable": [], "deployed": True}
        self._calls += 1
        if self._calls % 2 and self.faults:
            raise self.faults.pop()
        after = given["after"].removeprefix("msg_")
        found = [id for id in self._ids if id > after][:FEW]
        if not found and not self.faults:
            raise errors.Forbidden("Enough was asked.")
        if operation == "message_search":
            return {"items": [{"id": f"msg_{id}"} for id in found]}
        lines = [{"id": id, "at": "", "level": "info", "text": id} for id in found]
        return {"items": lines, "after": found[-1] if found else after, "reset": False}


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> connect.Client:
    monkeypatch.setattr(following, "RETURN_SECONDS", 0)
    return connect.Client(Engine(8), connect.local_caller())  # type: ignore[arg-type]  # all that these commands need


@pytest.mark.parametrize("what", ["logs", "messages"])
async def test_what_is_followed_goes_on_with_the_next_engine_where_it_was(
    what: str, engine: connect.Client, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(errors.Forbidden):
        if what == "logs":
            await job_log._follow(engine, "log_search", {}, "0" * 16, as_json=True)
        else:
            await messages._follow(engine, {})
    said = capsys.readouterr()
    ids = [orjson.loads(line)["id"].removeprefix("msg_") for line in said.out.splitlines()]
    assert ids == [f"{number:016x}" for number in range(1, 9)]
    assert said.err.count("This goes on when there is an engine again.") == 3
    assert said.err.count("note: there is an engine again") == 3
