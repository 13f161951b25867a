"""Where a sequence of windows has got to, kept in a file: the one that `tracked` names, else one of the workload."""

from __future__ import annotations

import os
from pathlib import Path

from core.dsl.component import Env
from core.dsl.language.window import Window, parse, render
from core.errors import JobFailed, shorten
from core.guard import file_access

MOST_BYTES = 256


class Watermark:
    """The file holds one line: the end of the last successful window, as YYYY-MM-DD HH:MM:SS in UTC.

    The workload's own file has a second line, the start-time: with another start-time its place means nothing.
    """

    def __init__(self, window: Window, env: Env) -> None:
        self._path = window.begin.tracked
        self._start_time = window.begin.start_time
        self._access = file_access.FileAccess(env.limits.files, env.tenant)
        self._own: Path = env.state_dir / "window"
        if self._path:
            self._path = self._access.locate(self._path, write=True)  # a place that is not allowed is refused at once

    def read(self) -> int | None:
        """The mark in ns, None when there is none yet. Raises JobFailed for a file that holds something else."""
        try:
            text = self._read_tracked() if self._path else self._own.read_text(encoding="utf-8")
        except (FileNotFoundError, file_access.NotThere):
            return None
        line, _, start_time = text.strip().partition("\n")
        if not line or (not self._path and start_time != self._start_time):
            return None
        try:
            return parse(line)
        except ValueError as error:
            raise JobFailed(
                f"the file {shorten(self._path)} holds no watermark: {error}",
                hint="Correct the file, or delete it to begin anew.",
            ) from None

    def write(self, mark_ns: int) -> None:
        """Keep the mark; on the disk when this returns."""
        if self._path:
            place = Path(self._path)
            with self._access.directory(str(place.parent), create=True) as directory:
                directory.write(place.name, render(mark_ns).encode() + b"\n")
            return
        self._own.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        temporary = self._own.with_suffix(".new")
        with temporary.open("w", encoding="utf-8") as file:
            file.write(f"{render(mark_ns)}\n{self._start_time}\n")
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self._own)

    def _read_tracked(self) -> str:
        with os.fdopen(self._access.open_read(self._path), "rb") as file:
            return file.read(MOST_BYTES).decode(errors="replace")
