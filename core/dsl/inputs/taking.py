"""What a firing of a reader of objects has begun, and what becomes of it."""

from __future__ import annotations

from collections.abc import Callable

from core.dsl.component import Run
from core.dsl.files import memory

Settle = Callable[[BaseException | None], None]
Whole = Callable[[str, bool], None]


class Taking:
    """The objects that one firing has begun, which none of those that overlap with it reads.

    Each is taken until it is remembered, which follows the order of reading, or until it is known that it will not be.
    `taken` is what all firings have taken.
    """

    def __init__(self, taken: set[str], marks: set[str], remember: Callable[[str], None], whole: Whole) -> None:
        """`whole` hears of each object that is settled whether all of it is the output's or a letter's."""
        taken |= marks
        self._taken = taken
        self._unread = set(marks)
        self._accepted: set[str] = set()  # and waits for what was read before it
        self._remember = remember
        self._whole = whole
        self._settled = memory.Settled[str](self._reach)

    def expect(self) -> Settle:
        """The settle of a batch within an object."""
        return self._settled.expect("")

    def expect_end(self, mark: str, lost: int, run: Run) -> Settle:
        """The settle of the last batch of an object; `lost` is what the run had lost when it was begun."""
        self._unread.discard(mark)
        settled = self._settled.expect(mark)

        def settle(error: BaseException | None) -> None:
            if error is None:
                self._whole(mark, run.lost == lost)
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
