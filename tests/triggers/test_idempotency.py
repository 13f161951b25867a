"""Idempotency keys: what is the same call, what is another one, and whose key it is."""

from __future__ import annotations

import asyncio
import random
import unicodedata
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core import errors
from core.documents import canonical
from core.model.principal import Caller, Principal, Role, Surface
from tests import figures
from tests.engines import ADMIN, USER, engine_on
from tests.triggers.rig import DEFINITION, Rig, response

pytestmark = pytest.mark.anyio
NUMBERED = {"type": "object", "properties": {"n": {"type": "number"}}}
OPEN = {"parameter_schema": {"type": "object"}, "default_params": {}}


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    async with engine_on(tmp_path / "home", workers=0) as engine:
        rig = Rig(engine)
        await rig.publish(**OPEN)
        yield rig


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
        ({"a": 1}, {"a": 1.0}),
        ({"a": {"x": [1, 2.0], "y": None}}, {"a": {"y": None, "x": [1.0, 2]}}),
        ({"a": -0.0}, {"a": 0}),
        ({"a": 9223372036854775807}, {"a": 9223372036854775807}),
    ],
    ids=str,
)
async def test_equal_parameters_are_the_same_call(rig: Rig, first: dict[str, Any], second: dict[str, Any]) -> None:
    one = await rig.invoke(params=first, idempotency_key="k")
    two = await rig.invoke(params=second, idempotency_key="k")
    assert (two["invocation_id"], two["deduplicated"]) == (one["invocation_id"], True)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"a": 1}, {"a": "1"}),
        ({"a": 1}, {"a": True}),
        ({"a": 0}, {"a": False}),
        ({"a": None}, {}),
        ({"a": []}, {"a": {}}),
        ({"a": [1, 2]}, {"a": [2, 1]}),
        ({"a": unicodedata.normalize("NFC", "é")}, {"a": unicodedata.normalize("NFD", "é")}),
        ({"a": 9007199254740992}, {"a": 9007199254740993}),
        ({"a": 0.1}, {"a": 0.2}),
    ],
    ids=str,
)
async def test_other_parameters_are_a_mismatch_without_a_side_effect(
    rig: Rig, first: dict[str, Any], second: dict[str, Any]
) -> None:
    one = await rig.invoke(params=first, idempotency_key="k")
    with pytest.raises(errors.IdempotencyMismatch) as refused:
        await rig.invoke(params=second, idempotency_key="k")
    assert one["invocation_id"] in refused.value.message
    assert refused.value.details == {"invocation_id": one["invocation_id"]}
    listed = await rig.engine.call("trigger_invocation_list", {}, ADMIN)
    assert [item["invocation_id"] for item in listed["items"]] == [one["invocation_id"]]
    assert len((await rig.engine.call("message_search", {"tag": "smoke.invoke"}, ADMIN))["items"]) == 1


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


def shuffled(value: Any) -> Any:
    """The same value with the keys of every object in another order."""
    if isinstance(value, dict):
        return {key: shuffled(value[key]) for key in reversed(list(value))}
    return [shuffled(item) for item in value] if isinstance(value, list) else value


@given(JSON, JSON)
def test_digests_are_equal_for_equal_values_only(one: Any, two: Any) -> None:
    assert canonical.params_digest(one) == canonical.params_digest(shuffled(one))
    same = canonical.canonical(one) == canonical.canonical(two)
    assert (canonical.params_digest(one) == canonical.params_digest(two)) == same


@pytest.mark.parametrize("key", ["", "x" * 256, "a\0b", "a\nb", "😀", "é", "\x7f", "x" * 100_000])
async def test_a_key_that_is_none_is_refused_and_nothing_runs(rig: Rig, key: str) -> None:
    with pytest.raises(errors.InvalidParams) as caught:
        await rig.invoke(params={}, idempotency_key=key)
    assert [problem.pointer for problem in caught.value.errors] == ["/idempotency_key"]
    assert (await rig.engine.call("trigger_invocation_list", {}, ADMIN))["total"] == 0


@pytest.mark.parametrize("key", ["x", "x" * 255, "smoke-prod-2026-03-13T10:15:00Z", "a b~!\"'\\"])
async def test_every_printable_key_works(rig: Rig, key: str) -> None:
    one, two = [await rig.invoke(params={}, idempotency_key=key) for _ in range(2)]
    assert one["invocation_id"] == two["invocation_id"]


async def test_a_key_belongs_to_its_tenant_trigger_and_user(rig: Rig) -> None:
    other = {**DEFINITION, **OPEN, "slug": "other"}
    await rig.engine.call("trigger_publish", other, ADMIN)
    await rig.engine.call("trigger_publish", {**other, "slug": "smoke_trigger", "tenant_id": "tenant-b"}, ADMIN)
    cousin = Caller(Principal("alice", Role.ADMIN, ("tenant-b",)), "tenant-b", Surface.HTTP)
    runs = [
        await rig.invoke(params={}, idempotency_key="k"),
        await rig.invoke(USER, params={"x": 1}, idempotency_key="k"),
        await rig.invoke(slug="other", params={"x": 2}, idempotency_key="k"),
        await rig.invoke(cousin, params={"x": 3}, idempotency_key="k"),
    ]
    assert len({run["invocation_id"] for run in runs}) == 4
    assert not any("deduplicated" in run for run in runs)


