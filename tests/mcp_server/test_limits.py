"""Counting what is open: no user, and no tenant, has more than it may, and what is given back can be had again."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest
from anyio.lowlevel import checkpoint
from hypothesis import given
from hypothesis import strategies as st

from core import errors
from core.model.operation import WAITS
from core.model.principal import Caller, Principal
from core.operations import REGISTRY
from core.settings import Settings
from mcp_server import limits

MOST = {kind: limits.Most(2, 3) for kind in limits.KINDS}


def who(user: str, tenant: str) -> Caller:
    return Caller(Principal(user, tenants=(tenant,)), tenant)


@given(
    st.lists(
        st.tuples(
            st.booleans(), st.sampled_from(limits.KINDS), st.sampled_from("uvw"), st.sampled_from(["one", "two"])
        ),
        max_size=60,
    )
)
def test_at_any_time_at_most_the_limit_is_open(
    steps: list[tuple[bool, limits.Kind, str, str]],
) -> None:
    limiter, open_ones = limits.Limiter(MOST), Counter[tuple[limits.Kind, str, str]]()
    for take, kind, user, tenant in steps:
        held = open_ones[kind, user, tenant]
        theirs = sum(number for (k, _, t), number in open_ones.items() if (k, t) == (kind, tenant))
        if not take:
            if held:
                limiter.give(kind, who(user, tenant))
                open_ones[kind, user, tenant] -= 1
        elif held < 2 and theirs < 3:
            limiter.take(kind, who(user, tenant))
            open_ones[kind, user, tenant] += 1
        else:
            with pytest.raises(errors.RateLimited) as refused:
                limiter.take(kind, who(user, tenant))
            assert refused.value.details["limit"] == f"{kind}s_per_{'user' if held == 2 else 'tenant'}"
        assert limiter.count(kind, who(user, tenant)) == open_ones[kind, user, tenant]
    for kind in limits.KINDS:
        assert limiter.count(kind) == sum(number for (k, _, _), number in open_ones.items() if k == kind)


def test_a_refusal_says_which_limit_of_whom_and_when_to_try_again() -> None:
    limiter = limits.Limiter(MOST)
    for user in ("ada", "ada", "bob"):
        limiter.take("stream", who(user, "one"))
    for user, name, limit in (("ada", "ada", "streams_per_user"), ("cid", "one", "streams_per_tenant")):
        with pytest.raises(errors.RateLimited) as refused:
            limiter.take("stream", who(user, "one"))
        assert f" {name} has " in refused.value.message and limit in refused.value.hint
        assert "Try again in 5 s" in refused.value.hint and refused.value.details["retry_after_seconds"] == 5
    assert limiter.refused == {("stream", "user"): 1, ("stream", "tenant"): 1}
    limiter.take("stream", who("ada", "two"))  # another tenant has room of its own


def test_the_limits_are_settings() -> None:
    shown = limits.of(Settings(waits_per_user=7, streams_per_tenant=8))
    assert (shown["wait"].user, shown["stream"].tenant) == (7, 8)
    assert all(limits.setting(kind, whose) in Settings.model_fields for kind in limits.KINDS for whose in limits.WHOSE)


def test_of_the_connections_of_a_server_a_user_holds_a_quarter_and_a_tenant_half() -> None:
    limiter = limits.Limiter(limits.of(Settings()), 128)
    assert limiter.most["wait"] == limits.Most(32, 64)
    for number in range(32):
        limiter.take("wait" if number % 2 else "stream", who("ada", "one"))
    for kind in limits.HOLDS:
        with pytest.raises(errors.RateLimited, match="The user ada has 32 waiting calls and event streams") as refused:
            limiter.take(kind, who("ada", "one"))
        assert refused.value.details["limit"] == "http_connections"
    limiter.take("session", who("ada", "one"))  # which holds no connection
    for _ in range(32):
        limiter.take("wait", who("bob", "one"))
    with pytest.raises(errors.RateLimited, match="The tenant one has 64 "):
        limiter.take("stream", who("cid", "one"))
    limiter.take("wait", who("eve", "two"))
    limiter.give("wait", who("ada", "one"))
    limiter.take("stream", who("ada", "one"))
    assert limits.Limiter(limits.of(Settings()), 1).most["wait"] == limits.Most(1, 1)


def test_reads_of_one_user_take_turns_and_nobody_elses_wait_for_them() -> None:
    async def run() -> None:
        turns, running, most, done = limits.Turns(), 0, 0, []
        go = asyncio.Event()

        async def read(number: int) -> None:
            nonlocal running, most
            await turns.take(("one", "ada"))
            running += 1
            most = max(most, running)
            try:
                await go.wait()
                done.append(number)
            finally:
                running -= 1
                turns.give(("one", "ada"))

        tasks = [asyncio.create_task(read(number)) for number in range(30)]
        await checkpoint()
        for task in tasks[5:12]:  # some that run, and some that wait
            task.cancel()
        await turns.take(("one", "bob"))
        turns.give(("one", "bob"))
        go.set()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert most == limits.READS_AT_ONCE
        assert sorted(done) == [*range(5), *range(12, 30)]
        assert (turns._running, turns._line) == ({}, {})

    asyncio.run(run())


def test_too_many_reads_in_line_are_refused() -> None:
    async def run() -> None:
        turns = limits.Turns()
        made = [
            asyncio.ensure_future(turns.take(("one", "ada")))
            for _ in range(limits.READS_AT_ONCE + limits.READS_IN_LINE)
        ]
        await checkpoint()
        with pytest.raises(errors.RateLimited):
            await turns.take(("one", "ada"))
        for one in made:
            one.cancel()
        await asyncio.gather(*made, return_exceptions=True)

    asyncio.run(run())


def test_whatever_waits_is_known_to_wait() -> None:
    """A call that may wait says so by one of two names, which is how it is counted."""
    found = {operation.name: name for operation in REGISTRY for name in operation.params.model_fields if "wait" in name}
    assert len(found) >= 10
    assert {name: REGISTRY[name].wait for name in found} == {
        name: (argument, REGISTRY[name].params.model_fields[argument].default) for name, argument in found.items()
    }
    assert set(found.values()) == set(WAITS)
