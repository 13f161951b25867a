"""What files and stores do with content that is not as it should be: one table, a row for each kind of fault."""

from __future__ import annotations

import asyncio
import gzip
import resource
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
import orjson
import pytest

from core.dsl.component import Limits
from core.errors import JobFailed
from tests.dsl import rig
from tests.dsl.rig import Worker
from tests.filepolicies import EVERYWHERE

pytestmark = pytest.mark.anyio
MIB = 1024 * 1024


def store(path: str, **options: Any) -> dict[str, Any]:
    return {"file-store": {"path": path, **options}}


def files(path: str, **options: Any) -> dict[str, Any]:
    return {"files": {"path": path, "mode": "batch", **options}}


# ---- inputs: (source, content, events that come through, errors, what the log tells, or what fails the job)

TRUNCATED = gzip.compress(b"".join(b"line %06d\n" % number for number in range(50_000)))[:-1000]
Source = Callable[..., dict[str, Any]]
READING: dict[str, tuple[Source, dict[str, Any], bytes, list[Any] | None, int, str]] = {
    "files-invalid-utf8": (
        files,
        {},
        b"ok\n\xff\xfe bad\n",
        [{"_raw": "ok"}, {"_raw": "\ufffd\ufffd bad"}],
        1,
        "not UTF-8",
    ),
    "files-json-wrong-type": (
        files,
        {"json": True},
        b'{"a":1}\n[1]\n',
        [{"a": 1}, {"_raw": "[1]"}],
        1,
        "not an object",
    ),
    "files-json-broken": (files, {"json": True}, b'{"a":\n{"a":1}\n', [{"_raw": '{"a":'}, {"a": 1}], 1, "not JSON"),
    "files-json-bad-utf8": (files, {"json": True}, b'{"a":"\xff"}\n{"a":1}\n', None, 1, "not JSON"),
    "files-truncated-gzip": (files, {"preprocessors": ["gzip"]}, TRUNCATED, None, 1, "cut off"),
    "files-no-gzip": (files, {"preprocessors": ["gzip"]}, b"plain", [], 1, "not valid gzip"),
    "files-nul-bytes": (files, {}, b"a\0b\n", [{"_raw": "a\0b"}], 0, ""),
    "files-empty": (files, {}, b"", [], 0, ""),
    "store-invalid-utf8": (store, {}, b"\xc3(\n", [{"_raw": "\ufffd("}], 1, "not UTF-8"),
    "store-json-wrong-type": (store, {"json": True}, b'7\n"x"\nnull\n', None, 3, "not an object"),
    "store-json-broken": (store, {"json": True}, b"{\n", [{"_raw": "{"}], 1, "not JSON"),
    "store-truncated-gzip": (store, {"preprocessors": ["gzip"]}, TRUNCATED, None, 1, "cut off"),
    "store-truncated-gzip-whole": (
        store,
        {"preprocessors": ["gzip"], "ignore-linebreaks": True},
        TRUNCATED,
        [],
        1,
        "was skipped",
    ),
    "store-broken-base64": (store, {"preprocessors": ["base64"]}, b"%%%%", [], 1, "not valid base64"),
    "store-broken-parquet": (store, {"preprocessors": ["parquet"]}, b"PAR1....", [], 1, "not valid parquet"),
    "store-empty": (store, {}, b"", [], 0, ""),
}


@pytest.mark.parametrize("row", READING.values(), ids=READING.keys())
async def test_reading(
    worker: Worker, tmp_path: Path, row: tuple[Source, dict[str, Any], bytes, list[Any] | None, int, str]
) -> None:
    source, options, content, wanted, errors, told = row
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a-bad").write_bytes(content)
    await worker.read(source(str(tmp_path / "in"), **options))
    assert worker.reports[-1].errors == errors
    assert any(told in line for line in worker.warnings) or not told
    if wanted is not None:
        shutil.rmtree(worker.state, ignore_errors=True)  # files remember their place
        assert await worker.read(source(str(tmp_path / "in"), **options)) == wanted


