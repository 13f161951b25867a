"""What the jobs that a plan takes away leave behind: files that they wrote, their state, streams, objects of stores."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from core import errors
from core.dsl.language import compile as compiler
from core.dsl.language import templates
from core.guard import pathrules
from core.guard.pathrules import Locator
from core.model.deployment import Job, State
from core.model.plan import Remnant
from core.model.workload import directory_name, id_of

MOST = 100
MOST_ENTRIES = 20_000  # that are measured for one plan
_REMOTE: Mapping[str, tuple[str, str]] = {  # output -> what stays, the key that names it
    "jetstream": ("stream", "stream"),
    "kafka": ("topic", "topic"),
    "s3": ("bucket", "bucket-name"),
    "gcs": ("bucket", "bucket-name"),
    "azure-blob": ("container", "container-name"),
}


class _Written(NamedTuple):
    """A place that a job writes to: the path as its document has it, and the fixed part of that on this machine."""

    text: str
    path: str


def of(state: State, gone: Iterable[str], tenant: str, files: Callable[[str], Locator], home: Path) -> list[Remnant]:
    """What stays of the jobs `gone` of a wish, each place once. `home` is that of the local workers. Blocking.

    Only what lies on this machine has a size; of a directory it is that of all that is in it.
    """
    measure = _Measure()
    found: dict[str, Remnant] = {}
    for job in (state.jobs[name] for name in gone):
        for remnant in (*_files(job, files(job.group), measure), *_state(job, tenant, home, measure), *_remote(job)):
            found.setdefault(remnant.where, remnant)
        if len(found) >= MOST:
            break
    return list(found.values())[:MOST]


def found(jobs: Iterable[Job], tenant: str, home: Path) -> list[Job]:
    """Those of the jobs of which an earlier one of the same name left its state with the local workers. Blocking."""
    return [job for job in jobs if any((home / one).is_dir() for one in _directories(job, tenant))]


def _directories(job: Job, tenant: str) -> Iterator[str]:
    """Where the replicas of a job keep what they remember, below the home."""
    for replica in range(job.replicas):
        yield f"state/{directory_name(id_of(tenant, job.name, replica))}"


def _files(job: Job, files: Locator, measure: _Measure) -> Iterator[Remnant]:
    for document in (job.document, *job.variants.values()):
        for one in _written(document, files):
            yield Remnant("files", job.name, one.text, measure.bytes(one.path) if one.path else None)


def _written(document: dict[str, object], files: Locator) -> Iterator[_Written]:
    try:
        checked = compiler.check_job(document)
    except errors.InvalidDocument:  # of an earlier version, whose components are not there: nobody knows where it wrote
        return
    for one in compiler.named_paths(checked):
        if not one.writes:
            continue
        parts = templates.parse(one.text) if one.template else [one.text]
        fixed = parts[0] if parts and isinstance(parts[0], str) else ""
        if len(parts) > 1:  # the rest is filled in at each run
            fixed = fixed.rpartition("/")[0]
        try:
            path = files.locate(fixed) if fixed and files is not pathrules.ANYWHERE else ""
        except errors.Forbidden:
            path = ""
        yield _Written(one.text if len(parts) > 1 or not path else path, path)


def _state(job: Job, tenant: str, home: Path, measure: _Measure) -> Iterator[Remnant]:
    for directory in _directories(job, tenant):
        size = measure.bytes(str(home / directory))
        if size is not None:
            yield Remnant("state", job.name, f"{directory} of the home", size)


def _remote(job: Job) -> Iterator[Remnant]:
    output = job.document.get("output")
    for name, config in output.items() if isinstance(output, dict) else ():
        if name in _REMOTE and isinstance(config, dict):
            kind, key = _REMOTE[name]
            prefix = config.get("object-name")
            below = f"/{prefix['name']}" if isinstance(prefix, dict) and prefix.get("name") else ""
            yield Remnant(kind, job.name, f"{config.get(key, name)}{below}")


class _Measure:
    """Sizes of files and directories, for as many entries as one plan may cost; links are not followed."""

    def __init__(self) -> None:
        self._left = MOST_ENTRIES

    def bytes(self, path: str) -> int | None:
        """None when there is nothing, or more than may be counted."""
        try:
            found = os.lstat(path)
        except OSError:
            return None
        if not stat.S_ISDIR(found.st_mode):
            return found.st_size
        total = 0
        for directory, _, names in os.walk(path):
            self._left -= len(names) + 1
            if self._left < 0:
                return None
            for name in names:
                try:
                    total += os.lstat(f"{directory}/{name}").st_size
                except OSError:  # it went meanwhile
                    continue
        return total
