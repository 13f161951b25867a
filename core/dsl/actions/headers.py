"""The header of each document that the csv action reads, also when a job resumes in the middle of one."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path
from typing import Generic, TypeVar

import orjson

from core.dsl.component import Run

T = TypeVar("T")

MOST_RUNS = 32  # of which the header is kept at the same time
MOST_DOCUMENTS = 4096  # of which the header is remembered across restarts, the latest ones
MOST_LINE_CHARACTERS = 16 * 1024  # of a header that is remembered; a longer one has to be read again


class Stream(Generic[T]):
    """What is known of one document: its header as it was written, and what was made of it."""

    __slots__ = ("document", "documents", "line", "lost", "run", "table")

    def __init__(self, run: Run) -> None:
        self.run = run
        self.documents = run.documents
        self.document = run.document
        self.line: str | None = None
        self.table: T | None = None
        self.lost = False  # it begins in the middle of a document whose header nobody remembers


class Headers(Generic[T]):
    """The streams of one action.

    A source that can resume in the middle of a document names it (`Run.document`): its header is remembered, before
    the source can have remembered any place behind it. Other documents belong to their run, which is known by its id
    (a trace shows each event with a Run of its own), one without an id by itself; runs of one job may take turns.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._runs: OrderedDict[str | int, Stream[T]] = OrderedDict()
        self._documents: OrderedDict[str, Stream[T]] = OrderedDict()
        self._remembered: OrderedDict[str, str] | None = None
        self._written = 0  # lines of the journal

    def of(self, run: Run) -> Stream[T]:
        """The stream that the events at hand belong to."""
        if run.document:
            return self._document(run)
        key = run.id or id(run)
        stream = self._runs.get(key)
        if stream is None or (not run.id and stream.run is not run):
            stream = self._runs[key] = Stream(run)
            if len(self._runs) > MOST_RUNS:
                self._runs.popitem(last=False)
        elif stream.documents != run.documents:
            stream.documents, stream.line, stream.table = run.documents, None, None
        return stream

    def _document(self, run: Run) -> Stream[T]:
        stream = self._documents.get(run.document)
        if stream is None or run.begins:
            stream = Stream(run)
            if not run.begins:
                stream.line = self._recall().get(run.document)
                stream.lost = stream.line is None
            self._documents[run.document] = stream
            if len(self._documents) > MOST_DOCUMENTS:
                self._documents.popitem(last=False)
        self._documents.move_to_end(run.document)
        return stream

    def learn(self, stream: Stream[T], line: str, table: T) -> None:
        """This line is the header of the stream."""
        stream.line, stream.table = line, table
        if not stream.document or len(line) > MOST_LINE_CHARACTERS:
            return
        known = self._recall()
        if known.get(stream.document) == line:
            return
        known[stream.document] = line
        known.move_to_end(stream.document)
        if len(known) > MOST_DOCUMENTS:
            known.popitem(last=False)
        if self._written > 2 * MOST_DOCUMENTS:
            self._rewrite(known)
        else:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with self._path.open("ab") as journal:
                journal.write(_entry(stream.document, line))
            self._written += 1

    def _recall(self) -> OrderedDict[str, str]:
        if self._remembered is None:
            self._remembered = OrderedDict()
            text = self._path.read_bytes() if self._path.exists() else b""
            for entry in text.splitlines():
                self._written += 1
                try:
                    document, line = orjson.loads(entry)
                except (orjson.JSONDecodeError, ValueError):
                    continue  # a line that a crash has cut off: its document was not accepted behind its header
                self._remembered[document] = line
                self._remembered.move_to_end(document)
            if not text.endswith(b"\n") and text:
                self._rewrite(self._remembered)  # what is appended must not continue a line that was cut off
        return self._remembered

    def _rewrite(self, known: OrderedDict[str, str]) -> None:
        temporary = self._path.with_suffix(".new")
        temporary.write_bytes(b"".join([_entry(document, line) for document, line in known.items()]))
        temporary.replace(self._path)
        self._written = len(known)


def _entry(document: str, line: str) -> bytes:
    return orjson.dumps([document, line]) + b"\n"
