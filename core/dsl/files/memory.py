"""What a component remembers across restarts, in small files of the workload's own state directory."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, Generic, TypeVar

import orjson

from core import clock

T = TypeVar("T")


class Settled(Generic[T]):
    """Tells the places that a source may remember, in the order in which they were read.

    A place is reached when everything before it is settled too, whatever the order of settling; after a failed batch
    none is. So a source resumes at the first batch that the output had not accepted. Make a new one for each firing.
    """

    def __init__(self, reached: Callable[[T], None]) -> None:
        self._reached = reached
        self._open: deque[list[Any]] = deque()  # [place, settled]
        self.broken = False
        """A batch has failed: no further place is reached."""

    def expect(self, place: T) -> Callable[[BaseException | None], None]:
        """The settle of the batch that ends at this place."""
        entry: list[Any] = [place, False]
        self._open.append(entry)

        def settle(error: BaseException | None) -> None:
            if error is not None:
                self.broken = True  # nothing after a failed batch may be remembered
            entry[1] = True
            while not self.broken and self._open and self._open[0][1]:
                self._reached(self._open.popleft()[0])

        return settle


class Places:
    """A small JSON object in a file that is replaced in one step.

    It is not synced: a power cut may bring back an older one, and then some events are delivered twice.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._changed = False
        self._written_at = 0.0
        self.data: dict[str, Any] = {}
        try:
            loaded = orjson.loads(path.read_bytes())
            self.data = loaded if isinstance(loaded, dict) else {}
        except (FileNotFoundError, orjson.JSONDecodeError):
            pass  # never written, or torn by a power cut: start anew, deliver twice rather than never

    def set(self, key: str, value: Any, every_seconds: float = 0.5) -> None:
        """Change one entry; the file follows at most once in `every_seconds` and at `save`."""
        self.data[key] = value
        self._changed = True
        if clock.monotonic() - self._written_at >= every_seconds:
            self.save()

    def drop(self, key: str) -> None:
        """Forget one entry; the file follows at the next write."""
        if self.data.pop(key, None) is not None:
            self._changed = True

    def save(self) -> None:
        """Write what has changed."""
        if not self._changed:
            return
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        temporary = self._path.with_suffix(".new")
        temporary.write_bytes(orjson.dumps(self.data))
        temporary.replace(self._path)
        self._changed = False
        self._written_at = clock.monotonic()


class Fingerprints:
    """Which objects were read before: a set in memory and a journal that grows by a line for each object."""

    def __init__(self, path: Path, maximum_age_seconds: float | None, now_seconds: float) -> None:
        self._path = path
        self._maximum_age = maximum_age_seconds
        self._lines = 0
        self._seen: dict[str, int] = {}  # fingerprint -> when it was read, in seconds since the epoch
        self.new = not path.exists()  # there is no past
        if not self.new:
            for line in path.read_text(encoding="ascii", errors="replace").splitlines():
                mark, _, at = line.partition(" ")
                self._lines += 1
                if len(mark) == 32 and at.isdigit():  # anything else is a line that a crash has cut off
                    self._seen[mark] = int(at)
        self.expire(now_seconds)

    def __contains__(self, mark: str) -> bool:
        return mark in self._seen

    def begin(self) -> None:
        """From now on there is a past, even when nothing is ever read."""
        if self.new:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._path.touch()
            self.new = False

    def add(self, marks: list[str], now_seconds: float) -> None:
        """Remember objects that the output has accepted."""
        at = int(now_seconds)
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self._path.open("a", encoding="ascii") as journal:
            journal.writelines(f"{mark} {at}\n" for mark in marks)
        self._lines += len(marks)
        self._seen.update(dict.fromkeys(marks, at))

    def expire(self, now_seconds: float) -> None:
        """Forget what is older than the maximum age."""
        if self._maximum_age is None:
            return
        oldest = now_seconds - self._maximum_age
        for mark in [mark for mark, at in self._seen.items() if at < oldest]:
            del self._seen[mark]

    def keep_only(self, present: set[str]) -> None:
        """Forget objects that are gone, so that this grows with the store and not with its history."""
        gone = self._seen.keys() - present
        for mark in gone:
            del self._seen[mark]
        if self._lines > 2 * len(self._seen) + 1000:
            self._rewrite()

    def forget(self, marks: list[str]) -> None:
        """Forget these objects, so that they are read again."""
        for mark in marks:
            self._seen.pop(mark, None)
        if marks:
            self._rewrite()

    def _rewrite(self) -> None:
        temporary = self._path.with_suffix(".new")
        with temporary.open("w", encoding="ascii") as journal:
            journal.writelines(f"{mark} {at}\n" for mark, at in self._seen.items())
            journal.flush()
            os.fsync(journal.fileno())
        temporary.replace(self._path)
        self._lines = len(self._seen)
