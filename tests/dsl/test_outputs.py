from __future__ import annotations

import asyncio
import base64
import errno
import gzip
import os
import re
from pathlib import Path
from typing import Any

import anyio
import orjson
import pytest
from pydantic import ValidationError

from core.dsl.component import Batch, Limits, Run
from core.dsl.outputs import batching
from core.dsl.outputs import file as file_output
from core.dsl.outputs.batching import Batcher, Batching, Item
from core.errors import JobFailed
from tests import waiting
from tests.dsl import rig, web
from tests.dsl.rig import Worker
from tests.filepolicies import everywhere

pytestmark = pytest.mark.anyio

TWO = '{"n":1,"name":"a","day":"mon"}\n{"n":2,"name":"b","day":"tue"}'


def tree(root: Path) -> dict[str, bytes]:
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


# ---- batching


class Sent:
    def __init__(self) -> None:
        self.groups: list[list[bytes]] = []
        self.fault: Exception | None = None
        self.more = asyncio.Event()

    async def send(self, groups: list[list[Item]], run: Run) -> None:
        await waiting.turn()  # a send gives the loop away, also when it is quick
        if self.fault is not None:
            raise self.fault
        self.groups += [[item.data for item in group] for group in groups]
        self.more.set()


def items(*texts: str) -> list[Item]:
    return [Item({}, text.encode()) for text in texts]


def batch_of(settled: list[Any], name: str, end: bool = False) -> Batch:
    return Batch([], lambda error: settled.append((name, error)), end)


async def test_without_batching_every_event_is_sent_alone() -> None:
    sent, settled = Sent(), []
    batcher = Batcher(None, sent.send)
    await batcher.add(items("a", "b"), batch_of(settled, "1"), Run())
    assert sent.groups == [[b"a"], [b"b"]]
    assert settled == [("1", None)]


async def test_a_batch_is_settled_when_the_group_with_its_last_event_was_sent() -> None:
    sent, settled = Sent(), []
    batcher = Batcher(Batching.model_validate({"fixed-size": 3}), sent.send)
    await batcher.add(items("a", "b"), batch_of(settled, "1"), Run())
    assert settled == []
    await batcher.add(items("c", "d"), batch_of(settled, "2"), Run())
    assert sent.groups == [[b"a", b"b", b"c"]]
    assert settled == [("1", None)]
    await batcher.add([], batch_of(settled, "3"), Run())
    assert settled == [("1", None)]  # an empty batch does not overtake the one before it
    await batcher.flush(Run())
    assert sent.groups[1:] == [[b"d"]]
    assert settled == [("1", None), ("2", None), ("3", None)]


async def test_document_mode_sends_at_the_end_of_the_document() -> None:
    sent, settled = Sent(), []
    batcher = Batcher(Batching.model_validate({"mode": "document"}), sent.send)
    await batcher.add(items("a"), batch_of(settled, "1"), Run())
    await batcher.add(items("b"), batch_of(settled, "2", end=True), Run())
    await batcher.add(items("c"), batch_of(settled, "3", end=True), Run())
    assert sent.groups == [[b"a", b"b"], [b"c"]]
    assert len(settled) == 3


async def test_a_document_that_would_fill_the_memory_is_sent_early(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batching, "MOST_HELD_BYTES", 10)
    sent, settled = Sent(), []
    batcher = Batcher(Batching.model_validate({"mode": "document"}), sent.send)
    await batcher.add(items("a" * 6), batch_of(settled, "1"), Run())
    await batcher.add(items("b" * 6), batch_of(settled, "2"), Run())
    assert sent.groups == [[b"aaaaaa", b"bbbbbb"]]


async def test_the_timeout_sends_a_group_that_is_not_full() -> None:
    sent, settled = Sent(), []
    batcher = Batcher(Batching.model_validate({"fixed-size": 100, "timeout": "10ms"}), sent.send)
    await batcher.add(items("a"), batch_of(settled, "1"), Run())
    with anyio.fail_after(5):
        await sent.more.wait()
        await waiting.until(lambda: settled)
    assert (sent.groups, settled) == ([[b"a"]], [("1", None)])
    await batcher.close()


