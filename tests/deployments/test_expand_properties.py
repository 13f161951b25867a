"""Any graph becomes jobs whose ends meet exactly as the graph says."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.catalog import builtin, items
from core.deployments import expand
from core.deployments.draft import LONGEST_NAME
from core.dsl.language import compile as compiler
from core.dsl.language import hops
from core.model.catalog import Workflow
from core.model.deployment import Job, Role
from tests.deployments.documents import PASS, blueprint, make, workflow

PAIR = """
kind: blueprint
slug: pair
ports: {in: [in], out: [good, bad]}
jobs:
  - {name: first, input: {port: in}, output: {channel: mid}}
  - {name: good, input: {channel: mid}, output: {port: good}}
  - {name: bad, input: {channel: mid}, output: {port: bad}}
"""
INNER = """
kind: workflow
slug: inner
version: 1
ports: {in: [events], out: [done]}
channels: {mid: {transport: file-store, with: {path: /tmp/inner}}}
steps:
  - {id: head, use: "blueprint:pass@1.0.0", in: port:events, out: channel:mid}
  - {id: tail, use: "blueprint:pass@1.0.0", in: channel:mid, out: port:done}
"""
MODULES = [*builtin.load(), *(items.entry(one) for one in (blueprint(PASS), blueprint(PAIR), workflow(INNER)))]
LOOKUP = items.finder(MODULES)
TRANSPORTS: dict[str, dict[str, Any]] = {
    "worker-channel": {},
    "file-store": {"path": "/tmp/spool"},
    "object-store": {"bucket-name": "b"},
}


@dataclass
class Drawn:
    """A workflow, and which step-job feeds which through each channel."""

    document: dict[str, Any]
    writers: dict[str, list[str]] = field(default_factory=dict)  # channel -> steps with the job at that end
    readers: dict[str, list[str]] = field(default_factory=dict)

    @property
    def model(self) -> Workflow:
        return Workflow.model_validate(self.document)

    def pairs(self) -> Counter[tuple[str, str, str]]:
        return Counter((c, w, r) for c in self.writers for w in self.writers[c] for r in self.readers.get(c, ()))


@st.composite
def graphs(draw: st.DrawFn) -> Drawn:
    """Steps in layers; every channel leads from one layer to a later one, so there is no circle."""
    count = draw(st.integers(2, 7))
    names = [f"c{n}" for n in range(count)]
    drawn = Drawn({"slug": "w", "version": 1, "steps": [], "channels": {}}, {}, {})
    for name in names:
        transport = draw(st.sampled_from(sorted(TRANSPORTS)))
        drawn.document["channels"][name] = {"transport": transport, "with": TRANSPORTS[transport]}
    for n, name in enumerate(names):  # a writer of c0..cn that reads what is before it
        what = draw(st.sampled_from(["source", "pass", "pair", "inner", "spread"])) if n else "source"
        step: dict[str, Any] = {"id": f"s{n}"}
        later = names[n:]
        if what in ("source", "spread"):
            step["use"] = "blueprint:echo-source@1.0.0"
        else:
            step["use"] = {"inner": "workflow:inner@1"}.get(what, f"blueprint:{what}@1.0.0")
            feed = draw(st.sampled_from(names[:n]))
            step["in"] = f"channel:{feed}"
            end = {"pass": f"s{n}", "pair": f"s{n}--first", "inner": f"s{n}--head"}[what]
            drawn.readers.setdefault(feed, []).append(end)
        if what == "spread":
            chosen = list(dict.fromkeys([name, draw(st.sampled_from(later)), draw(st.sampled_from(later))]))
            step["out"] = {f"o{at}": f"channel:{one}" for at, one in enumerate(chosen)}
            mode = draw(st.sampled_from(["clone", "round-robin", "conditional"]))
            step["dispatch"] = {"mode": mode}
            if mode == "conditional":
                step["dispatch"] |= {"field": "f", "routes": {f"v{at}": f"o{at}" for at in range(len(chosen))}}
            for one in chosen:
                drawn.writers.setdefault(one, []).append(f"s{n}")
        elif what == "pair":
            other = draw(st.sampled_from(later))
            step["out"] = {"good": f"channel:{name}", "bad": f"channel:{other}"}
            drawn.writers.setdefault(name, []).append(f"s{n}--good")
            drawn.writers.setdefault(other, []).append(f"s{n}--bad")
        else:
            step["out"] = f"channel:{name}"
            drawn.writers.setdefault(name, []).append(f"s{n}--tail" if what == "inner" else f"s{n}")
        drawn.document["steps"].append(step)
    for n, name in enumerate(names):
        for at in range(draw(st.integers(0 if name in drawn.readers else 1, 2))):
            sink = {"id": f"k{n}-{at}", "use": "blueprint:file-printer@1.0.0", "in": f"channel:{name}"}
            drawn.document["steps"].append({**sink, "replicas": draw(st.integers(1, 2))})
            drawn.readers.setdefault(name, []).append(f"k{n}-{at}")
    return drawn


def expanded(model: Workflow, name: str = "d") -> expand.Expansion:
    return expand.expand(model, expand.Request(name, "workflow:w@1"), LOOKUP, check_job=compiler.check_job)


def store(job: Job, side: str) -> str:
    """The prefix of the objects at one side of an adapter."""
    (config,) = job.document[side].values()
    return str(config["object-name"]["name"] if side == "output" else config["object-names"][0])


def paths(jobs: dict[str, Job]) -> Counter[tuple[str, str, str]]:
    """(channel, step-job, step-job) for every way that events take from one step-job to another over a channel."""
    readers: dict[str, list[Job]] = {}
    spools: dict[str, list[Job]] = {}
    for job in jobs.values():
        if channel := hops.reads(job.document):
            readers.setdefault(channel, []).append(job)
        elif job.role is Role.READER:
            spools.setdefault(store(job, "input"), []).append(job)

    def ends(job: Job, hop: str) -> Iterator[tuple[str, Job]]:
        for other in readers.get(hop, ()):
            if other.role is Role.WRITER:
                for reader in spools.get(store(other, "output"), ()):
                    for next_hop in hops.writes(reader.document):
                        yield from ((reader.origin.removeprefix("channel "), end) for _, end in ends(reader, next_hop))
            else:
                yield hop.removeprefix("default/d/"), other

    return Counter(
        (channel, job.name.removeprefix("d--"), end.name.removeprefix("d--"))
        for job in jobs.values()
        if job.role is Role.STEP
        for hop in hops.writes(job.document)
        for channel, end in ends(job, hop)
    )


@given(graphs())
@settings(deadline=None)
def test_every_end_of_a_channel_is_connected_exactly_as_the_graph_says(drawn: Drawn) -> None:
    made = expanded(drawn.model)
    assert made.blockers == []
    found = paths(made.jobs)
    outer = Counter({key: n for key, n in found.items() if key[0] in drawn.document["channels"]})
    assert outer == drawn.pairs()
    inside = {channel for channel, _, _ in found} - set(drawn.document["channels"])
    assert all(":mid" in channel or channel.endswith(".mid") for channel in inside)


@given(graphs())
@settings(deadline=None)
def test_every_job_has_a_name_of_its_own_and_shares_a_worker_with_those_at_its_hops(drawn: Drawn) -> None:
    made = expanded(drawn.model)
    assert all(name == job.name == job.document["name"] for name, job in made.jobs.items())
    place = {name: n for n, members in enumerate(made.together) for name in members}
    assert sorted(place) == sorted(made.jobs)
    at: dict[str, list[Job]] = {}
    for job in made.jobs.values():
        for hop in {hops.reads(job.document), *hops.writes(job.document)} - {""}:
            at.setdefault(hop, []).append(job)
    for hop, members in at.items():
        assert len({place[job.name] for job in members}) == 1
        readers = [job for job in members if hops.reads(job.document) == hop]
        assert readers, hop
        drivers = {job.document["input"]["worker-channel"].get("driver") for job in readers}
        assert drivers == ({"clone"} if len(readers) > 1 else {None})


@given(graphs(), st.randoms(use_true_random=False))
@settings(deadline=None)
def test_the_same_graph_gives_the_same_jobs_and_other_steps_do_not_rename_them(drawn: Drawn, random: Any) -> None:
    made = expanded(drawn.model)
    again = expanded(drawn.model)
    assert (made.jobs, made.channels, made.together) == (again.jobs, again.channels, again.together)
    shuffled = [*drawn.document["steps"]]
    random.shuffle(shuffled)
    extra = {"id": "more", "use": "blueprint:file-printer@1.0.0", "in": "channel:c0"}
    other = expanded(Workflow.model_validate({**drawn.document, "steps": [*shuffled, extra]}))
    assert set(made.jobs) <= set(other.jobs)
    for name, job in made.jobs.items():
        if "channel c0" != job.origin and hops.reads(job.document) != "default/d/c0":
            assert other.jobs[name].digest == job.digest


def calls(work: Callable[[], Any]) -> int:
    """How many Python functions are called: a measure of work without a clock."""
    count = 0

    def seen(frame: Any, event: str, argument: Any) -> None:
        nonlocal count
        count += event == "call"

    sys.setprofile(seen)
    try:
        work()
    finally:
        sys.setprofile(None)
    return count


def _wide(count: int) -> Workflow:
    """Many producers and consumers of one channel, all of which wake somebody."""
    steps: list[dict[str, Any]] = [
        {"id": f"a{n}", "use": "blueprint:echo-source@1.0.0", "out": "channel:c"} for n in range(count)
    ]
    steps += [{"id": f"b{n}", "use": "blueprint:file-printer@1.0.0", "in": "channel:c"} for n in range(count)]
    edges = [{"from": f"a{n}", "to": f"a{n + 1}", "tag": f"t{n}"} for n in range(count - 1)]
    return Workflow.model_validate({"slug": "w", "version": 1, "steps": steps, "messages": edges})


def _spooled(count: int) -> Workflow:
    made = _wide(count).model_dump(by_alias=True)
    return Workflow.model_validate(
        {**made, "channels": {"c": {"transport": "file-store", "with": {"path": "/x", "interval": "1s"}}}}
    )


@pytest.mark.parametrize("build", [_wide, _spooled])
def test_the_work_grows_with_the_size_of_the_graph_and_not_faster(build: Callable[[int], Workflow]) -> None:
    def work(count: int) -> int:
        model = build(count)
        return calls(lambda: expand.expand(model, expand.Request("d", "workflow:w@1"), LOOKUP))

    work(2)  # what is worked out once
    assert work(200) < 2.2 * work(100)


# ---- names


def test_a_long_name_is_cut_with_a_hash_of_the_whole_and_stays_a_job_name() -> None:
    long = "x" * 60
    text = f"""
