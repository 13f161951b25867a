"""The requests that are on their way, by who sends them: how many, and how many bytes of them are held.

Who sends a request is known by its head. One user's bodies are counted from there to the answer, so that nobody fills
the memory, or all connections, with bodies that come slowly or are never ended.
"""

from __future__ import annotations

from collections.abc import Hashable

from core import errors

SHARE = 8  # an eighth of the connections may be requests of one user that have not arrived
CONNECTIONS = 1000  # where nobody says how many there are
SMALL_BYTES = 64 * 1024  # a body that comes at once and is no larger is not counted: a connection keeps as much anyway
USER_BYTES = 32 * 1024 * 1024
ALL_BYTES = 128 * 1024 * 1024
RETRY_SECONDS = 1


class Arriving:
    """What is on its way to one server. Names are not kept beyond what they have there."""

    def __init__(self, connections: int = CONNECTIONS) -> None:
        self.most = max(1, connections // SHARE)
        self.bytes = 0
        self._requests: dict[Hashable, int] = {}
        self._bytes: dict[Hashable, int] = {}

    def begin(self, who: Hashable) -> None:
        """One more request is on its way; `end` it when it has arrived, or was given up. Raises RateLimited."""
        number = self._requests.get(who, 0)
        if number >= self.most:
            raise errors.RateLimited(
                f"{number} requests of this user are still arriving, as many as one user may send at a time.",
                hint="Send them to their ends, or fewer at a time.",
                details={"limit": "http_connections", "most": self.most, "retry_after_seconds": RETRY_SECONDS},
            )
        self._requests[who] = number + 1

    def end(self, who: Hashable) -> None:
        """One less."""
        left = self._requests[who] - 1
        if left:
            self._requests[who] = left
        else:
            del self._requests[who]

    def hold(self, who: Hashable, size: int) -> None:
        """So many more bytes are held; `release` them. Raises RateLimited, or Busy when it is the others' doing."""
        if not size:
            return
        held = self._bytes.get(who, 0)
        if held + size > USER_BYTES:
            raise errors.RateLimited(
                f"The requests of this user that are not answered yet have more than {USER_BYTES} bytes.",
                hint="Wait for their answers, or send fewer of them at a time.",
                details={"most": USER_BYTES, "retry_after_seconds": RETRY_SECONDS},
            )
        if self.bytes + size > ALL_BYTES:
            raise errors.Busy(
                f"The requests that are not answered yet have more than {ALL_BYTES} bytes.",
                details={"retry_after_seconds": RETRY_SECONDS},
            )
        self._bytes[who] = held + size
        self.bytes += size

    def release(self, who: Hashable, size: int) -> None:
        """So many bytes are held no longer."""
        if size:
            self.bytes -= size
            left = self._bytes[who] - size
            if left:
                self._bytes[who] = left
            else:
                del self._bytes[who]


class Body:
    """The body of one request as it arrives. `take` its parts, `arrived` at its end, and `close` it in any case."""

    __slots__ = ("_arriving", "_on_its_way", "_parts", "_size", "_who")

    def __init__(self, arriving: Arriving, who: Hashable) -> None:
        """Raises RateLimited."""
        arriving.begin(who)
        self._arriving = arriving
        self._who = who
        self._parts: list[bytes] = []
        self._size = 0  # bytes that are held
        self._on_its_way = True

    def take(self, part: bytes, *, last: bool) -> None:
        """Keep a part. Raises RateLimited and Busy."""
        if self._parts or not last or len(part) > SMALL_BYTES:
            self._arriving.hold(self._who, len(part))
            self._size += len(part)
        self._parts.append(part)

    def arrived(self) -> bytes:
        """The whole body."""
        self._over()
        whole = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
        self._parts.clear()
        return whole

    def close(self) -> None:
        """Nobody needs it any more."""
        self._over()
        self._parts.clear()
        self._arriving.release(self._who, self._size)
        self._size = 0

    @property
    def whole(self) -> bool:
        """Whether it has arrived."""
        return not self._on_its_way

    def _over(self) -> None:
        if self._on_its_way:
            self._on_its_way = False
            self._arriving.end(self._who)