async def test_a_timeout_that_cannot_send_settles_what_waits_with_the_fault() -> None:
    sent, settled = Sent(), []
    sent.fault = OSError("down")
    batcher = Batcher(Batching.model_validate({"fixed-size": 100, "timeout": "10ms"}), sent.send)
    await batcher.add(items("a"), batch_of(settled, "1"), Run())
    await waiting.until(lambda: settled)
    assert settled == [("1", sent.fault)]
    await batcher.close()


async def test_after_a_fault_nothing_that_is_held_is_sent_and_who_waits_for_it_hears_of_the_fault() -> None:
    sent, settled = Sent(), []
    sent.fault = OSError("down")
    batcher = Batcher(Batching.model_validate({"fixed-size": 2}), sent.send)
    with pytest.raises(OSError, match="down"):
        await batcher.add(items("a", "b", "c"), batch_of(settled, "1"), Run())
    sent.fault = None
    await batcher.flush(Run())
    assert sent.groups == []
    (told,) = settled
    assert told[0] == "1" and isinstance(told[1], OSError)


# ---- print, discard, message


async def test_print_goes_to_the_log_of_the_job_and_never_to_stdout(
    worker: Worker, capfd: pytest.CaptureFixture[str]
) -> None:
    await worker.write(TWO, {"print": "STDOUT"})
    await worker.write('{"a":{"b":"x"}}', {"print": {"target": "STDERR", "input-field": "a.b"}})
    assert worker.printed == ['{"n":1,"name":"a","day":"mon"}', '{"n":2,"name":"b","day":"tue"}', "x"]
    assert worker.log_lines[-1] == ("print", "x", {"target": "STDERR"})
    assert capfd.readouterr() == ("", "")


async def test_an_event_without_the_input_field_is_counted_and_the_others_go_on(worker: Worker) -> None:
    report = await worker.write('{"a":1}\n{"b":2}\n{"a":null}\n{"a":""}\n{"a":[3]}', {"print": {"input-field": "a"}})
    assert worker.printed == ["1", "[3]"]
    assert (report.events_in, report.events_out, report.errors, report.ok) == (5, 2, 3, True)
    assert worker.warnings[0] == "print: the event has no field a"


async def test_discard_accepts_everything(worker: Worker) -> None:
    report = await worker.write(TWO, {"discard": {}})
    assert (report.events_out, report.errors) == (2, 0)


async def test_a_message_carries_the_event_under_job_event(worker: Worker) -> None:
    await worker.write(TWO, {"message": {}})
    assert [(m.kind, m.type, m.tag) for m in worker.messages] == [("user", "user-generated", "")] * 2
    assert worker.messages[0].data == {"job_event": {"n": 1, "name": "a", "day": "mon"}}


async def test_a_message_can_carry_one_field_and_a_tag_from_the_event(worker: Worker) -> None:
    await worker.write(
        '{"r":{"at":1739370000000000000},"t":"x"}\n{"t":"y"}', {"message": {"input-field": "r", "tag": "@{job}.${t}"}}
    )
    (message,) = worker.messages
    assert (message.tag, message.data) == ("job.x", {"job_event": {"at": 1739370000000000000}})
    assert worker.warnings == ["message: the event has no field r"]


async def test_an_event_without_a_value_for_the_tag_is_refused_unless_there_is_a_default(worker: Worker) -> None:
    events = '{"h":"a"}\n{"x":1}\n{"h":""}'
    report = await worker.write(events, {"message": {"tag": "t-${h}"}})
    assert (report.ok, report.errors, report.events_out) == (True, 2, 1)
    await worker.write('{"x":1}', {"message": {"tag": "t-${h||none}"}})
    assert [message.tag for message in worker.messages] == ["t-a", "t-none"]


async def test_a_message_can_set_a_variable_instead(worker: Worker) -> None:
    await worker.write('{"v":"text"}\n{"v":{"a":1}}', {"message": {"input-field": "v", "set-variable-name": "LAST"}})
    assert [(m.variable, m.data) for m in worker.messages] == [
        ("LAST", {"value": "text"}),
        ("LAST", {"value": '{"a":1}'}),
    ]


