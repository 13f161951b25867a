"""Logs, figures and workers through a real engine with real worker processes."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import pytest

from core import clock, errors
from core.engine import Engine
from core.fleet import log_reading
from core.store import log_search
from core.store.log_chunks import Source
from mcp_server.cli import job_log
from tests import waiting
from tests.engines import ADMIN, USER, deploy, engine_on

pytestmark = pytest.mark.anyio
TICK = """
name: ticker
input: {echo: {event: "tick ${stat|run_id||0}", trigger: {interval: 20ms}}}
output: {print: STDOUT}
"""


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[Engine]:
    async with engine_on(tmp_path / "home", workers=1) as made:
        yield made


async def log(engine: Engine, **arguments: Any) -> dict[str, Any]:
    return await engine.call("job_log", {"name": "ticker", **arguments}, ADMIN)


async def printed(engine: Engine, text: str) -> None:
    """Follow the log of the ticker until a line has the text."""
    cursor = ""
    with anyio.fail_after(10):
        while True:
            found = await log(engine, after=cursor, wait_seconds=5)
            if any(text in line["text"] for line in found["items"]):
                return
            cursor = found["cursor"]


async def test_the_log_of_a_job_outlives_its_workloads(engine: Engine) -> None:
    await deploy(engine, TICK)
    await printed(engine, "tick")
    assert (await log(engine))["deployed"]
    await engine.call("job_undeploy", {"name": "ticker"}, ADMIN)
    assert await engine.fleet.wait(lambda: not engine.fleet.workload_views(tenant=ADMIN.tenant, job="ticker"), 5)
    found = await log(engine, limit=3)
    assert not found["deployed"]
    assert ["tick" in line["text"] for line in found["items"]] == [True] * 3
    shown = await engine.call("job_get", {"name": "ticker", "log_lines": 3}, ADMIN)
    assert (shown["workloads"], len(shown["log"])) == ([], 3)
    other = TICK.replace("name: ticker", "name: ticker2")
    await engine.call("job_put", {"document": other}, ADMIN)
    assert (await log(engine, name="ticker2"))["items"] == [], "a log belongs to one name"


async def test_a_log_is_there_after_a_restart_and_after_the_job_has_gone(tmp_path: Path) -> None:
    home = tmp_path / "home"
    async with engine_on(home, workers=1) as engine:
        await deploy(engine, TICK)
        await printed(engine, "tick")
        await engine.call("job_undeploy", {"name": "ticker"}, ADMIN)
        assert await engine.fleet.wait(lambda: not engine.fleet.workload_views(tenant=ADMIN.tenant, job="ticker"), 5)
        before = await log(engine, limit=500)
    async with engine_on(home, workers=0) as engine:
        found = await log(engine, limit=500)
        assert found["items"][: len(before["items"])] == before["items"], "and the last ones, which were on their way"
        assert (await log(engine, after=before["cursor"]))["truncated"] is False
        shown = await engine.call("job_get", {"name": "ticker", "log_lines": 3}, ADMIN)
        assert shown["log"] == found["items"][-3:]


async def test_equal_lines_at_one_time_are_all_there(engine: Engine) -> None:
    await engine.call("job_put", {"document": TICK}, ADMIN)
    source = Source("tenant-a/ticker#0", "", "local-1")
    for text in ("same", "same", "\x1b[31mred\x1b[0m\nand more", "same"):
        engine.fleet.logs.add(source, 1_000_000_000, "info", text, {})
    found = await log(engine)
    assert [line["text"] for line in found["items"]] == ["same", "same", "\x1b[31mred\x1b[0m\nand more", "same"]
    one = await log(engine, after="0" * 15 + "1", limit=1)
    assert one["truncated"]
    rest = await log(engine, after=one["cursor"])
    assert [line["text"] for line in one["items"] + rest["items"]] == [line["text"] for line in found["items"]]
    assert (await log(engine, after=rest["cursor"]))["items"] == []


async def test_logs_are_searched_by_text_pattern_owner_level_and_time(engine: Engine) -> None:
    own, other = Source("tenant-a/etl--load#0", "etl", "local-1"), Source("tenant-a/single#1", "", "w2")
    foreign = Source("tenant-b/etl--load#0", "etl", "local-1")
    day = 86_400 * clock.NANOSECONDS
    lines = (
        (own, 1 * day, "info", "loaded 12 rows"),
        (own, 2 * day, "warning", "\x1b[33mLoaded none\x1b[0m\nof table T"),
        (other, 3 * day, "error", "no (route)"),
        (foreign, 3 * day, "error", "loaded foreign rows"),
    )
    for source, at, level, text in lines:
        engine.fleet.logs.add(source, at, level, text, {"n": 7})

    async def search(**arguments: Any) -> list[str]:
        found = await engine.call("log_search", arguments, USER)
        assert (found["complete"], found["next_cursor"]) == (True, None)
        return [line["text"].partition("\n")[0] for line in found["items"]]

    none, rows, route = "\x1b[33mLoaded none\x1b[0m", "loaded 12 rows", "no (route)"
    assert await search() == [route, none, rows]
    assert await search(text="LOADED") == [none, rows]
    assert await search(text="(route") == [route]
    assert await search(text="^of table [A-Z]", regex=True) == [none]
    assert await search(text='"n":7 x') == []
    for of in ("etl", "etl--load", "etl--load#0", "local-1"):
        assert await search(of=of) == [none, rows]
    assert await search(of="w2", level="warning") == [route]
    assert await search(of="etl", text="nobody wrote this") == []
    with pytest.raises(errors.NotFound, match="no log of elt in tenant tenant-a"):
        await search(of="elt")
    assert await search(level="warning") == [route, none]
    assert await search(since="1970-01-03T00:00:00Z", until="1970-01-04T00:00:00Z") == [none]
    page = await engine.call("log_search", {"limit": 2}, USER)
    assert not page["complete"]
    assert page["searched_until"] is not None
    rest = await engine.call("log_search", {"cursor": page["next_cursor"]}, USER)
    assert [line["text"] for line in rest["items"]] == [rows]
    with pytest.raises(errors.InvalidParams, match="no regular expression"):
        await engine.call("log_search", {"text": "(", "regex": True}, USER)


async def test_logs_are_followed_by_text_over_all_jobs_and_a_call_waits_for_a_line(engine: Engine) -> None:
    own, other = Source("tenant-a/etl--load#0", "etl", "local-1"), Source("tenant-a/single#1", "", "w2")

    async def search(**arguments: Any) -> dict[str, Any]:
        return await engine.call("log_search", {"text": "row", **arguments}, USER)

    engine.fleet.logs.add(own, 1, "info", "a row of before", {})
    after = (await search())["after"]
    assert (await search(after=after))["items"] == []
    waits = asyncio.create_task(search(after=after, wait_seconds=20))
    await waiting.begun(waits)
    engine.fleet.logs.add(own, 1, "info", "something else", {})
    engine.fleet.logs.add(other, 1, "info", "Row one", {})
    found = await waits
    assert [line["text"] for line in found["items"]] == ["Row one"]
    for _ in range(3):
        engine.fleet.logs.add(own, 1, "info", "the same row", {})
    seen = []
    while (found := await search(after=found["after"], limit=1))["items"]:
        seen += found["items"]
    assert [line["text"] for line in seen] == ["the same row"] * 3
    assert (found["complete"], found["reset"]) == (True, False)
    assert [line["after"] for line in seen] == sorted({line["after"] for line in seen})
    assert (await search(after=after, of="w2"))["items"][0]["text"] == "Row one"


async def test_following_a_log_gives_every_line_once_and_in_order(engine: Engine) -> None:
    await deploy(engine, TICK)
    seen: list[str] = []
    cursor = ""
    with anyio.fail_after(10):
        while len(seen) < 10:
            found = await log(engine, after=cursor, wait_seconds=5)
            cursor = found["cursor"]
            seen += [line["at"] + line["text"] for line in found["items"]]
    whole = (await log(engine, limit=500))["items"]
    assert [line["at"] + line["text"] for line in whole][: len(seen)] == seen
    assert found["unreachable"] == []


async def test_lines_that_come_and_are_written_while_the_file_is_read_are_given_once(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between what an answer is asked up to and the look into the file, a thread of its own may have written more."""
    source, book, loop = Source("tenant-a/ticker#0", "", "local-1"), engine.logbook, asyncio.get_running_loop()
    await engine.call("job_put", {"document": TICK}, ADMIN)
    engine.fleet.logs.add(source, 1, "info", "line 0", {})
    number = 0

    async def write() -> None:
        nonlocal number
        number += 1
        engine.fleet.logs.add(source, 1, "info", f"line {number}", {})
        await waiting.until(lambda: not book.held)

    def late(*arguments: Any, **options: Any) -> Any:  # in a thread of the readers
        if number < 6:
            asyncio.run_coroutine_threadsafe(write(), loop).result(waiting.SECONDS)
        return search(*arguments, **options)

    search = log_search.search
    monkeypatch.setattr(log_search, "search", late)
    for operation, cursor, asked in (("job_log", "cursor", {"name": "ticker"}), ("log_search", "after", {})):
        number = 0
        found = await engine.call(operation, asked, ADMIN)
        start, seen = found["items"][-1]["text"], []
        with anyio.fail_after(waiting.SECONDS):
            while len(seen) < 6:
                found = await engine.call(operation, {**asked, "after": found[cursor], "wait_seconds": 5}, ADMIN)
                seen += [line["text"] for line in found["items"]]
        assert start == "line 0"
        assert seen == [f"line {one}" for one in range(1, 7)]


