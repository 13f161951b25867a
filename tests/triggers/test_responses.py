"""The strict response envelope: what ends an invocation and what does not."""

from __future__ import annotations

from typing import Any

from core.model.states import InvocationState
from core.triggers import responses
from tests import cases

EXPECTED = responses.Expected("inv_1", "tenant-a", "smoke.reply")
GOOD: dict[str, Any] = {
    "type": "trigger_response",
    "version": 1,
    "tenant_id": "tenant-a",
    "invocation_id": "inv_1",
    "response_slot": "smoke.reply",
    "nonce": "inv_1",
    "outcome": "succeeded",
    "result": {"ok": True},
    "emitted_at_ns": 1739370000000000001,
}


def test_the_envelope_of_the_documentation_is_accepted() -> None:
    assert responses.fault(GOOD, EXPECTED, "tenant-a") is None
    assert responses.outcome(GOOD) is InvocationState.SUCCEEDED
    failed = {**GOOD, "outcome": "failed", "error_code": "x", "error_message": "y"}
    assert responses.fault(failed, EXPECTED, "tenant-a") is None
    assert responses.outcome(failed) is InvocationState.FAILED


@cases.table(
    ("change", "why"),
    [
        ({"extra": 1}, "unknown key 'extra'"),
        ({"version": 2}, "version"),
        ({"version": True}, "version"),
        ({"version": 1.0}, "version"),
        ({"tenant_id": ""}, "non-empty"),
        ({"tenant_id": "tenant-b"}, "not the tenant"),
        ({"invocation_id": "inv_2"}, "invocation_id"),
        ({"response_slot": "other"}, "response_slot must be 'smoke.reply'"),
        ({"nonce": ""}, "nonce"),
        ({"nonce": 5}, "nonce"),
        ({"outcome": "ok"}, "outcome"),
        ({"emitted_at_ns": 1739370000000000001.0}, "integer"),
        ({"emitted_at_ns": "1739370000000000001"}, "integer"),
        ({"emitted_at_ns": True}, "integer"),
        ({"result": []}, "object"),
        ({"error_code": 5}, "error_code"),
    ],
)
def test_a_deviation_is_refused_with_the_reason(change: dict[str, Any], why: str) -> None:
    reason = responses.fault({**GOOD, **change}, EXPECTED, "tenant-a")
    assert reason is not None
    assert why in reason


@cases.table("key", responses.REQUIRED)
def test_every_required_key_is_required(key: str) -> None:
    short = {k: v for k, v in GOOD.items() if k != key}
    assert responses.fault(short, EXPECTED, "tenant-a") == f"missing key {key!r}"


def test_a_job_of_another_tenant_cannot_answer() -> None:
    assert responses.fault(GOOD, EXPECTED, "tenant-b") == "tenant_id is not the tenant of this invocation"