async def test_a_batch_of_messages_is_settled_when_the_engine_has_them_all(worker: Worker) -> None:
    worker.held = []
    settled: list[BaseException | None] = []
    sink = rig.declare("output", {"message": {}}).open(worker.env())
    writing = asyncio.create_task(sink.write(Batch([{"n": 1}, {"n": 2}], settled.append), Run()))
    await waiting.until(lambda: worker.held is not None and len(worker.held) == 2)
    worker.held[0].set_result(None)
    await waiting.turn()  # what was waiting for it hears of it in this round
    assert settled == []
    worker.held[1].set_result(None)
    await writing
    assert settled == [None]


# ---- file-store


def put(root: Path, name: Any = None, **options: Any) -> dict[str, Any]:
    return {"file-store": {"path": str(root), "object-name": name or {"name": "part"}, **options}}


async def test_each_event_is_an_object_whose_name_has_a_guid(worker: Worker, tmp_path: Path) -> None:
    await worker.write(TWO, put(tmp_path / "store"))
    found = tree(tmp_path / "store")
    assert list(found.values()) == [b'{"n":1,"name":"a","day":"mon"}\n', b'{"n":2,"name":"b","day":"tue"}\n']
    assert all(re.fullmatch(r"part/[0-9a-z]{26,40}", name) for name in found)


@pytest.mark.parametrize(
    ("options", "pattern"),
    [
        ({"guid-prefix": "-", "guid-suffix": ".json"}, r"part-[0-9a-z]{26,40}\.json"),
        ({"name": {"field": "name"}, "guid-prefix": "demo"}, r"[ab]demo[0-9a-z]{26,40}"),
        (
            {"name": {"name": "@{job}-batch-${stat|_BATCH_NUMBER}.json"}, "disable-object-name-guid": True},
            r"job-batch-[12]\.json",
        ),
        ({"name": {"name": "${day}/${n}"}, "disable-object-name-guid": True}, r"(mon/1|tue/2)"),
    ],
)
async def test_names_are_made_from_templates_fields_and_guids(
    worker: Worker, tmp_path: Path, options: dict[str, Any], pattern: str
) -> None:
    await worker.write(TWO, put(tmp_path, **options))
    names = [name for name in tree(tmp_path) if not name.startswith("state/")]
    assert len(names) == 2
    assert all(re.fullmatch(pattern, name) for name in names), names


async def test_a_batch_is_one_object_with_a_line_for_each_event(worker: Worker, tmp_path: Path) -> None:
    await worker.write(TWO, put(tmp_path / "s", batch={"mode": "document"}))
    assert list(tree(tmp_path / "s").values()) == [b'{"n":1,"name":"a","day":"mon"}\n{"n":2,"name":"b","day":"tue"}\n']


async def test_preprocessors_run_in_order(worker: Worker, tmp_path: Path) -> None:
    await worker.write('{"a":1}', put(tmp_path / "s", preprocessors=["gzip", "base64"]))
    (content,) = tree(tmp_path / "s").values()
    assert gzip.decompress(base64.b64decode(content)) == b'{"a":1}\n'


async def test_an_object_of_one_field_is_that_text_as_it_is(worker: Worker, tmp_path: Path) -> None:
    await worker.write('{"doc":"<x>\\n</x>"}', put(tmp_path / "s", **{"input-field": "doc"}))
    assert list(tree(tmp_path / "s").values()) == [b"<x>\n</x>"]


async def test_delete_removes_named_objects_and_ignores_missing_ones(worker: Worker, tmp_path: Path) -> None:
    for name in ("a", "c"):
        (tmp_path / "s" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "s" / name).write_text("x")
    await worker.write(TWO, put(tmp_path / "s", {"field": "name"}, mode="delete"))
    assert list(tree(tmp_path / "s")) == ["c"]


