"""Dead letters without room: a condition says whether there is some now, and what is wrong with the events is told."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import orjson
import pytest

from core.engine import Engine
from core.fleet import fleet
from core.fleet.connection import Observed
from core.fleet.judge import Judge
from core.fleet.verdicts import About
from core.model import frames, letter
from core.model.letter import Letter
from core.model.states import WorkloadState
from core.model.typed_condition import Status
from core.store import letter_rows
from core.store.letter_rows import Wanted
from core.store.letterbox import Bounds, Letterbox
from tests import waiting
from tests.engines import ADMIN, deploy, engine_on

pytestmark = pytest.mark.anyio
OWNER = ("tenant-a", "full")


async def condition(engine: Engine, type: str) -> tuple[str, str]:
    """The status and the message of a condition of the job; empty when it has none of that type."""
    found = await engine.call("workload_list", {"job": "full", "detail": "detailed"}, ADMIN)
    (conditions,) = [one["conditions"] for one in found["items"]]
    return next(((one["status"], one["message"]) for one in conditions if one["type"] == type), ("", ""))


async def refuse_all(engine: Engine, count: int = 5) -> None:
    """Have a job refuse some events, for three of which there is room."""
    events = "\n".join(orjson.dumps({"n": n}).decode() for n in range(count))
    document = {
        "name": "full",
        "input": {"echo": {"event": events, "json": True}},
        "actions": [{"assert": {"schema": {"schema-string": '{"required": ["id"]}'}}}],
        "output": {"discard": {}},
    }
    await deploy(engine, orjson.dumps(document).decode())


async def test_there_is_room_again_as_soon_as_letters_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fleet, "AGE_SECONDS", 3600.0)  # nothing looks for it from time to time
    async with engine_on(tmp_path / "home", letter_job_count=3) as engine:
        await refuse_all(engine)
        lost = await waiting.until(lambda: condition(engine, "RoomForLetters"), lambda found: found[0] == "false")
        assert lost[1] == "refused events had no room, and were dropped"
        gone = await engine.call("dead_letter_discard", {"job": "full"}, ADMIN)
        assert gone["discarded"] == 3
        await waiting.until(lambda: condition(engine, "RoomForLetters"), lambda found: found[0] == "true")


def test_another_version_knows_nothing_of_what_had_no_room_and_of_room_nothing_is_told_late() -> None:
    told: list[About] = []
    conditions, bus = Mock(), Mock()
    conditions.saw.side_effect = lambda row, seen, about, failed: told.append(about)
    conditions.suffers.return_value = set()
    bus.backlog.return_value = (0, 0)
    full = Mock(return_value=True)
    judge = Judge(bus, conditions, Mock(), Mock(return_value=""), Mock(return_value=None), full)
    row: Any = SimpleNamespace(id="tenant-a/full#0", tenant="tenant-a", job="full", deployment="d", version="1")
    seen = Observed(WorkloadState.RUNNING.value)
    judge.measured(row, seen, figures(5))
    assert told[-1].letters is not None and told[-1].letters.status is Status.FALSE
    row.version = "2"
    judge.saw(row, seen)
    assert told[-1].letters is None
    full.return_value = False  # somebody has made room before the worker told what it had dropped
    judge.measured(row, seen, figures(7))
    judge.saw(row, seen)
    assert told[-1].letters is None


def figures(letters_dropped: int) -> frames.Figures:
    return frames.Figures(0, 0, 0, 0, 0, 0, 0, 0, 0.0, letters_dropped=letters_dropped)


async def test_why_events_are_refused_is_told_and_not_that_their_letters_have_no_room(tmp_path: Path) -> None:
    async with engine_on(tmp_path / "home", letter_job_count=3) as engine:
        await refuse_all(engine)
        await waiting.until(lambda: condition(engine, "RoomForLetters"), lambda found: found[0] == "false")
        _, why = await waiting.until(lambda: condition(engine, "EventsAccepted"), lambda found: found[0] == "false")
        assert why.startswith("none of the last events came through: actions/0 assert: "), why
        log = (await engine.call("job_log", {"name": "full"}, ADMIN))["items"]
        (line,) = [line for line in log if line["text"].startswith("there is no room for dead letters")]
        assert (line["level"], line["fields"]) == ("warning", {"condition": "RoomForLetters"})


@pytest.mark.parametrize("bounds", [Bounds(3, 64, 512, 336, 0), Bounds(100, 1, 512, 336, 0)])
async def test_letters_that_were_replayed_are_room(tmp_path: Path, bounds: Bounds) -> None:
    box = Letterbox(tmp_path / "letters.db", bounds)
    box.open()
    heard: list[str] = []
    box.room_listeners.append(heard.append)
    try:
        letters = [large(box, '"' + "x" * 250_000 + '"') for _ in range(5)]
        put = await box.put(OWNER, letters)
        assert put.full and box.is_full(*OWNER)
        assert heard == []

        def replay(db: letter_rows.Connection, _: set[tuple[str, str]]) -> None:
            letter_rows.begin_replay(db, Wanted(OWNER[0]), "", 1)
            letter_rows.accepted(db, letters[0].id, 2)

        await box.change(replay, OWNER)
        assert (box.is_full(*OWNER), heard) == (False, [OWNER[0]])
    finally:
        await box.close()


def large(box: Letterbox, event: str) -> Letter:
    where = {"tenant": OWNER[0], "job": OWNER[1], "deployment": "", "workload": "full#0", "worker": "w"}
    about = {"version": "1", "run": "r", "invocation": "", "step": "/output/file", "component": "file"}
    why: dict[str, Any] = {"code": "no-field", "reason": "why", "event": event, "truncated": False, "redacted": False}
    state: dict[str, Any] = {"status": letter.Status.WAITING, "attempts": 1, "tried_at_ns": 1, "at_ns": 1}
    return Letter(id=box.new_id(), message=None, subject="", **where, **about, **why, **state)
