"""What a caller is told of a call whose answer was lost: `unconfirmed` exactly when it may be recorded."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import anyio
import httpx
import orjson
import pytest

from core import errors
from core.model.operation import Effect
from core.model.principal import Caller, Principal, Role, Surface
from core.operations import REGISTRY
from mcp_server import remote, session
from mcp_server.http import problems
from tests import cases

pytestmark = pytest.mark.anyio
CALLER = Caller(Principal("ada", Role.ADMIN), surface=Surface.CLI)
READ, WRITE, IDEMPOTENT, KEYED = "kv_list", "worker_group_create", "kv_set", "trigger_invoke"
NOT_NOW = {errors.Busy, errors.StorageUnavailable, errors.Unauthenticated}
Step = Exception | httpx.Response


def every_error() -> list[type[errors.SluiceError]]:
    return sorted(errors.BY_CODE.values(), key=lambda cls: cls.code)


def test_of_every_operation_and_error_only_a_lost_write_that_nothing_settles_is_open() -> None:
    with cases.every() as case:
        for operation, cls, lost in itertools.product(REGISTRY, every_error(), ("", "The engine went away.")):
            with case(operation.name, cls.code, lost):
                error = cls("why", hint="look")
                outcome = session.Sent(REGISTRY, operation.name, {}, lost).outcome_of(error)
                open_ = bool(lost) and cls in NOT_NOW and operation.effect is not Effect.READ
                assert (outcome.code == "unconfirmed") is (open_ or cls is errors.Unconfirmed)
                assert outcome is error or "may or may not have been recorded" in outcome.message


def test_the_hint_says_what_makes_a_repeat_safe() -> None:
    keyed = session.repeatable(KEYED, {"slug": "x"})
    told = {
        name: session.Sent(REGISTRY, name, arguments, "Lost.").outcome_of(errors.Busy())
        for name, arguments in ((WRITE, {}), (IDEMPOTENT, {}), (KEYED, keyed))
    }
    assert "Look at the present state" in told[WRITE].hint
    assert "no harm" in told[IDEMPOTENT].hint
    assert keyed["idempotency_key"] in told[KEYED].hint
    assert told[KEYED].details == {"idempotency_key": keyed["idempotency_key"]}


def test_programs_do_not_repeat_it_by_themselves() -> None:
    answer = problems.response(errors.Unconfirmed())
    assert answer.status_code == 409 and "retry-after" not in answer.headers


# -- over HTTP --------------------------------------------------------------------------------------------------------


def said(error: errors.SluiceError) -> httpx.Response:
    status = problems.status_of(error)
    return httpx.Response(status, content=orjson.dumps(problems.body(error, status)))


LOST = httpx.ReadError("reset")
CANNOT = httpx.ConnectError("refused")
PAGE = httpx.Response(502, html="<h1>Bad gateway</h1>")
DONE = httpx.Response(200, json={"done": True})


@pytest.mark.parametrize(
    ("operation", "steps", "code"),
    [
        (WRITE, [LOST], "unconfirmed"),
        (WRITE, [httpx.ReadTimeout("late")], "unconfirmed"),
        (WRITE, [httpx.RemoteProtocolError("closed")], "unconfirmed"),
        (WRITE, [PAGE], "unconfirmed"),
        (WRITE, [httpx.Response(404, html="<h1>no</h1>")], "busy"),
        (WRITE, [CANNOT] * 4, "busy"),
        (WRITE, [CANNOT, DONE], ""),
        (WRITE, [said(errors.Busy())], "busy"),
        (WRITE, [said(errors.Unconfirmed())], "unconfirmed"),
        (WRITE, [said(errors.AlreadyExists())], "already_exists"),
        (READ, [LOST] * 4, "busy"),
        (READ, [PAGE], "busy"),
        (READ, [LOST, DONE], ""),
        (KEYED, [LOST, DONE], ""),
        (KEYED, [LOST, CANNOT, CANNOT, CANNOT], "unconfirmed"),
        (KEYED, [LOST, said(errors.Busy())], "unconfirmed"),
        (KEYED, [LOST, said(errors.InvalidParams())], "invalid_params"),
        (IDEMPOTENT, [LOST, LOST, DONE], ""),
        (IDEMPOTENT, [LOST] * 4, "unconfirmed"),
    ],
    ids=lambda value: "-".join(map(repr, value)) if isinstance(value, list) else value,
)
async def test_a_remote_call_is_open_exactly_when_it_was_sent_and_not_answered(
    operation: str, steps: list[Step], code: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "PAUSE_SECONDS", 0.001)
    left = list(steps)

    def answer(request: httpx.Request) -> httpx.Response:
        step = left.pop(0)
        if isinstance(step, Exception):
            raise step
        return step

    async with httpx.AsyncClient(base_url="http://127.0.0.1:1", transport=httpx.MockTransport(answer)) as client:
        way = remote.RemoteSession(remote.Target("http://127.0.0.1:1", jwt="x"), REGISTRY, client)
        with anyio.fail_after(10):
            assert await outcome(lambda: way.call(operation, {"name": "x"}, CALLER)) == code
    assert not left


async def outcome(call: Callable[[], object]) -> str:
    try:
        await call()  # type: ignore[misc]
    except errors.SluiceError as error:
        return error.code
    return ""
