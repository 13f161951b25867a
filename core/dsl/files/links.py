"""Symbolic links that a listing leaves out: the input skips each of them once a firing, so that nothing is missed."""

from __future__ import annotations

from collections.abc import Callable

from core.dsl.component import Env, Run
from core.dsl.files.skips import Skips
from core.errors import shorten

MOST_TOLD = 100


class Links:
    """Of one input. A listing may be at work in a thread; `begin` and `skip` are called on the loop, when none is."""

    def __init__(self, env: Env, where: str, skips: Skips | None = None) -> None:
        """`skips` remembers them, for an input that reads a file in the place of a link by the same path."""
        self._env = env
        self._skips = skips
        self._where = where
        self._seen: set[str] = set()  # in this firing
        self._found: list[tuple[str, str]] = []  # that are to be skipped: path, and why

    def begin(self) -> None:
        """A firing begins: what it finds counts anew."""
        self._seen.clear()

    def within(self, directory: str, concerns: Callable[[str, bool], bool]) -> Callable[[str, bool], None]:
        """What `Directory.files` tells its links: those count that are of concern to the input."""

        def linked(name: str, leads_down: bool) -> None:
            if concerns(name, leads_down):
                self._find(f"{directory.rstrip('/')}/{name}", leads_down)

        return linked

    def _find(self, path: str, leads_down: bool) -> None:
        if path in self._seen or len(self._seen) > MOST_TOLD:
            return
        self._seen.add(path)
        if len(self._seen) > MOST_TOLD:
            self._found.append((path, "there are more symbolic links; all are left out"))
            return
        what = "what is below it is not read" if leads_down else "it is not read"
        self._found.append(
            (
                path,
                f"{shorten(path)} is a symbolic link and links are never followed, so {what}; name the real path"
                " as well",
            )
        )

    def skip(self, run: Run) -> None:
        """Skip what was found since, like any file that cannot be read. Raises like `Run.skip`."""
        found, self._found = self._found, []
        for path, why in found:
            if self._skips is not None:
                self._skips.skip(run, path, f"{self._where}: {why}", {"path": path})
            else:
                run.skip(self._env, f"{self._where}: {why}", {"path": path})
