"""The file output: events as lines of files whose names may come from the events."""

from __future__ import annotations

import asyncio
import gzip
import os
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar, Self

from pydantic import field_validator, model_validator

from core import clock, reserve
from core.dsl.component import REGISTRY, Batch, Env, Event, Output, Run
from core.dsl.events.select import Selector
from core.dsl.files import memory, threads
from core.dsl.language import places, templates
from core.dsl.outputs import content
from core.errors import Forbidden, JobFailed, shorten
from core.guard import file_access
from core.model.letter import Code

MOST_OPEN_FILES = 64
SYNC_SECONDS = 0.25  # how long a batch may wait for its fdatasync
TRICKLE_BYTES = 16 * 1024  # so little between two syncs does not wait so long: a sender may be waiting for it
SYNC_SHARE = 0.2  # of the time that may go into syncing a trickle
MOST_UNSYNCED_BYTES = 64 * 1024 * 1024

Line = tuple[Event, bytes]
Settle = Callable[[BaseException | None], None]


@REGISTRY.register("file")
class FileOutput(Output):
    """Append each event as one line to a file on the worker.

    A batch counts as delivered when fdatasync has put it on the disk: under load at most four times a second for all
    batches that wait, and after some milliseconds when little comes. When the disk is full (its last part is not for
    jobs: `disk_reserve_mb`), nothing of the batch stays in the file and the job fails; it is restarted and goes on when
    there is room. A crash may leave part of a line at the end of a file: the next append ends that line first, so it
    stays as a line of its own and its event comes again, whole. An event whose values make no allowed path, or
    one that no file can have (too long a name, the name of a directory or below a file), is counted as an error and
    left out.
    """

    scalar = "path"
    example: ClassVar[str] = """
name: to-file
input: {echo: {event: '{"day": "mon", "n": 1}', json: true}}
output:
  file: {path: "out/${day}.jsonl"}
"""

    path: places.WrittenText
    """The file; `${field}` of the event, `@{job}` and the like are filled in. It must begin with a fixed directory."""
    file_per_event: bool = False
    """Write each event to a file of its own (replacing one of that name) instead of appending."""
    compress_after: bool = False
    """When the path changes, gzip the file before it and delete the plain one; also when it changed while the job was
    not running."""
    truncate: bool = False
    """Empty a file when its path is seen for the first time in a run. A run that goes on after a crash is the same
    run: what it has written before stays."""
    input_field: Selector | None = None
    """Write only this field; an event without it is counted as an error."""

    @field_validator("path")
    @classmethod
    def _begins_fixed(cls, value: str) -> str:
        first = templates.parse(value)[:1]
        if first and isinstance(first[0], templates.Lookup):
            raise ValueError("a path begins with a fixed directory, not with a value of an event")
        return value

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.file_per_event and (self.compress_after or self.truncate):
            raise ValueError("file-per-event cannot be combined with compress-after or truncate")
        return self

    def open(self, env: Env) -> FileSink:
        return FileSink(self, env)


