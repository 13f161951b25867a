"""Which value a failure comes from: what its reason names, found again in what the job was given. Pure.

A reason names what could not be used: a path, an address, an empty `{{key}}`. Where that text stands in the document
of the job, and is what a setting came to, the setting is responsible: for sure when the reason names the value itself
and nothing else comes to it, else only probably, which is said. A plain word (`json`, `1`) is no evidence.
"""

from __future__ import annotations

import dataclasses
import posixpath
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

from core.documents import differences
from core.explain import origins
from core.explain.chain import Call
from core.explain.origins import Kind, Origin, Setting
from core.model.deployment import Job

if TYPE_CHECKING:
    from core.model.results import explaining

MOST = 3
LEAST_CHARACTERS = 3  # of a text that a longer one is believed to be made with
_WORD = re.compile(r"[\w-]*")
_KEY = re.compile(r"\{\{\s*(?:wizard\.)?([A-Za-z_][\w-]*)")


class Fault(NamedTuple):
    """Why a job failed, as it said."""

    job: str
    reason: str


class Change(NamedTuple):
    """What a setting was before its present value, and the revision that brought the present one."""

    before: Any
    before_revision: int
    revision: int


@dataclass(frozen=True, slots=True)
class Responsible:
    """A setting that jobs fail for; `place` is where its value stands in the document of the first of them."""

    setting: Setting
    jobs: tuple[str, ...]
    place: str
    sure: bool
    change: Change | None = None  # None: it has always been so, or that is not known


class _Evidence(NamedTuple):
    sure: bool
    length: int  # of the text that was found: the longest says most
    setting: Setting
    place: str


def find(
    faults: Iterable[Fault],
    jobs: Mapping[str, Job],
    origins_of: Callable[[Job], Sequence[Origin]],
    directory_of: Callable[[Job], str],
) -> list[Responsible]:
    """The settings that these failures come from, those that are sure first; none when that cannot be told.

    `directory_of` gives where relative paths of a job start ("" when that is not known).
    """
    found: dict[Setting, Responsible] = {}
    for fault in faults:
        job = jobs.get(fault.job)
        if job is None:
            continue
        for one in _best(list(_evidence(fault.reason, job, origins_of(job), directory_of(job)))):
            known = found.get(one.setting)
            if known is None:
                found[one.setting] = Responsible(one.setting, (job.name,), one.place, one.sure)
            else:
                every = tuple(dict.fromkeys((*known.jobs, job.name)))
                found[one.setting] = dataclasses.replace(known, jobs=every, sure=known.sure or one.sure)
    return sorted(found.values(), key=lambda one: not one.sure)[:MOST]


def sentence(one: Responsible) -> str:
    """What is responsible, with its value now and before."""
    setting, jobs = one.setting, ", ".join(one.jobs)
    what = {
        Kind.FIELD: f"wizard field {setting.name}",
        Kind.CONTEXT: f"context key {setting.name} ({' '.join(filter(None, (setting.level, setting.target)))})",
        Kind.WORKFLOW: f"{setting.name} of the workflow",
    }[setting.kind]
    text = f"{'Responsible' if one.sure else 'Probably responsible'} for {jobs}: {what} = {_quoted(one, setting.value)}"
    if one.change is not None:
        change = one.change
        text += f" since revision {change.revision}; {_quoted(one, change.before)} in revision {change.before_revision}"
    return f"{text}."


def to_dict(one: Responsible) -> explaining.Responsible:
    """As answers show it. What is a credential by its name is masked, and a long value cut."""
    setting, change = one.setting, one.change
    shown: explaining.Responsible = {
        "kind": setting.kind.value,
        "name": setting.name,
        "value": _short(one, setting.value),
        "sure": one.sure,
        "jobs": list(one.jobs),
        "at": one.place,
    }
    if change is not None:
        shown["before"] = _short(one, change.before)
        shown["before_revision"], shown["since_revision"] = change.before_revision, change.revision
    if setting.kind is Kind.CONTEXT:
        shown["level"], shown["target"] = setting.level, setting.target
    return shown


