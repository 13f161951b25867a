"""What a traced job would send, as values to look at: messages, what its output would be given, cut to a size. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import orjson

from core.dsl.component import Env, Event, Outgoing, Output, Run
from core.dsl.connections import http
from core.dsl.events import select
from core.dsl.language import templates
from core.dsl.language.responding import Answers
from core.dsl.outputs.respond import ANSWERED, Respond
from core.errors import SluiceError, shorten

MASK = "***"
ANSWER_BYTES = 15_000  # with the text that a door adds: below 6,000 tokens

_SECRET_NAME = re.compile(r"auth|token|secret|password|cookie|credential|(?:^|[-_])key$|api-?key|access-key", re.I)
_NOT_SHOWN = frozenset({"batch", "retry", "timeout", "input-field", "preprocessors", "insecure", "track-schema"})
_PATHS = frozenset({"path", "object-name"})  # in which a placeholder has to have a value
_TAG = frozenset({"tag"})  # of the output message, likewise
_STAT = {"_BATCH_NUMBER": 1, "_BATCH_SIZE": 1, "__SCHEMA_NUMBER": 1}  # as for the first event that is written
_LEVELS = ((50, 2000, 200), (20, 1000, 100), (10, 500, 50), (5, 300, 25), (3, 150, 12), (2, 80, 8), (1, 40, 4))
"""How an answer is made smaller: (entries of a list, characters of a text, keys of an object)."""


def message(sent: Outgoing, step: int | str) -> dict[str, Any]:
    """A message that an action or the output would send."""
    if sent.variable:
        return {"kind": "variable", "step": step, "name": sent.variable, "value": (sent.data or {}).get("value")}
    return {"kind": "message", "step": step, "type": sent.type, "tag": sent.tag, "data": sent.data}


def output(
    declared: Output, env: Env, run: Run, events: list[Event]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """(what the output would be given for each event, faults). Nothing is opened."""
    if declared.name == "discard":
        return [], []
    if isinstance(declared, Respond):
        return _answers(declared, env, run, events)
    settings = _settings(declared)
    run.stat = _STAT | run.stat
    fill = _renderer(declared.name, settings, env)
    field = getattr(declared, "input_field", None)
    get = select.getter(select.parse(field)) if field else None
    shown: list[dict[str, Any]] = []
    faults: list[dict[str, Any]] = []
    for place, event in enumerate(events):
        try:
            content: Any = event if get is None else get(event)
            if content is select.MISSING or (get is not None and content in (None, "")):
                faults.append({"step": "output", "event": place, "message": f"the event has no field {field}"})
                continue
            shown.append(_one(declared, fill(event, run), content))
        except (ValueError, SluiceError) as error:
            faults.append({"step": "output", "event": place, "message": shorten(str(error), 300)})
    return shown, faults


def _answers(
    declared: Respond, env: Env, run: Run, events: list[Event]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """(the answer to the invocation that the run was given, faults)."""
    answers, shown, faults = Answers(declared, env), list[dict[str, Any]](), list[dict[str, Any]]()
    for place, event in enumerate(events):
        try:
            answer = None if shown else answers.of(event, run)
            if answer is not None:
                shown.append(message(answer, "output"))
            elif shown:
                faults.append({"step": "output", "event": place, "message": ANSWERED})
        except ValueError as error:
            faults.append({"step": "output", "event": place, "message": shorten(str(error), 300)})
    return shown, faults


def _one(declared: Output, settings: dict[str, Any], content: Any) -> dict[str, Any]:
    if declared.name == "message":
        if variable := settings.get("set-variable-name"):
            return {"kind": "variable", "step": "output", "name": variable, "value": content}
        sent = Outgoing("user", "user-generated", settings.get("tag", ""), {"job_event": content})
        return message(sent, "output")
    return {"kind": declared.name, "step": "output", **settings, "content": content}


def _settings(declared: Output) -> dict[str, Any]:
    """What was written for the output, without what does not show in one event and with secrets hidden."""
    given: dict[str, Any] = declared.model_dump(mode="json", by_alias=True, exclude_unset=True)
    return {key: _masked(key, value) for key, value in given.items() if key not in _NOT_SHOWN}


def _masked(key: str, value: Any) -> Any:
    if _SECRET_NAME.search(key):
        return MASK
    if isinstance(value, dict):
        return {inner: _masked(inner, item) for inner, item in value.items()}
    return value


def _address(text: str, env: Env) -> Callable[[Event, Run], str]:
    """An address as the request would have it, with its values percent-encoded; a mask stays a mask."""
    render, encoded = http.url_template(text, env), quote(MASK)
    return lambda event, run: render(event, run).replace(encoded, MASK)


def _renderer(declared: str, settings: dict[str, Any], env: Env) -> Callable[[Event, Run], dict[str, Any]]:
    """A function that fills in the templates of settings; a text that is no template stays as it is."""
    filled: dict[str, Callable[[Event, Run], Any]] = {}
    for key, value in settings.items():
        try:
            required = key in (_TAG if declared == "message" else _PATHS)
            made = templates.structure(value, env, required=required)
            filled[key] = _address(value, env) if key == "url" else made
        except ValueError:
            continue

    def fill(event: Event, run: Run) -> dict[str, Any]:
        return {key: filled[key](event, run) if key in filled else value for key, value in settings.items()}

    return fill


def fit(result: dict[str, Any], limit: int = ANSWER_BYTES) -> dict[str, Any]:
    """The answer with its counts; long lists and texts are cut until it fits, and `truncated` tells of which."""
    steps = result["steps"]
    counts = {name: len(result[name]) for name in ("events_in", "steps", "events_out", "would_emit", "errors")}
    for step in steps:
        step["events_in"], step["events_out"] = len(step["before"]), len(step["after"])
    whole = {**result, "counts": counts}
    if _size(whole) <= limit:
        return whole
    for level in _LEVELS:
        cuts: set[str] = set()
        shown: dict[str, Any] = {key: _cut(value, key, level, cuts) for key, value in whole.items()}
        shown["truncated"] = sorted(cuts)
        if _size(shown) <= limit:
            return shown
    return {**shown, "steps": [], "events_in": [], "events_out": [], "would_emit": [], "errors": shown["errors"][:1]}


def _cut(value: Any, name: str, level: tuple[int, int, int], cuts: set[str]) -> Any:
    entries, characters, keys = level
    if isinstance(value, str) and len(value) > characters:
        cuts.add(name)
        return value[:characters] + "…"
    if isinstance(value, list):
        most = entries * 10 if name == "steps" else entries
        if len(value) > most:
            cuts.add(name)
        return [_cut(item, name if name != "steps" else "step", level, cuts) for item in value[:most]]
    if isinstance(value, dict):
        if len(value) > max(keys, 12 if name in ("step", "counts") else keys):
            cuts.add(name)
            value = dict(list(value.items())[:keys])
        inner = ("before", "after", "warnings")
        return {key: _cut(item, key if key in inner else name, level, cuts) for key, item in value.items()}
    return value


def _size(value: Any) -> int:
    return len(orjson.dumps(value, default=str))
