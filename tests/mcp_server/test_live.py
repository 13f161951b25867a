"""The registry of long answers: each ends with what allowed it, once, and is told why."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest

from core import errors
from core.model.principal import Caller, Principal, Role
from core.operations import REGISTRY
from core.operations.credentials import CredentialCheck
from mcp_server import limits, live
from mcp_server.live import Live, Reason
from tests import waiting

pytestmark = pytest.mark.anyio
KEY = Principal("ada", Role.USER, ("default",), credential="tok_1")
CALLER = Caller(KEY)
VALID = {"state": "valid", "username": "ada", "role": "user", "tenants": ["default"], "platform": False, "scopes": []}


class Engine:
    """An engine that knows some credentials, and whose calls wait until they are let go."""

    operations = REGISTRY

    def __init__(self) -> None:
        self.known: dict[str, Mapping[str, Any]] = {"tok_1": VALID}
        self.asked: list[list[str]] = []
        self.callbacks: list[Callable[[str, dict[str, Any]], None]] = []
        self.go = asyncio.Event()
        self.fault: errors.SluiceError | None = None

    async def call(self, operation: str, arguments: dict[str, Any], caller: Caller) -> dict[str, Any]:
        if operation != live.CHECK:
            await self.go.wait()
            return {"done": True}
        CredentialCheck.model_validate(arguments)
        self.asked.append(arguments["ids"])
        if self.fault is not None:
            raise self.fault
        return {"items": {id: self.known.get(id, {"state": "revoked"}) for id in arguments["ids"]}}

    def subscribe(self, callback: Callable[[str, dict[str, Any]], None]) -> Callable[[], None]:
        self.callbacks.append(callback)
        return lambda: None

    def acting(self, caller: Caller) -> Caller:
        return caller

    async def aclose(self) -> None:
        """Nothing to close."""

    def tell(self, topic: str, **data: Any) -> None:
        for callback in self.callbacks:
            callback(topic, data)


class Bench:
    """A registry over an engine, with a clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 0.0
        self.engine = Engine()
        self.live = Live(dict.fromkeys(limits.KINDS, limits.Most(3, 5)), lambda: self.now)
        self.watched = self.live.watched(self.engine)
        self.ended: asyncio.Queue[Reason] = asyncio.Queue()

    def stream(self, caller: Caller = CALLER, **how: Any) -> Any:
        return self.live.stream("message_search", caller, self.ended.put_nowait, **how)

    async def why(self) -> Reason:
        async with asyncio.timeout(5):
            return await self.ended.get()


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.setattr(live, "TICK_SECONDS", 0.005)
    return Bench()


async def test_a_revocation_ends_what_its_credential_has_open_and_nothing_else(bench: Bench) -> None:
    other = replace(CALLER, principal=replace(KEY, credential="tok_2"))
    bench.engine.known["tok_2"] = VALID
    with bench.stream() as mine, bench.stream(other) as theirs:
        del bench.engine.known["tok_1"]
        bench.engine.tell("tokens", id="tok_0")  # with which others went: each is asked about
        assert await bench.why() is Reason.REVOKED
        assert (mine.reason, theirs.reason) == (Reason.REVOKED, None)
    assert bench.live.ended == {("stream", Reason.REVOKED): 1}
    assert bench.live.limiter.count("stream") == 0


async def test_nothing_is_opened_with_a_credential_that_is_known_to_be_revoked(bench: Bench) -> None:
    """A request that was authenticated before the revocation comes to its answer after it."""
    with bench.stream():
        bench.engine.known.clear()
        bench.engine.tell("tokens", id="tok_1")
        await bench.why()
    with pytest.raises(errors.Unauthenticated), bench.stream():
        pass
    with pytest.raises(errors.Unauthenticated):
        await bench.watched.call("trigger_invoke", {"slug": "x"}, CALLER)
    assert bench.live.limiter.count("stream") == 0


async def test_a_credential_ends_what_it_opened_when_it_expires(bench: Bench) -> None:
    soon = replace(CALLER, principal=replace(KEY, minted=True, ends_at=60.0))
    with bench.stream(soon) as answer:
        bench.now = 59.9
        await waiting.pause(3 * live.TICK_SECONDS)  # looks at the clock, of which none may end it
        assert answer.reason is None
        bench.now = 60.1
        assert await bench.why() is Reason.EXPIRED


@pytest.mark.parametrize("changed", [{"scopes": ["read"]}, {"role": "admin"}, {"tenants": ["else"]}])
async def test_other_rights_than_at_the_beginning_end_it(bench: Bench, changed: dict[str, Any]) -> None:
    with bench.stream():
        bench.engine.known["tok_1"] = {**VALID, **changed}
        bench.engine.tell("tokens", id="tok_1")
        assert await bench.why() is Reason.FORBIDDEN


async def test_a_stream_of_a_credential_ends_after_a_quarter_of_an_hour_and_one_of_nobody_does_not(
    bench: Bench,
) -> None:
    with bench.stream(Caller(Principal("local"))) as local, bench.stream() as mine, bench.stream(ages=False) as mcp:
        bench.now = 0.89 * live.MAX_AGE_SECONDS
        assert mine.until > bench.now
        bench.now = 1.11 * live.MAX_AGE_SECONDS
        assert await bench.why() is Reason.MAX_AGE
        assert local.reason is None and mcp.reason is None


