"""Dead letters through a real engine and its worker process: what an output refuses is kept, and can be replayed."""

from __future__ import annotations

import asyncio
import gzip
from pathlib import Path
from typing import Any

import orjson
import pytest

from core import errors
from core.bus.base import Delivery
from core.engine import Engine
from core.model.letter import number, text_id
from core.store import letter_rows
from core.store.letter_rows import Wanted
from tests import waiting
from tests.engines import ADMIN, deploy, engine_on

pytestmark = pytest.mark.anyio

TYPO = """
name: by-host
input: {{files: {{paths: ["{source}"], mode: batch, json: true}}}}
output: {{file: {{path: "{target}/${{{field}}}.jsonl"}}}}
"""


def write(path: Path, events: list[dict[str, Any]]) -> None:
    path.write_bytes(b"".join(orjson.dumps(event) + b"\n" for event in events))


async def letters(engine: Engine, **wanted: Any) -> list[dict[str, Any]]:
    found = await engine.call("dead_letter_list", {"limit": 200, **wanted}, ADMIN)
    items: list[dict[str, Any]] = found["items"]
    return items


async def refuse_three(engine: Engine, source: Path, target: Path) -> None:
    """Have three events refused for a typo in the path of their output."""
    write(source, [{"host": "a", "n": n} for n in range(3)])
    await deploy(engine, TYPO.format(source=source, target=target, field="hots"))
    await waiting.until(lambda: letters(engine), lambda found: len(found) == 3)


async def test_a_typo_in_a_path_makes_letters_and_no_hidden_file(tmp_path: Path) -> None:
    source, target = tmp_path / "in.jsonl", tmp_path / "out"
    async with engine_on(tmp_path / "home") as engine:
        await refuse_three(engine, source, target)
        first = (await letters(engine))[-1]
        assert first["step"] == "/output/file"
        assert first["component"] == "file"
        assert first["code"] == "empty-placeholder"
        assert "${hots}" in first["reason"]
        assert (first["status"], first["attempts"], first["job"]) == ("waiting", 1, "by-host")
        shown = await engine.call("dead_letter_get", {"id": first["id"]}, ADMIN)
        assert shown["event"] == {"host": "a", "n": 0}
        assert shown["replayable"]
    assert not target.exists(), "and nothing was written, under no name"


async def test_letters_are_replayed_by_the_job_that_was_mended(tmp_path: Path) -> None:
    source, target = tmp_path / "in.jsonl", tmp_path / "out"
    write(source, [{"host": "a", "n": n} for n in range(3)])
    async with engine_on(tmp_path / "home") as engine:
        await deploy(engine, TYPO.format(source=source, target=target, field="hots"))
        await waiting.until(lambda: letters(engine), lambda found: len(found) == 3)
        again = await engine.call("dead_letter_replay", {"job": "by-host"}, ADMIN)
        assert (again["refused"], again["replayed"]) == (3, 0), again
        assert {one["attempts"] for one in await letters(engine)} == {2}
        await deploy(engine, TYPO.format(source=tmp_path / "none", target=target, field="host"))
        done = await engine.call("dead_letter_replay", {"job": "by-host"}, ADMIN)
        assert (done["refused"], done["replayed"]) == (0, 3), done
        assert [orjson.loads(line)["n"] for line in waiting.lines(target / "a.jsonl")] == [0, 1, 2]
        assert {one["status"] for one in await letters(engine)} == {"replayed"}


@pytest.mark.parametrize("events", [10_000, pytest.param(100_000, marks=pytest.mark.soak)])
async def test_a_full_box_counts_and_holds_up_no_job(tmp_path: Path, events: int) -> None:
    source, target = tmp_path / "in.jsonl", tmp_path / "out"
    write(source, [{"n": n} for n in range(events)])
    async with engine_on(tmp_path / "home", letter_job_count=10) as engine:
        await deploy(engine, TYPO.format(source=source, target=target, field="hots"))
        box = await waiting.until(
            lambda: engine.letterbox.box("tenant-a", "by-host"),
            lambda box: box.waiting + box.dropped == events,
            seconds=60,
        )
        assert box.waiting == 10

        async def told() -> dict[str, Any]:
            (item,) = (await engine.call("job_metrics", {"name": "by-host"}, ADMIN))["items"]
            return dict(item)

        figures = await waiting.until(told, lambda one: one["metrics"].get("runs") == 1)  # it has told its last ones
        assert figures["metrics"]["refused_by_output"] == events
        assert figures["metrics"]["letters_dropped"] == events - 10
        assert figures["letters"]["dropped"] == events - 10
        shown = await engine.call("job_get", {"name": "by-host"}, ADMIN)
        assert (shown["letters"]["waiting"], shown["letters"]["dropped"]) == (10, events - 10)
        gone = await engine.call("dead_letter_discard", {"job": "by-host"}, ADMIN)
        assert gone == {"discarded": 10, "replaying": 0}
        assert "letters" not in await engine.call("job_get", {"name": "by-host"}, ADMIN)


