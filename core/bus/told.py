"""Who listens hears of each message once it is committed, in the order of the ids.

That order is the one of the commits: whoever collects messages for a commit hands all of them over before it
(`Database.collectors`), and numbers those of a commit that failed anew. So an id is a place in the stream of messages:
what comes after it is what was committed after it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

Announce = Callable[[str, dict[str, Any]], None]


class Told:
    """Of one engine. `announce` is called on the loop, after the callbacks of the commit."""

    def __init__(self, announce: Announce) -> None:
        self._announce = announce
        self._committed: list[tuple[int, str, bytes]] = []

    def committed(self, id: int, tenant: str, event: bytes) -> None:
        """Tell of a message that is recorded now; `event` as JSON."""
        if not self._committed:
            asyncio.get_running_loop().call_soon(self._tell)
        self._committed.append((id, tenant, event))

    def _tell(self) -> None:
        committed, self._committed = sorted(self._committed), []
        for _, tenant, event in committed:
            self._announce("message", {"tenant": tenant, "event": event})
