"""Symbolic links that a listing leaves out: the log of the job names each of them once, so that nothing is missed."""

from __future__ import annotations

from collections.abc import Callable

from core.dsl.component import Env
from core.errors import shorten

MOST_TOLD = 100


class Links:
    """Of one input."""

    def __init__(self, env: Env, where: str) -> None:
        self._log = env.log
        self._where = where
        self._told: set[str] = set()

    def within(self, directory: str, concerns: Callable[[str, bool], bool]) -> Callable[[str, bool], None]:
        """What `Directory.files` tells its links: those count that are of concern to the input."""

        def linked(name: str, leads_down: bool) -> None:
            if concerns(name, leads_down):
                self._tell(f"{directory.rstrip('/')}/{name}", leads_down)

        return linked

    def _tell(self, path: str, leads_down: bool) -> None:
        if path in self._told or len(self._told) > MOST_TOLD:
            return
        self._told.add(path)
        if len(self._told) > MOST_TOLD:
            self._log("warning", f"{self._where}: there are more symbolic links; all are left out")
            return
        what = "what is below it is not read" if leads_down else "it is not read"
        self._log(
            "warning",
            f"{self._where}: {shorten(path)} is a symbolic link and links are never followed, so {what}; "
            "name the real path as well",
        )