async def test_replayed_letters_count_as_events_that_came_in_and_as_no_runs(tmp_path: Path) -> None:
    async with engine_on(tmp_path / "home") as engine:
        await refuse_three(engine, tmp_path / "in.jsonl", tmp_path / "out")

        async def figures() -> tuple[int, int, int]:
            (item,) = (await engine.call("job_metrics", {"name": "by-host"}, ADMIN))["items"]
            one = item["metrics"]
            return one.get("events_in", 0), one.get("refused_by_output", 0), one.get("runs", 0)

        await waiting.until(figures, lambda found: found == (3, 3, 1))
        await engine.call("dead_letter_replay", {"job": "by-host"}, ADMIN)
        await waiting.until(figures, lambda found: found == (6, 6, 1))


REJECTS = """
name: rejects
input: {{worker-channel: {{channel: rejects}}}}
output: {{file: {{path: "{target}/rejects.jsonl"}}}}
"""


async def test_refused_events_can_be_sent_on_to_another_job(tmp_path: Path) -> None:
    source, target = tmp_path / "in.jsonl", tmp_path / "out"
    write(source, [{"n": n} for n in range(3)])
    job = TYPO.format(source=source, target=target, field="host") + "on-error: {send: {channel: rejects}}\n"
    async with engine_on(tmp_path / "home") as engine:
        await deploy(engine, REJECTS.format(target=target))
        await deploy(engine, job)
        sent = await waiting.until(lambda: waiting.lines(target / "rejects.jsonl"), lambda found: len(found) == 3)
        assert [orjson.loads(line)["event"]["n"] for line in sent] == [0, 1, 2]
        assert orjson.loads(sent[0])["code"] == "empty-placeholder"
        assert await letters(engine) == []


async def test_or_as_messages(tmp_path: Path) -> None:
    source = tmp_path / "in.jsonl"
    write(source, [{"n": 1}])
    job = TYPO.format(source=source, target=tmp_path / "out", field="host") + "on-error: {send: {message: bad}}\n"
    async with engine_on(tmp_path / "home") as engine:
        await deploy(engine, job)

        async def messages() -> list[dict[str, Any]]:
            found = await engine.call("message_search", {"tag": "bad"}, ADMIN)
            items: list[dict[str, Any]] = found["items"]
            return items

        (message,) = await waiting.until(messages)
        assert message["message_data"]["job_event"]["event"] == {"n": 1}


async def test_an_action_that_fails_is_where_a_letter_begins_again(tmp_path: Path) -> None:
    source, target = tmp_path / "in.jsonl", tmp_path / "out"
    write(source, [{"n": 1}, {"n": 2}])
    job = """
name: parse
input: {{files: {{paths: ["{source}"], mode: batch, json: true}}}}
actions:
  - add: {{output-fields: {{count: "1"}}}}
  - script: '{script}'
output: {{file: {{path: "{target}/all.jsonl"}}}}
"""
    failing, mended = 'if event.n == 2 then error("two") end', "event.mended = true"
    async with engine_on(tmp_path / "home") as engine:
        await deploy(engine, job.format(source=source, target=target, script=failing))
        (letter,) = await waiting.until(lambda: letters(engine))
        assert (letter["step"], letter["code"]) == ("/actions/1/script", "action-failed")
        shown = await engine.call("dead_letter_get", {"id": letter["id"]}, ADMIN)
        assert shown["event"] == {"n": 2, "count": "1"}, "as it was at that step"
        await deploy(engine, job.format(source=tmp_path / "none", target=target, script=mended))
        done = await engine.call("dead_letter_replay", {"ids": [letter["id"]]}, ADMIN)
        assert done["replayed"] == 1, done
        assert orjson.loads(waiting.lines(target / "all.jsonl")[-1]) == {"n": 2, "count": "1", "mended": True}


async def test_a_file_that_cannot_be_read_is_one_letter_however_often_it_is_tried(tmp_path: Path) -> None:
    source = tmp_path / "in.gz"
    source.write_bytes(b"\x1f\x8b no gzip at all")
    job = f"""
name: unpack
input:
  files: {{paths: ["{source}"], mode: batch, preprocessors: [gzip], trigger: {{interval: {{duration: 100ms}}}}}}
output: {{discard: {{}}}}
"""
    async with engine_on(tmp_path / "home") as engine:
        await deploy(engine, job)
        (letter,) = await waiting.until(lambda: letters(engine))
        assert (letter["step"], letter["code"]) == ("/input/files", "skipped")
        shown = await engine.call("dead_letter_get", {"id": letter["id"]}, ADMIN)
        assert shown["event"] == {"path": str(source)}
        assert not shown["replayable"]


