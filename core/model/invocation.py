"""An invocation: one run of a trigger, from the call to its terminal state."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from core import clock

PREFIX = "inv_"
ID_CHARACTERS = 16
NONCE_CHARACTERS = 12


def text_id(number: int, nonce: str) -> str:
    """The id that callers see: sorts by time, and its last twelve characters cannot be guessed."""
    return f"{PREFIX}{clock.encode(number)}{nonce}"


def parse_id(text: str) -> tuple[int, str] | None:
    """(row id, nonce) behind a text id; None when it is not one."""
    body = text.removeprefix(PREFIX)
    if len(body) != ID_CHARACTERS + NONCE_CHARACTERS or not text.startswith(PREFIX):
        return None
    try:
        return clock.decode(body[:ID_CHARACTERS]), body[ID_CHARACTERS:]
    except ValueError:
        return None


def receiver(site: str, mark: str) -> str:
    """Whom callbacks go to, as it is stored: scheme, host and port, and a mark that tells its addresses apart."""
    return f"{site}#{mark}"


def site(receiver: str) -> str:
    """What may be shown of a receiver: scheme, host and port."""
    return receiver.partition("#")[0]


def record(row: Mapping[str, Any], *, params: Any = None, result: Any = None) -> dict[str, Any]:
    """The invocation as every door shows it, from a row of the store; what is known as a value is not parsed again."""
    proxied = row["proxy_recorded_at_ns"]
    return {
        "invocation_id": text_id(row["id"], row["nonce"]),
        "trigger_slug": row["slug"],
        "trigger_revision": row["revision"],
        "tenant_id": row["tenant"],
        "state": row["state"],
        "params": orjson.loads(row["params"]) if params is None else params,
        "caller": {"username": row["username"], "role": row["role"]},
        "surface": row["surface"],
        "rerun_of": row["rerun_of"],
        "callback": None if row["callback"] is None else site(row["callback"]),
        "requested_at_ns": row["requested_at_ns"],
        "deadline_ns": row["deadline_ns"],
        "finished_at_ns": row["finished_at_ns"],
        "attempts": row["attempts"],
        "result": orjson.loads(row["result"]) if result is None else result,
        "trigger_proxy_recorded_at": clock.iso(proxied) if proxied else None,
        "events": orjson.loads(row["events"]),
    }
