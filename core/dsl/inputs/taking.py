"""What a firing of a reader of objects has begun, and what becomes of it."""

from __future__ import annotations

from collections.abc import Callable

from core.dsl.files import memory

Settle = Callable[[BaseException | None], None]


class Taking:
    """The objects that one firing has begun, which none of those that overlap with it reads.

    Each is taken until it is remembered, which follows the order of reading, or until it is known that it will not be.
    `taken` is what all firings have taken.
    """

    def __init__(self, taken: set[str], marks: set[str], remember: Callable[[str], None]) -> None:
        taken |= marks
        self._taken = taken
        self._unread = set(marks)
        self._accepted: set[str] = set()  # and waits for what was read before it
        self._remember = remember
        self._settled = memory.Settled[str](self._reach)

    def expect(self) -> Settle:
        """The settle of a batch within an object."""
        return self._settled.expect("")

    def expect_end(self, mark: str, accepted: Callable[[], None]) -> Settle:
        """The settle of the last batch of an object; `accepted` is called before the object is remembered."""
        self._unread.discard(mark)
        settled = self._settled.expect(mark)

        def settle(error: BaseException | None) -> None:
            if error is None:
                accepted()
            self._accepted.add(mark)
            settled(error)
            if self._settled.broken:
                self._free(self._accepted)

        return settle

    def end(self) -> None:
        """Nothing more is read."""
        self._free(self._unread)

    def _reach(self, mark: str) -> None:
        if mark:
            self._remember(mark)
            self._free({mark})

    def _free(self, marks: set[str]) -> None:
        self._taken -= marks
        self._accepted -= marks