INTERVAL = "trigger: {interval: {duration: 100ms}}"
READERS = {
    "batch": "files: {{paths: ['{source}/*.gz'], mode: batch, preprocessors: [gzip], {trigger}}}",
    "tail": "files: {{paths: ['{source}/*.gz'], poll-interval: 50ms, preprocessors: [gzip]}}",
    "objects": "file-store: {{path: '{source}', preprocessors: [gzip], fingerprinting: true, {trigger}}}",
}


def job_of(reader: str, source: Path, trigger: str = INTERVAL, more: str = "") -> str:
    read = READERS[reader].format(source=source, trigger=trigger).replace(", }", "}")
    return f"{{name: unpack, input: {{{read}}}, output: {{discard: {{}}}}{more}}}"


@pytest.mark.parametrize("more", ["", ", on-error: {event: false}"])
@pytest.mark.parametrize("reader", READERS)
async def test_the_letter_of_what_was_skipped_waits_until_it_was_read(tmp_path: Path, reader: str, more: str) -> None:
    source = tmp_path / "in"
    source.mkdir()
    (source / "a.gz").write_bytes(b"\x1f\x8b no gzip at all")
    async with engine_on(tmp_path / "home") as engine:
        await deploy(engine, job_of(reader, source, more=more))
        (letter,) = await waiting.until(lambda: letters(engine))
        shown = await engine.call("dead_letter_get", {"id": letter["id"]}, ADMIN)
        assert (shown["replayable"], shown["obstacle"]) == (False, "its reader tries it again by itself")
        (source / "a.gz").write_bytes(gzip.compress(b"one\ntwo\n"))
        (letter,) = await waiting.until(lambda: letters(engine), lambda found: found[0]["status"] == "replayed")
        assert engine.letterbox.box("tenant-a", "unpack").waiting == 0
        shown = await engine.call("dead_letter_get", {"id": letter["id"]}, ADMIN)
        assert (shown["replayable"], shown["obstacle"]) == (False, "its reader has read it since")
        (source / "a.gz").write_bytes(b"\x1f\x8b broken once more")
        await waiting.until(lambda: letters(engine, status="waiting"), lambda found: len(found) == 1)


@pytest.mark.parametrize("reader", ["batch", "objects"])
async def test_what_a_job_that_is_over_had_skipped_is_read_when_it_is_deployed_again(
    tmp_path: Path, reader: str
) -> None:
    source = tmp_path / "in"
    source.mkdir()
    (source / "a.gz").write_bytes(b"\x1f\x8b no gzip at all")
    async with engine_on(tmp_path / "home") as engine:
        await deploy(engine, job_of(reader, source, ""))

        async def shown() -> dict[str, Any]:
            (letter,) = await letters(engine)
            return dict(await engine.call("dead_letter_get", {"id": letter["id"]}, ADMIN))

        await waiting.until(lambda: letters(engine))
        over = "its reader does not run; it tries again when the job is deployed again"
        await waiting.until(shown, lambda one: one["obstacle"] == over)
        exported = await engine.call("dead_letter_export", {}, ADMIN)
        assert [one["obstacle"] for one in exported["items"]] == [over]
        (source / "a.gz").write_bytes(gzip.compress(b"one\ntwo\n"))
    async with engine_on(tmp_path / "home") as engine:
        await deploy(engine, job_of(reader, source, "", ", actions: [{add: {output-fields: {x: y}}}]"))
        await waiting.until(shown, lambda one: one["status"] == "replayed")
        assert engine.letterbox.box("tenant-a", "unpack").waiting == 0


async def test_a_message_with_which_workers_died_is_a_letter_too(tmp_path: Path) -> None:
    job = """
name: hear
input: {echo: {trigger: {message: {filter-tag: go}}, event: x}}
output: {discard: {}}
"""
    async with engine_on(tmp_path / "home") as engine:
        await deploy(engine, job)
        engine.exhausted(Delivery(1, ("tenant-a", "hear"), b'{"id": "msg_1", "message_data": {"n": 1}}', deaths=10))
        (letter,) = await waiting.until(lambda: letters(engine))
        assert (letter["code"], letter["reason"]) == ("given-up", "10 workers died with its message")
        told = await engine.call("explain", {"kind": "job", "id": "hear"}, ADMIN)
        assert any(cause["what"] == "refused events that wait as dead letters: 1" for cause in told["because"]), told
        assert [step for step in told["next"] if step["call"] == "dead_letter_list"]


