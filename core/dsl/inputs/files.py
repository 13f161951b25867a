"""The files input: lines of files, read to their end or followed as they grow."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from typing import Annotated, ClassVar, Literal, Self

from pydantic import AfterValidator, Field, WithJsonSchema, field_validator, model_validator

from core import clock
from core.dsl.component import REGISTRY, Batch, Env, Event, Run
from core.dsl.events import select
from core.dsl.events.select import Selector
from core.dsl.files import memory, preprocess
from core.dsl.files.links import Links
from core.dsl.files.skips import Skips
from core.dsl.inputs import globs, lines
from core.dsl.inputs.rewind import Replay, Rewind
from core.dsl.inputs.tracked import TAIL_BYTES, Place, Shelf, Tracked, fill_patterns
from core.dsl.language import places, templates
from core.dsl.language.duration import Duration
from core.errors import Forbidden, shorten
from core.guard import file_access

LOOK_SHARE = 0.1  # at most this share of the time goes into looking for changes, however many files there are


def _check_path(text: str) -> str:
    return text if templates.parse(text) != [text] else globs.check(text)


@REGISTRY.register("files")
class Files(lines.LinesInput):
    """Read files on the worker, one event for each line, and remember how far the output has accepted them.

    `tail` follows files as they grow, finds new ones and survives rotation (by renaming, or by copying and
    truncating); it runs until it is stopped. `batch` reads to the end of every file and is done, or with a trigger
    reads what is new at each firing. After a restart reading resumes behind the last line that was accepted, so some
    lines may come twice and none is lost.

    A file that cannot be read (no permission, a hard link, a truncated gzip) is skipped, counted and told once; it is
    tried again at the next look. So is a symbolic link, for links are not followed. Bytes that are not UTF-8
    are replaced and counted; with `json` a line that is no object stays text in `_raw` and is counted. That no
    file matches is told once and no fault. A file that vanishes is read to its end if it was open or is still in its
    directory under another name.
    """

    spellings: ClassVar = {"ignore-line-breaks": "ignore-linebreaks", "path": "paths"}
    example: ClassVar[str] = """
name: from-files
input:
  files: {paths: ["in/*.jsonl"], mode: batch, json: true}
