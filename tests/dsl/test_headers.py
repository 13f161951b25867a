"""The header of a CSV file: read once, known for every row, also side by side with others and after a kill."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import orjson
import pytest

from core.dsl.actions import headers
from core.dsl.component import Run
from core.dsl.language.compile import compile_job
from core.worker.executor import Executor
from tests import waiting
from tests.dsl.rig import Worker
from tests.dsl.test_kill import run_and_kill, size_of

pytestmark = pytest.mark.anyio
CSV: dict[str, Any] = {"csv": {"header": True, "remove": True}}


def document(path: Path, *actions: dict[str, Any], **options: Any) -> dict[str, Any]:
    files = {"path": str(path), "poll-interval": "10ms", **options}
    return {"name": "job", "input": {"files": files}, "actions": list(actions or [CSV]), "output": {"print": "STDOUT"}}


@contextlib.asynccontextmanager
async def running(worker: Worker, job: dict[str, Any]) -> AsyncIterator[None]:
    env = worker.env()
    executor = Executor(compile_job(job, env), env, on_run=worker.reports.append)
    task = asyncio.create_task(executor.run())
    try:
        yield
    finally:
        await executor.drain(5)
        await task


async def once(worker: Worker, job: dict[str, Any]) -> None:
    env = worker.env()
    with anyio.fail_after(5):
        await Executor(compile_job(job, env), env, on_run=worker.reports.append).run()


def printed(worker: Worker) -> list[dict[str, str]]:
    return [orjson.loads(line) for line in worker.printed]


def append(path: Path, text: str) -> None:
    with path.open("a") as file:
        file.write(text)


async def test_files_that_grow_side_by_side_keep_a_header_each(worker: Worker, tmp_path: Path) -> None:
    append(tmp_path / "a.csv", "x,y\n1,2\n")
    append(tmp_path / "b.csv", "p,q\n3,4\n")
    async with running(worker, document(tmp_path / "*.csv")):
        await waiting.until(lambda: len(worker.printed) == 2)
        append(tmp_path / "a.csv", "5,6\n")
        append(tmp_path / "b.csv", "7,8\n")
        await waiting.until(lambda: len(worker.printed) == 4)
    rows = printed(worker)
    assert sorted(rows[:2], key=sorted) == [{"p": "3", "q": "4"}, {"x": "1", "y": "2"}]
    assert sorted(rows[2:], key=sorted) == [{"p": "7", "q": "8"}, {"x": "5", "y": "6"}]


async def test_a_file_that_is_read_on_after_a_restart_has_its_header_still(worker: Worker, tmp_path: Path) -> None:
    """Also when actions before it drop lines, and another version of the job has more of them."""
    plain = [{"filter": {"condition": "not string.find(_raw, '#')"}}, CSV]
    append(tmp_path / "a.csv", "# made by hand\nx,y\n1,2\n")
    await once(worker, document(tmp_path / "a.csv", *plain, mode="batch"))
    append(tmp_path / "a.csv", "3,4\n")
    await once(worker, document(tmp_path / "a.csv", *plain, mode="batch"))
    append(tmp_path / "a.csv", "5,6\n")
    await once(worker, document(tmp_path / "a.csv", {"add": {"output-fields": {"z": "1"}}}, *plain, mode="batch"))
    assert printed(worker) == [{"x": "1", "y": "2"}, {"x": "3", "y": "4"}, {"x": "5", "y": "6", "z": "1"}]
    assert worker.warnings == []


async def test_a_file_with_other_content_has_another_header(worker: Worker, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x,y\n1,2\n")
    async with running(worker, document(tmp_path / "a.csv")):
        await waiting.until(lambda: len(worker.printed) == 1)
        with (tmp_path / "a.csv").open("r+") as file:
            file.truncate()
            file.write("p\n3\n")
        await waiting.until(lambda: len(worker.printed) == 2)
    append(tmp_path / "a.csv", "4\n")
    async with running(worker, document(tmp_path / "a.csv")):
        await waiting.until(lambda: len(worker.printed) == 3)
    assert printed(worker) == [{"x": "1", "y": "2"}, {"p": "3"}, {"p": "4"}]


async def test_rows_of_a_file_whose_header_nobody_has_read_stay_as_they_are(worker: Worker, tmp_path: Path) -> None:
    append(tmp_path / "a.csv", "x,y\n1,2\n")
    async with running(worker, document(tmp_path / "a.csv", **{"start-at": "end"})):
        await waiting.until(lambda: (worker.state / "job" / "files.json").exists())
        append(tmp_path / "a.csv", "3,4\n")
        await waiting.until(lambda: worker.printed)
    assert printed(worker) == [{"_raw": "3,4"}]
    assert any("name its columns in `fields`" in line for line in worker.warnings)


async def test_the_header_travels_with_its_rows_through_a_channel(worker: Worker, tmp_path: Path) -> None:
    append(tmp_path / "a.csv", "x\n1\n")
    append(tmp_path / "b.csv", "p\n2\n")
    reader = {**document(tmp_path / "*.csv", {"add": {"output-fields": {"z": "1"}}}), "output": {"worker-channel": "c"}}
    rows = {"name": "rows", "input": {"worker-channel": "c"}, "actions": [CSV], "output": {"print": "STDOUT"}}
    for more in ("3\n", "4\n"):
        printed_before = len(worker.printed)
        env = worker.env("rows")
        consumer = Executor(compile_job(rows, env), env, on_run=worker.reports.append)
        task = asyncio.create_task(consumer.run())
        async with running(worker, reader):
            append(tmp_path / "a.csv", more)
            wanted = 3 if more == "3\n" else 1
            await waiting.until(lambda: len(worker.printed) == printed_before + wanted)  # noqa: B023 - awaited here
        await consumer.drain(5)
        await task
    found = sorted(printed(worker), key=lambda row: row.get("x") or row["p"])
    assert found == [{"x": "1", "z": "1"}, {"p": "2", "z": "1"}, {"x": "3", "z": "1"}, {"x": "4", "z": "1"}]


@pytest.mark.parametrize("packed", [True, pytest.param(False, marks=pytest.mark.soak)])
async def test_no_row_gets_a_wrong_key_although_the_process_is_killed(tmp_path: Path, packed: bool) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "out").mkdir()
    count, files = 40_000, 4
    for number in range(files):
        rows = "".join(f"{n},{'x' * 100}\n" for n in range(number * count // files, (number + 1) * count // files))
        path = tmp_path / "in" / f"{number}.csv"
        if packed:
            with gzip.open(path.with_suffix(".csv.gz"), "wt", compresslevel=1) as file:
                file.write(f"n{number},pad{number}\n{rows}")
        else:
            path.write_text(f"n{number},pad{number}\n{rows}")
    source = {"files": {"path": str(tmp_path / "in"), "mode": "batch", "preprocessors": ["extension"]}}
    sink = {"file": {"path": str(tmp_path / "out" / "all.jsonl")}}
    whole = count * 120
    sizes = sorted(random.Random(7).randrange(whole // 8, whole * 7 // 8) for _ in range(4))
    with anyio.fail_after(60):
        kills = await run_and_kill(tmp_path / "state", source, sink, tmp_path / "out", sizes, actions=[CSV])
    assert kills >= 2
    assert size_of(tmp_path / "out") > whole
    found, torn = set(), 0
    for line in (tmp_path / "out" / "all.jsonl").read_bytes().splitlines():
        try:
            row = orjson.loads(line)
        except orjson.JSONDecodeError:
            torn += 1
            continue
        ((key, value), (pad, _)) = row.items()
        number = int(key.removeprefix("n"))
        assert int(value) * files // count == number, f"row {value} has the header of file {number}"
        assert pad == f"pad{number}"
        found.add(int(value))
    assert found == set(range(count))
    assert torn <= kills


def test_the_journal_is_as_long_as_what_it_remembers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(headers, "MOST_DOCUMENTS", 3)
    path = tmp_path / "csv"
    known: headers.Headers[str] = headers.Headers(path)
    for number in range(20):
        known.learn(known.of(Run("1", document=str(number), begins=True)), f"h{number}", "table")
    assert len(path.read_bytes().splitlines()) <= 2 * 3 + 1
    with path.open("ab") as journal:
        journal.write(b'["18","torn')
    again: headers.Headers[str] = headers.Headers(path)
    streams = [again.of(Run("2", document=str(number))) for number in (2, 17, 18, 19)]
    assert [(stream.line, stream.lost) for stream in streams] == [
        (None, True), ("h17", False), ("h18", False), ("h19", False),
    ]  # fmt: skip
    again.learn(again.of(Run("2", document="20", begins=True)), "h20", "table")
    assert headers.Headers[str](path).of(Run("3", document="20")).line == "h20"


async def test_an_object_that_breaks_off_does_not_give_its_header_to_the_next_one(
    worker: Worker, tmp_path: Path
) -> None:
    rows = "".join(f"{random.Random(n).random()},{n}\n" for n in range(20_000))
    whole = gzip.compress(f"x,y\n{rows}".encode())
    (tmp_path / "a.csv.gz").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "b.csv.gz").write_bytes(gzip.compress(b"p,q\n1,2\n"))
    store = {"path": str(tmp_path), "timestamp-mode": "none", "preprocessors": ["gzip"]}
    job = {"name": "job", "input": {"file-store": store}, "actions": [CSV], "output": {"print": "STDOUT"}}
    await once(worker, job)
    assert any("a.csv.gz was skipped" in line for line in worker.warnings)
    rows_of_a = [row for row in printed(worker) if "x" in row]
    assert len(rows_of_a) > 100
    assert [row for row in printed(worker) if row not in rows_of_a] == [{"p": "1", "q": "2"}]
