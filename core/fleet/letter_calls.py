"""The letters that workers post, kept for the job that each is of (core.letters has the whole way)."""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec
import orjson

from core import errors
from core.model.letter import (
    MOST_EVENT_BYTES,
    MOST_NAME_CHARACTERS,
    MOST_REASON_CHARACTERS,
    Code,
    Letter,
    Posted,
    Status,
)
from core.model.workload import parse
from core.store.letterbox import Letterbox, Owner

MOST_POSTED = 10_000  # letters of one call


class LetterCalls:
    """Answers the `letters` calls of all workers: [workload, count of those dropped, [letter...]]."""

    def __init__(self, box: Letterbox) -> None:
        self._box = box

    async def answer(self, workload: str, deployment: str, worker: str, dropped: object, posted: object) -> list[Any]:
        """[kept, dropped, full] when the letters are on the disk, or there was no room. Raises InvalidParams."""
        try:
            given = msgspec.convert(posted, list[Posted])
            missed = msgspec.convert(dropped, int)
        except msgspec.ValidationError as error:
            raise errors.InvalidParams(f"These are no letters: {error}.") from None
        if len(given) > MOST_POSTED or missed < 0:
            raise errors.InvalidParams(f"A call has at most {MOST_POSTED} letters.")
        owner, name = parse(workload).group, parse(workload).name
        letters = [letter_of(one, self._box.new_id(), owner, deployment, name, worker) for one in given]
        return list(await self._box.put(owner, letters, missed))


def letter_of(posted: Posted, id: int, owner: Owner, deployment: str, workload: str = "", worker: str = "") -> Letter:
    """A letter as it is kept, of what a worker tells, within its bounds."""
    event, truncated, message = posted.event, posted.truncated, posted.message
    if event is not None and not truncated and not _is_json(event):  # a worker of ours has cut it already
        event, truncated = event[:MOST_EVENT_BYTES], True
    if message is not None and not _is_json(message):
        message, truncated = None, True
    version, run, invocation, step, component, code = (
        text[:MOST_NAME_CHARACTERS]
        for text in (posted.version, posted.run, posted.invocation, posted.step, posted.component, posted.code)
    )
    return Letter(
        id=id,
        tenant=owner[0],
        job=owner[1],
        deployment=deployment,
        workload=workload,
        worker=worker,
        at_ns=min(max(0, posted.at_ns), 2**62),
        version=version,
        run=run,
        invocation=invocation,
        step=step,
        component=component,
        code=code,
        reason=posted.reason[:MOST_REASON_CHARACTERS],
        event=event,
        truncated=truncated,
        redacted=posted.redacted,
        message=message,
        subject=_subject(posted),
        status=Status.REPLAYED if posted.read else Status.WAITING,
        attempts=1,
        tried_at_ns=min(max(0, posted.at_ns), 2**62),
    )


def _is_json(text: str) -> bool:
    """Whether a text is a value as JSON that is not too long."""
    if len(text) > MOST_EVENT_BYTES:
        return False
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError:
        return False
    return True


def _subject(posted: Posted) -> str:
    """What names the file or object of a letter; empty for an event, which comes once."""
    if posted.code != Code.SKIPPED:
        return ""
    return hashlib.blake2b(f"{posted.step}\0{posted.event or posted.reason}".encode(), digest_size=16).hexdigest()
