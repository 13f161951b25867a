"""What an input has skipped, until it was read: then the letters that tell of it wait no more.

Kept over restarts and versions of the job, since a file may well be mended while nobody reads.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from core.dsl.component import Env, Event, Run
from core.dsl.files import memory

MOST_NAMES = 10_000  # that are remembered; the letters of others wait until somebody discards them
MOST_TELLINGS = 10  # of one name: an object that is replaced is told of in other words


class Skips:
    """Of one input. A name is a path, or the name of an object."""

    def __init__(self, env: Env) -> None:
        self._env = env
        self._places = memory.Places(env.state_dir / "skipped.json")
        self._open: dict[str, list[list[Any]]] = dict(self._places.data)
        """[text, what] of each letter that may wait, by name."""

    def skip(self, run: Run, name: str, text: str, what: Event) -> None:
        """Skip something. Raises like `Run.skip`."""
        told = self._open.get(name, [])
        if [text, what] not in told and (told or len(self._open) < MOST_NAMES):
            self._open[name] = [*told, [text, what]][-MOST_TELLINGS:]
            self._places.set(name, self._open[name])
        run.skip(self._env, text, what)

    def read(self, run: Run, name: str) -> None:
        """Something was read, whether or not it had been skipped."""
        for text, what in self._open.pop(name, ()):
            run.read_after_all(text, what, partial(self._forget, name))

    def _forget(self, name: str) -> None:
        if name not in self._open:  # it was not skipped again meanwhile
            self._places.drop(name)
            self._places.save()

    def save(self) -> None:
        """Write what has changed."""
        self._places.save()