def calls(deployment: str, source: str, one: Responsible) -> list[Call]:
    """The call that changes just this value: to what it was before, when that is known, else to what its reader says,
    and never to what it is; none for a credential."""
    setting, change = one.setting, one.change
    value = setting.value if change is None else change.before
    another = f"<another {setting.name}>"
    if _masked(one, value) != value or setting.kind is Kind.WORKFLOW:
        return []
    if setting.kind is Kind.CONTEXT:
        place = {setting.level: setting.target} if setting.target else {}
        if not isinstance(value, str):
            return []  # a text in its place would be another kind of value
        arguments: dict[str, Any] = {**place, "values": {setting.name: value if change is not None else another}}
        return [
            Call("context_set", arguments, f"set another {setting.name} in place of this one, then plan {deployment}")
        ]
    arguments = {"name": deployment, "source": source}
    if change is not None:
        arguments["values"] = {setting.name: value}
        return [Call("deployment_plan", arguments, f"plan {setting.name} as it was")]
    return [Call("deployment_plan", arguments, f"plan with another {setting.name}: add it as values.{setting.name}")]


def _masked(one: Responsible, value: Any) -> Any:
    return differences.masked({one.setting.name: value})[one.setting.name]


def _quoted(one: Responsible, value: Any) -> str:
    return differences.quoted(_masked(one, value))


def _short(one: Responsible, value: Any) -> Any:
    """The value as it is when it is short, else its beginning as text."""
    masked, quoted = _masked(one, value), _quoted(one, value)
    return masked if len(quoted) < differences.SHOWN else quoted


def change_of(
    name: str, present: Any, earlier: Iterable[tuple[int, Mapping[str, Any]]], revision: int
) -> Change | None:
    """When a field got its present value; `earlier` are (revision, the answers then) from the newest on."""
    since = revision
    for before, values in earlier:
        if name not in values:
            return None
        if values[name] != present:
            return Change(values[name], before, since)
        since = before
    return None


def names(reason: str, value: str, directory: str = "") -> bool | None:
    """Whether a reason names a value: true for the value itself, false for what probably stems from it, else None."""
    word = _WORD.fullmatch(value) is not None
    forms = [] if word else [value]
    if value and directory and not value.startswith("/") and "://" not in value:
        forms.append(posixpath.normpath(posixpath.join(directory, value)))
    if any(_occurs(reason, form) for form in forms):
        return True
    below = any(re.search(rf"(?<![\w./~-]){re.escape(form.rstrip('/'))}/", reason) for form in forms if "/" in form)
    quoted = word and value and re.search(rf"['\"`]{re.escape(value)}['\"`]", reason)
    return False if below or quoted or any(_occurs(reason, part) for part in _parts(value)) else None


def _occurs(reason: str, text: str) -> bool:
    """Whether a text stands in a reason, and not as a part of a longer path, name or address."""
    return re.search(rf"(?<![\w./~-]){re.escape(text)}(?![\w/~-]|[.:]\w)", reason) is not None


def _parts(value: str) -> Iterator[str]:
    """What a reason may say of an address instead of the whole."""
    if "://" not in value:
        return
    try:
        address = urlsplit(value)
        site = f"{address.scheme}://{address.netloc}"
    except ValueError:
        return
    yield from (site, address.netloc)
    if address.hostname and "." in address.hostname:
        yield address.hostname


def _evidence(reason: str, job: Job, given: Sequence[Origin], directory: str) -> Iterator[_Evidence]:
    missing = set(_KEY.findall(reason))
    for origin in given:
        alone = len(origin.settings) == 1
        for setting in origin.settings:
            if setting.name in missing and setting.kind is not Kind.WORKFLOW:
                yield _Evidence(True, len(reason), setting, "")
        for place, text in origins.texts(job.document):
            if origin.text == text:
                sure = names(reason, text, directory)
            elif len(origin.text) >= LEAST_CHARACTERS and origin.text in text:
                itself = names(reason, origin.text, directory)
                sure = itself if itself is not None or names(reason, text, directory) is None else False
            else:
                continue
            if sure is not None:
                for setting in origin.settings:
                    yield _Evidence(sure and alone, len(origin.text), setting, place)


def _best(found: Sequence[_Evidence]) -> list[_Evidence]:
    """The strongest evidence for each setting, of the longest text; of two settings that fit alike none is sure."""
    if not found:
        return []
    strongest = max((one.sure, one.length) for one in found)
    chosen = {one.setting: one for one in reversed(found) if (one.sure, one.length) == strongest}
    if len(chosen) > 1:
        return [one._replace(sure=False) for one in reversed(chosen.values())]
    return list(chosen.values())
