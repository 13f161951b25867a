"""The response envelopes of jobs: strict, correlated, and decided by pure functions (docs/triggers.md)."""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from typing import Any

from core import errors
from core.model.states import InvocationState
from core.model.trigger import MOST_PROXY_BODY_BYTES, PROXY_HEADERS, PROXY_RESPONSE, RESPONSE

REQUIRED = ("type", "version", "tenant_id", "invocation_id", "response_slot", "nonce", "outcome", "emitted_at_ns")
OPTIONAL = ("result", "error_code", "error_message")
_ALLOWED = frozenset((*REQUIRED, *OPTIONAL))

PROXY_REQUIRED = (
    *("type", "version", "tenant_id", "invocation_id", "response_slot", "nonce"),
    *("status", "headers", "body", "body_encoding", "truncated", "emitted_at_ns"),
)


@dataclass(frozen=True, slots=True)
class Expected:
    """What a response must agree with: facts of the invocation that it wants to end."""

    invocation_id: str
    tenant: str
    slot: str
    nonce: str | None = None  # of the trigger_proxy envelope that went out


def is_response(data: Any) -> bool:
    """Does this user payload want to be a trigger_response? (Its type says so; nothing else is looked at.)"""
    return isinstance(data, dict) and data.get("type") == RESPONSE


def is_proxy_response(data: Any) -> bool:
    """Does this payload want to be a trigger_proxy_response?"""
    return isinstance(data, dict) and data.get("type") == PROXY_RESPONSE


def fault(envelope: dict[str, Any], expected: Expected, sender_tenant: str) -> str | None:
    """Why this envelope cannot end the invocation, or None when it can. The envelope is untrusted job output."""
    reason = _correlation(envelope, REQUIRED, _ALLOWED, expected, sender_tenant)
    if reason is not None:
        return reason
    emitted = envelope["emitted_at_ns"]
    if not isinstance(envelope["nonce"], str) or not 0 < len(envelope["nonce"]) <= 255:
        return "nonce must be a string of 1 to 255 characters"
    if envelope["outcome"] not in ("succeeded", "failed"):
        return "outcome must be 'succeeded' or 'failed'"
    if not _is_int(emitted):
        return "emitted_at_ns must be an integer number of nanoseconds (use convert with conversion: json)"
    if "result" in envelope and not isinstance(envelope["result"], dict):
        return "result must be an object"
    for key in ("error_code", "error_message"):
        if key in envelope and not isinstance(envelope[key], str):
            return f"{key} must be a string"
    return None


def proxy_fault(envelope: dict[str, Any], expected: Expected, sender_tenant: str) -> str | None:
    """Why this proxy response cannot be recorded with the invocation, or None when it can."""
    reason = _correlation(envelope, PROXY_REQUIRED, frozenset(PROXY_REQUIRED), expected, sender_tenant)
    if reason is not None:
        return reason
    nonce, status, headers, body = (envelope[key] for key in ("nonce", "status", "headers", "body"))
    if expected.nonce is None:
        return "this invocation did not send out a trigger_proxy envelope"
    if not isinstance(nonce, str) or not hmac.compare_digest(nonce.encode(), expected.nonce.encode()):
        return "nonce is not the one of the trigger_proxy envelope"
    if not _is_int(status) or not 100 <= status <= 599:
        return "status must be an HTTP status"
    if not isinstance(headers, dict) or not all(isinstance(value, str) for value in headers.values()):
        return "headers must be an object of strings"
    unknown = sorted(headers.keys() - PROXY_HEADERS)
    if unknown:
        return f"the header {errors.shorten(unknown[0], 60)!r} is not on the allow-list"
    if envelope["body_encoding"] not in ("utf-8", "base64"):
        return "body_encoding must be 'utf-8' or 'base64'"
    most = MOST_PROXY_BODY_BYTES if envelope["body_encoding"] == "utf-8" else -(-MOST_PROXY_BODY_BYTES // 3) * 4
    if not isinstance(body, str) or len(body.encode(errors="surrogatepass")) > most:
        return f"body must be a string of at most {MOST_PROXY_BODY_BYTES} bytes"
    if not isinstance(envelope["truncated"], bool):
        return "truncated must be true or false"
    if not _is_int(envelope["emitted_at_ns"]):
        return "emitted_at_ns must be an integer number of nanoseconds"
    return None


def _correlation(
    envelope: dict[str, Any],
    required: tuple[str, ...],
    allowed: frozenset[str],
    expected: Expected,
    sender_tenant: str,
) -> str | None:
    """What both envelopes have in common: exactly the keys that are known, and the invocation that is meant."""
    if not envelope.keys() <= allowed:
        return f"unknown key {errors.shorten(min(envelope.keys() - allowed), 60)!r}"
    for key in required:
        if key not in envelope:
            return f"missing key {key!r}"
    if not _is_int(envelope["version"]) or envelope["version"] != 1:
        return "version must be 1"
    if not isinstance(envelope["tenant_id"], str) or not envelope["tenant_id"]:
        return "tenant_id must be a non-empty string"
    if envelope["tenant_id"] != expected.tenant or sender_tenant != expected.tenant:
        return "tenant_id is not the tenant of this invocation"
    if envelope["invocation_id"] != expected.invocation_id:
        return "invocation_id is not the id of this invocation"
    if envelope["response_slot"] != expected.slot:
        return f"response_slot must be {expected.slot!r}"
    return None


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def outcome(envelope: dict[str, Any]) -> InvocationState:
    """The terminal state that a faultless envelope asks for."""
    return InvocationState.SUCCEEDED if envelope["outcome"] == "succeeded" else InvocationState.FAILED
