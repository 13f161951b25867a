"""The dispatch output: every event reaches the outputs that its mode says, and the source is told when all have it."""

from __future__ import annotations

import asyncio
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.dsl.component import Batch, Run
from core.dsl.language import compile as compiler
from core.errors import InvalidDocument
from core.worker.channels import Channels
from tests.dsl import rig
from tests.dsl.rig import Worker

pytestmark = pytest.mark.anyio
TWO = {"a": "ca", "b": "cb"}


class Ends:
    """A dispatch with someone at each of its channels."""

    def __init__(self, worker: Worker, **config: Any) -> None:
        self.env = worker.env("sender")
        self.sink = rig.declare("output", {"dispatch": config}).open(self.env)
        self.run = Run()
        self.settled: list[BaseException | None] = []

    async def send(self, *events: Any, end: bool = False) -> None:
        with anyio.fail_after(5):
            await self.sink.write(Batch(list(events), self.settled.append, end), self.run)

    async def read(self, channel: str) -> Batch:
        with anyio.fail_after(5):
            return await self.env.channel(channel).get()

    def depths(self) -> dict[str, int]:
        return {name.removeprefix("default/"): depth for name, depth in self.env.channels.depths().items()}


async def test_clone_gives_every_output_all_events_and_none_shares_one_with_another(worker: Worker) -> None:
    ends = Ends(worker, outputs=TWO)
    await ends.send({"deep": {"list": [1]}}, {"n": 2})
    a, b = await ends.read("ca"), await ends.read("cb")
    assert a.events == b.events == [{"deep": {"list": [1]}}, {"n": 2}]
    a.events[0]["deep"]["list"].append(7)
    assert b.events[0] == {"deep": {"list": [1]}}
    a.settle(None)
    assert ends.settled == []
    fault = OSError("full")
    b.settle(fault)
    assert ends.settled == [fault]


async def test_round_robin_goes_on_where_the_batch_before_ended(worker: Worker) -> None:
    ends = Ends(worker, mode="round-robin", outputs={"a": "ca", "b": "cb", "c": "cc"})
    await ends.send(*({"n": n} for n in range(4)))
    await ends.send(*({"n": n} for n in range(4, 6)))
    got = {name: [e["n"] for e in (await ends.read(name)).events] for name in ("ca", "cb", "cc")}
    assert got == {"ca": [0, 3], "cb": [1], "cc": [2]}
    assert [e["n"] for e in (await ends.read("cb")).events] == [4]
    assert [e["n"] for e in (await ends.read("cc")).events] == [5]


ROUTES = {"error": "a", "200": "a", "1.5": "a", "true": "a", "null": "a", "": "a"}


@pytest.mark.parametrize(
    ("value", "goes"),
    [
        ("error", "ca"),
        (200, "ca"),
        (200.0, "ca"),
        ("200", "ca"),
        (1.5, "ca"),
        (True, "ca"),
        (None, "ca"),
        ("", "ca"),
        ("warn", "cb"),
        (201, "cb"),
        (False, "cb"),
        (1, "cb"),
        (2**64, "cb"),
        ({}, "cb"),
        (["error"], "cb"),
    ],
)
async def test_a_route_takes_the_values_that_are_written_like_it(worker: Worker, value: Any, goes: str) -> None:
    ends = Ends(worker, mode="conditional", outputs=TWO, field="x.y", routes=ROUTES, default="b")
    await ends.send({"x": {"y": value}})
    assert (await ends.read(goes)).events == [{"x": {"y": value}}]
    assert sum(ends.depths().values()) == 0


async def test_an_event_without_the_field_goes_to_the_default_or_is_refused(worker: Worker) -> None:
    kept = Ends(worker, mode="conditional", outputs=TWO, field="level", routes={"error": "a"}, default="b")
    await kept.send({"n": 1})
    assert (await kept.read("cb")).events == [{"n": 1}]
    strict = Ends(worker, mode="conditional", outputs=TWO, field="level", routes={"error": "a"})
    await strict.send({"n": 1}, {"level": "odd"}, {"level": {"deep": 1}}, {"level": "error"})
    assert (await strict.read("ca")).events == [{"level": "error"}]
    assert strict.run.errors == 3
    assert "no field level" in worker.warnings[0]
    assert "no route for level: odd" in worker.warnings[1]
    await strict.send({"n": 2})
    assert strict.settled == [None]  # nobody has to accept what is refused