LONG: dict[str, tuple[Source, dict[str, Any], int | None]] = {
    "files-fail": (files, {}, None),
    "files-skip": (files, {"long-lines": "skip"}, 2),
    "files-cut": (files, {"long-lines": "cut"}, 3),
    "files-whole-fail": (files, {"ignore-linebreaks": True}, None),
    "files-whole-skip": (files, {"ignore-linebreaks": True, "long-lines": "skip"}, 0),
    "files-whole-cut": (files, {"ignore-linebreaks": True, "long-lines": "cut"}, 1),
    "store-fail-skips-the-object": (store, {}, 1),
    "store-skip": (store, {"long-lines": "skip"}, 2),
    "store-cut": (store, {"long-lines": "cut"}, 3),
    "store-whole-fail-skips-the-object": (store, {"ignore-linebreaks": True}, 0),
    "store-whole-cut": (store, {"ignore-linebreaks": True, "long-lines": "cut"}, 1),
}


@pytest.mark.parametrize(("source", "options", "events"), LONG.values(), ids=LONG.keys())
async def test_a_line_of_100_mb_never_fills_the_memory(
    worker: Worker, tmp_path: Path, source: Source, options: dict[str, Any], events: int | None
) -> None:
    worker.limits = Limits(max_line_bytes=MIB, files=EVERYWHERE)
    (tmp_path / "in").mkdir()
    with (tmp_path / "in" / "big").open("wb") as big:
        big.write(b"before\n" * 6000)  # more than one chunk, so that it is delivered whatever comes after
        for _ in range(100):
            big.write(b"x" * MIB)
        big.write(b"\nafter\n")
    lengths: list[int] = []

    def keep(batch: list[dict[str, Any]], run: Any) -> list[dict[str, Any]]:
        lengths.extend(len(event["_raw"]) for event in batch if event["_raw"] != "before")
        return rig.pass_on(batch, run)

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    job = worker.executor(source(str(tmp_path / "in"), **options), {"discard": {}}, keep)
    if events is None:
        with pytest.raises(JobFailed, match="longer than"):
            await job.run()
    else:
        await job.run()
        assert worker.reports[-1].errors == 1
        assert "longer than" in worker.warnings[-1]
        assert max([0, *lengths]) <= MIB
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 40_000  # KiB


# ---- outputs: (sink, events, how many are accepted, errors, what the log tells)

NAMED = {"object-name": {"field": "name"}, "disable-object-name-guid": True}
WRITING: dict[str, tuple[dict[str, Any], str, int, int, str]] = {
    "file-missing-input-field": (
        {"file": {"path": "@/out", "input-field": "a"}},
        '{"b":1}\n{"a":2}',
        1,
        1,
        "no field a",
    ),
    "file-null-input-field": (
        {"file": {"path": "@/out", "input-field": "a"}},
        '{"a":null}\n{"a":2}',
        1,
        1,
        "no field a",
    ),
    "file-object-in-input-field": ({"file": {"path": "@/out", "input-field": "a"}}, '{"a":{"b":[1]}}', 1, 0, ""),
    "file-missing-field-in-path": (
        {"file": {"path": "@/out-${day}"}},
        '{"a":1}\n{"day":""}\n{"day":null}\n{"day":"mon"}',
        1,
        3,
        "has no value here",
    ),
    "file-path-that-leaves": ({"file": {"path": "@/out/${d}/x"}}, '{"d":".."}\n{"d":"y"}', 1, 1, "`..`"),
    "file-wrong-type-in-path": ({"file": {"path": "@/out-${day}"}}, '{"day":[1]}', 1, 0, ""),
    "store-missing-name-field": (
        {"file-store": {"path": "@/out", **NAMED}},
        '{"a":1}\n{"name":"x"}',
        1,
        1,
        "no text in name",
    ),
    "store-wrong-type-of-name": (
        {"file-store": {"path": "@/out", **NAMED}},
        '{"name":5}\n{"name":"x"}',
        1,
        1,
        "no text",
    ),
    "store-name-that-leaves": (
        {"file-store": {"path": "@/out", **NAMED}},
        '{"name":"../x"}\n{"name":"x"}',
        1,
        1,
        "leaves",
    ),
    "store-missing-input-field": (
        {"file-store": {"path": "@/out", "object-name": "x", "input-field": "a"}},
        '{"b":1}\n{"a":2}',
        1,
        1,
        "no field a",
    ),
    "store-group-without-name": (
        {"file-store": {"path": "@/out", **NAMED, "batch": {"fixed-size": 2}}},
        '{"name":""}\n{"name":"b"}\n{"name":"c"}',
        1,
        2,
        "left out",
    ),
}


def written(root: Path, worker: Worker) -> list[Path]:
    return [path for path in sorted(root.rglob("*")) if path.is_file() and worker.state not in path.parents]