async def test_what_was_to_be_replayed_is_replayed_by_the_next_engine(tmp_path: Path) -> None:
    source, target = tmp_path / "in.jsonl", tmp_path / "out"
    write(source, [{"n": 1}])
    async with engine_on(tmp_path / "home") as engine:
        await deploy(engine, TYPO.format(source=source, target=target, field="host"))
        (letter,) = await waiting.until(lambda: letters(engine))
        await engine.call("job_put", {"document": TYPO.format(source=source, target=target, field="n")}, ADMIN)
        await engine.call("job_deploy", {"name": "by-host"}, ADMIN)
        wanted = Wanted("tenant-a", ids=(number(letter["id"]),))
        await engine.letterbox.change(lambda db, _: letter_rows.begin_replay(db, wanted, "", 10))
    async with engine_on(tmp_path / "home") as engine:
        await waiting.until(lambda: letters(engine), lambda found: found[0]["status"] == "replayed")
    assert waiting.lines(target / "1.jsonl") != []


async def test_who_asks_for_letters_that_are_being_replayed_waits_for_their_end_as_well(tmp_path: Path) -> None:
    source, target = tmp_path / "in.jsonl", tmp_path / "out"
    write(source, [{"n": n} for n in range(50)])
    async with engine_on(tmp_path / "home") as engine:
        await deploy(engine, TYPO.format(source=source, target=target, field="host"))
        await waiting.until(lambda: letters(engine), lambda found: len(found) == 50)
        await engine.call("job_put", {"document": TYPO.format(source=source, target=target, field="n")}, ADMIN)
        await engine.call("job_deploy", {"name": "by-host"}, ADMIN)
        told = await asyncio.gather(*(engine.call("dead_letter_replay", {"job": "by-host"}, ADMIN) for _ in range(3)))
        assert [(one["replayed"], one["replaying"]) for one in told] == [(50, 0)] * 3
        assert all(len(waiting.lines(target / f"{n}.jsonl")) == 1 for n in range(50)), "each came once"


async def test_letters_that_are_being_replayed_are_not_discarded(tmp_path: Path) -> None:
    source = tmp_path / "in.jsonl"
    write(source, [{"n": n} for n in range(3)])
    async with engine_on(tmp_path / "home") as engine:
        await deploy(engine, TYPO.format(source=source, target=tmp_path / "out", field="host"))
        await waiting.until(lambda: letters(engine), lambda found: len(found) == 3)
        wanted = Wanted("tenant-a", job="by-host")  # marked, and nobody works on it: a replay that lasts
        ((one,), _) = await engine.letterbox.change(lambda db, _: letter_rows.begin_replay(db, wanted, "", 1))
        asked = {"operation": "dead_letter_discard", "arguments": {"job": "by-host"}}
        loss = (await engine.call("call_preview", asked, ADMIN))["loss"]
        assert "2 dead letters" in loss["text"] and loss["pinned"] == {"limit": 2}
        gone = await engine.call("dead_letter_discard", {"job": "by-host"}, ADMIN)
        assert gone == {"discarded": 2, "replaying": 1}
        again = await engine.call("dead_letter_discard", {"ids": [text_id(one)]}, ADMIN)
        assert again == {"discarded": 0, "replaying": 1}
        assert [left["status"] for left in await letters(engine)] == ["replaying"]


@pytest.mark.parametrize("way", ["dead_letter_replay", "dead_letter_discard"])
async def test_the_letters_of_a_job_that_is_not_there_are_not_found(tmp_path: Path, way: str) -> None:
    async with engine_on(tmp_path / "home", workers=0) as engine:
        with pytest.raises(errors.NotFound):
            await engine.call(way, {"job": "nobody"}, ADMIN)
        await engine.call(
            "job_put", {"document": "{name: somebody, input: {echo: {event: x}}, output: {discard: {}}}"}, ADMIN
        )
        assert set((await engine.call(way, {"job": "somebody"}, ADMIN)).values()) <= {0, None}


async def test_letters_of_a_job_that_is_not_deployed_are_not_replayed(tmp_path: Path) -> None:
    source = tmp_path / "in.jsonl"
    write(source, [{"n": 1}])
    async with engine_on(tmp_path / "home") as engine:
        await deploy(engine, TYPO.format(source=source, target=tmp_path / "out", field="host"))
        await waiting.until(lambda: letters(engine))
        await engine.call("job_undeploy", {"name": "by-host"}, ADMIN)
        with pytest.raises(errors.TargetUnavailable, match="not deployed"):
            await engine.call("dead_letter_replay", {"job": "by-host"}, ADMIN)
        with pytest.raises(errors.InvalidParams):
            await engine.call("dead_letter_replay", {}, ADMIN)
        with pytest.raises(errors.NotFound):
            await engine.call("dead_letter_get", {"id": "let_0000000000000001"}, ADMIN)