kind: workflow
slug: w
channels: {{{long}: {{transport: file-store, with: {{path: /x}}}}}}
steps:
  - {{id: {long}, use: "blueprint:echo-source@1.0.0", out: channel:{long}}}
  - {{id: {long[:-1]}y, use: "blueprint:echo-source@1.0.0", out: channel:{long}}}
  - {{id: z, use: "blueprint:file-printer@1.0.0", in: channel:{long}}}
"""
    made = make(text, name="d" * 63)
    assert made.blockers == ()
    names = list(made.desired.jobs)
    assert len(names) == 6
    assert all(len(name) <= LONGEST_NAME for name in names)
    assert names == list(make(text, name="d" * 63).desired.jobs)
    for job in made.desired.jobs.values():
        compiler.check_job(job.document)


def test_modules_in_modules_keep_short_names_for_the_channels_between_their_jobs() -> None:
    name = "m" * 50
    inner = workflow(INNER)
    modules: list[Workflow] = []
    for depth in range(6):
        use = "workflow:inner@1" if not depth else f"workflow:level{depth - 1}@1"
        modules.append(
            workflow(
                f"{{kind: workflow, slug: level{depth}, version: 1, ports: {{in: [events], out: [done]}}, steps: [{{id:"
                f" {name}, use: '{use}', in: port:events, out: port:done}}]}}"
            )
        )
    text = f"""
kind: workflow
slug: w
steps:
  - {{id: a, use: "blueprint:echo-source@1.0.0", out: channel:x}}
  - {{id: {name}, use: "workflow:level5@1", in: channel:x, out: channel:y}}
  - {{id: z, use: "blueprint:file-printer@1.0.0", in: channel:y}}
"""
    made = make(text, modules=[inner, *modules])
    assert made.blockers == ()
    assert len(made.desired.jobs) == 6
    for job in made.desired.jobs.values():
        compiler.check_job(job.document)