async def test_a_key_is_free_again_after_a_call_that_was_not_valid(rig: Rig) -> None:
    await rig.engine.call("trigger_revise", DEFINITION, ADMIN)
    with pytest.raises(errors.InvalidParams):
        await rig.invoke(params={"env": 5}, idempotency_key="k")
    assert "deduplicated" not in await rig.invoke(params={"env": "a"}, idempotency_key="k")


async def test_a_run_in_progress_is_the_same_handle_and_its_end_is_told_to_everyone(rig: Rig) -> None:
    first = await rig.invoke(params={}, idempotency_key="k")
    waiting = [asyncio.create_task(rig.invoke(params={}, idempotency_key="k", wait_timeout_seconds=60)) for _ in "abc"]
    assert (await rig.invoke(params={}, idempotency_key="k"))["state"] == "dispatched"
    await rig.say(response(first))
    with anyio.fail_after(10):
        told = await asyncio.gather(*waiting)
    record = await rig.get(first)
    assert record["state"] == "succeeded"
    assert all(one == {**record, "deduplicated": True} for one in told)


@pytest.mark.parametrize("end", ["succeeded", "failed", "refused"])
async def test_what_has_ended_is_told_again_as_it_was_also_when_it_failed(rig: Rig, end: str) -> None:
    if end == "refused":
        rig.engine.bus.withdraw(("tenant-a", "smoke_trigger_handler"))
    first = await rig.invoke(params={}, idempotency_key="k")
    if end != "refused":
        await rig.say(response(first, outcome=end))
    record = await rig.get(first)
    again = await rig.invoke(params={}, idempotency_key="k", wait_timeout_seconds=5)
    assert again == {**record, "deduplicated": True}
    assert record["state"] == ("succeeded" if end == "succeeded" else "failed")


@pytest.mark.parametrize("walks", [3, pytest.param(100, marks=pytest.mark.soak)])
async def test_random_walks_of_calls_and_answers_agree_with_a_model(
    rig: Rig, walks: int, record_property: figures.Recorder
) -> None:
    await rig.engine.call("trigger_revise", {**DEFINITION, **OPEN, "parameter_schema": NUMBERED}, ADMIN)
    runs = 0
    for seed in range(walks):
        runs += await walked(rig, seed)
        assert (await rig.engine.call("trigger_invocation_list", {"limit": 1}, ADMIN))["total"] == runs
    figures.record(record_property, rounds=walks, runs=runs)


async def walked(rig: Rig, seed: int) -> int:
    """The model: a key of a user holds the parameters of its first valid call, its id, and how that run has ended.

    Returns how many runs there are of this walk.
    """
    chance = random.Random(seed)
    held: dict[tuple[str, str], tuple[int, str]] = {}
    state: dict[str, str] = {}
    for step in range(250):
        caller, key = chance.choice([ADMIN, USER]), f"k{seed}-{step // 50}-{chance.randrange(4)}"
        open_ones = [id for id, known in state.items() if known == "dispatched"]
        if open_ones and chance.random() < 0.3:
            id, outcome = chance.choice(open_ones), chance.choice(["succeeded", "failed"])
            await rig.say(response({"invocation_id": id}, outcome=outcome))
            state[id] = outcome
            continue
        n: Any = chance.choice([1, 2, 2.0, "not a number"])
        call = rig.invoke(caller, params={"n": n}, idempotency_key=key)
        taken = held.get((caller.username, key))
        if isinstance(n, str):
            with pytest.raises(errors.InvalidParams):
                await call
        elif taken is not None and taken[0] != n:
            with pytest.raises(errors.IdempotencyMismatch):
                await call
        else:
            record = await call
            assert record.get("deduplicated", False) == (taken is not None)
            number, id = held.setdefault((caller.username, key), (int(n), record["invocation_id"]))
            state.setdefault(id, "dispatched")
            assert (record["invocation_id"], record["state"], record["params"]["n"]) == (id, state[id], number)
    runs = await rig.engine.call("trigger_invocation_list", {"limit": 100}, ADMIN)
    newest = runs["items"][: len(state)]
    assert {one["invocation_id"]: one["state"] for one in newest} == state
    assert len(held) == len(state) > 10
    return len(state)


async def test_many_calls_at_once_with_one_key_are_one_run(rig: Rig) -> None:
    for round in range(20):
        key = f"k{round}"
        calls = (rig.invoke(params={"n": n % 2}, idempotency_key=key) for n in range(50))
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
        told = [one for one in outcomes if isinstance(one, dict)]
        assert len({one["invocation_id"] for one in told}) == 1
        assert sum("deduplicated" not in one for one in told) == 1
        assert sum(isinstance(one, errors.IdempotencyMismatch) for one in outcomes) == 25
    assert (await rig.engine.call("trigger_invocation_list", {}, ADMIN))["total"] == 20