class FileSink:
    """Writes inline (one write for each file and batch) and syncs in a thread."""

    def __init__(self, config: FileOutput, env: Env) -> None:
        self._config = config
        self._env = env
        self._access = file_access.FileAccess(env.limits.files, env.tenant)
        self._encode = content.encoder(config.input_field, env, "file")
        self._path = templates.template(config.path, env, required=True)
        parts = templates.parse(config.path)
        self._per_event = any(isinstance(part, templates.Lookup) and part.source == "event" for part in parts)
        self._place = (
            parts[0].rpartition("/")[0] if parts and isinstance(parts[0], str) else ""
        )  # as far as it is fixed
        self._files: dict[str, int] = {}  # path -> descriptor, the one used last at the end
        self._emptied = _Emptied(env.state_dir / "emptied") if config.truncate else None
        self._current = memory.Places(env.state_dir / "file.json") if config.compress_after else None
        self._dirty: set[str] = set()
        self._unsynced: list[Settle] = []
        self._unsynced_bytes = 0
        self._sync_took = 0.0  # seconds, the last time
        self._synced_bytes = 0  # by the last sync
        self._timer: asyncio.TimerHandle | None = None
        self._lock = asyncio.Lock()  # runs of one job at the same time: opening and compressing may wait in between
        self._tasks: set[asyncio.Task[None]] = set()

    async def write(self, batch: Batch, run: Run) -> None:
        if self._config.file_per_event:
            await self._write_each(batch, run)
            return
        async with self._lock:
            if not self._per_event:
                if (path := self._path_of_all(batch.events, run)) is not None:
                    await self._append(path, self._encode(batch.events, run), run)
            else:
                groups: dict[str, list[Line]] = {}
                for event in batch.events:
                    if (path := self._path_of(event, run)) is not None:
                        groups.setdefault(path, []).extend((event, line) for line in self._encode([event], run))
                for path, lines in groups.items():
                    try:
                        await self._append(path, [line for _, line in lines], run)
                    except file_access.NAMES_REFUSED as fault:
                        self._refuse(fault, run, *(event for event, _ in lines))
            self._unsynced.append(batch.settle)
            if self._unsynced_bytes > MOST_UNSYNCED_BYTES:
                await self._sync()
            elif self._timer is None:
                self._timer = asyncio.get_running_loop().call_later(self._patience(), self._sync_later)

    def _patience(self) -> float:
        """How long to collect before the next sync: longer when much comes, or when syncing is slow here."""
        if max(self._unsynced_bytes, self._synced_bytes) > TRICKLE_BYTES:
            return SYNC_SECONDS
        return min(SYNC_SECONDS, max(0.001, self._sync_took * (1 - SYNC_SHARE) / SYNC_SHARE))

    def _path_of_all(self, events: list[Event], run: Run) -> str | None:
        """The file of a batch whose path has nothing of its events; without a value all of them are left out."""
        try:
            return self._path({}, run)
        except templates.NoValue as error:
            run.leave_out(self._env, Code.EMPTY_PLACEHOLDER, f"file: path: {error}", *events)
            return None

    def _path_of(self, event: Event, run: Run) -> str | None:
        """The file of one event; an event whose values make no allowed path is left out."""
        try:
            path = self._path(event, run)
            if "." in path[len(self._place) :].split("/"):  # it would be the directory itself
                raise Forbidden(f"the path {shorten(path)} has a `.`")
            return path if path in self._files else self._access.locate(path, write=True)
        except templates.NoValue as error:
            run.leave_out(self._env, Code.EMPTY_PLACEHOLDER, f"file: path: {error}", event)
        except (Forbidden, templates.TextTooLong) as error:
            why = error.message if isinstance(error, Forbidden) else str(error)
            run.leave_out(self._env, Code.PATH_REFUSED, f"file: {why}", event)
        return None

    def _refuse(self, fault: Forbidden | file_access.NameTaken, run: Run, *events: Event) -> None:
        """Leave out events whose values make a path that no file can have. Raises JobFailed when it is not them: when
        nothing of them is in the path, or what is fixed of it is no directory."""
        if not self._per_event:
            raise JobFailed(fault.message, hint=fault.hint) from fault
        if self._place:
            self._access.directory(self._place, create=True).close()
        run.leave_out(self._env, Code.PATH_REFUSED, f"file: {fault.message}", *events)

    async def _append(self, path: str, lines: list[bytes], run: Run) -> None:
        if not lines:
            return
        fd = self._files.get(path)
        if fd is None:
            fd = await self._open(path, run)
        elif len(self._files) > 1:
            self._files[path] = self._files.pop(path)
        data = b"\n".join([*lines, b""])
        _append_whole(fd, data, path)
        self._dirty.add(path)
        self._unsynced_bytes += len(data)
        run.bytes_out += len(data)

    async def _open(self, path: str, run: Run) -> int:
        if self._current is None and len(self._files) >= MOST_OPEN_FILES:
            await self._sync()
            os.close(self._files.pop(next(iter(self._files))))
        # A replay adds to what a run has written; it empties nothing, and ends no run.
        truncate = self._emptied is not None and not run.replay and self._emptied.is_new(path, run.id)
        fd = self._access.open_append(path, truncate=truncate)
        self._files[path] = fd
        if self._current is not None:
            await self._compress_previous(self._current, path)
        if truncate and self._emptied is not None:
            self._emptied.add(path)
        size = os.fstat(fd).st_size
        if size and os.pread(fd, 1, size - 1) != b"\n":
            file_access.write_all(fd, b"\n")
        return fd

    async def _compress_previous(self, current: memory.Places, path: str) -> None:
        """Compress the file that was written before this one, by this run or by one that a crash has ended."""
        previous = current.data.get("path")
        if isinstance(previous, str) and previous != path:
            await self._sync()
            if previous in self._files:
                os.close(self._files.pop(previous))
            try:
                await threads.whole(self._compress, previous)
            except file_access.NotThere:
                pass  # someone took it away, or it was compressed just before a crash
            except file_access.NAMES_REFUSED as fault:  # no fault of the event that is to be written
                raise JobFailed(fault.message, hint=fault.hint) from fault
        current.set("path", path, every_seconds=0.0)

    def _compress(self, path: str) -> None:
        """Replace a file by its gzip form, which is on the disk before the plain one goes."""
        full = self._access.locate(path)
        with self._access.directory(str(Path(full).parent)) as directory:
            name = Path(full).name
            fd = directory.open_read(name)
            try:
                with os.fdopen(os.dup(fd), "rb") as plain:
                    target = f"{name}.gz"
                    if directory.exists(target):
                        target = f"{name}.{clock.encode(clock.now_ns())}.gz"
                    with directory.writer(target) as out, gzip.GzipFile(fileobj=out, mode="wb", mtime=0) as packed:
                        while chunk := plain.read(1024 * 1024):
                            packed.write(chunk)
            finally:
                os.close(fd)
            directory.remove(name)
            directory.sync_names()

    async def _write_each(self, batch: Batch, run: Run) -> None:
        files: dict[str, list[Line]] = {}
        for event in batch.events:
            if (path := self._path_of(event, run)) is not None:
                files.setdefault(path, []).extend((event, data + b"\n") for data in self._encode([event], run))
        refused = await threads.whole(self._put, {path: lines[-1][1] for path, lines in files.items() if lines})
        for path, fault in refused.items():
            self._refuse(fault, run, *(event for event, _ in files[path]))
        run.bytes_out += sum(len(data) for path, lines in files.items() if path not in refused for _, data in lines)
        batch.settle(None)

    def _put(self, files: dict[str, bytes]) -> dict[str, Forbidden | file_access.NameTaken]:
        """Write them all; which cannot be there, and why."""
        by_directory: dict[str, list[tuple[str, bytes]]] = {}
        for path, data in files.items():
            head, _, name = path.rpartition("/")
            by_directory.setdefault(head or "/", []).append((name, data))
        refused: dict[str, Forbidden | file_access.NameTaken] = {}
        for head, named in by_directory.items():
            try:
                with self._access.directory(head, create=True) as directory:
                    faults = directory.write_allowed(named)
            except file_access.NAMES_REFUSED as fault:
                faults = {name: fault for name, _ in named}
            refused |= {f"{head.rstrip('/')}/{name}": fault for name, fault in faults.items()}
        return refused

    def _sync_later(self) -> asyncio.Task[None]:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        task = asyncio.get_running_loop().create_task(self._sync_now())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _sync(self) -> None:
        """Put on the disk what was written; goes on when whoever waits is ended, for batches of other runs wait too."""
        await asyncio.shield(self._sync_later())

    async def _sync_now(self) -> None:
        """Put on the disk what was written, then settle the batches that wait for it, with the error if there is one.

        Writing goes on meanwhile: the thread has its own duplicates of the descriptors, so a file that is closed or
        compressed under way is synced all the same.
        """
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        settles, self._unsynced = self._unsynced, []
        self._synced_bytes, self._unsynced_bytes = self._unsynced_bytes, 0
        dirty, self._dirty = self._dirty, set()
        fault: JobFailed | None = None
        try:
            duplicates = [os.dup(self._files[path]) for path in dirty]
            if duplicates:
                started = clock.monotonic()
                await asyncio.to_thread(_sync_and_close, duplicates)
                self._sync_took = clock.monotonic() - started
        except OSError as error:
            fault = JobFailed(f"file: cannot sync: {error.strerror}")
        for settle in settles:
            settle(fault)

    async def flush(self, run: Run) -> None:
        await self._sync()
        if self._emptied is not None and not run.replay:
            self._emptied.end()

    async def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        for fd in self._files.values():
            os.close(fd)
        self._files.clear()