@pytest.mark.parametrize("name", ["../x", "/etc/x", "a/../../x", "%2e%2e/x", "a\\u0000b", "C:\\\\x", "x ", ""])
async def test_an_event_whose_name_leads_elsewhere_is_counted_and_the_others_go_on(
    worker: Worker, tmp_path: Path, name: str
) -> None:
    options = {"disable-object-name-guid": True}
    report = await worker.write(
        f'{{"name":"{name}"}}\n{{"name":"good"}}', put(tmp_path / "s" / "t", {"field": "name"}, **options)
    )
    assert [path for path in tree(tmp_path) if not path.startswith("state")] == ["s/t/good"]
    assert (report.errors, report.events_out) == (1, 1)


async def test_a_store_below_a_link_or_in_the_home_is_refused(worker: Worker, tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with pytest.raises(JobFailed, match="symbolic link"):
        await worker.write(TWO, put(tmp_path / "link" / "store"))
    worker.limits = Limits(files=everywhere("", tmp_path / "home"))
    with pytest.raises(JobFailed, match="no job may enter"):
        await worker.write(TWO, put(tmp_path / "home" / "store"))
    assert not list((tmp_path / "real").iterdir())


async def test_a_roundtrip_through_a_store_keeps_every_event(worker: Worker, tmp_path: Path) -> None:
    events = "\n".join(f'{{"n":{n}}}' for n in range(500))
    await worker.write(events, put(tmp_path / "s", batch={"fixed-size": 64}))
    back = await worker.read({"file-store": {"path": str(tmp_path / "s"), "json": True}})
    assert sorted(event["n"] for event in back) == list(range(500))
    assert len(tree(tmp_path / "s")) == 8


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({"path": "/x"}, "object-name"),
        ({"path": "/x", "object-name": {}}, "exactly one"),
        ({"path": "/x", "object-name": {"name": "a", "field": "b"}}, "exactly one"),
        ({"path": "/x", "object-name": {"name": "${"}}, "not closed"),
        ({"path": "/x", "object-name": {"name": "a"}, "preprocessors": ["extension"]}, "parquet"),
        ({"path": "/x", "object-name": {"name": "a"}, "batch": {"fixed-size": 0}}, "fixed-size"),
    ],
)
def test_a_file_store_output_that_makes_no_sense_is_refused(body: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        rig.declare("output", {"file-store": body})


# ---- file


async def test_a_sender_that_waits_for_each_small_event_is_not_held_for_long(worker: Worker, tmp_path: Path) -> None:
    sink = rig.declare("output", {"file": {"path": f"{tmp_path}/out"}}).open(worker.env())
    with anyio.fail_after(4):  # a quarter of a second for each of the 40 would be more
        for number in range(40):
            settled = asyncio.Event()
            await sink.write(Batch([{"n": number}], lambda error, settled=settled: settled.set()), Run())
            await settled.wait()
    await sink.close()
    assert len((tmp_path / "out").read_bytes().splitlines()) == 40


async def test_much_data_is_synced_a_few_times_a_second(
    worker: Worker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sink = rig.declare("output", {"file": {"path": f"{tmp_path}/out"}}).open(worker.env())
    delays: list[float] = []
    monkeypatch.setattr(sink, "_patience", lambda kept=sink._patience: delays.append(kept()) or delays[-1])
    for _ in range(20):
        await sink.write(Batch([{"text": "x" * 40_000}]), Run())
        await sink._sync()
    await sink.close()
    assert set(delays) == {0.25}


async def test_events_are_appended_as_lines_over_several_runs(worker: Worker, tmp_path: Path) -> None:
    for _ in range(2):
        await worker.write('{"n":1}', {"file": str(tmp_path / "out" / "a.jsonl")})
    assert (tmp_path / "out" / "a.jsonl").read_text() == '{"n":1}\n{"n":1}\n'


async def test_the_path_may_come_from_the_events(worker: Worker, tmp_path: Path) -> None:
    await worker.write(
        TWO + '\n{"n":3,"day":"mon"}', {"file": {"path": f"{tmp_path}/out/${{day}}-@{{job}}.jsonl", "input-field": "n"}}
    )
    assert tree(tmp_path / "out") == {"mon-job.jsonl": b"1\n3\n", "tue-job.jsonl": b"2\n"}


async def test_truncate_empties_a_file_once_in_a_run(worker: Worker, tmp_path: Path) -> None:
    (tmp_path / "a").write_text("old\n")
    await worker.write(TWO, {"file": {"path": str(tmp_path / "a"), "truncate": True, "input-field": "n"}})
    assert (tmp_path / "a").read_text() == "1\n2\n"


async def test_each_event_can_have_a_file_of_its_own(worker: Worker, tmp_path: Path) -> None:
    sink = {"file": {"path": f"{tmp_path}/out/${{name}}.json", "file-per-event": True}}
    await worker.write(TWO, sink)
    await worker.write('{"name":"a"}', sink)
    assert tree(tmp_path / "out") == {"a.json": b'{"name":"a"}\n', "b.json": b'{"n":2,"name":"b","day":"tue"}\n'}


async def test_the_file_before_is_compressed_when_the_path_changes(worker: Worker, tmp_path: Path) -> None:
    sink = {"file": {"path": f"{tmp_path}/out/${{day}}.jsonl", "compress-after": True, "input-field": "n"}}
    await worker.write(TWO, sink)
    found = tree(tmp_path / "out")
    assert sorted(found) == ["mon.jsonl.gz", "tue.jsonl"]
    assert gzip.decompress(found["mon.jsonl.gz"]) == b"1\n"
    await worker.write(TWO, sink)
    names = sorted(tree(tmp_path / "out"))
    assert len(names) == 4  # what was compressed before is kept; tue was the path before this run
    assert "tue.jsonl" in names


async def test_a_line_that_a_crash_cut_off_is_ended_before_new_ones_follow(worker: Worker, tmp_path: Path) -> None:
    (tmp_path / "a").write_text('{"n":1}\n{"n":')
    await worker.write('{"n":2}', {"file": str(tmp_path / "a")})
    assert (tmp_path / "a").read_text() == '{"n":1}\n{"n":\n{"n":2}\n'


async def test_a_batch_is_settled_only_after_its_data_is_synced(
    worker: Worker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []
    real = os.fdatasync

    def fdatasync(fd: int) -> None:
        order.append("sync")
        real(fd)

    monkeypatch.setattr(os, "fdatasync", fdatasync)
    sink = rig.declare("output", {"file": str(tmp_path / "a")}).open(worker.env())
    await sink.write(Batch([{"n": 1}], lambda error: order.append(f"settled {error}")), Run())
    assert order == []
    await waiting.until(lambda: len(order) == 2)  # without another write or a flush
    assert order == ["sync", "settled None"]
    await sink.close()


async def test_a_full_disk_fails_the_job_and_leaves_no_part_of_the_batch(
    worker: Worker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a").write_text("whole\n")
    real, calls = os.write, 0

    def write(fd: int, data: Any) -> int:
        nonlocal calls
        calls += 1
        if calls == 1:
            return real(fd, memoryview(data)[:5])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(file_output.os, "write", write)
    with pytest.raises(JobFailed, match="No space left on device"):
        await worker.write(TWO, {"file": str(tmp_path / "a")})
    monkeypatch.undo()
    assert (tmp_path / "a").read_text() == "whole\n"


async def test_a_sync_that_fails_fails_the_job(worker: Worker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fdatasync(fd: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fdatasync", fdatasync)
    with pytest.raises(JobFailed, match="cannot sync: Input/output error"):
        await worker.write(TWO, {"file": str(tmp_path / "a")})


async def test_an_event_whose_values_lead_elsewhere_is_counted_and_the_others_go_on(
    worker: Worker, tmp_path: Path
) -> None:
    events = '{"d":"../../up"}\n{"d":"fine"}\n{"d":"a\\u0000b"}'
    report = await worker.write(events, {"file": {"path": f"{tmp_path}/out/x/${{d}}.log"}})
    assert list(tree(tmp_path / "out")) == ["x/fine.log"]
    assert report.errors == 2


BAD_NAMES = ["x" * 300, "taken", "file/below", ".", "a/./b", "link", "hard", "ä" * 200, "y/" * 2100]


@pytest.mark.parametrize("each", [False, True], ids=["append", "file-per-event"])
@pytest.mark.parametrize("bad", BAD_NAMES)
async def test_an_event_whose_values_make_no_file_is_refused_and_the_others_are_written_once(
    worker: Worker, tmp_path: Path, bad: str, each: bool
) -> None:
    out = tmp_path / "out"
    (out / "taken").mkdir(parents=True)
    (out / "file").touch()
    (out / "link").symlink_to(tmp_path / "elsewhere")
    (out / "one").touch()
    (out / "hard").hardlink_to(out / "one")
    events = "\n".join(f'{{"n":{n},"d":"{name}"}}' for n, name in enumerate(["h0", bad, "h1"]))
    report = await worker.write(events, {"file": {"path": f"{out}/${{d}}", "file-per-event": each, "input-field": "n"}})
    replaced = each and bad in ("link", "hard")  # its name is given to a new file
    assert (report.ok, report.errors, report.events_out) == (True, 0 if replaced else 1, 3 if replaced else 2)
    assert (out / "h0").read_bytes() == b"0\n"
    assert (out / "h1").read_bytes() == b"2\n"
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize("each", [False, True], ids=["append", "file-per-event"])
async def test_a_fixed_directory_that_is_a_file_fails_the_job_and_no_event(
    worker: Worker, tmp_path: Path, each: bool
) -> None:
    (tmp_path / "out").touch()
    with pytest.raises(JobFailed, match="not a directory"):
        await worker.write('{"d":"a"}', {"file": {"path": f"{tmp_path}/out/${{d}}", "file-per-event": each}})


async def test_a_path_that_no_file_can_have_does_not_stop_the_compressing_of_the_others(
    worker: Worker, tmp_path: Path
) -> None:
    sink = {"file": {"path": f"{tmp_path}/out/${{d}}", "compress-after": True, "input-field": "d"}}
    (tmp_path / "out" / "taken").mkdir(parents=True)
    report = await worker.write('{"d":"a"}\n{"d":"taken"}\n{"d":"b"}', sink)
    assert (report.ok, report.errors, list(tree(tmp_path / "out"))) == (True, 1, ["a.gz", "b"])


@pytest.mark.parametrize("mode", ["put", "delete"])
@pytest.mark.parametrize("bad", ["taken", "file/below"])
async def test_an_event_whose_object_cannot_have_its_name_is_refused_and_the_others_are_done(
    worker: Worker, tmp_path: Path, bad: str, mode: str
) -> None:
    store = tmp_path / "s"
    (store / "taken" / "x").mkdir(parents=True)
    for name in ("file", "h0", "h1"):
        (store / name).write_bytes(b"old")
    events = "\n".join(f'{{"n":{n},"name":"{name}"}}' for n, name in enumerate(["h0", bad, "h1"]))
    options = {"disable-object-name-guid": True, "mode": mode, "input-field": "n", "retry": {"retries": 3}}
    report = await worker.write(events, put(store, {"field": "name"}, **options))
    assert (report.ok, report.errors, report.events_out) == (True, 1, 2)
    kept = {"file": b"old"} if mode == "delete" else {"file": b"old", "h0": b"0", "h1": b"2"}
    assert tree(store) == kept


async def test_more_files_than_may_be_open_are_written_all_the_same(worker: Worker, tmp_path: Path) -> None:
    events = "\n".join(f'{{"n":{n % 150}}}' for n in range(450))
    await worker.write(events, {"file": {"path": f"{tmp_path}/out/${{n}}.log"}})
    found = tree(tmp_path / "out")
    assert len(found) == 150
    assert all(content.count(b"\n") == 3 for content in found.values())


@pytest.mark.parametrize("path", ["${day}/x", "/x/${", "/x/@{nothing}"])
def test_a_path_that_begins_with_a_value_or_is_broken_is_refused(path: str) -> None:
    with pytest.raises(ValidationError):
        rig.declare("output", {"file": path})


# ---- http-post


@pytest.fixture
def net(worker: Worker) -> Worker:
    worker.limits = Limits(egress_allow=("127.0.0.0/8",))
    return worker


async def test_each_event_is_a_request(net: Worker) -> None:
    async with web.serve(web.answer(200)) as site:
        report = await net.write(TWO, {"http-post": {"url": site.url("/${day}"), "headers": {"X-N": "${n}"}}})
    assert report.events_out == 2
    assert [r.line.split()[:2] for r in site.requests] == [["POST", "/mon"], ["POST", "/tue"]]
    assert [r.headers["x-n"] for r in site.requests] == ["1", "2"]
    assert site.requests[0].headers["content-type"] == "application/json"
    assert orjson.loads(site.requests[0].body) == {"n": 1, "name": "a", "day": "mon"}


@pytest.mark.parametrize(
    ("options", "body"),
    [
        ({"batch": {"fixed-size": 10}, "input-field": "n"}, b"1\n2\n"),
        ({"batch": {"fixed-size": 10}, "input-field": "n", "json-array": True}, b"[1,2]"),
        (
            {"batch": {"fixed-size": 10}, "body": {"id": "${n}", "fix": 1}, "json-array": True},
            b'[{"id":"1","fix":1},{"id":"2","fix":1}]',
        ),
        ({"batch": {"fixed-size": 10}, "body": "n=${n}"}, b"n=1\nn=2\n"),
    ],
)
async def test_a_batch_is_one_request(net: Worker, options: dict[str, Any], body: bytes) -> None:
    async with web.serve(web.answer(204)) as site:
        await net.write(TWO, {"http-post": {"url": site.url(), **options}})
    assert [request.body for request in site.requests] == [body]


async def test_a_value_cannot_change_the_structure_of_a_body(net: Worker) -> None:
    async with web.serve(web.answer(200)) as site:
        await net.write('{"v":"x\\", \\"admin\\": \\"y"}', {"http-post": {"url": site.url(), "body": {"v": "${v}"}}})
    assert orjson.loads(site.requests[0].body) == {"v": 'x", "admin": "y'}


async def test_a_temporary_fault_is_tried_again_and_then_fails_the_job(net: Worker) -> None:
    async with web.serve(web.answer(500), web.answer(200)) as site:
        await net.write('{"n":1}', {"http-post": {"url": site.url(), "retry": {"retries": 1}}})
        assert len(site.requests) == 2
    async with web.serve(web.answer(503)) as site:
        with anyio.fail_after(5), pytest.raises(JobFailed, match="answered 503"):
            await net.write('{"n":1}', {"http-post": {"url": site.url(), "retry": {"retries": 1}}})
        assert len(site.requests) == 2
    async with web.serve(web.answer(503, retry_after="9999999")) as site:
        with anyio.fail_after(5), pytest.raises(JobFailed, match="answered 503"):
            await net.write('{"n":1}', {"http-post": {"url": site.url(), "retry": {"retries": 5}}})
        assert len(site.requests) == 1  # they asked for more time than retry.timeout gives


async def test_an_event_that_makes_a_header_with_a_line_break_is_refused_before_anything_is_sent(net: Worker) -> None:
    async with web.serve(web.answer(200)) as site:
        sink = {"http-post": {"url": site.url(), "headers": {"x": "${v}"}}}
        report = await net.write('{"v":"a\\r\\nevil: 1"}', sink)
        assert (report.errors, report.events_out, site.connections) == (1, 0, 0)
        net.variables["v"] = "a\nb"
        with pytest.raises(JobFailed, match="line break"):  # no event is at fault
            await net.write('{"v":1}', {"http-post": {"url": site.url(), "headers": {"x": "${dyn|v}"}}})
        assert site.connections == 0


async def test_an_address_from_an_event_passes_the_same_guard(net: Worker) -> None:
    net.limits = Limits()
    async with web.serve(web.answer(200)) as site:
        for host in ("127.0.0.1", "localhost", "0x7f.1"):
            with pytest.raises(JobFailed, match="jobs may not reach"):
                await net.write(f'{{"u":"{site.url(host=host)}"}}', {"http-post": {"url": "${u}"}})
        assert site.connections == 0


# ---- how groups look and when they go


@pytest.mark.parametrize(
    ("options", "content"),
    [
        ({}, b'{"n":1}\n{"n":2}\n'),
        ({"wrap-as-json": True}, b'[{"n":1},{"n":2}]'),
        ({"header": "n", "footer": "end"}, b'n\n{"n":1}\n{"n":2}\nend\n'),
    ],
)
async def test_a_group_is_lines_with_a_frame_or_one_array(
    worker: Worker, tmp_path: Path, options: dict[str, Any], content: bytes
) -> None:
    await worker.write('{"n":1}\n{"n":2}', put(tmp_path / "s", batch={"mode": "document", **options}))
    assert list(tree(tmp_path / "s").values()) == [content]


@pytest.mark.parametrize(
    ("options", "seconds"),
    [
        ({}, 0.1),
        ({"mode": "fixed", "timeout": "2s"}, 2.0),
        ({"mode": "document"}, None),
        ({"mode": "document", "timeout": "1s"}, 1.0),
        ({"mode": "timeout", "timeout": "5s"}, 5.0),
    ],
)
def test_a_group_waits_as_long_as_its_mode_says(options: dict[str, Any], seconds: float | None) -> None:
    assert Batching.model_validate(options).wait_seconds == seconds


async def test_timeout_mode_collects_whatever_comes_in_an_interval() -> None:
    sent, settled = Sent(), []
    batcher = Batcher(Batching.model_validate({"mode": "timeout", "timeout": "20ms"}), sent.send)
    for _ in range(3):
        await batcher.add(items("a"), batch_of(settled, "1", end=True), Run())
    assert sent.groups == []
    with anyio.fail_after(5):
        await sent.more.wait()
    assert sent.groups == [[b"a", b"a", b"a"]]
    await batcher.close()


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"mode": "timeout"}, "needs a timeout"),
        ({"wrap-as-json": True, "header": "x"}, "no header"),
        ({"fixed-size": 5, "fixed_size": 6}, "two spellings"),
        ({"mode": "often"}, "document"),
    ],
)
def test_a_batch_that_makes_no_sense_is_refused(options: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        Batching.model_validate(options)


# ---- file: crashes and compression


async def test_a_run_that_goes_on_after_a_crash_does_not_empty_its_file_again(worker: Worker, tmp_path: Path) -> None:
    sink = {"file": {"path": str(tmp_path / "a"), "truncate": True, "input-field": "n"}}
    (tmp_path / "a").write_text("of an earlier run\n")
    output = rig.declare("output", sink).open(worker.env())
    settled: list[BaseException | None] = []
    await output.write(Batch([{"n": 1}], settled.append), Run("1"))
    await output._sync()  # accepted; now the process dies: neither flush nor close
    assert settled == [None]
    await worker.write('{"n":2}', sink)
    assert (tmp_path / "a").read_text() == "1\n2\n"
    await worker.write('{"n":3}', sink)  # that run ended, so this is a new one
    assert (tmp_path / "a").read_text() == "3\n"
    await output.close()


async def test_a_path_that_changed_while_the_job_was_down_is_compressed_too(worker: Worker, tmp_path: Path) -> None:
    sink = {"file": {"path": f"{tmp_path}/out/${{day}}", "compress-after": True, "input-field": "n"}}
    await worker.write('{"n":1,"day":"mon"}', sink)
    assert sorted(tree(tmp_path / "out")) == ["mon"]
    await worker.write('{"n":2,"day":"tue"}', sink)
    found = tree(tmp_path / "out")
    assert sorted(found) == ["mon.gz", "tue"]
    assert gzip.decompress(found["mon.gz"]) == b"1\n"
    (tmp_path / "out" / "tue").unlink()  # someone took it away: nothing to compress, and no fault
    await worker.write('{"n":3,"day":"wed"}', sink)
    assert sorted(tree(tmp_path / "out")) == ["mon.gz", "wed"]
