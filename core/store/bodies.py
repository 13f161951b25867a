"""What messages of a run say is what its record says, so they have no body of their own; here it is put together.

A run has two such messages: the one that took it to its job, and the response that ended it. A record that is forgotten
before its messages leaves them their bodies (core.store.forgetting).
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import orjson
from sqlite_utils import Database

from core import errors
from core.model import invocation
from core.model.invocation import Invocation
from core.model.message import Message
from core.model.trigger import Definition
from core.store import invocations, triggers

if TYPE_CHECKING:
    from core.store.messages import MessageRow


def of(db: Database, message: MessageRow) -> bytes:
    """The event of a message, as JSON."""
    if message.body or message.invocation_id is None:
        return message.body
    run = invocations.get(db, message.invocation_id)
    if run is None:  # who deletes a record calls `messages.keep_bodies` in the same transaction
        raise errors.Internal(f"Message {message.id} is of a run that has no record.")
    return composed(db, message, run)


def composed(db: Database, message: MessageRow, run: Invocation) -> bytes:
    """The event of a message that took this run to its job, or ended it."""
    if message.id == run.message_id:
        at_ns, body = run.requested_at_ns, _request(db, run)
    else:
        assert run.finished_at_ns is not None
        at_ns, body = run.finished_at_ns, orjson.loads(run.result)["trigger_response"]
    return Message(
        message.id,
        message.tenant,
        message.kind,
        message.source,
        message.type,
        message.tag,
        message.job,
        message.worker,
        at_ns,
        {"job_event": body},
    ).encode()


def _request(db: Database, run: Invocation) -> dict[str, Any]:
    trigger = triggers.stored(db, run.tenant, run.slug, run.revision)
    definition = _definition(trigger.definition)
    return invocation.job_event(run, invocation.trigger_id(trigger.id), definition, orjson.Fragment(run.params))


@lru_cache(maxsize=256)
def _definition(text: str) -> Definition:
    return Definition.model_validate_json(text)