class _Emptied:
    """Which files were truncated in the present run, kept until the run has ended, so that a crash does not start it
    anew: the input goes on behind what was accepted, and that must not be thrown away.
    """

    def __init__(self, journal: Path) -> None:
        self._journal = journal
        self._run = ""
        self._paths: set[str] = set()

    def is_new(self, path: str, run_id: str) -> bool:
        """Whether the run sees this path for the first time."""
        if run_id != self._run:
            self._run = run_id
            self._paths = set(self._journal.read_text().splitlines()) if self._journal.exists() else set()
        return repr(path) not in self._paths

    def add(self, path: str) -> None:
        """The file was emptied; to be called before anything is written to it."""
        self._paths.add(repr(path))  # on one line, whatever is in it
        self._journal.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self._journal.open("a") as journal:
            journal.write(f"{path!r}\n")

    def end(self) -> None:
        """The run has ended and everything of it was accepted."""
        self._journal.unlink(missing_ok=True)
        self._run = ""


def _sync_and_close(descriptors: list[int]) -> None:
    try:
        for fd in descriptors:
            os.fdatasync(fd)
    finally:
        for fd in descriptors:
            os.close(fd)


def _append_whole(fd: int, data: bytes, path: str) -> None:
    """Append all or nothing: what a full disk took of it is cut off again."""
    written = 0
    reserve.OURS.take(fd, len(data))
    try:
        written = os.write(fd, data)
        while written < len(data):
            written += os.write(fd, memoryview(data)[written:])
    except OSError as error:
        if written:
            os.ftruncate(fd, os.fstat(fd).st_size - written)
        raise JobFailed(f"cannot write {shorten(path)}: {error.strerror}") from error
