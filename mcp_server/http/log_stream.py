"""Lines of logs as they come, resumable: who names the place of the last one that it has seen gets what came since.

Lines are not pushed. A reader is served from the log, page by page and as fast as it takes them: nothing waits for it
in memory, and one that is slow is late and misses nothing that is kept.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from typing import Any

from core import clock, errors
from core.model import principal
from mcp_server import session
from mcp_server.http import sse
from mcp_server.live import Reason

OPERATION = "log_search"
FILTERS = ("text", "regex", "of", "level", "run", "invocation")
PAGE = 500


async def lines(
    engine: session.EngineSession,
    caller: principal.Caller,
    wanted: Mapping[str, Any],
    reader: sse.Reader,
    last: str | None = None,
) -> AsyncGenerator[bytes, None]:
    """The lines of a tenant that fit the filters and come from now on, or after the place `last`.

    Events: `line`; `reset` {oldest, missed} when lines after `last` are kept no more (missed is null: nobody counts
    them); `end`. A stream whose engine has gone is over, and the reader comes back.
    """
    yield sse.CONNECTED
    after = last if last is not None and clock.is_encoded(last) else ""
    if last is not None and not after:
        yield _reset(None)
    try:
        if not after:
            after = (await engine.call(OPERATION, {**wanted, "limit": 1}, caller))["after"]
            yield _place(after)
        while True:
            asked = {**wanted, "after": after, "limit": PAGE, "wait_seconds": int(sse.KEEP_ALIVE_SECONDS)}
            found = await reader.unless_ended(engine.call(OPERATION, asked, caller))
            if isinstance(found, Reason):
                yield sse.event("end", "", sse.ending(found))
                return
            items, after = found["items"], found["after"]
            if found["reset"]:
                yield _reset(items[0]["after"] if items else None)
            for item in items:
                yield sse.event("line", item.pop("after"), item)
            if not items:
                yield sse.ALIVE + _place(after)
    except (errors.Busy, errors.NoEngine, errors.StorageUnavailable):
        return


def _place(after: str) -> bytes:
    """Where the stream is, for who comes back and has seen no line since."""
    return b"id: %s\n\n" % after.encode()


def _reset(oldest: str | None) -> bytes:
    return sse.event("reset", "", {"oldest": oldest, "missed": None})
