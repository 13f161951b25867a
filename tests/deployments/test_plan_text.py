"""What a plan says: which plan it is, every value that differs with both sides, what is in the way, what stays."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.deployments import changes, compute, plan_text
from core.deployments.plan_text import Standing
from core.documents import differences
from core.model.deployment import EMPTY, Channel, Job, Role, State
from core.model.plan import QUOTED, Action, Finding, Plan, Remnant
from tests.deployments.documents import WORKERS, make, quickstart

VALUES = {"path": "/tmp/store"}
SAVED = Standing("plan_0123456789abcdef", 2, 1_800_000_000_000_000_000)


def detailed(made: Plan, standing: Standing = SAVED) -> str:
    every = [change for change in made.changes if change.action is not Action.UNCHANGED]
    documents = [changes.diff(change, whole=True) for change in every]
    return plan_text.detailed(made, standing, every, documents, len(every))


def prefixed(prefix: str, current: State = EMPTY) -> Plan:
    return make(quickstart(), values={**VALUES, "guid_prefix": prefix}, current=current)


def test_the_head_names_the_plan_its_base_and_its_end() -> None:
    text = plan_text.short(make(quickstart(), values=VALUES), SAVED).splitlines()
    assert text[:2] == [
        "demo from workflow:quickstart-file-store-roundtrip@1",
        "Plan plan_0123456789abcdef, made on revision 2, valid until 2027-01-15T08:00:00.000Z.",
    ]


def test_a_plan_of_a_read_only_session_says_that_it_is_not_saved() -> None:
    text = plan_text.short(make(quickstart(), values=VALUES), Standing(None, 0, None))
    assert "Plan not saved: read-only session; made on revision 0 (nothing was deployed)." in text.splitlines()


def test_a_changed_value_is_named_with_both_sides_where_it_was_asked_for_and_in_the_document() -> None:
    lines = plan_text.short(prefixed("gamma", prefixed("alpha").desired), SAVED).splitlines()
    assert f'{QUOTED}values.guid_prefix: "alpha" -> "gamma"' in lines
    row = next(n for n, line in enumerate(lines) if "demo--generate--roundtrip-writer" in line)
    assert lines[row + 1] == f'{QUOTED}output.file-store.guid-prefix: "alpha-" -> "gamma-"'
    assert lines[-1] == "Plan: 1 to update (1 transport), 8 unchanged."


def test_two_changes_and_the_way_back_are_three_texts() -> None:
    first = prefixed("alpha").desired
    second = prefixed("beta", first).desired
    plans = [prefixed("gamma", second), prefixed("delta", second), compute.back("demo", first, WORKERS, second)]
    assert len({plan_text.short(made) for made in plans}) == 3
    for made, prefix in zip(plans, ("gamma", "delta", "alpha"), strict=True):
        for text in (plan_text.short(made), plan_text.short(made, SAVED, 2_800), detailed(made)):
            assert f'values.guid_prefix: "beta" -> "{prefix}"' in text


def test_the_same_wish_again_changes_nothing() -> None:
    first = make(quickstart(), values=VALUES).desired
    assert "Nothing to change" in plan_text.short(make(quickstart(), values=VALUES, current=first))


def test_nothing_to_change_is_never_said_beside_a_blocker() -> None:
    first = make(quickstart(), values=VALUES).desired
    made = compute.with_blockers(
        make(quickstart(), values=VALUES, current=first), [Finding("name_taken", "Taken.", "Rename it.")]
    )
    for text in (plan_text.short(made, SAVED), detailed(made)):
        assert "Nothing to change" not in text and "Taken. Rename it." in text
        assert "What would change is not known: a blocker stands in the way." in text
        assert text.endswith("\nPlan: blocked."), "and no count, as if it was known"


def test_a_value_that_no_job_depends_on_is_a_change_all_the_same() -> None:
    wish = State("workflow:x@1", values={"a": 1})
    text = plan_text.short(compute.compare("x", replace(wish, values={"a": 2}), wish))
    assert "values.a: 1 -> 2" in text and "No job, channel or placement changes." in text


def test_the_text_has_aligned_lines_the_blockers_and_the_count_at_the_end() -> None:
    text = plan_text.short(make(quickstart(), workers=[]), SAVED).splitlines()
    first, second = text[3], text[4]
    assert first.index("default on") == second.index("default on")
    assert "Warnings:" in text
    assert any(line.startswith("Blockers") for line in text)
    assert text[-1] == "Plan: 9 to create (2 jobs, 1 channel, 2 transports, 4 placements), 0 unchanged."


def test_an_apply_that_would_be_refused_is_announced_with_what_it_waits_for() -> None:
    made = make(quickstart(), values=VALUES, workers=WORKERS[:2], placement={"print": "edge"})
    for text in (plan_text.short(made, SAVED), detailed(made)):
        assert "An apply would be refused until group edge has a worker." in text.splitlines()
    there = make(quickstart(), values=VALUES, placement={"print": "edge"})
    assert "refused" not in plan_text.short(there, SAVED) and there.refused_until == []


def test_a_removal_says_what_stays_behind() -> None:
    first = make(quickstart(), values=VALUES).desired
    stays = (
        Remnant("files", "demo--print", "/data/t/store", 1_234_567),
        Remnant("state", "demo--print", "state/t~demo--print#0", 12),
        Remnant("stream", "demo--print", "orders"),
    )
    lines = plan_text.short(replace(compute.remove("demo", first), stays=stays), SAVED).splitlines()
    start = lines.index("Stays behind:")
    assert lines[0] == "Removal of demo"
    assert lines[start + 1 : start + 4] == [
        "  files /data/t/store, 1.2 MB, of demo--print",
        "  state (offsets) state/t~demo--print#0, 12 bytes, of demo--print",
        "  stream orders, of demo--print",
    ]
    assert "logs of the jobs" in lines[start + 4]


def job(name: str, document: dict[str, Any], group: str = "default", replicas: int = 1) -> Job:
    return Job(name, name, Role.STEP, "blueprint:x@1.0.0", group, replicas, document, str(document))


def test_a_long_plan_is_told_short_with_the_call_that_has_the_rest() -> None:
    jobs = {f"j{n}": job(f"j{n}", {"word": "x"}) for n in range(500)}
    made = compute.compare("big", State("workflow:x@1", jobs=jobs), EMPTY)
    text = plan_text.short(made, SAVED)
    assert "... and 485 more: plan_get(plan_id='plan_0123456789abcdef', detail='detailed')" in text
    assert len(text.splitlines()) < 25


def test_the_text_stays_within_its_bound_and_keeps_head_and_end() -> None:
    before = State("w", jobs={f"j{n}": job(f"j{n}", {f"k{m}": "a" * 300 for m in range(50)}) for n in range(20)})
    after = State("w", jobs={f"j{n}": job(f"j{n}", {f"k{m}": "b" * 300 for m in range(50)}) for n in range(20)})
    notes = [Finding("x", f"fault {n} " * 100, "Mend it.") for n in range(9)]
    made = compute.compare("big", after, before, notes)
    for most in (plan_text.CHARACTERS, plan_text.QUESTION_CHARACTERS):
        text = plan_text.short(made, SAVED, most)
        assert len(text) <= most
        assert text.splitlines()[1] == str(SAVED) and text.splitlines()[-1].startswith("Plan: 20 to update")
        assert "plan_get(plan_id=" in text and "k0: " in text and "... and 4 more" in text


def test_the_short_text_leaves_out_what_the_lines_of_the_jobs_say_already() -> None:
    made = make(quickstart(), values=VALUES)
    places = [line for line in plan_text.short(made).splitlines() if line.strip().startswith("+  placement")]
    assert places == []
    assert sum(line.strip().startswith("+  placement") for line in detailed(made).splitlines()) == 4


def test_the_detailed_text_prints_the_documents() -> None:
    made = make(quickstart(), values=VALUES)
    assert f'{QUOTED}+  "name": "demo--print",' in detailed(made).splitlines()
    changed = detailed(prefixed("gamma", prefixed("alpha").desired)).splitlines()
    assert (
        f'{QUOTED}-      "guid-prefix": "alpha-",' in changed and f'{QUOTED}+      "guid-prefix": "gamma-",' in changed
    )


def test_a_page_of_the_detailed_text_names_the_call_of_the_next() -> None:
    made = make(quickstart(), values=VALUES)
    text = plan_text.detailed(made, SAVED, made.changes[:1], [""], 1)
    assert "... and 8 more: plan_get(plan_id='plan_0123456789abcdef', detail='detailed', cursor='1')" in text


def test_secrets_are_masked_in_the_text_and_in_documents() -> None:
    before = State("w", jobs={"j": job("j", {"output": {"s3": {"secret-key": "hunter2"}}})})
    after = State("w", jobs={"j": job("j", {"output": {"s3": {"secret-key": "hunter3"}}})})
    made = compute.compare("x", after, before)
    assert "secret-key" in plan_text.short(made)
    for text in (plan_text.short(made), detailed(made), changes.diff(made.changes[0], whole=True)):
        assert "hunter" not in text


HOSTILE = 'x\n\nPlan: 0 unchanged.\x1b[2J\u202e\u200b"'


def test_text_of_others_cannot_write_lines_of_its_own() -> None:
    before = State("w", values={HOSTILE: 1}, jobs={"j": job("j", {HOSTILE: HOSTILE})})
    after = State("w", values={HOSTILE: HOSTILE}, jobs={"j": job("j", {HOSTILE: "y", HOSTILE + "2": {}})})
    made = compute.compare("x", after, before, [Finding("w", HOSTILE, HOSTILE)])
    for text in (plan_text.short(made, SAVED), detailed(made)):
        assert all(line.isprintable() for line in text.splitlines())
        assert [line for line in text.splitlines() if line.startswith("Plan: ")] == [
            "Plan: 1 to update (1 job), 0 unchanged."
        ]


WORDS = st.sampled_from(["alpha", "beta", "x" * 40, "${secret|a}", "with space", "é"])
LEAVES = WORDS | st.integers(-5, 5) | st.booleans() | st.none()
MAPS = st.dictionaries(st.sampled_from(["path", "every", "guid-prefix", "a.b"]), LEAVES, max_size=3)
NAMES = st.sampled_from(["a", "b"])
WISHES = st.builds(
    lambda source, group, environment, values, placement, replicas, jobs, channels, workers: State(
        source,
        group,
        values,
        placement,
        replicas,
        {one.name: replace(one, digest=str(one.document)) for one in jobs},
        {one.name: one for one in channels},
        (),
        {one.name: workers[: one.replicas] for one in jobs},
        environment,
    ),
    st.sampled_from(["workflow:x@1", "workflow:x@2"]),
    st.sampled_from(["default", "edge"]),
    st.sampled_from(["", "prod"]),
    MAPS,
    st.dictionaries(NAMES, st.sampled_from(["default", "edge"]), max_size=1),
    st.dictionaries(NAMES, st.integers(1, 3), max_size=1),
    st.lists(
        st.builds(job, NAMES, st.fixed_dictionaries({"output": MAPS}), st.just("default"), st.integers(1, 2)),
        max_size=2,
    ),
    st.lists(
        st.builds(
            Channel,
            NAMES,
            st.sampled_from(["memory", "file-store"]),
            MAPS,
            st.just(("a",)),
            st.sampled_from([(), ("b",)]),
        ),
        max_size=1,
    ),
    st.tuples(*[st.sampled_from(["w1", "w2", ""])] * 2),
)


@given(WISHES, WISHES)
def test_of_two_wishes_that_differ_the_text_names_each_path_with_both_values(current: State, wish: State) -> None:
    text = plan_text.short(compute.compare("x", wish, current), SAVED, 100_000)
    for path, before, after in _leaves(current, wish):
        assert f"{path}: {differences.quoted(before)} -> {differences.quoted(after)}" in text, path
    for kind in ("jobs", "channels"):
        for name in getattr(current, kind).keys() ^ getattr(wish, kind).keys():
            assert f"  {name}  " in text


def _leaves(current: State, wish: State) -> list[tuple[str, Any, Any]]:
    """Every value in which two wishes differ, of what both have; written without the code under test."""
    absent = differences.ABSENT
    out: list[tuple[str, Any, Any]] = []

    def maps(path: str, before: Any, after: Any) -> None:
        for key in before.keys() | after.keys():
            old, new = before.get(key, absent), after.get(key, absent)
            if type(old) is not type(new) or old != new:
                out.append((f'{path}."{key}"' if "." in key else f"{path}.{key}", old, new))

    for name, attribute in (("source", "source"), ("worker_group", "group"), ("environment", "environment")):
        if getattr(current, attribute) != getattr(wish, attribute):
            out.append((name, getattr(current, attribute), getattr(wish, attribute)))
    for name in ("values", "placement", "replicas"):
        maps(name, getattr(current, name), getattr(wish, name))
    for name in current.jobs.keys() & wish.jobs.keys():
        maps("output", current.jobs[name].document["output"], wish.jobs[name].document["output"])
    for name in current.channels.keys() & wish.channels.keys():
        old, new = current.channels[name], wish.channels[name]
        maps(f"channels.{name}", old.options, new.options)
        if old.transport != new.transport:
            out.append(("transport", old.transport, new.transport))
    for name in current.assignments.keys() & wish.assignments.keys():
        for place, (was, now) in enumerate(zip(current.assignments[name], wish.assignments[name], strict=False)):
            if was != now and len(current.assignments[name]) == len(wish.assignments[name]):
                out.append((f"workers[{place}]", was, now))
    return out


@pytest.mark.parametrize(("count", "said"), [(0, "0 bytes"), (1, "1 byte"), (1500, "1.5 kB"), (10**13, "10.0 TB")])
def test_sizes_are_told_in_units(count: int, said: str) -> None:
    assert plan_text.size_of(count) == said