output: {print: STDOUT}
"""

    paths: Annotated[
        tuple[Annotated[str, AfterValidator(_check_path)], ...],
        Field(min_length=1, max_length=100),
        WithJsonSchema(
            {
                "anyOf": [
                    {"type": "string"},
                    {"type": "array", "items": {"type": "string"}, "minItems": 1, "maxItems": 100},
                ]
            }
        ),
        places.READ,
    ]
    """Files, directories or patterns (`*`, `?`, `[a-z]`, `**`); one text or a list. `@{job}`, `${dyn|NAME}` and the
    like are filled in when the job starts."""
    mode: Literal["tail", "batch"] = "tail"
    """Follow the files, or read to their end."""
    start_at: Literal["beginning", "end"] = "beginning"
    """Where to start in files that exist when the job runs for the first time; files that come later start at 0."""
    replay: Replay | None = None
    """Which files to read from their start once more when this changes: those that were modified since that point. Of
    a reader without a past, which files it reads at all, in place of `start-at`."""
    poll_interval: Duration = 0.5
    """How often `tail` looks for new lines and new files; less often when there are so many files that looking would
    take more than a tenth of the time."""
    preprocessors: tuple[preprocess.Preprocessor, ...] = ()
    """Unpack gzip, base64 or parquet; `extension` does so for files called .gz, .b64 or .parquet. Such a file is read
    whole each time that its size changes, and only what is new in it becomes events."""
    path_field: Selector | None = None
    """Put the path of the file into this field of each event."""

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
        preprocess.require(self.preprocessors)
        return FilesSource(self, env)


class FilesSource:
    """Reads in chunks with an offset for each file; which files, and what is remembered of them, is the shelf's."""

    def __init__(self, config: Files, env: Env) -> None:
        self._config = config
        self._env = env
        access = file_access.FileAccess(env.limits.files, env.tenant)
        patterns = fill_patterns([partial(templates.template(path, env), {}, Run()) for path in config.paths])
        for pattern in patterns:
            access.locate(pattern)  # a place that is not allowed is refused at once, not when a file appears
        self._places = memory.Places(env.state_dir / "files.json")
        self._skips = Skips(env)
        self._links = Links(env, "files", self._skips)
        self._shelf = Shelf(
            access,
            patterns,
            self._places,
            is_packed=self._is_packed,
            warn=partial(env.log, "warning"),
            links=self._links,
        )
        self._first_look = not self._places.data
        self._rewind = Rewind(config.replay, env.state_dir, clock.now_ns() / clock.NANOSECONDS)
        self._behind_since: float | None = None
        self._told_nothing = False
        self._put_path = None if config.path_field is None else select.setter(select.parse(config.path_field))

    async def batches(self, run: Run) -> AsyncIterator[Batch]:
        config, shelf = self._config, self._shelf
        self._links.begin()
        shelf.clear()  # a new firing reads from the remembered places, so that what failed in the last one comes again
        try:
            while True:
                started = clock.monotonic()
                await asyncio.to_thread(shelf.scan, from_end=self._first_look and config.start_at == "end")
                if self._rewind.due:
                    shelf.rewind(self._rewind, new=self._first_look)
                looked = clock.monotonic() - started
                self._links.skip(run)
                self._tell_nothing()
                if not any(map(self._is_due, shelf.files.values())):
                    self._behind_since = None
                elif self._behind_since is None:
                    self._behind_since = started
                self._first_look = False
                progress = False
                for file in list(shelf.files.values()):
                    if not self._is_due(file):
                        self._skips.read(run, file.path)  # of whoever ended before that was on record
                        continue
                    for batch in self._read(file, run):
                        progress = True
                        yield batch
                if config.mode == "batch":
                    return
                self._places.save()
                self._skips.save()
                if not progress:
                    await asyncio.sleep(max(config.poll_interval, looked / LOOK_SHARE))
        finally:
            self._places.save()
            self._skips.save()

    def _tell_nothing(self) -> None:
        """Say once that there is nothing to read: a mistyped path looks like a source that is quiet."""
        nothing = not self._shelf.files
        if nothing and not self._told_nothing:
            config, named = self._config, shorten(", ".join(self._config.paths))
            level, waits = ("warning", "") if config.mode == "batch" else ("info", " yet; new files are looked for")
            self._env.log(level, f"files: no regular file matches {named}{waits}")
        self._told_nothing = nothing

    def behind_since(self) -> float | None:
        """Since when, on the monotonic clock, there has always been something unread; None when there is nothing."""
        return self._behind_since

    def _is_due(self, file: Tracked) -> bool:
        return file.gone or file.is_behind

    def _is_packed(self, path: str) -> bool:
        return bool(self._config.preprocessors) and bool(preprocess.steps(self._config.preprocessors, path))

    def _read(self, file: Tracked, run: Run) -> Iterator[Batch]:
        """What a file has that was not read yet; one that cannot be read is skipped, and told once."""
        shelf = self._shelf
        try:
            shelf.open(file)
            yield from self._unpacked(file, run) if file.packed else self._lines(file, run)
            file.told = ""
            self._skips.read(run, file.path)
        except file_access.NotThere:
            if file.is_behind:
                self._env.log("warning", f"files: {shorten(file.path)} vanished before its rest could be read")
            elif file.splitter is not None and file.settled is not None:  # a last line without an end is complete now
                where = f"files: {shorten(file.path)}"
                events = lines.from_lines(file.splitter.end(), self._config.json_, self._env, run, where)
                yield self._batch(events, file, run, file.settled.expect((file.at, file.tail)), end=True)
            shelf.drop(file)
            return
        except (Forbidden, preprocess.BadContent, file_access.Unreadable) as error:
            if file.told != error.message:
                file.told = error.message
                why = f"files: {shorten(file.path)} was skipped: {error.message}"
                self._skips.skip(run, file.path, why, {"path": file.path})
        if file.gone:
            shelf.drop(file)

    def _lines(self, file: Tracked, run: Run) -> Iterator[Batch]:
        config, env = self._config, self._env
        where, long = self._long_lines(file, run)
        splitter, settled = self._shelf.reader(file, partial(lines.Splitter, long.max_bytes, where, long))
        if config.ignore_linebreaks:
            if events := self._whole(self._chunks(file), long, where, run):
                yield self._batch(events, file, run, settled.expect((file.at, file.tail)), end=True)
            return
        for chunk in self._chunks(file):
            run.bytes_in += len(chunk)
            if events := lines.from_lines(splitter.feed(chunk), config.json_, env, run, where):
                yield self._batch(events, file, run, settled.expect(_place(file, splitter, chunk)))
        if file.splitter is not splitter:  # it became another file while we read
            yield from self._lines(file, run)
        elif config.mode == "batch" or file.gone:
            events = lines.from_lines(splitter.end(), config.json_, env, run, where)
            yield self._batch(events, file, run, settled.expect((file.at, file.tail)), end=True)

    def _unpacked(self, file: Tracked, run: Run) -> Iterator[Batch]:
        """Read a packed file from its start and pass over what was accepted before."""
        config, env = self._config, self._env
        skip = file.at - (file.splitter.pending if file.splitter is not None else 0)
        where, long = self._long_lines(file, run)
        file.splitter = file.settled = None
        splitter, settled = self._shelf.reader(file, partial(lines.Splitter, long.max_bytes, where, long))
        size, file.tail = os.fstat(file.fd).st_size, b""
        parts = self._decoded(file, skip)
        if config.ignore_linebreaks:
            events = self._whole(parts, long, where, run)
        else:
            for chunk in parts:
                run.bytes_in += len(chunk)
                if events := lines.from_lines(splitter.feed(chunk), config.json_, env, run, where):
                    yield self._batch(events, file, run, settled.expect((file.at - splitter.pending, b"")))
            events = lines.from_lines(splitter.end(), config.json_, env, run, where)
        file.read_size = size
        yield self._batch(events, file, run, settled.expect((file.at, b"")), end=True)

    def _decoded(self, file: Tracked, skip: int) -> Iterator[bytes]:
        decoder = preprocess.decoder(self._config.preprocessors, file.path)
        self._shelf.note(file, b"")
        at = 0

        def parts() -> Iterator[bytes]:
            raw = 0
            while chunk := self._shelf.read_at(file, raw, lines.BATCH_BYTES):
                raw += len(chunk)
                yield from decoder.feed(chunk)
            yield from decoder.end()

        file.at = skip
        for part in parts():
            fresh = part[max(0, skip - at) :]
            at += len(part)
            if fresh:
                file.at = at
                yield fresh

    def _chunks(self, file: Tracked) -> Iterator[bytes]:
        while chunk := self._shelf.read_on(file, lines.BATCH_BYTES):
            yield chunk

    def _whole(self, chunks: Iterator[bytes], long: lines.LongLines, where: str, run: Run) -> list[Event]:
        data, wanted = bytearray(), True
        for chunk in chunks:
            run.bytes_in += len(chunk)
            wanted = wanted and long.grow(data, chunk)
        return lines.from_text(bytes(data), self._config.json_, True, self._env, run, where)

    def _long_lines(self, file: Tracked, run: Run) -> tuple[str, lines.LongLines]:
        where = f"files: {shorten(file.path)}"
        limit = self._env.limits.max_line_bytes
        mode, env, what = self._config.long_lines, self._env, {"path": file.path}
        return where, lines.LongLines(mode, limit, where, lambda text, lost: run.shorten(env, text, what, lost))

    def _batch(
        self,
        events: list[Event],
        file: Tracked,
        run: Run,
        settle: Callable[[BaseException | None], None],
        *,
        end: bool = False,
    ) -> Batch:
        if self._put_path is not None:
            for event in events:
                try:
                    self._put_path(event, file.path)
                except ValueError as error:
                    run.refuse(self._env, f"files: {error}")
        begins, file.begun = not file.begun, file.begun or bool(events)
        return Batch(events, settle, end, file.key, begins)

    async def close(self) -> None:
        self._shelf.clear()
        self._places.save()


def _place(file: Tracked, splitter: lines.Splitter, chunk: bytes) -> Place:
    """Behind the last whole line of a chunk that ends at `file.at`."""
    pending = splitter.pending
    end = len(chunk) - pending
    return file.at - pending, chunk[max(0, end - TAIL_BYTES) : end] if end > 0 else b""
