"""Reading object stores: what the inputs file-store, s3, gcs and azure-blob have in common."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import hashlib
import math
import re
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from functools import partial
from typing import Annotated, ClassVar, Literal, NamedTuple, Self

import re2
from pydantic import AfterValidator, Field, WithJsonSchema, field_validator, model_validator

from core import clock
from core.dsl.component import Batch, Config, Env, Event, Run
from core.dsl.events import select
from core.dsl.events.select import Selector
from core.dsl.files import memory, preprocess
from core.dsl.files.skips import Skips
from core.dsl.inputs import groups, lines, spooled
from core.dsl.inputs.rewind import ObjectRewind, Replay
from core.dsl.inputs.taking import Settle, Taking
from core.dsl.language.duration import Duration
from core.dsl.stores import Object, Opener, Store, StoreFault
from core.errors import Forbidden, JobFailed, shorten
from core.guard import file_access
from core.model.letter import Code


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

    scalar: ClassVar[str] = "pattern"

    pattern: str = Field(min_length=2, max_length=100)
    """How the time is written in the name, with the directives %Y %m %d %H %M %S."""


class ObjectInput(lines.LinesInput):
    """Base of the inputs that read object stores.

    Objects come oldest first. One that cannot be read or decoded (a truncated gzip, a line beyond the limit, no
    permission) is skipped, counted in the errors of the run and told in the log; it is tried again at the next
    firing, and what was read of it before the fault has been delivered. A store that cannot be asked fails the job.
    """

    object_names: tuple[str, ...] = ()
    """Names of objects, or what their names start with. Empty: all."""
    mode: Annotated[
        Literal["list-objects", "download-objects", "list-and-download-objects"],
        WithJsonSchema({"enum": [*_MODES.values(), *_MODES]}),
    ] = "list-and-download-objects"
    """List what there is (one event for each object), download named objects, or list and then download. The older
    spellings without `-objects` are the same."""
    include_regex: tuple[Pattern, ...] = ()
    """Read only objects whose name matches one of these (RE2)."""
    exclude_regex: tuple[Pattern, ...] = ()
    """Leave out objects whose name matches one of these (RE2)."""
    timestamp_mode: Literal["last-modified", "none"] | NameTime = "last-modified"
    """What the age of an object is: when it was last modified, or the time written in its name. With `none` objects
    have no age and are read in the order of their names."""
    maximum_age: Duration | None = None
    """Leave out objects that are older."""
    fingerprinting: bool = False
    """Read each object once: remember name, size and version of what the output has accepted, across restarts."""
    replay: Replay | None = None
    """With fingerprinting: where to begin, and which objects to read once more when this key changes."""
    retention: spooled.Retention | None = None
    """With fingerprinting: delete objects that have been read when they are old, or too many."""
    maximum_fingerprint_age: Duration | None = None
    """Forget fingerprints that are older; an object that is still there is then read again."""
    preprocessors: tuple[preprocess.Preprocessor, ...] = ()
    """Undo gzip, base64 or parquet after reading, in this order; `extension` chooses by .gz, .b64 and .parquet. The
    rows of a parquet object become lines of JSON (use `json: true`)."""
    binary: bool = False
    """Each object is one event with its bytes in base64 in `_raw`: for files that are no text (pdf-text,
    docx-to-text). One that is longer than an event may be (16 MiB) is skipped and counted."""
    batch: groups.Group | None = None
    """Mark the events of one object as a group."""
    object_name_field: Selector | None = None
    """Put the name of the object into this field of each event."""
    last_modified_field: Selector | None = None
    """Put the time of the object into this field."""
    content_length_field: Selector | None = None
    """Put the size of the object in bytes, as it is stored, into this field."""

    @field_validator("mode", mode="before")
    @classmethod
    def _older_spelling(cls, value: object) -> object:
        return _MODES.get(value, value) if isinstance(value, str) else value

    @model_validator(mode="after")
    def _remembers_what_it_read(self) -> Self:
        if not self.fingerprinting and (self.replay is not None or self.retention is not None):
            raise ValueError("replay and retention need fingerprinting: true, which remembers what was read")
        return self

    @model_validator(mode="after")
    def _binary_is_whole(self) -> Self:
        if self.binary and (self.json_ or self.long_lines == "cut"):
            raise ValueError("binary: true gives whole objects as they are; leave out json and long-lines: cut")
        return self

    def opener(self, env: Env) -> Opener:
        """How to get the store of a run."""
        raise NotImplementedError

    def effect_of_reading(self) -> str:
        return "reading with retention deletes objects that were read" if self.retention is not None else ""

    def open(self, env: Env) -> ObjectSource:
        preprocess.require(self.preprocessors)
        return ObjectSource(self, self.opener(env), env)


class _Candidate(NamedTuple):
    """An object that is to be read."""

    at: float  # seconds since the epoch, by timestamp-mode
    one: Object
    mark: str  # its fingerprint


class ObjectSource:
    """Lists, then reads in chunks; a fingerprint is written when the last chunk of an object is settled."""

    def __init__(self, config: ObjectInput, opener: Opener, env: Env) -> None:
        self._config = config
        self._env = env
        self._open = opener
        self._store: Store | None = None
        self._include = [re2.compile(pattern) for pattern in config.include_regex]
        self._exclude = [re2.compile(pattern) for pattern in config.exclude_regex]
        self._time_of = _time_of(config.timestamp_mode)
        self._stamps = _stamps(config)
        self._fingerprints: memory.Fingerprints | None = None
        self._kept: memory.Fingerprints | None = None  # of what was read, and is all there is of a refused event
        self._listing = asyncio.Lock()  # one firing at a time looks for what is new
        self._told_nothing = False
        self._taken: set[str] = set()  # fingerprints of what a firing reads, or is not remembered yet
        self._rewind: ObjectRewind | None = None
        self._skips = Skips(env)
        self._sweeper = spooled.Sweeper(config.retention, env.job) if config.retention is not None else None

    def batches(self, run: Run) -> AsyncIterator[Batch]:
        return groups.marked(self._config.batch, self._batches(run), run, self._env)

    async def _batches(self, run: Run) -> AsyncIterator[Batch]:
        config = self._config
        if config.fingerprinting and self._fingerprints is None:
            self._fingerprints = memory.Fingerprints(
                self._env.state_dir / "fingerprints", config.maximum_fingerprint_age, _now()
            )
            self._kept = memory.Fingerprints(self._env.state_dir / "kept", None, _now())
            self._rewind = ObjectRewind(config.replay, self._env.state_dir, _now())
        store = self._open(run)
        if self._store is not None and self._store is not store:
            await self._store.close()
        self._store = store
        try:
            async with self._listing:
                candidates = self._unread(await self._candidates(store, run))
                taking = Taking(self._taken, {one.mark for one in candidates}, self._remember)
        except file_access.NotThere:
            if config.trigger is None:
                raise
            return  # whoever writes there has not begun; the next firing looks again
        try:
            for at, one, mark in candidates:
                end = partial(taking.expect_end, mark, partial(self._look_for_losses, one, mark, run, run.lost))
                if config.mode == "list-objects":
                    yield Batch([_listing(one, at)], end(), True)
                    continue
                try:
                    async for batch in self._read(store, one, end, taking, run):
                        yield batch
                    self._skips.read(run, one.name)
                except StoreFault:
                    raise
                except (Forbidden, JobFailed) as error:
                    why = f"{config.name}: {shorten(one.name)} was skipped: {error.message}"
                    self._skips.skip(run, one.name, why, _listing(one, 0.0))
                    yield Batch([], document_end=True)  # what comes next is another object, also after half of this one
        finally:
            taking.end()
            self._skips.save()

    def _unread(self, candidates: list[_Candidate]) -> list[_Candidate]:
        """Those that no other firing has begun, or come to the end of while the store was being listed."""
        marks = self._fingerprints
        if marks is None:
            return candidates
        return [one for one in candidates if one.mark not in self._taken and one.mark not in marks]

    async def _candidates(self, store: Store, run: Run) -> list[_Candidate]:
        config, names, marks = self._config, self._config.object_names, self._fingerprints
        oldest = None if config.maximum_age is None else _now() - config.maximum_age
        if marks is not None:
            marks.expire(_now())
            await self._begin(store, marks)
        skip_before = self._rewind.skip_before if self._rewind is not None else -math.inf
        sweeping: list[spooled.Seen] | None = [] if self._sweeper is not None else None
        present: set[str] = set()
        there = 0

        def keep(one: Object) -> bool:
            nonlocal there
            if not self._matches(one.name):
                return False
            there += 1
            at = self._time_of(one)
            if at is None or (oldest is not None and at < oldest):
                return False
            if marks is None:
                return True
            mark = _mark(one)
            present.add(mark)
            read = mark in marks or at < skip_before
            if sweeping is not None:
                sweeping.append(spooled.Seen(one, mark, at, read and (self._kept is None or mark not in self._kept)))
            return not read

        if config.mode == "download-objects":
            found = await store.find(names)
            missing = sorted(set(names) - {one.name for one in found})
            if missing and marks is None:
                raise JobFailed(f"{config.name}: there is no object {shorten(missing[0])}")
            found = [one for one in found if keep(one)]
        else:
            found = await store.listing(names, keep)
            store.skip(run)
        self._tell_nothing(there)
        if marks is not None:
            marks.keep_only(present)
        if self._kept is not None:
            self._kept.keep_only(present)
        if sweeping is not None:
            await self._sweep(store, sweeping, run)
        ordered = [_Candidate(self._time_of(one) or 0.0, one, _mark(one)) for one in found]
        ordered.sort(key=lambda candidate: (candidate.at, candidate.one.name))
        return ordered

    def _tell_nothing(self, there: int) -> None:
        """Say once that nothing matches: a mistyped name or prefix looks like a store that is quiet."""
        if not there and not self._told_nothing:
            config = self._config
            level = "warning" if config.trigger is None else "info"
            named = shorten(", ".join(config.object_names)) or "all"
            self._env.log(level, f"{config.name}: no object matches ({named})")
        self._told_nothing = not there

    async def _begin(self, store: Store, marks: memory.Fingerprints) -> None:
        """Carry out a replay that is due, before the first listing that tells what is to be read."""
        if self._rewind is not None and self._rewind.due:
            present: list[spooled.Seen] = []

            def look(one: Object) -> bool:
                if self._matches(one.name) and (at := self._time_of(one)) is not None:
                    present.append(spooled.Seen(one, _mark(one), at, False))
                return False

            with contextlib.suppress(file_access.NotThere):  # nobody has written anything yet
                await store.listing(self._config.object_names, look)
            self._rewind.carry_out(marks, present, _now())
        marks.begin()

    async def _sweep(self, store: Store, present: list[spooled.Seen], run: Run) -> None:
        """Delete what has been read for long enough; a fault of that does not keep the job from reading."""
        assert self._sweeper is not None
        try:
            gone = await self._sweeper.sweep(store, present)
        except (Forbidden, JobFailed) as error:
            run.refuse(self._env, f"{self._config.name}: what was read could not be deleted: {error.message}")
            return
        if gone:
            self._env.log("info", f"{self._config.name}: deleted {len(gone)} objects that were read")

    def _matches(self, name: str) -> bool:
        if self._include and not any(pattern.search(name) for pattern in self._include):
            return False
        return not any(pattern.search(name) for pattern in self._exclude)

    async def _read(
        self, store: Store, one: Object, end: Callable[[], Settle], taking: Taking, run: Run
    ) -> AsyncIterator[Batch]:
        config, env = self._config, self._env
        limit, where = env.limits.max_line_bytes, f"{config.name}: {shorten(one.name)}"
        what = {"name": one.name}
        long = lines.LongLines(config.long_lines, limit, where, lambda text, lost: run.shorten(env, text, what, lost))
        chunks = _decoded(store, one, config)
        async with contextlib.aclosing(chunks):
            if config.ignore_linebreaks or config.binary:
                data = bytearray()
                async for chunk in chunks:
                    run.bytes_in += len(chunk)
                    if not long.grow(data, chunk):
                        break
                if config.binary:
                    events = lines.from_bytes(data)
                    if not data and not one.name.endswith("/"):  # no marker of a directory, but one that was cut off
                        run.skip(env, f"{where} is empty", _listing(one, 0.0), Code.UNREADABLE)
                else:
                    events = lines.from_text(bytes(data), config.json_, True, env, run, where)
                yield Batch(self._stamped(events, one, run), end(), True)
                return
            splitter = lines.Splitter(limit, where, long)
            async for chunk in chunks:
                run.bytes_in += len(chunk)
                if events := lines.from_lines(splitter.feed(chunk), config.json_, env, run, where):
                    yield Batch(self._stamped(events, one, run), taking.expect())
            # The end is a batch of its own, empty or not: it carries the end of the document and the fingerprint.
            events = lines.from_lines(splitter.end(), config.json_, env, run, where)
            yield Batch(self._stamped(events, one, run), end(), True)

    def _stamped(self, events: list[Event], one: Object, run: Run) -> list[Event]:
        for put, value_of in self._stamps:
            value = value_of(one)
            for event in events:
                try:
                    put(event, value)
                except ValueError as error:
                    run.refuse(self._env, f"{self._config.name}: {error}")
        return events

    def _look_for_losses(self, one: Object, mark: str, run: Run, before: int) -> None:
        """Keep retention away from an object of which something was refused that no letter holds as it was, also the
        retention that is asked for later. `before` is what the run had lost when it was begun."""
        if self._kept is None:
            return
        if run.lost == before:
            if mark in self._kept:
                self._kept.forget([mark])  # it was read once more, and came through
        elif mark not in self._kept:
            self._kept.add([mark], _now())
            if self._sweeper is not None:
                self._env.log(
                    "warning",
                    f"{self._config.name}: {shorten(one.name)} is kept, whatever retention says: of it, or of what was"
                    " read together with it, an event was refused that no dead letter holds as it was",
                )

    def _remember(self, mark: str) -> None:
        if self._fingerprints is not None:
            self._fingerprints.add([mark], _now())

    async def close(self) -> None:
        if self._store is not None:
            await self._store.close()


async def _decoded(store: Store, one: Object, config: ObjectInput) -> AsyncGenerator[bytes, None]:
    if one.size == 0:  # nothing to fetch; also the markers that consoles of clouds make for directories
        return
    chunks = store.get(one.name)
    async with contextlib.aclosing(chunks):
        if not config.preprocessors:
            async for chunk in chunks:
                yield chunk
            return
        decoder = preprocess.decoder(config.preprocessors, one.name)
        async for chunk in chunks:
            for part in decoder.feed(chunk):
                yield part
        for part in decoder.end():
            yield part


def _mark(one: Object) -> str:
    text = f"{one.name}\0{one.size}\0{one.version}"
    return hashlib.blake2b(text.encode(errors="surrogateescape"), digest_size=16).hexdigest()


def _listing(one: Object, at: float) -> Event:
    return {"name": one.name, "size": one.size, "last_modified": _iso(one.modified)}


def _iso(seconds: float) -> str:
    return clock.iso(int(seconds * clock.NANOSECONDS))


def _now() -> float:
    return clock.now_ns() / clock.NANOSECONDS


def _stamps(config: ObjectInput) -> list[tuple[Callable[[Event, object], None], Callable[[Object], object]]]:
    wanted: list[tuple[str | None, Callable[[Object], object]]] = [
        (config.object_name_field, lambda one: one.name),
        (config.last_modified_field, lambda one: _iso(one.modified)),
        (config.content_length_field, lambda one: one.size),
    ]
    return [(select.setter(select.parse(field)), value_of) for field, value_of in wanted if field is not None]


def _time_of(mode: Literal["last-modified", "none"] | NameTime) -> Callable[[Object], float | None]:
    if mode == "last-modified":
        return lambda one: one.modified
    if mode == "none":
        return lambda one: 0.0
    assert isinstance(mode, NameTime)
    layout = mode.pattern
    digits = {"%Y": r"\d{4}"} | dict.fromkeys(("%m", "%d", "%H", "%M", "%S"), r"\d{2}")
    escaped = re.sub(r"%[YmdHMS]", lambda m: digits[m[0]], re.escape(layout).replace("\\%", "%"))
    pattern = re2.compile(f"({escaped})")

    def time_in_name(one: Object) -> float | None:
        match = pattern.search(one.name)
        if match is None:
            return None
        try:
            parsed = datetime.datetime.strptime(match[1], layout)
        except ValueError:
            return None
        return parsed.replace(tzinfo=datetime.UTC).timestamp()

    return time_in_name
