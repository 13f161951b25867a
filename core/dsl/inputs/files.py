"""The files input: lines of files, read to their end or followed as they grow."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import AfterValidator, Field, WithJsonSchema, field_validator, model_validator

from core.dsl import memory, paths
from core.dsl.component import REGISTRY, Batch, Env, Run
from core.dsl.duration import Duration
from core.dsl.inputs import globs, lines
from core.errors import Forbidden, JobFailed, shorten

MOST_OPEN_FILES = 256
HEAD_BYTES = 256  # how much of a file's start tells it from another file that got the same inode number


@REGISTRY.register("files")
class Files(lines.TextInput):
    """Read files on the worker, one event for each line, and remember how far the output has accepted them.

    `tail` follows files as they grow, finds new ones and survives rotation; it runs until it is stopped. `batch`
    reads to the end of every file and is done, or with a trigger reads what is new at each firing. After a restart
    reading resumes behind the last line that was accepted, so some lines may come twice and none is lost.
    """

    spellings: ClassVar = {"ignore-line-breaks": "ignore-linebreaks", "path": "paths"}
    example: ClassVar[str] = """
name: from-files
input:
  files: {path: "/tmp/sluice-example/*.jsonl", mode: batch, json: true}
output: {print: STDOUT}
"""

    paths: Annotated[
        tuple[Annotated[str, AfterValidator(globs.check)], ...],
        Field(min_length=1, max_length=100),
        WithJsonSchema(
            {
                "anyOf": [
                    {"type": "string"},
                    {"type": "array", "items": {"type": "string"}, "minItems": 1, "maxItems": 100},
                ]
            }
        ),
    ]
    """Files, directories or patterns (`*`, `?`, `[a-z]`, `**`); one text or a list."""
    mode: Literal["tail", "batch"] = "tail"
    """Follow the files, or read to their end."""
    start_at: Literal["beginning", "end"] = "beginning"
    """Where to start in files that exist when the job runs for the first time; files that come later start at 0."""
    poll_interval: Duration = 0.5
    """How often `tail` looks for new lines and new files."""

    @field_validator("paths", mode="before")
    @classmethod
    def _one_or_many(cls, value: object) -> object:
        return (value,) if isinstance(value, str) else value

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.mode == "tail" and self.trigger is not None:
            raise ValueError("a trigger needs `mode: batch`; tail runs all the time")
        if self.mode == "tail" and self.ignore_linebreaks:
            raise ValueError("ignore-linebreaks needs `mode: batch`; a file that grows has no end")
        if self.poll_interval < 0.01:
            raise ValueError("poll-interval is at least 10ms")
        return self

    @property
    def continuous(self) -> bool:
        return self.mode == "tail"

    def effect_of_reading(self) -> str:
        return ""

    def open(self, env: Env) -> FilesSource:
        return FilesSource(self, env)


@dataclass(slots=True)
class _File:
    path: str
    key: str
    at: int  # where the next read starts
    splitter: lines.Splitter
    settled: memory.Settled[int]
    fd: int = -1
    gone: bool = False  # no name of it matches any more; its rest is still read
    used: int = 0  # when it was read last, for closing the one that was not read for longest


@dataclass(slots=True)
class _State:
    files: dict[str, _File] = field(default_factory=dict)
    first_look: bool = True
    turn: int = 0


class FilesSource:
    """Reads in chunks with its own offset for each file; an inode, not a name, is what a file is."""

    def __init__(self, config: Files, env: Env) -> None:
        self._config = config
        self._env = env
        self._access = paths.FileAccess(env.limits)
        self._places = memory.Places(env.state_dir / "files.json")
        self._state = _State(first_look=not self._places.data)
        for pattern in config.paths:
            self._access.locate(pattern)  # a place that is not allowed is refused at once, not when a file appears

    async def batches(self, run: Run) -> AsyncIterator[Batch]:
        state, config = self._state, self._config
        self._forget_readers()
        try:
            while True:
                await asyncio.to_thread(self._look)
                progress = False
                for file in list(state.files.values()):
                    async for batch in self._read_on(file, run):
                        progress = True
                        yield batch
                if config.mode == "batch":
                    return
                self._places.save()
                if not progress:
                    await asyncio.sleep(config.poll_interval)
        finally:
            self._places.save()

    def _forget_readers(self) -> None:
        """A new firing reads from the remembered places, so that what failed in the last one comes again."""
        for file in self._state.files.values():
            _close(file)
        self._state.files.clear()

    def _look(self) -> None:
        """Find new files, renamed, shrunk and vanished ones."""
        state = self._state
        seen: set[str] = set()
        for pattern in self._config.paths:
            for found in globs.find(self._access, pattern):
                seen.add(found.key)
                file = state.files.get(found.key)
                if file is None:
                    at_end = state.first_look and self._config.start_at == "end"
                    state.files[found.key] = self._new_file(found, found.size if at_end else 0)
                    continue
                file.path = found.path
                if found.size < file.at:  # truncated in place: what is there now is new
                    self._env.log("warning", f"files: {shorten(found.path)} became shorter and is read from its start")
                    _close(file)
                    state.files[found.key] = self._new_file(found, 0, remembered=False)
        for key, file in state.files.items():
            file.gone = key not in seen
        state.first_look = False

    def _new_file(self, found: globs.Found, start: int, *, remembered: bool = True) -> _File:
        where = f"files: {shorten(found.path)}"
        place: Any = self._places.data.get(found.key) if remembered else None
        if isinstance(place, dict) and place.get("at", 0) <= found.size and self._same_head(found, place):
            start = place["at"]
        elif start:
            self._places.set(found.key, self._place(found.path, start, None))

        def reached(at: int) -> None:
            self._places.set(found.key, self._place(file.path, at, file))

        splitter = lines.Splitter(self._env.limits.max_line_bytes, where)
        file = _File(found.path, found.key, start, splitter, memory.Settled(reached))
        return file

    def _same_head(self, found: globs.Found, place: dict[str, Any]) -> bool:
        """Whether the file is the one whose place is remembered, and not another that got its inode number."""
        length = place.get("head_bytes", 0)
        if not length:
            return True
        fd = self._access.open_read(found.path)
        try:
            return _digest(os.pread(fd, length, 0)) == place.get("head")
        finally:
            os.close(fd)

    def _place(self, path: str, at: int, file: _File | None) -> dict[str, Any]:
        place: dict[str, Any] = {"path": path, "at": at}
        known = self._places.data.get(file.key) if file is not None else None
        if known and known.get("head_bytes", 0) == HEAD_BYTES:
            place |= {"head_bytes": HEAD_BYTES, "head": known["head"]}
        elif file is not None and file.fd >= 0 and at:
            head = os.pread(file.fd, min(at, HEAD_BYTES), 0)
            place |= {"head_bytes": len(head), "head": _digest(head)}
        return place

    async def _read_on(self, file: _File, run: Run) -> AsyncIterator[Batch]:
        """Yield what a file has that was not read yet; a file that cannot be opened is skipped and counted."""
        config, env = self._config, self._env
        try:
            self._open(file)
        except paths.NotThere:
            del self._state.files[file.key]
            return
        except (Forbidden, JobFailed) as error:
            run.refuse(env, f"files: {shorten(file.path)} was skipped: {error.message}")
            return
        where = f"files: {shorten(file.path)}"
        if config.ignore_linebreaks:
            size = os.fstat(file.fd).st_size
            if size > file.at:
                data = lines.whole(iter(lambda: self._chunk(file), b""), env.limits.max_line_bytes, where)
                run.bytes_in += len(data)
                yield Batch(
                    lines.from_text(data, config.json_, True, env, run, where), file.settled.expect(file.at), True
                )
            return
        while chunk := self._chunk(file):
            run.bytes_in += len(chunk)
            events = lines.from_lines(file.splitter.feed(chunk), config.json_, env, run, where)
            if events:
                yield Batch(events, file.settled.expect(file.at - file.splitter.pending))
        if config.mode == "batch" or file.gone:
            events = lines.from_lines(file.splitter.end(), config.json_, env, run, where)
            yield Batch(events, file.settled.expect(file.at), True)
        if file.gone:
            _close(file)
            del self._state.files[file.key]
            self._places.data.pop(file.key, None)

    def _chunk(self, file: _File) -> bytes:
        chunk = os.pread(file.fd, lines.BATCH_BYTES, file.at)
        file.at += len(chunk)
        return chunk

    def _open(self, file: _File) -> None:
        state = self._state
        state.turn += 1
        file.used = state.turn
        if file.fd >= 0:
            return
        opened = [other for other in state.files.values() if other.fd >= 0]
        if len(opened) >= MOST_OPEN_FILES:
            _close(min(opened, key=lambda other: other.used))
        fd = self._access.open_read(file.path)
        status = os.fstat(fd)
        if f"{status.st_dev}:{status.st_ino}" != file.key:  # replaced since we looked; the next look sorts it out
            os.close(fd)
            raise paths.NotThere(f"{shorten(file.path)} was replaced")
        file.fd = fd

    async def close(self) -> None:
        self._forget_readers()
        self._places.save()


def _close(file: _File) -> None:
    if file.fd >= 0:
        os.close(file.fd)
        file.fd = -1


def _digest(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=16).hexdigest()
