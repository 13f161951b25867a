"""The response envelopes of jobs: strict, correlated, and decided by pure functions (seed: Trigger result shaping)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from core import errors
from core.model.states import InvocationState

RESPONSE = "trigger_response"
PROXY_RESPONSE = "trigger_proxy_response"
REQUIRED = ("type", "version", "tenant_id", "invocation_id", "response_slot", "nonce", "outcome", "emitted_at_ns")
OPTIONAL = ("result", "error_code", "error_message")
_ALLOWED = frozenset((*REQUIRED, *OPTIONAL))


@dataclass(frozen=True, slots=True)
class Expected:
    """What a response must agree with: facts of the invocation that it wants to end."""

    invocation_id: str
    tenant: str
    slot: str


def is_response(data: Any) -> bool:
    """Does this user payload want to be a trigger_response? (Its type says so; nothing else is looked at.)"""
    return isinstance(data, dict) and data.get("type") == RESPONSE


def fault(envelope: dict[str, Any], expected: Expected, sender_tenant: str) -> str | None:
    """Why this envelope cannot end the invocation, or None when it can. The envelope is untrusted job output."""
    extra = sorted(set(envelope) - _ALLOWED)
    if extra:
        return f"unknown key {errors.shorten(extra[0], 60)!r}"
    missing = [key for key in REQUIRED if key not in envelope]
    if missing:
        return f"missing key {missing[0]!r}"
    version, emitted = envelope["version"], envelope["emitted_at_ns"]
    if version != 1 or isinstance(version, bool | float):
        return "version must be 1"
    if not isinstance(envelope["tenant_id"], str) or not envelope["tenant_id"]:
        return "tenant_id must be a non-empty string"
    if envelope["tenant_id"] != expected.tenant or sender_tenant != expected.tenant:
        return "tenant_id is not the tenant of this invocation"
    if envelope["invocation_id"] != expected.invocation_id:
        return "invocation_id is not the id of this invocation"
    if envelope["response_slot"] != expected.slot:
        return f"response_slot must be {expected.slot!r}"
    if not isinstance(envelope["nonce"], str) or not 0 < len(envelope["nonce"]) <= 255:
        return "nonce must be a string of 1 to 255 characters"
    if envelope["outcome"] not in ("succeeded", "failed"):
        return "outcome must be 'succeeded' or 'failed'"
    if not isinstance(emitted, int) or isinstance(emitted, bool):
        return "emitted_at_ns must be an integer number of nanoseconds (use convert with conversion: json)"
    if "result" in envelope and not isinstance(envelope["result"], dict):
        return "result must be an object"
    for key in ("error_code", "error_message"):
        if key in envelope and not isinstance(envelope[key], str):
            return f"{key} must be a string"
    return None


def outcome(envelope: dict[str, Any]) -> InvocationState:
    """The terminal state that a faultless envelope asks for."""
    return InvocationState.SUCCEEDED if envelope["outcome"] == "succeeded" else InvocationState.FAILED
