"""The file-store input: the objects below a directory, each once or at every firing."""

from __future__ import annotations

import asyncio
import datetime
import hashlib
import os
import re
from collections.abc import AsyncIterator, Callable
from typing import Annotated, ClassVar, Literal, NamedTuple

import re2
from pydantic import AfterValidator, Field, field_validator

from core import clock
from core.dsl import expand, paths
from core.dsl.component import REGISTRY, Batch, Config, Env, Event, Run
from core.dsl.duration import Duration
from core.dsl.inputs import lines, memory, streams
from core.errors import Forbidden, JobFailed, shorten


def _check_pattern(text: str) -> str:
    try:
        re2.compile(text)
    except re2.error as error:
        raise ValueError(f"{shorten(text, 60)} is not a regular expression (RE2): {error}") from error
    return text


Pattern = Annotated[str, AfterValidator(_check_pattern), Field(max_length=1000)]
_MODES = {"list": "list-objects", "download": "download-objects", "list-and-download": "list-and-download-objects"}


class NameTime(Config):
    """Take the time of an object from its name."""

    pattern: str = Field(min_length=2, max_length=100)
    """How the time is written in the name, with the directives %Y %m %d %H %M %S."""


@REGISTRY.register("file-store")
class FileStoreInput(lines.TextInput):
    """Read the objects (files) below a directory, oldest first: one event for each line, or one for each object.

    An object that cannot be read or decoded is skipped, counted in the errors of the run and told in the log; it is
    tried again at the next firing. What was read of it before the fault has been delivered.
    """

    example: ClassVar[str] = """
name: from-store
input:
  file-store: {path: /tmp/sluice-example/store, json: true, fingerprinting: true, trigger: {interval: 5s}}
output: {print: STDOUT}
"""

    path: expand.Text
    """The root directory on the worker."""
    object_names: tuple[str, ...] = ()
    """Names of objects, or what their names start with. Empty: all."""
    mode: Literal["list-objects", "download-objects", "list-and-download-objects"] = "list-and-download-objects"
    """List what there is (one event for each object), download named objects, or list and then download."""
    include_regex: tuple[Pattern, ...] = ()
    """Read only objects whose name matches one of these (RE2)."""
    exclude_regex: tuple[Pattern, ...] = ()
    """Leave out objects whose name matches one of these (RE2)."""
    timestamp_mode: Literal["last-modified"] | NameTime = "last-modified"
    """What the age of an object is: when it was last modified, or the time written in its name."""
    maximum_age: Duration | None = None
    """Leave out objects that are older."""
    fingerprinting: bool = False
    """Read each object once: remember name, size and time of what the output has accepted."""
    maximum_fingerprint_age: Duration | None = None
    """Forget fingerprints that are older."""
    preprocessors: tuple[streams.Preprocessor, ...] = ()
    """Undo gzip or base64 after reading; `extension` chooses by .gz and .b64."""

    @field_validator("mode", mode="before")
    @classmethod
    def _older_spelling(cls, value: object) -> object:
        return _MODES.get(value, value) if isinstance(value, str) else value

    def effect_of_reading(self) -> str:
        return ""

    def open(self, env: Env) -> FileStoreSource:
        return FileStoreSource(self, env)


class _Object(NamedTuple):
    name: str
    size: int
    at: float  # seconds since the epoch
    mark: str


