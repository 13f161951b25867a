"""From where the readers of a step read on: what may be told, how it stays in the wish, and what real workers do."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from core import errors
from core.deployments import resets
from core.documents import canonical
from core.engine import Engine
from core.model.deployment import Job, Reset, Role, State
from tests import waiting
from tests.deployments.running import KEEP, TAIL, apply, arrived, numbers, plan, publish, write
from tests.engines import ADMIN, engine_on

OBJECTS = {"file-store": {"path": "p", "object-names": ["c/"], "fingerprinting": True}}
LATER = "2026-01-31T00:00:00.000Z"


def job(name: str, source: dict[str, Any], step: str = "s") -> Job:
    document = {"name": name, "input": source, "output": {"discard": {}}}
    return Job(name, step, Role.STEP, "blueprint:b@1", "default", 1, document, canonical.digest(document))


def wish(*jobs: Job, **told: Reset) -> State:
    return State("workflow:w@1", jobs={one.name: one for one in jobs}, resets=told)


def replay(document: dict[str, Any] | None) -> Any:
    assert document is not None
    [config] = document["input"].values()
    return config.get("replay")


# ---- what may be told


def test_the_readers_of_a_step_and_of_a_module_are_told_and_no_others() -> None:
    state = wish(
        job("a", OBJECTS, "s"),
        job("b", {"files": "in/*"}, "s.inner"),
        job("c", {"echo": {"events": []}}, "s.inner"),
        job("d", OBJECTS, "other"),
    )
    assert resets.of_step(state, "s", "beginning", "m") == dict.fromkeys("ab", Reset("beginning", "m"))
    assert list(resets.of_step(state, "s.inner", LATER, "m")) == ["b"]


@pytest.mark.parametrize(
    ("source", "to", "said"),
    [
        ({"echo": {"events": []}}, "beginning", "reads by echo"),
        ({"file-store": {**OBJECTS["file-store"], "fingerprinting": False}}, "end", "reads by file-store"),
        ({"file-store": {**OBJECTS["file-store"], "timestamp-mode": "none"}}, LATER, "for that point"),
    ],
)
def test_what_keeps_no_place_cannot_be_told(source: dict[str, Any], to: str, said: str) -> None:
    with pytest.raises(errors.InvalidParams, match=said):
        resets.of_step(wish(job("a", source)), "s", to, "m")


def test_a_step_that_is_not_there_is_told_with_those_that_are() -> None:
    with pytest.raises(errors.InvalidParams, match="did you mean reader") as raised:
        resets.of_step(wish(job("a", OBJECTS, "reader")), "raeder", "end", "m")
    assert raised.value.hint == "Steps: reader."


# ---- how it stays


def test_a_point_is_a_word_or_a_time_that_has_come() -> None:
    def moment(text: str) -> int:
        return int(text)

    assert [resets.point(text, moment, 10) for text in ("beginning", "end")] == ["beginning", "end"]
    assert resets.point("10", moment, 10) == "1970-01-01T00:00:00.000Z"
    with pytest.raises(errors.InvalidParams, match="not come yet"):
        resets.point("11", moment, 10)


@pytest.mark.parametrize(
    ("to", "written"),
    [
        ("beginning", {"from": "beginning", "marker": "m"}),
        ("end", {"from": "now", "marker": "m", "skip-unread": True}),
        (LATER, {"from": LATER, "marker": "m", "skip-unread": True}),
    ],
)
def test_a_reset_is_a_replay_of_the_document(to: str, written: dict[str, Any]) -> None:
    assert replay(resets.onto(job("a", OBJECTS).document, Reset(to, "m"))) == written
    assert replay(resets.onto(job("a", {"files": "in/*"}).document, Reset(to, "m"))) == written


def test_a_document_that_says_another_replay_by_now_has_the_last_word() -> None:
    newer = {"file-store": {**OBJECTS["file-store"], "replay": "now"}}
    assert resets.onto(job("a", newer).document, Reset("beginning", "m")) is None
    assert resets.onto(job("a", {"echo": {"events": []}}).document, Reset("beginning", "m")) is None
    assert replay(resets.onto(job("a", newer).document, Reset("end", "m", over="now")))["marker"] == "m"


def test_a_second_reset_remembers_what_the_document_itself_says() -> None:
    own = {"file-store": {**OBJECTS["file-store"], "replay": "now"}}
    first = resets.of_step(wish(job("a", own)), "s", "beginning", "1")
    told = resets.onto(job("a", own).document, first["a"])
    assert told is not None
    again = resets.of_step(wish(job("a", told["input"]), **first), "s", "end", "2")
    assert again["a"] == Reset("end", "2", over="now")


def test_the_way_back_leaves_readers_where_they_stand() -> None:
    bare = job("a", OBJECTS)
    first, second = Reset("beginning", "1"), Reset("end", "2")
    then = resets.onto(bare.document, first)
    assert then is not None
    back = resets.carried(wish(job("a", then["input"]), a=first), wish(a=second))
    assert replay(back.jobs["a"].document)["marker"] == "2"
    assert back.resets == {"a": second}
    assert back.jobs["a"].digest == canonical.digest(back.jobs["a"].document)
    # Without a reset by now, the document is again as it says itself; a wish that has none is left as it was.
    assert resets.carried(wish(job("a", then["input"]), a=first), wish()).jobs["a"].document == bare.document
    assert resets.carried(wish(bare), wish()).jobs["a"] is bare


def test_a_wish_with_resets_is_stored_and_read_back() -> None:
    state = wish(job("a", OBJECTS), a=Reset(LATER, "m", over={"from": "now"}))
    assert State.from_dict(state.to_dict()) == state


# ---- on real workers


async def _reset(engine: Engine, step: str, to: str) -> dict[str, Any]:
    made = await engine.call("deployment_reset", {"name": "demo", "step": step, "to": to}, ADMIN)
    done = await engine.call("deployment_apply", {"plan_id": made["plan_id"]}, ADMIN)
    assert done["state"] == "running", done
    return made


@pytest.mark.anyio
async def test_readers_go_where_they_are_told_once_and_stay_there(tmp_path: Path) -> None:
    came, store = tmp_path / "x.out", f"{{path: {tmp_path}/spool, batch-timeout: 100ms, interval: 100ms}}"
    write(tmp_path / "a.in", range(3))
    async with engine_on(tmp_path / "home", workers=1) as engine:
        *_, source = await publish(
            engine,
            TAIL,
            KEEP,
            f"kind: workflow\nslug: w\nchannels: {{c: {{transport: file-store, with: {store}}}}}\nsteps:\n"
            f'  - {{id: a, use: "blueprint:tail@1.0.0", with: {{path: "{tmp_path}/a.in"}}, out: "channel:c"}}\n'
            f'  - {{id: x, use: "blueprint:keep@1.0.0", with: {{path: "{came}"}}, in: "channel:c"}}\n',
        )
        await apply(engine, source)
        assert await arrived(came, range(3)) == Counter(range(3))

        made = await _reset(engine, "x", "beginning")  # the reader of the channel
        assert [one["code"] for one in made["warnings"]] == ["reads_again"]
        changed = [one for one in made["changes"] if one["action"] == "update"]
        assert [one["id"] for one in changed] == ["demo--x--c-reader"]
        assert "beginning" in made["text"]
        await _times(came, 2, range(3))

        for exact in (False, True):  # an environment kept as files plans exactly
            made = await plan(engine, source, exact=exact)
            assert made["summary"]["unchanged"] == sum(made["summary"].values()), "a reset stays, whatever is planned"
        entry = (await engine.call("deployment_history", {"name": "demo"}, ADMIN))["items"][0]
        assert "resets.demo--x--c-reader" in str(entry["changed"])
        assert "beginning" in str(entry["changed"])

        await _reset(engine, "a", "end")  # nothing comes again
        write(tmp_path / "a.in", range(3, 4))
        await arrived(came, range(4))
        assert await arrived(came, range(4)) == Counter([*range(3), *range(3), 3])

        gone = await engine.call("deployment_plan", {"name": "demo", "remove": True}, ADMIN)
        await engine.call("deployment_apply", {"plan_id": gone["plan_id"]}, ADMIN)
        made = await plan(engine, source)
        assert [one["code"] for one in made["warnings"]] == ["reads_on", "reads_on"]
        assert "sluice deployment reset demo x --to beginning" in made["warnings"][1]["hint"]
        await apply(engine, source)
        write(tmp_path / "a.in", range(4, 5))
        assert await arrived(came, range(5)) == Counter([*range(3), *range(5)]), "it reads on where it stood"
        await _reset(engine, "x", "beginning")
        await _times(came, 3, range(3))


async def _times(path: Path, times: int, wanted: range) -> None:
    """Wait until each of these events has arrived as often."""
    await waiting.until(lambda: all(numbers(path)[n] >= times for n in wanted))
    assert {numbers(path)[n] for n in wanted} == {times}