async def test_a_log_is_bounded_in_lines_and_characters_and_filtered_by_level(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    await deploy(engine, TICK)
    await waiting.until(lambda: len(engine.fleet.logs.of("tenant-a/ticker#0")) > 5)
    assert len((await log(engine, limit=2))["items"]) == 2
    monkeypatch.setattr(log_reading, "LINE_CHARACTERS", 1)
    short = await log(engine, limit=100)
    assert short["truncated"]
    assert 1 <= len(short["items"]) < 30
    assert (await log(engine, level="error"))["items"] == []


async def test_a_line_that_was_cut_says_how_long_it_was(engine: Engine, capsys: pytest.CaptureFixture[str]) -> None:
    await deploy(engine, f"name: ticker\ninput: {{echo: {{event: {'x' * 100_004}}}}}\noutput: {{print: STDOUT}}\n")
    (line,) = [line for line in (await log(engine, wait_seconds=20))["items"] if line["level"] == "print"]
    written = '{"_raw":"' + "x" * 100_004 + '"}'
    assert line["text"] == written[:8192]
    assert line["fields"] == {"target": "STDOUT", "truncated": {"of": len(written)}}
    job_log._print([line], as_json=False)
    assert capsys.readouterr().out.endswith('xxx {"target":"STDOUT","truncated":{"of":100015}}\n')


async def test_the_lines_that_a_dead_worker_had_sent_are_there_and_that_others_may_be_missing_is_told(
    engine: Engine,
) -> None:
    await deploy(engine, TICK)
    await deploy(engine, "name: silent\ninput: {internal-messages: {filter-tag: none}}\noutput: {print: STDOUT}\n")
    await deploy(engine, "name: over\ninput: {echo: {event: once}}\noutput: {print: STDOUT}\n")
    await waiting.until(lambda: engine.fleet.workload_views(tenant=ADMIN.tenant, job="over")[0].state == "completed")
    await waiting.until(lambda: len(engine.fleet.logs.of("tenant-a/ticker#0")) > 3)
    pid = engine.fleet.workers["local-1"].pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    await waiting.until(lambda: engine.fleet.workers["local-1"].channel is None)
    found = await log(engine)
    assert found["unreachable"] == ["local-1"]
    *before, mark = found["items"]
    assert len(before) > 3
    assert mark["level"] == "warning"
    gap = mark["fields"]["dropped"]
    assert gap["reason"] == "worker-ended"
    assert before[-1]["at"] <= gap["from"] <= gap["to"]
    (only,) = (await log(engine, name="silent", level="warning"))["items"]
    assert only["fields"]["dropped"]["reason"] == "worker-ended"
    assert (await log(engine, name="over", level="warning"))["items"] == []
    for name in ("ticker", "silent"):  # a line about the log is no cause of what a job does
        assert engine.fleet.logs.last_warning(f"tenant-a/{name}#0") == ""


async def test_a_worker_that_ends_as_it_was_asked_to_leaves_no_mark(engine: Engine) -> None:
    await deploy(engine, TICK)
    await waiting.until(lambda: len(engine.fleet.logs.of("tenant-a/ticker#0")) > 3)
    pid = engine.fleet.workers["local-1"].pid
    assert pid is not None
    os.kill(pid, signal.SIGTERM)
    await waiting.until(lambda: engine.fleet.workers["local-1"].channel is None)
    assert (await log(engine, level="warning"))["items"] == []


async def test_the_reason_of_a_failure_is_in_the_log_and_in_the_job(engine: Engine) -> None:
    document = "name: ticker\ninput: {exec: {command: 'true'}}\noutput: {print: STDOUT}\n"
    put = await engine.call("job_put", {"document": document}, ADMIN)
    deployed = await engine.call("job_deploy", {"name": put["name"]}, ADMIN)
    assert deployed["workloads"][0]["state"] in ("failed", "starting")
    lines = (await log(engine, level="error", wait_seconds=5))["items"]
    assert any("allow_exec" in line["text"] for line in lines)
    shown = await engine.call("job_get", {"name": "ticker"}, ADMIN)
    assert "allow_exec" in str(shown["workloads"]) + str(shown["log"])


async def test_a_job_that_is_not_there_has_no_log(engine: Engine) -> None:
    with pytest.raises(errors.NotFound):
        await engine.call("job_log", {"name": "none"}, ADMIN)
    await deploy(engine, TICK.replace("ticker", "mine"))
    with pytest.raises(errors.InvalidParams):
        await engine.call("job_log", {"name": "mine", "after": "yesterday"}, ADMIN)


async def test_the_figures_of_a_job_are_counted_and_told(engine: Engine) -> None:
    await deploy(engine, TICK)

    async def figures() -> dict[str, Any]:
        (item,) = (await engine.call("job_metrics", {"name": "ticker"}, USER))["items"]
        assert (item["job"], item["worker"], item["state"]) == ("ticker", "local-1", "running")
        assert not (await engine.call("job_metrics", {"deployment": "others"}, USER))["items"]
        metrics: dict[str, Any] = item["metrics"]
        return metrics

    found: dict[str, Any] = {}
    with anyio.fail_after(10):
        while not found.get("events_out"):
            await log(engine, after="f" * 16, wait_seconds=1)
            found = await figures()
    assert found["events_in"] >= found["events_out"] > 0
    assert found["runs"] > 0
    assert (found["errors"], found["runs_failed"]) == (0, 0)
    assert 0 <= found["lag_seconds"] < 5


async def test_a_worker_reports_its_memory_loop_and_channels_when_asked(engine: Engine) -> None:
    await deploy(engine, TICK)
    await deploy(engine, "name: reader\ninput: {worker-channel: c}\noutput: {discard: {}}\n")
    found = await engine.call("worker_get", {"name": "local-1"}, USER)
    assert found["report"]["memory_bytes"] > 10_000_000
    assert found["report"]["memory_peak_bytes"] >= found["report"]["memory_bytes"] // 2
    assert found["report"]["loop_lag_seconds"] < 5
    assert found["report"]["channels"] == {"c": 0}
    assert {workload["job"] for workload in found["workloads"]} == {"ticker", "reader"}
    with pytest.raises(errors.NotFound):
        await engine.call("worker_get", {"name": "local-9"}, USER)


async def test_a_worker_that_is_stopped_is_told_as_unreachable(engine: Engine) -> None:
    pid = engine.fleet.workers["local-1"].pid
    await waiting.until(lambda: engine.fleet.workers["local-1"].state == "online")
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    try:
        found = await engine.call("worker_get", {"name": "local-1"}, USER)
    finally:
        os.kill(pid, signal.SIGCONT)
    assert found["report"] is None
    assert "did not answer" in found["unreachable"]


async def test_a_variable_that_a_job_sets_is_read_by_another(engine: Engine) -> None:
    await deploy(
        engine,
        """
name: ticker
input: {echo: {event: "zone=${dyn|zone||nowhere}", trigger: {interval: 20ms}}}
output: {print: STDOUT}
""",
    )
    setter = """
name: setter
input: {echo: {event: '{"v": "north"}', json: true}}
output: {message: {input-field: v, set-variable-name: zone}}
"""
    await deploy(engine, setter)
    await printed(engine, "zone=north")


async def test_a_sidecar_message_of_one_job_starts_another(engine: Engine, tmp_path: Path) -> None:
    await deploy(
        engine,
        """
name: ticker
input: {echo: {event: "{}", json: true, trigger: {message: {filter-tag: [loaded, else], filter-job: loader}}}}
actions: [{add: {output-fields: {n: "${msg|job_event.n}"}}}]
output: {print: STDOUT}
""",
    )
    loader = f"""
name: loader
input: {{echo: {{event: "a\\nb"}}}}
output: {{file: {tmp_path / "out"}}}
emit: {{tag: loaded, data: {{n: "${{stat|events_out}}"}}}}
"""
    await deploy(engine, loader)
    await printed(engine, '{"n":"2"}')


async def test_each_change_of_state_of_a_job_is_announced(engine: Engine) -> None:
    heard: list[tuple[str, str, str]] = []
    forget = engine.subscribe(
        lambda kind, data: heard.append((data["tenant"], data["job"], data["state"])) if kind == "job" else None
    )
    await deploy(engine, TICK)
    await engine.call("job_undeploy", {"name": "ticker"}, ADMIN)
    forget()
    assert {(tenant, job) for tenant, job, _ in heard} == {(ADMIN.tenant, "ticker")}
    states = [state for _, _, state in heard]
    assert states.index("running") < states.index("stopped")