class FileStoreSource:
    """Lists in a thread, then reads in chunks; a fingerprint is written when the last chunk of an object is settled."""

    def __init__(self, config: FileStoreInput, env: Env) -> None:
        self._config = config
        self._env = env
        self._access = paths.FileAccess(env.limits)
        self._root = expand.template(config.path, env)
        self._include = [re2.compile(pattern) for pattern in config.include_regex]
        self._exclude = [re2.compile(pattern) for pattern in config.exclude_regex]
        self._name_time = _name_time(config.timestamp_mode)
        self._fingerprints: memory.Fingerprints | None = None

    async def batches(self, run: Run) -> AsyncIterator[Batch]:
        config = self._config
        root = self._root({}, run)
        if config.fingerprinting and self._fingerprints is None:
            self._fingerprints = memory.Fingerprints(
                self._env.state_dir / "fingerprints", config.maximum_fingerprint_age, _now()
            )
        settled = memory.Settled[str](self._remember)
        try:
            objects = await asyncio.to_thread(self._list, root)
        except paths.NotThere:
            if config.trigger is None:
                raise
            return  # whoever writes there has not begun; the next firing looks again
        with self._access.directory(root) as directory:
            for one in objects:
                if config.mode == "list-objects":
                    yield Batch([_listing(one)], settled.expect(one.mark), True)
                    continue
                try:
                    async for batch in self._read(directory, one, settled, run):
                        yield batch
                except (Forbidden, JobFailed, OSError) as error:
                    text = error.message if isinstance(error, Forbidden | JobFailed) else error.strerror
                    run.refuse(self._env, f"file-store: {shorten(one.name)} was skipped: {text}")

    async def _read(
        self, directory: paths.Directory, one: _Object, settled: memory.Settled[str], run: Run
    ) -> AsyncIterator[Batch]:
        config, limit = self._config, self._env.limits.max_line_bytes
        where = f"file-store: {shorten(one.name)}"
        fd = directory.open_read(one.name)
        try:
            chunks = streams.decode(streams.read(fd), config.preprocessors, one.name)
            if config.ignore_linebreaks:
                data = lines.whole(chunks, limit, where)
                run.bytes_in += len(data)
                events = lines.from_text(data, config.json_, True, self._env, run, where)
                yield Batch(events, settled.expect(one.mark), True)
                return
            splitter = lines.Splitter(limit, where)
            for chunk in chunks:
                run.bytes_in += len(chunk)
                if events := lines.from_lines(splitter.feed(chunk), config.json_, self._env, run, where):
                    yield Batch(events, settled.expect(""))
            # The end is a batch of its own, empty or not: it carries the end of the document and the fingerprint.
            events = lines.from_lines(splitter.end(), config.json_, self._env, run, where)
            yield Batch(events, settled.expect(one.mark), True)
        finally:
            os.close(fd)

    def _remember(self, mark: str) -> None:
        if mark and self._fingerprints is not None:
            self._fingerprints.add([mark], _now())

    def _list(self, root: str) -> list[_Object]:
        config = self._config
        names = config.object_names
        oldest = None if config.maximum_age is None else _now() - config.maximum_age
        present: set[str] = set()
        found: list[_Object] = []
        with self._access.directory(root) as directory:
            for name, status in directory.files():
                mark = hashlib.blake2b(
                    f"{name}\0{status.st_size}\0{status.st_mtime_ns}".encode(errors="surrogateescape"), digest_size=16
                ).hexdigest()
                present.add(mark)
                if not self._wanted(name):
                    continue
                at = status.st_mtime if self._name_time is None else self._name_time(name)
                if at is None or (oldest is not None and at < oldest):
                    continue
                if self._fingerprints is not None and mark in self._fingerprints:
                    continue
                found.append(_Object(name, status.st_size, at, mark))
        if self._fingerprints is not None:
            self._fingerprints.keep_only(present)
        if config.mode == "download-objects":
            missing = sorted(set(names) - {one.name for one in found}) if self._fingerprints is None else []
            if missing:
                raise JobFailed(f"file-store: there is no object {shorten(missing[0])} below {shorten(root)}")
        found.sort(key=lambda one: (one.at, one.name))
        return found

    def _wanted(self, name: str) -> bool:
        names = self._config.object_names
        if self._config.mode == "download-objects":
            if name not in names:
                return False
        elif names and not name.startswith(names):
            return False
        if self._include and not any(pattern.search(name) for pattern in self._include):
            return False
        return not any(pattern.search(name) for pattern in self._exclude)

    async def close(self) -> None:
        pass


def _listing(one: _Object) -> Event:
    return {"name": one.name, "size": one.size, "last_modified": clock.iso(int(one.at * clock.NANOSECONDS))}


def _now() -> float:
    return clock.now_ns() / clock.NANOSECONDS


def _name_time(mode: Literal["last-modified"] | NameTime) -> Callable[[str], float | None] | None:
    if not isinstance(mode, NameTime):
        return None
    digits = {"%Y": r"\d{4}"} | dict.fromkeys(("%m", "%d", "%H", "%M", "%S"), r"\d{2}")
    escaped = re.sub(r"%[YmdHMS]", lambda m: digits[m[0]], re.escape(mode.pattern).replace("\\%", "%"))
    pattern = re2.compile(f"({escaped})")

    def time_of(name: str) -> float | None:
        match = pattern.search(name)
        if match is None:
            return None
        try:
            parsed = datetime.datetime.strptime(match[1], mode.pattern)
        except ValueError:
            return None
        return parsed.replace(tzinfo=datetime.UTC).timestamp()

    return time_of
