"""The components that use the KV store, and jobs whose actions wait."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import anyio
import pytest

from core import errors
from core.dsl.component import Event, Run
from core.dsl.language import compile as compiler
from core.dsl.language import course
from core.model.kv import Depth, Namespace, Op, Result
from core.worker.executor import Executor
from tests import waiting
from tests.dsl.rig import Worker
from tests.kv.stores import Sitting, local

pytestmark = pytest.mark.anyio


@pytest.fixture
async def sitting(tmp_path: Path) -> AsyncIterator[Sitting]:
    with anyio.fail_after(20):
        async with local(tmp_path) as made:
            yield made


@pytest.fixture
def worker(tmp_path: Path, sitting: Sitting) -> Worker:
    return Worker(tmp_path / "state", store=sitting.store)


@pytest.fixture
def space(sitting: Sitting) -> Namespace:
    return sitting.namespace("default:n")


def echo(events: Sequence[Any]) -> dict[str, Any]:
    return {"echo": {"json": True, "event": "\n".join(json.dumps(event) for event in events)}}


def executor(
    worker: Worker, source: dict[str, Any], actions: Sequence[Any] = (), sink: Any = "print", name: str = "job"
) -> Executor:
    document = {"name": name, "input": source, "actions": list(actions), "output": sink}
    env = worker.env(name)
    return Executor(compiler.compile_job(document, env), env, on_run=worker.reports.append)


async def run(worker: Worker, events: Sequence[Any], *actions: Any, sink: Any = "print") -> list[Event]:
    """Take events through actions on a worker in miniature; what was printed."""
    before = len(worker.printed)
    await executor(worker, echo(events), actions, sink).run()
    return [json.loads(line) for line in worker.printed[before:]]


def kv(operation: Any, **more: Any) -> dict[str, Any]:
    return {"worker-kv": {"namespace": "n", "operation": operation, **more}}


# ---- the action ----------------------------------------------------------------------------------------------------


async def test_the_shortest_set_keeps_the_whole_event_under_its_key(worker: Worker, space: Namespace) -> None:
    events = [{"key": "a", "n": 1}, {"key": "b", "n": 2}, {"key": "a", "n": 3}]
    assert await run(worker, events, kv({"set": {}})) == events
    assert json.loads((await space.get("a")).value or "") == events[2]
    assert json.loads((await space.get("b")).value or "") == events[1]


@pytest.mark.parametrize(
    ("form", "stored"),
    [
        ({"value-field": "v.w"}, '"text"'),
        ({"value-field": "v.w", "value-format": "raw-string"}, "text"),
        ({"value-field": "v"}, '{"w":"text"}'),
        ({"value-field": "v", "value-format": "raw-string"}, '{"w":"text"}'),
        ({"value": "${v.w}@{job}"}, '"textjob"'),
        ({"value": "x", "value-format": "raw-string"}, "x"),
    ],
    ids=str,
)
async def test_a_value_is_kept_in_the_form_that_was_asked_for(
    worker: Worker, space: Namespace, form: dict[str, Any], stored: str
) -> None:
    await run(worker, [{"id": "a", "v": {"w": "text"}}], kv({"set": {"key": "k-${id}", **form}}))
    assert (await space.get("k-a")).value == stored


@pytest.mark.parametrize("tell", [True, False])
async def test_an_event_without_a_key_goes_on_and_is_told_only_when_asked(
    worker: Worker, space: Namespace, tell: bool
) -> None:
    events = [{"n": 1}, {"id": 7}, {"id": " "}, {"id": "a"}]
    actions = kv({"set": {"key-field": "id", "warn-on-missing-key": tell}})
    assert await run(worker, events, actions) == events
    assert [entry.key for entry in (await space.list()).entries] == ["a"]
    assert len(worker.warnings) == (3 if tell else 0)


async def test_set_if_absent_says_who_was_first_and_keeps_the_order(worker: Worker) -> None:
    events = [{"id": "a"}, {"id": "b"}, {"id": "a"}, {"id": "c"}]
    action = kv({"set-if-absent": {"key-field": "id", "result-field": "first"}})
    assert [event["first"] for event in await run(worker, events, action)] == [True, True, False, True]
    assert [event["first"] for event in await run(worker, [{"id": "d"}, {"id": "a"}], action)] == [True, False]


async def test_set_if_absent_can_drop_what_was_there(worker: Worker) -> None:
    action = kv({"set-if-absent": {"key-field": "id", "drop": "existing"}})
    assert await run(worker, [{"id": "a"}, {"id": "a", "n": 2}, {"id": "b"}], action) == [{"id": "a"}, {"id": "b"}]


async def test_a_lock_is_renewed_by_its_holder_only(worker: Worker, sitting: Sitting) -> None:
    def lock(holder: str) -> dict[str, Any]:
        return kv(
            {"set-if-absent": {"key": "l", "value": holder, "ttl-ms": 1000, "renew": True, "result-field": "mine"}}
        )

    assert (await run(worker, [{}], lock("a"))) == [{"mine": True}]
    sitting.advance(900)
    assert (await run(worker, [{}], lock("a"))) == [{"mine": True}]
    sitting.advance(900)
    assert (await run(worker, [{}], lock("b"))) == [{"mine": False}]
    sitting.advance(100)
    assert (await run(worker, [{}], lock("b"))) == [{"mine": True}]


async def test_sets_and_deletes_say_whether_anything_changed(worker: Worker, space: Namespace) -> None:
    add = kv({"add-to-set": {"key": "s", "value-field": "m", "result-field": "new"}})
    remove = kv({"remove-from-set": {"key": "s", "value": "${m}", "result-field": "was"}})
    delete = kv({"delete": {"key": "s", "result-field": "there"}})
    assert [e["new"] for e in await run(worker, [{"m": "x"}, {"m": "x"}, {"m": "y"}], add)] == [True, False, True]
    assert await space.members("s") == ("x", "y")
    assert [e["was"] for e in await run(worker, [{"m": "x"}, {"m": "z"}], remove)] == [True, False]
    assert [e["there"] for e in await run(worker, [{}, {}], delete)] == [True, False]


async def test_adding_to_a_set_can_drop_what_was_in_it(worker: Worker) -> None:
    add = kv({"add-to-set": {"key": "s", "value-field": "m", "drop": "existing"}})
    assert await run(worker, [{"m": "x"}, {"m": "x"}, {"m": "y"}], add) == [{"m": "x"}, {"m": "y"}]


async def test_an_event_that_does_not_fit_is_dropped_counted_and_told_and_the_others_go_on(worker: Worker) -> None:
    events = [{"key": "a"}, {"key": "k" * 600, "v": 1}, {"key": "b", "v": 1}, {"key": "c"}]
    action = kv({"set": {"value-field": "v"}})
    assert await run(worker, events, action) == [{"key": "b", "v": 1}]
    assert worker.reports[-1].errors == 3
    assert any("600 bytes" in line for line in worker.warnings)
    assert any("no field v" in line for line in worker.warnings)


async def test_only_events_for_which_the_condition_holds_are_done_and_all_keep_their_order(
    worker: Worker, space: Namespace
) -> None:
    events = [{"key": str(n), "n": n} for n in range(6)]
    action = kv({"set-if-absent": {"drop": "existing"}}, condition="n > 2 and n ~= 4")
    await space.set("5", "there")
    assert [event["n"] for event in await run(worker, events, action)] == [0, 1, 2, 3, 4]
    assert [entry.key for entry in (await space.list()).entries] == ["3", "5"]


async def test_a_store_that_cannot_be_written_fails_the_job(worker: Worker) -> None:
    class Full:
        async def apply(self, namespace: str, ops: Sequence[Op]) -> list[Result]:
            raise errors.StorageUnavailable("The disk is full.")

    worker.store = Full()  # type: ignore[assignment]
    with pytest.raises(errors.JobFailed, match="The disk is full"):
        await run(worker, [{"key": "a"}], kv({"set": {}}))


# ---- enrich --------------------------------------------------------------------------------------------------------


def look_up(**more: Any) -> dict[str, Any]:
    return {"enrich": {"lookup-kv": {"namespace": "n", "key": "host/${host}"}, **more}}


async def test_events_are_enriched_with_what_another_job_has_set(worker: Worker, space: Namespace) -> None:
    await run(worker, [{"host": "a", "owner": "ann", "site": {"city": "fra"}}], kv({"set": {"key": "host/${host}"}}))
    await space.set("host/b", "plain text")
    await space.set("host/c", "7")
    events = [{"host": host} for host in ("a", "b", "c", "d", "a")]
    found = await run(worker, events, look_up(add=[{"who": "owner"}, {"place": "site.city"}, "value"]))
    assert found == [
        {"host": "a", "who": "ann", "place": "fra"},
        {"host": "b", "value": "plain text"},
        {"host": "c", "value": 7},
        {"host": "d"},
        {"host": "a", "who": "ann", "place": "fra"},
    ]
    assert any("no row for the key host/d" in line for line in worker.warnings)


async def test_a_row_takes_the_place_of_nothing_unless_told_and_a_default_that_of_a_row(
    worker: Worker, space: Namespace
) -> None:
    await space.set("a", '{"host": "A", "n": 1}')
    by_field = {"namespace": "n", "key-field": "host"}
    events = [{"host": "a", "n": 0}, {"host": "b"}, {}]
    default = {"default": {"n": -1}}
    assert await run(worker, events, look_up(**{"lookup-kv": by_field}, **default)) == [
        {"host": "a", "n": 0},
        {"host": "b", "n": -1},
        {"n": -1},
    ]
    assert await run(worker, events[:1], look_up(**{"lookup-kv": by_field, "overwrite": True})) == [
        {"host": "A", "n": 1}
    ]


async def test_more_events_than_are_looked_up_at_once_and_large_values_come_through(
    worker: Worker, space: Namespace
) -> None:
    for n in range(6):
        await space.set(f"host/{n}", json.dumps({"text": "x" * 900_000, "n": n}))
    found = await run(worker, [{"host": n % 6} for n in range(600)], look_up(add="n"))
    assert [event["n"] for event in found] == [n % 6 for n in range(600)]


@pytest.mark.parametrize(
    ("config", "why"),
    [
        ({}, "exactly one of lookup-file and lookup-kv"),
        ({"lookup-kv": {"namespace": "n"}, "lookup-file": "x", "match": "a"}, "exactly one of"),
        ({"lookup-kv": {"namespace": "n"}, "match": "a"}, "match is for lookup-file"),
        ({"lookup-file": "x.csv"}, "lookup-file needs match"),
    ],
)
def test_a_lookup_is_in_one_place(config: dict[str, Any], why: str) -> None:
    with pytest.raises(errors.InvalidDocument) as refused:
        compiler.check_job({"name": "j", "input": echo([{}]), "actions": [{"enrich": config}], "output": "print"})
    assert why in str(refused.value)


# ---- jobs whose actions wait ---------------------------------------------------------------------------------------


async def test_actions_before_between_and_after_those_that_wait_do_what_they_do_alone(worker: Worker) -> None:
    events = [{"key": "a", "items": [1, 2]}, {"key": "b", "items": [3]}]
    actions = (
        {"add": {"output-fields": {"one": 1}}},
        kv({"set-if-absent": {"result-field": "x"}}),
        {"rename": {"fields": [{"x": "kept"}]}},
        kv({"set-if-absent": {"result-field": "again"}}),
        {"remove": {"fields": ["items"]}},
    )
    assert await run(worker, events, *actions) == [
        {"key": "a", "one": 1, "kept": True, "again": False},
        {"key": "b", "one": 1, "kept": True, "again": False},
    ]


async def test_an_event_keeps_its_number_behind_an_action_that_waits(worker: Worker) -> None:
    events = [{"key": k} for k in ("a", "b", "a", "c", "d")]
    actions = (
        kv({"set-if-absent": {"drop": "existing"}}),
        {"add": {"condition": "count() > 3", "output-fields": {"late": True}}},
        kv({"set": {"key": "fifth"}}, condition="count() == 5"),
    )
    passed = await run(worker, events, *actions)
    assert [event.get("late") for event in passed] == [None, None, True, True]
    assert worker.reports[-1].events_in == 5
    assert json.loads((await worker.env().kv("n").get("fifth")).value or "")["key"] == "d"


async def test_a_job_without_such_an_action_keeps_its_one_function(worker: Worker) -> None:
    plain = compiler.compile_job({"name": "j", **_ends([{"add": {"output-fields": {"a": 1}}}])}, worker.env())
    memory = compiler.compile_job({"name": "j", **_ends([{"dedupe": {"fields": ["id"]}}])}, worker.env())
    waits = compiler.compile_job({"name": "j", **_ends([kv({"set": {}})])}, worker.env())
    assert len(plain.legs) == len(memory.legs) == 1
    assert not course.waits(plain.legs)
    assert not course.waits(memory.legs)
    assert course.waits(waits.legs)


def _ends(actions: list[Any]) -> dict[str, Any]:
    return {"input": {"echo": {"event": "x"}}, "actions": actions, "output": "print"}


async def test_the_dry_form_of_a_job_tells_what_it_would_do_and_does_nothing(worker: Worker, space: Namespace) -> None:
    actions = [
        kv({"set-if-absent": {"key-field": "id", "result-field": "first"}}),
        kv({"push": {}}),
        {"dedupe": {"fields": ["id"], "namespace": "n"}},
    ]
    job = compiler.compile_job({"name": "j", **_ends(actions)}, worker.env())
    assert job.steps[0].process([{"id": "a"}], Run()) == [{"id": "a", "first": True}]
    assert job.steps[1].process([{"id": "b"}], Run()) == [{"id": "b"}]
    assert job.steps[2].process([{"id": "b"}, {"id": "b"}], Run()) == [{"id": "b"}]
    told = [text for level, text, _ in worker.log_lines if level == "info"]
    assert "would set-if-absent a in default:n" in told
    assert any(text.startswith("would push") for text in told)
    assert (await space.list()).entries == ()
    assert await space.depth() == Depth(0, 0, 0)


# ---- the input -----------------------------------------------------------------------------------------------------


def source(operation: Any, **more: Any) -> dict[str, Any]:
    return {"worker-kv": {"namespace": "n", "operation": operation, **more}}


@pytest.mark.parametrize(
    ("stored", "format", "event"),
    [
        ('{"a": 1}', "json", {"a": 1}),
        ("[1, 2]", "json", {"_raw": [1, 2]}),
        ('"text"', "json", {"_raw": "text"}),
        ('{"a": 1}', "raw-string", {"_raw": '{"a": 1}'}),
        ("no json", "json", {"_raw": "no json"}),
    ],
)
async def test_get_reads_a_value_as_what_it_is(
    worker: Worker, space: Namespace, stored: str, format: str, event: dict[str, Any]
) -> None:
    await space.set("k-job", stored)
    assert await worker.read(source({"get": {"key": "k-@{job}"}}, **{"value-format": format})) == [event]
    assert worker.reports[-1].errors == (stored == "no json")


async def test_get_of_a_key_that_is_not_there_gives_no_event(worker: Worker) -> None:
    assert await worker.read(source({"get": {"key": "k"}})) == []


async def test_popped_items_are_acknowledged_when_the_output_has_taken_them(worker: Worker, space: Namespace) -> None:
    job = executor(worker, source({"pop-batch": {"size": 2, "attempt-field": "try"}}))
    task = asyncio.create_task(job.run())
    await space.push('{"n": 1}', '{"n": 2}', '{"n": 3}', "no json")
    await waiting.until(lambda: len(worker.printed) == 4)
    await job.drain(5)
    await task
    assert [json.loads(line) for line in worker.printed] == [
        {"n": 1, "try": 1},
        {"n": 2, "try": 1},
        {"n": 3, "try": 1},
        {"_raw": "no json", "try": 1},
    ]
    assert await space.depth() == Depth(0, 0, 0)


async def test_items_that_the_output_refuses_come_again_at_once(worker: Worker, space: Namespace) -> None:
    await space.push('{"n": 1}')
    failing = executor(worker, source("pop-batch"), [{"abort": {"condition": "n == 1"}}])
    with pytest.raises(errors.JobFailed):
        await failing.run()
    assert await space.depth() == Depth(1, 0, 0)
    lease = await space.pop_batch()
    assert lease is not None
    assert lease.items[0].attempt == 2


async def test_a_firing_takes_one_batch_and_none_when_the_queue_is_empty(worker: Worker, space: Namespace) -> None:
    await space.push("1", "2", "3")
    job = executor(worker, source({"pop-batch": {"size": 2}}, trigger={"interval": "10ms"}))
    task = asyncio.create_task(job.run())
    await waiting.until(lambda: len(worker.reports) >= 4)
    await job.drain(5)
    await task
    assert [report.events_in for report in worker.reports[:4]] == [2, 1, 0, 0]


async def test_with_manual_acknowledgement_the_action_ends_the_lease(worker: Worker, space: Namespace) -> None:
    await space.push('{"n": 1}', '{"n": 2}')
    pop = {"pop-batch": {"ack": "manual", "lease-field": "lease"}}
    first = executor(worker, source(pop, trigger={"interval": "1h"}))
    task = asyncio.create_task(first.run())
    await waiting.until(lambda: len(worker.reports) == 1)
    await first.drain(5)
    await task
    assert await space.depth() == Depth(0, 2, 0)
    events = [json.loads(line) for line in worker.printed]
    assert len({event["lease"] for event in events}) == 1
    await run(worker, events, kv({"ack-batch": {"lease-field": "lease"}}))
    assert await space.depth() == Depth(0, 0, 0)


async def test_ack_batch_waits_for_the_output(worker: Worker, space: Namespace) -> None:
    await space.push('{"n": 1}')
    lease = await space.pop_batch()
    assert lease is not None
    with pytest.raises(errors.JobFailed):
        await run(worker, [{"_lease": lease.id}], kv("ack-batch"), {"abort": {"message": "no"}})
    assert await space.depth() == Depth(1, 0, 0)


async def test_a_lease_that_ran_out_before_the_acknowledgement_is_told(
    worker: Worker, space: Namespace, sitting: Sitting
) -> None:
    await space.push('{"n": 1}')
    lease = await space.pop_batch(lease_ms=1000)
    assert lease is not None
    sitting.advance(1000)
    await run(worker, [{"_lease": lease.id}], kv({"ack-batch": {}}))
    assert any("run out" in line for line in worker.warnings)
    assert await space.depth() == Depth(1, 0, 0)


async def test_a_watch_begins_with_what_is_there_and_goes_on_with_what_changes(
    worker: Worker, space: Namespace
) -> None:
    await space.set("c/a", "1")
    await space.set("d", "1")
    job = executor(worker, source({"watch": {"prefix": "c/"}}))
    task = asyncio.create_task(job.run())
    await waiting.until(lambda: len(worker.printed) == 1)
    await space.set("c/b", '"two"')
    await waiting.until(lambda: len(worker.printed) == 2)
    await space.delete("c/a")
    await waiting.until(lambda: len(worker.printed) == 3)
    await job.drain(5)
    await task
    assert [json.loads(line) for line in worker.printed] == [
        {"key": "c/a", "value": 1, "deleted": False},
        {"key": "c/b", "value": "two", "deleted": False},
        {"key": "c/a", "value": None, "deleted": True},
    ]


async def test_a_store_that_is_busy_is_tried_again(worker: Worker, space: Namespace) -> None:
    class Busy:
        def __init__(self, store: Any) -> None:
            self.store, self.left = store, 2

        async def apply(self, namespace: str, ops: Sequence[Op]) -> list[Result]:
            self.left -= 1
            if self.left >= 0:
                raise errors.Busy("Not now.")
            found: list[Result] = await self.store.apply(namespace, ops)
            return found

    await space.set("k", "{}")
    worker.store = Busy(worker.store)  # type: ignore[assignment]
    with pytest.raises(errors.JobFailed, match="Not now"):
        await worker.read(source({"get": {"key": "k"}}))
    assert await worker.read(source({"get": {"key": "k"}}, retry={"retries": 2})) == [{}]


# ---- documents -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("actions", "pointer"),
    [
        ([kv({})], "/actions/0/worker-kv/operation"),
        ([kv({"set": {}, "delete": {}})], "/actions/0/worker-kv/operation"),
        ([kv({"sett": {}})], "/actions/0/worker-kv/operation/sett"),
        ([kv({"set": {"key": "a", "key-field": "b"}})], "/actions/0/worker-kv/operation/set"),
        ([kv({"set": {"value": "a", "value-field": "b"}})], "/actions/0/worker-kv/operation/set"),
        ([kv({"set": {"ttl-ms": 0}})], "/actions/0/worker-kv/operation/set/ttl-ms"),
        ([{"worker-kv": {"operation": {"set": {}}}}], "/actions/0/worker-kv/namespace"),
        ([{"dedupe": {"ttl": "0s"}}], "/actions/0/dedupe/ttl"),
    ],
    ids=str,
)
def test_a_fault_in_a_document_is_told_with_its_place(actions: list[Any], pointer: str) -> None:
    with pytest.raises(errors.InvalidDocument) as caught:
        compiler.check_job({"name": "j", **_ends(actions)})
    assert caught.value.errors[0].pointer == pointer


async def test_another_tenants_namespace_is_refused_when_the_job_starts(worker: Worker) -> None:
    with pytest.raises(errors.InvalidDocument, match="another tenant"):
        await run(worker, [{}], {"worker-kv": {"namespace": "acme:n", "operation": {"set": {}}}})
    with pytest.raises(errors.SluiceError, match="another tenant"):
        await worker.read({"worker-kv": {"namespace": "acme:n", "operation": {"get": {"key": "k"}}}})
    with pytest.raises(errors.InvalidDocument, match="another tenant"):
        await run(worker, [{}], {"dedupe": {"namespace": "acme:n"}})


def test_an_input_takes_one_operation_and_a_watch_no_trigger() -> None:
    for operation, more in (
        ({}, {}),
        ({"get": {"key": "k"}, "pop-batch": {}}, {}),
        ("watch", {"trigger": {"interval": "1s"}}),
    ):
        document = {"name": "j", "input": source(operation, **more), "output": "print"}
        with pytest.raises(errors.InvalidDocument):
            compiler.check_job(document)


# ---- dedupe --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("namespace", [{}, {"namespace": "n"}], ids=["in memory", "in the store"])
async def test_the_first_of_equal_keys_goes_on(worker: Worker, namespace: dict[str, str]) -> None:
    events = [{"a": 1, "b": {"x": 1, "y": 2}}, {"a": 1, "b": {"y": 2, "x": 1}, "c": 0}, {"a": 1, "b": 0}, {"a": "1"}]
    action = {"dedupe": {"fields": ["a", "b"], **namespace}}
    assert await run(worker, events, action) == [events[0], events[2], events[3]]
    assert any("b is missing" in line for line in worker.warnings)


async def test_without_fields_the_whole_event_is_the_key(worker: Worker) -> None:
    assert await run(worker, [{"a": 1, "b": 2}, {"b": 2, "a": 1}, {"a": 1}], {"dedupe": {}}) == [
        {"a": 1, "b": 2},
        {"a": 1},
    ]


async def test_memory_forgets_the_oldest_keys_beyond_its_bound(worker: Worker) -> None:
    events = [{"a": n} for n in (1, 2, 3, 1, 3)]
    passed = await run(worker, events, {"dedupe": {"fields": "a", "max-keys": 2}})
    assert [event["a"] for event in passed] == [1, 2, 3, 1]


async def test_memory_forgets_a_key_after_its_time(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    moments = iter([0.0, 9.9, 10.0, 10.1])
    monkeypatch.setattr("core.dsl.actions.dedupe.clock.monotonic", lambda: next(moments))
    job = compiler.compile_job({"name": "j", **_ends([{"dedupe": {"fields": "a", "ttl": "10s"}}])}, worker.env())
    assert [len(job.steps[0].process([{"a": 1}], Run())) for _ in range(4)] == [1, 0, 1, 0]


DEDUPE = {"dedupe": {"fields": ["id"], "namespace": "n", "ttl": "1h"}}


async def test_the_store_remembers_across_jobs_until_the_time_is_over(worker: Worker, sitting: Sitting) -> None:
    assert await run(worker, [{"id": 1}], DEDUPE) == [{"id": 1}]
    assert await run(worker, [{"id": 1}], DEDUPE) == []
    sitting.advance(3_600_000)
    assert await run(worker, [{"id": 1}], DEDUPE) == [{"id": 1}]


async def test_an_event_that_the_output_refused_is_not_taken_for_seen(worker: Worker) -> None:
    with pytest.raises(errors.JobFailed):
        await run(worker, [{"id": 1}], DEDUPE, {"abort": {}})
    assert await run(worker, [{"id": 1}], DEDUPE) == [{"id": 1}]


async def test_an_event_that_a_dead_run_of_the_job_had_claimed_goes_on(worker: Worker, space: Namespace) -> None:
    await space.set("[1]", "claim job.0 deadbeef", 60_000)
    assert await run(worker, [{"id": 1}], DEDUPE) == [{"id": 1}]
    assert (await space.get("[1]")).value == "seen"


@pytest.mark.parametrize("becomes", ["seen", "refused", "forgotten"])
async def test_an_event_on_its_way_in_another_replica_waits_for_what_becomes_of_it(
    worker: Worker, space: Namespace, sitting: Sitting, becomes: str
) -> None:
    await space.set("[1]", "claim other.1 1234", 60_000)
    task = asyncio.create_task(run(worker, [{"id": 1}], DEDUPE))
    await waiting.pause(0.02)  # it waits for the claim meanwhile
    assert not task.done()
    if becomes == "seen":
        await space.set("[1]", "seen")
    elif becomes == "refused":
        await space.delete("[1]")
    else:
        sitting.advance(60_000)
    assert await task == ([] if becomes == "seen" else [{"id": 1}])