async def test_copies_get_every_event_whatever_the_mode_decides(worker: Worker) -> None:
    ends = Ends(worker, mode="round-robin", outputs=TWO, copies=["tap"])
    await ends.send({"n": 0}, {"n": 1})
    tap = await ends.read("tap")
    assert tap.events == [{"n": 0}, {"n": 1}]
    for name in ("ca", "cb"):
        (await ends.read(name)).settle(None)
    assert ends.settled == []
    tap.settle(None)
    assert ends.settled == [None]


async def test_the_end_of_a_document_is_told_to_every_output(worker: Worker) -> None:
    ends = Ends(worker, mode="conditional", outputs=TWO, field="k", routes={"x": "a"}, default="b")
    await ends.send({"k": "x"}, end=True)
    a, b = await ends.read("ca"), await ends.read("cb")
    assert (a.events, a.document_end, b.events, b.document_end) == ([{"k": "x"}], True, [], True)
    await ends.send()
    assert ends.depths() == {"ca": 0, "cb": 0}


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ({"outputs": {}}, "outputs"),
        ({"outputs": TWO, "field": "x"}, "belong to mode: conditional"),
        ({"outputs": TWO, "mode": "conditional"}, "needs the field"),
        ({"outputs": TWO, "mode": "conditional", "field": "x", "routes": {"v": "c"}}, "no output c"),
        ({"outputs": TWO, "mode": "conditional", "field": "x", "default": "c"}, "no output c"),
    ],
)
async def test_a_dispatch_that_makes_no_sense_is_refused(config: dict[str, Any], told: str) -> None:
    document = {"name": "j", "input": {"echo": {"event": "x"}}, "output": {"dispatch": config}}
    with pytest.raises(InvalidDocument) as caught:
        compiler.check_job(document)
    assert told in " ".join(f"{p.pointer} {p.message}" for p in caught.value.errors or ())


@given(
    mode=st.sampled_from(["clone", "round-robin", "conditional"]),
    batches=st.lists(st.lists(st.sampled_from(["x", "y", "z", 1, None]), max_size=6), max_size=6),
    outputs=st.integers(1, 4),
)
def test_no_event_is_lost_and_none_is_doubled_by_turns_or_routes(
    mode: str, batches: list[list[Any]], outputs: int
) -> None:
    async def play() -> None:
        names = [f"o{n}" for n in range(outputs)]
        config: dict[str, Any] = {"mode": mode, "outputs": {name: name for name in names}}
        if mode == "conditional":
            config |= {"field": "k", "routes": {"x": names[0], "1": names[-1]}, "default": names[0]}
        channels = Channels(capacity=1000)

        class Env:
            def channel(self, name: str) -> Any:
                return channels.bind(name, "me")

        sink = rig.declare("output", {"dispatch": config}).open(Env())
        sent, settled = [], []
        for number, keys in enumerate(batches):
            events = [{"id": f"{number}.{at}", "k": key} for at, key in enumerate(keys)]
            sent += [event["id"] for event in events]
            await sink.write(Batch(events, lambda error, n=number: settled.append(n)), Run())  # type: ignore[misc]
        got: dict[str, list[str]] = {}
        for name in names:
            got[name] = []
            for _ in range(channels.depths()[name]):
                received = await channels.bind(name, "me").get()
                got[name] += [event["id"] for event in received.events]
                received.settle(None)
        assert sorted(settled) == list(range(len(batches)))
        if mode == "clone":
            assert all(ids == sent for ids in got.values())
        else:
            assert sorted(id for ids in got.values() for id in ids) == sorted(sent)

    asyncio.run(play())