@pytest.mark.parametrize("notice", ["registry", "lost"])
async def test_lost_notices_are_made_up_for(bench: Bench, notice: str) -> None:
    """After a change of owner at once, and otherwise within CHECK_SECONDS."""
    with bench.stream():
        bench.engine.known.clear()
        if notice == "registry":
            bench.engine.tell("registry", tenant="", version=-1)
        else:
            bench.now = live.CHECK_SECONDS + 1
        assert await bench.why() is Reason.REVOKED


async def test_an_engine_that_cannot_tell_is_asked_again(bench: Bench) -> None:
    with bench.stream():
        bench.engine.known.clear()
        bench.engine.fault = errors.Busy("The engine went away.")
        bench.engine.tell("tokens", id="tok_1")
        await waiting.until(lambda: bench.engine.asked)
        bench.engine.fault = None
        bench.now += 1
        assert await bench.why() is Reason.REVOKED


async def test_a_stream_that_does_not_end_when_it_is_told_to_is_cut_off(bench: Bench) -> None:
    async def stuck() -> str:
        with bench.stream():
            await asyncio.Event().wait()
        return "goes on behind it"

    task = asyncio.create_task(stuck())
    await waiting.begun(task)
    bench.engine.known.clear()
    bench.engine.tell("tokens", id="tok_1")
    await bench.why()
    assert not task.done()
    bench.now += live.GRACE_SECONDS
    async with asyncio.timeout(5):
        assert await task == "goes on behind it"
    assert not task.cancelling() and bench.live.limiter.count("stream") == 0


@pytest.mark.parametrize(
    ("operation", "arguments", "fault"),
    [
        ("kv_watch", {"namespace": "n", "watch": "w", "wait_seconds": 60}, errors.Unauthenticated),
        ("trigger_invoke", {"slug": "x"}, errors.Unconfirmed),
        ("call_once", {"operation": "job_deploy", "key": "k", "arguments": {"name": "x"}}, errors.Unconfirmed),
    ],
)
async def test_a_wait_ends_with_its_credential_and_the_caller_is_told(
    bench: Bench, operation: str, arguments: dict[str, Any], fault: type[errors.SluiceError]
) -> None:
    call = asyncio.create_task(bench.watched.call(operation, arguments, CALLER))
    short = asyncio.create_task(bench.watched.call("trigger_invoke", {"slug": "x", "wait_timeout_seconds": 0}, CALLER))
    await waiting.begun(call, short)
    assert bench.live.usage_of(CALLER)["wait"] == {"open": 1, "most_of_user": 3, "most_of_tenant": 5}
    bench.engine.known.clear()
    bench.engine.tell("tokens", id="tok_1")
    with pytest.raises(fault, match="was revoked meanwhile"):
        async with asyncio.timeout(5):
            await call
    bench.engine.go.set()
    assert await short == {"done": True}


def test_the_one_operation_that_does_another_is_known() -> None:
    """Its waits are those of the call inside; a second one of its kind would be a way around the limits."""
    doing = {op.name for op in REGISTRY if {"operation", "arguments"} <= set(op.params.model_fields)}
    assert doing == {live.ONCE, "call_preview"}, "of which the second does nothing"


async def test_who_cancels_a_wait_cancels_it_also_when_it_ends_at_the_same_time(bench: Bench) -> None:
    call = asyncio.create_task(bench.watched.call("kv_watch", {"namespace": "n", "wait_seconds": 60}, CALLER))
    await waiting.begun(call)
    (wait,) = bench.live._open
    bench.live.end(wait, Reason.EXPIRED)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert bench.live.limiter.count("wait") == 0


async def test_a_wait_too_many_is_refused_and_nobody_else_is(bench: Bench) -> None:
    calls = [asyncio.create_task(bench.watched.call("trigger_invoke", {"slug": "x"}, CALLER)) for _ in range(4)]
    other = Caller(Principal("eve", tenants=("else",)), "else")
    calls.append(asyncio.create_task(bench.watched.call("trigger_invoke", {"slug": "x"}, other)))
    stranger = replace(other, tenant="default")  # the engine refuses it; it takes no room of that tenant
    calls.append(asyncio.create_task(bench.watched.call("trigger_invoke", {"slug": "x"}, stranger)))
    await waiting.begun(*calls)
    assert bench.live.limiter.count("wait") == 4
    bench.engine.go.set()
    answers = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(answer).__name__ for answer in answers] == ["dict"] * 3 + ["RateLimited"] + ["dict"] * 2
    assert bench.live.limiter.count("wait") == 0


async def test_while_nothing_is_open_nothing_runs(bench: Bench) -> None:
    with bench.stream():
        assert bench.live._timer is not None
    await waiting.until(lambda: bench.live._timer is None)
    bench.engine.tell("tokens", id="tok_1")
    assert bench.engine.asked == []


async def test_as_many_credentials_are_asked_about_at_once_as_may_be(bench: Bench) -> None:
    schema = REGISTRY[live.CHECK].schema["properties"]["ids"]
    assert schema["maxItems"] == live.AT_ONCE