@pytest.mark.parametrize("row", WRITING.values(), ids=WRITING.keys())
async def test_writing(worker: Worker, tmp_path: Path, row: tuple[dict[str, Any], str, int, int, str]) -> None:
    sink, events, accepted, errors, told = row
    filled = orjson.loads(orjson.dumps(sink).replace(b"@/", f"{tmp_path}/".encode()))
    report = await worker.write(events, filled)
    assert (report.events_out, report.errors, report.ok) == (accepted, errors, True)
    assert any(told in line for line in worker.warnings) or not told
    assert written(tmp_path, worker)


# ---- a full disk


@contextmanager
def full_disk(size: int) -> Iterator[None]:
    """No file of this process can grow beyond a size."""
    limit, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))


FULL: dict[str, dict[str, Any]] = {
    "file": {"file": {"path": "@/out/a"}},
    "file-per-event": {"file": {"path": "@/out/${n}", "file-per-event": True}},
    "file-store": {"file-store": {"path": "@/out", "object-name": "x", "batch": {"mode": "document"}}},
    "file-store-retry": {
        "file-store": {
            "path": "@/out",
            "object-name": "x",
            "batch": {"mode": "document"},
            "retry": {"retries": 1, "timeout": "5s"},
        }
    },
}


@pytest.mark.parametrize("sink", FULL.values(), ids=FULL.keys())
async def test_a_full_disk_fails_the_job_with_its_reason_leaves_no_half_and_others_go_on(
    worker: Worker, tmp_path: Path, sink: dict[str, Any]
) -> None:
    filled = orjson.loads(orjson.dumps(sink).replace(b"@/", f"{tmp_path}/".encode()))
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a").write_text("".join(f'{{"n":{n},"pad":"{"x" * 5000}"}}\n' for n in range(20)))
    source = {"files": {"path": str(tmp_path / "in"), "mode": "batch", "json": True}}
    if "file" in sink and "file-per-event" in sink["file"]:
        (tmp_path / "in" / "a").write_text(f'{{"n":1,"pad":"{"x" * 50_000}"}}\n')
    other = worker.executor({"echo": {"event": "small"}}, {"file": {"path": str(tmp_path / "other")}}, name="other")
    with full_disk(30_000):
        with pytest.raises(JobFailed, match="File too large"):
            await worker.run(source, filled)
        await other.run()  # on the same worker, meanwhile
    assert (tmp_path / "other").read_text() == '{"_raw":"small"}\n'
    whole = (tmp_path / "in" / "a").read_bytes()
    for path in written(tmp_path / "out", worker):  # what went before may be there, in whole lines
        assert whole.startswith(path.read_bytes())
        assert path.read_bytes()[-1:] in (b"", b"\n")
    if "file-store" in sink and "retry" in sink["file-store"]:
        assert any("trying again" in line for line in worker.warnings)
    report = await worker.run(source, filled)  # there is room again: nothing was lost
    assert report.events_out == report.events_in > 0
    content = b"".join(path.read_bytes() for path in written(tmp_path / "out", worker))
    assert set(content.splitlines()) == set(whole.splitlines())


@pytest.mark.root
async def test_a_disk_without_space_is_told_as_such(worker: Worker, tmp_path: Path) -> None:
    """The same with a real file system that is full, where root may mount one (not in every container)."""
    (tmp_path / "small").mkdir()
    mounting = await asyncio.create_subprocess_exec(
        "mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(tmp_path / "small"), stderr=asyncio.subprocess.DEVNULL
    )
    if await mounting.wait() != 0:
        pytest.skip("may not mount a file system here")
    try:
        (tmp_path / "in").write_text("".join(f"{n:04} {'x' * 995}\n" for n in range(200)))
        source = {"files": {"path": str(tmp_path / "in"), "mode": "batch"}}
        for sink in (
            {"file": {"path": str(tmp_path / "small" / "a"), "input-field": "_raw"}},
            {"file-store": {"path": str(tmp_path / "small"), "object-name": "x", "batch": {"mode": "document"}}},
        ):
            with pytest.raises(JobFailed, match="No space left on device"):
                await worker.run(source, sink)
        lines = (tmp_path / "small" / "a").read_text().splitlines()
        assert all(len(line) == 1000 for line in lines)  # whole lines only
    finally:
        with anyio.CancelScope(shield=True):
            await (await asyncio.create_subprocess_exec("umount", "-l", str(tmp_path / "small"))).wait()
