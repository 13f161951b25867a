"""Placeholders in documents: `{{name}}` when a job is staged, `@{job}` when it is compiled, `${field}` per event.

Every family is expanded in one pass over data only: a value that looks like a placeholder is never looked at
again, and a path can reach nothing but JSON. A doubled sign (`$${`, `@@{`) writes the sign itself.
"""

from __future__ import annotations

import copy
import functools
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import orjson
from pydantic import AfterValidator

from core import pointers
from core.dsl.component import Env, Event, Run
from core.dsl.events import select, values
from core.dsl.events.codegen import Builder, Warn
from core.dsl.events.select import MISSING
from core.errors import InvalidDocument, Problem, shorten
from core.model import secret
from core.near import did_you_mean

MAX_TEXT = 64 * 1024  # characters that one template may produce
MOST_PLACEHOLDERS = 10_000  # in one text
MOST_IN_ONE_LITERAL = 100  # parts of a formatted string literal, which is the fastest; Python reads long ones slowly
MAX_STAGED = 4 * 1024 * 1024  # characters that placeholders may add to one document

Render = Callable[[Event, Run], str]

_STAGED = re.compile(r"\{\{\s*([A-Za-z_][\w-]*(?:\.[\w-]+)*)\s*\}\}")
_CONSTANTS = ("job", "worker", "tenant", "workload")
_SOURCES = ("msg", "dyn", "time", "stat", "secret", "cred")
TIMES = tuple(
    f"{which}_{form}"
    for which in ("now_time", "scheduled_time", "start_time", "end_time")
    for form in ("secs", "ms", "iso")
)
_OF_OBJECTS = ("_BATCH_NUMBER", "_BATCH_SIZE", "__SCHEMA_NUMBER")
_OF_RUNS = ("run_id", "events_in", "events_out", "errors", "bytes_in", "bytes_out")
_NAMES = {"time": TIMES, "stat": (*_OF_OBJECTS, *_OF_RUNS)}  # what these sources have
SECRET_SOURCES = ("secret", "cred")
_OPENING = re.compile(r"\$\$\{|@@\{|##\{|\$\{|@\{|#\{(?=\s*msg\|)")


class NoValue(ValueError):
    """A placeholder that has to have a value has none."""


class TextTooLong(ValueError):
    """A template produced more text than one field may hold."""


def text_of(value: Any) -> str:
    """How a value looks inside a text: strings as they are, everything else as JSON, so that `convert` can undo it."""
    return value if type(value) is str else values.to_json(value).decode()


# ---- staging -------------------------------------------------------------------------------------------------------


def stage(document: Mapping[str, Any], context: Mapping[str, Any]) -> dict[str, Any]:
    """The document with every `{{name}}` or `{{a.b}}` replaced.

    A placeholder that is the whole string keeps the type of its value; inside a longer string it becomes text. The
    document's own `context:` block gives the keys that `context` does not have, and is not part of the result.
    `{{secrets.name}}`, an older spelling, becomes `${secrets.name}`: a secret is never part of a staged document. All
    missing keys are told at once. Raises InvalidDocument.
    """
    own = document.get("context")
    body = {key: value for key, value in document.items() if key != "context"}
    return Prepared(body).fill({**own, **context} if isinstance(own, Mapping) else context)  # type: ignore[no-any-return]


class Prepared:
    """A value whose placeholders were looked for once, to be filled in often.

    What has none is shared by all results, so neither the value nor a result may be changed in place.
    """

    __slots__ = ("_hole", "_value", "names")

    def __init__(self, value: Any) -> None:
        found: set[str] = set()
        self._value = value
        self._hole = _hole(value, "", found)
        self.names = frozenset(found)  # what its placeholders begin with

    def fill(self, context: Mapping[str, Any]) -> Any:
        """The value with every placeholder replaced. Raises InvalidDocument, which names all missing ones."""
        if self._hole is None:
            return self._value
        filling = _Filling(context)
        filled = self._hole.fill(filling)
        if filling.problems:
            raise InvalidDocument(
                "The document uses names that no context gives.",
                hint="Give the value with the deployment, set it in a context (sluice context set KEY=VALUE, globally "
                "or for an environment, a group, a worker or a job), or add it to the document's context block.",
                errors=filling.problems,
            )
        return filled


@dataclass(frozen=True, slots=True)
class _Text:
    """A text with a placeholder; `whole` is the name when it is nothing else."""

    text: str
    whole: str
    pointer: str

    def fill(self, filling: _Filling) -> Any:
        if self.whole:
            return filling.value(self.whole, self.pointer)
        return _STAGED.sub(lambda match: filling.embedded(match[1], self.pointer), self.text)


@dataclass(frozen=True, slots=True)
class _Parts:
    """An object or array with placeholders below some of its keys or indices."""

    value: dict[str, Any] | list[Any]
    open: list[tuple[Any, _Text | _Parts]]

    def fill(self, filling: _Filling) -> Any:
        out: Any = self.value.copy()
        for key, inner in self.open:
            out[key] = inner.fill(filling)
        return out


def _hole(value: Any, pointer: str, names: set[str]) -> _Text | _Parts | None:
    """Where placeholders are in a value; None when there are none."""
    if isinstance(value, str):
        found = [match[1] for match in _STAGED.finditer(value)] if "{{" in value else []
        if not found:
            return None
        names.update(name.partition(".")[0] for name in found)
        whole = _STAGED.fullmatch(value)
        return _Text(value, whole[1] if whole is not None else "", pointer)
    if isinstance(value, dict):
        inside = [(key, _hole(inner, f"{pointer}/{pointers.escape(key)}", names)) for key, inner in value.items()]
    elif isinstance(value, list):
        inside = [(index, _hole(inner, f"{pointer}/{index}", names)) for index, inner in enumerate(value)]
    else:
        return None
    filled = [(key, hole) for key, hole in inside if hole is not None]
    return _Parts(value, filled) if filled else None


class _Filling:
    """One pass over the placeholders of a value."""

    def __init__(self, context: Mapping[str, Any]) -> None:
        self.context = context
        self.problems: list[Problem] = []
        self.added = 0

    def value(self, name: str, pointer: str) -> Any:
        value = self._lookup(name, pointer)
        if isinstance(value, dict | list):
            self._charge(len(orjson.dumps(value)))
            return copy.deepcopy(value)
        return value

    def embedded(self, name: str, pointer: str) -> str:
        text = text_of(self._lookup(name, pointer))
        self._charge(len(text))
        return text

    def _lookup(self, name: str, pointer: str) -> Any:
        value: Any = self.context
        steps = name.split(".")
        for step in steps:
            value = value.get(step, MISSING) if isinstance(value, Mapping) else MISSING
        if value is not MISSING:
            return value
        if steps[0] == "secrets" and len(steps) > 1 and "secrets" not in self.context:
            return f"${{{name}}}"
        guess = did_you_mean(steps[0], [key for key in self.context if key != name], "; did you mean {}?")
        self.problems.append(Problem(pointer, f"there is no value for {{{{{name}}}}}{guess}"))
        return ""

    def _charge(self, characters: int) -> None:
        self.added += characters
        if self.added > MAX_STAGED:
            raise InvalidDocument(f"The placeholders of this document add more than {MAX_STAGED} characters.")


# ---- run time ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Lookup:
    """One `${...}`: where to look, what for, and the text to use when there is nothing."""

    source: str  # "event", msg, dyn, time, stat, secret, cred
    name: str
    fallback: str | None

    def __str__(self) -> str:
        return self.name if self.source == "event" else f"{self.source}|{self.name}"


@dataclass(frozen=True, slots=True)
class Constant:
    """One `@{...}`: a fact about the workload."""

    name: str


Part = str | Lookup | Constant


def parse(text: str) -> list[Part]:
    """The parts of a template.

    Raises ValueError that says what is wrong and what is allowed.
    """
    parts: list[Part] = []
    at = 0
    while (match := _OPENING.search(text, at)) is not None:
        if len(parts) > 2 * MOST_PLACEHOLDERS:
            raise ValueError(f"a text may have at most {MOST_PLACEHOLDERS} placeholders")
        parts.append(text[at : match.start()])
        sign = match[0]
        if len(sign) == 3:
            parts.append(sign[1:])
            at = match.end()
            continue
        end = _closing(text, match.end())
        body = text[match.end() : end].strip()
        parts.append(_constant(body) if sign[0] == "@" else _expression(body))
        at = end + 1
    parts.append(text[at:])
    merged: list[Part] = []
    for part in parts:
        if isinstance(part, str) and merged and isinstance(merged[-1], str):
            merged[-1] += part
        elif part != "":
            merged.append(part)
    return merged


def _closing(text: str, at: int) -> int:
    """The place of the brace that closes; braces inside a fallback pair up."""
    depth = 1
    for match in re.compile(r"[{}]").finditer(text, at):
        depth += 1 if match[0] == "{" else -1
        if depth == 0:
            return match.start()
    raise ValueError("a placeholder is not closed; write $${ for the characters ${ themselves")


def _constant(body: str) -> Constant:
    if body not in _CONSTANTS:
        allowed = ", ".join(f"@{{{name}}}" for name in _CONSTANTS)
        raise ValueError(f"@{{{shorten(body, 40)}}} is not known; allowed: {allowed}")
    return Constant(body)


def _expression(body: str) -> Lookup:
    path, bar, fallback = body.partition("||")
    source, pipe, name = path.partition("|")
    path, source, name = path.strip(), source.strip(), name.strip()
    default = _default(fallback) if bar else None
    if not path:
        raise ValueError("${} names no field; write $${ for the characters ${ themselves")
    if not pipe:
        if path.startswith("secrets."):
            source, name = "secret", path.removeprefix("secrets.")
        else:
            select.parse(path)
            return Lookup("event", path, default)
    if source not in _SOURCES:
        guess = did_you_mean(source, _SOURCES, "did you mean ${{{}|...}}? ")
        raise ValueError(f"${{{shorten(source, 40)}|...}} is not known; {guess}allowed: " + ", ".join(_SOURCES))
    if not name:
        raise ValueError(f"${{{source}|}} names nothing")
    if source == "msg":
        select.parse(name)
    if source in _NAMES and name not in _NAMES[source]:
        guess = did_you_mean(name, _NAMES[source], "did you mean ${{" + source + "|{}}}? ")
        raise ValueError(f"${{{source}|{shorten(name, 40)}}} is not known; {guess}allowed: {', '.join(_NAMES[source])}")
    if source in SECRET_SOURCES:
        if default is not None:
            raise ValueError(f"${{{source}|...}} cannot have a fallback")
        secret.parse(source, name)
    return Lookup(source, name, default)


def _default(text: str) -> str:
    """What stands behind `||`: it is text, in which a doubled sign is one. Raises ValueError for a placeholder."""
    if any(len(sign[0].split("{")[0]) == 1 for sign in _OPENING.finditer(text)):
        raise ValueError(
            f"the default {shorten(text, 40)} has a placeholder, and a default is text as it is; "
            "write $${ for the characters ${ themselves"
        )
    return _OPENING.sub(lambda sign: sign[0][1:], text)


def check(text: str) -> str:
    """Validate a template; for document keys whose text is expanded per event."""
    parse(text)
    return text


Text = Annotated[str, AfterValidator(check)]
"""A document key whose text may hold `${...}` and `@{...}`."""


def emit(text: str, code: Builder, *, required: bool = False) -> str:
    """A Python expression for the expanded text, over `event` and what is computed once per batch.

    With `required`, a placeholder without a fallback that has no value, or an empty one, raises NoValue.
    """
    pieces = [_constant_text(part, code.env) if isinstance(part, Constant) else part for part in parse(text)]
    if not any(isinstance(piece, Lookup) for piece in pieces):
        return code.bind("".join(piece for piece in pieces if isinstance(piece, str)))
    expressions = [
        code.bind(piece) if isinstance(piece, str) else _emit_lookup(piece, code, required) for piece in pieces
    ]
    if len(expressions) == 1:
        joined = expressions[0]
    elif len(expressions) <= MOST_IN_ONE_LITERAL:
        joined = 'f"' + "".join(f"{{{e}}}" for e in expressions) + '"'
    else:
        joined = f"{code.bind(''.join)}(({', '.join(expressions)}))"
    result = code.local()
    return f"({result} if len({result} := {joined}) <= {MAX_TEXT} else {code.bind(_too_long)}())"


def _too_long() -> str:
    raise TextTooLong(f"a template produced more than {MAX_TEXT} characters")


def _constant_text(part: Constant, env: Env) -> str:
    match part.name:
        case "job":
            return env.job
        case "worker":
            return env.worker
        case "tenant":
            return env.tenant
        case _:
            return env.workload


def _emit_lookup(lookup: Lookup, code: Builder, required: bool = False) -> str:
    if lookup.source in SECRET_SOURCES:
        resolve = getattr(code.env, "secret", None)
        if resolve is None:
            raise InvalidDocument(
                f"${{{lookup}}} cannot be read: this worker has no secrets.",
                hint="Secrets are given to deployed jobs only.",
            )
        return code.hoist(f"{code.bind(resolve)}({code.bind(lookup.source)}, {code.bind(lookup.name)})")
    other = _other(lookup, code.warn, required)
    if lookup.source != "event":
        return code.hoist(f"{code.bind(other)}({code.bind(_run_getter(lookup, code.env))}(run))")
    path, value = select.parse(lookup.name), code.local()
    get = select.getter(path)
    found = f"event.get({code.bind(path[0])})" if len(path) == 1 else f"{code.bind(get)}(event)"
    holds = f" and {value}" if required else ""
    text = f"{value} if type({value} := {found}) is str{holds} else str({value}) if type({value}) is int"
    return f"({text} else {code.bind(lambda event: other(get(event)))}(event))"


def _run_getter(lookup: Lookup, env: Env) -> Callable[[Run], Any]:
    name = lookup.name
    match lookup.source:
        case "msg":
            path = select.parse(name)
            return lambda run: select.find(run.msg, path)
        case "time":
            return lambda run: run.time.get(name, MISSING)
        case "stat":
            return lambda run: run.stat.get(name, MISSING)
        case _:
            return lambda run: env.variable(name)


def _other(lookup: Lookup, warn: Warn, required: bool = False) -> Callable[[Any], str]:
    """The text for a value that is not a string: JSON, the fallback, or nothing and one warning (NoValue: required)."""
    fallback = lookup.fallback
    warned = False

    def render(value: Any) -> str:
        nonlocal warned
        nothing = value is None and (fallback is not None or lookup.source == "dyn")
        if value is MISSING or nothing or (required and (value is None or value == "")):
            if fallback is not None:
                return fallback
            if required:
                raise NoValue(f"${{{lookup}}} has no value here (give a default with ||)")
            if not warned:
                warned = True
                warn(f"${{{lookup}}} has no value here; it becomes an empty text (give a default with ||)")
            return ""
        return text_of(value)

    return render


def template(text: str, env: Env, warn: Warn | None = None, *, required: bool = False) -> Render:
    """Compile one text to a function of (event, run).

    Raises ValueError for a text that `check` refuses, InvalidDocument when it needs what this worker lacks; the
    function raises TextTooLong, and NoValue when each of its placeholders has to have a value (`required`: of a path).
    """
    made: Render = _lambda(env, warn, lambda code: emit(text, code, required=required))
    return made


def pieces(text: str, env: Env, warn: Warn | None = None) -> list[str | Render]:
    """The parts of a template one by one, for a text in which a value has to be encoded by its place.

    Raises like `template`.
    """
    return [piece(part, env, warn) for part in parse(text)]


def piece(part: Part, env: Env, warn: Warn | None = None, *, required: bool = False) -> str | Render:
    """One part of a template, as `parse` gives it. Raises like `template`, and so does the function."""
    if isinstance(part, str):
        return part
    if isinstance(part, Constant):
        return _constant_text(part, env)
    made: Render = _lambda(env, warn, functools.partial(_emit_lookup, part, required=required))
    return made


def structure(value: Any, env: Env, warn: Warn | None = None, *, required: bool = False) -> Callable[[Event, Run], Any]:
    """Compile any JSON value whose strings are templates; each call makes fresh objects and arrays.

    With `required` as `template` says it.
    """
    made: Callable[[Event, Run], Any] = _lambda(env, warn, lambda code: emit_structure(value, code, required=required))
    return made


def typed(value: Any, env: Env, warn: Warn | None = None) -> Callable[[Event, Run], Any]:
    """Like `structure`, but a text that is one placeholder and nothing else keeps the type of its value.

    What it gives may be part of the event or the message: it is to be read, not changed. Raises like `template`.
    """
    if isinstance(value, dict):
        keys = {key: typed(inner, env, warn) for key, inner in value.items()}
        return lambda event, run: {key: fill(event, run) for key, fill in keys.items()}
    if isinstance(value, list):
        items = [typed(inner, env, warn) for inner in value]
        return lambda event, run: [fill(event, run) for fill in items]
    if not isinstance(value, str):
        return lambda event, run: value
    text = template(value, env, warn)
    whole = lookup_of(value)
    if whole is None or whole.source in SECRET_SOURCES:
        return text
    field = select.getter(select.parse(whole.name)) if whole.source == "event" else None
    of_run = _run_getter(whole, env)

    def fill(event: Event, run: Run) -> Any:
        found = of_run(run) if field is None else field(event)
        nothing = found is MISSING or (found is None and (whole.fallback is not None or whole.source == "dyn"))
        return text(event, run) if nothing else found

    return fill


def reads_event(text: str) -> bool:
    """Whether a template has something of the event at hand."""
    return any(isinstance(part, Lookup) and part.source == "event" for part in parse(text))


def lookup_of(text: str) -> Lookup | None:
    """The placeholder that a text is, when it is one `${...}` and nothing else."""
    parts = parse(text)
    return parts[0] if len(parts) == 1 and isinstance(parts[0], Lookup) else None


def emit_structure(value: Any, code: Builder, *, required: bool = False) -> str:
    """Like `emit` for a JSON value with templates in its strings (keys are taken as they are)."""
    if isinstance(value, str):
        return emit(value, code, required=required)
    if isinstance(value, dict):
        parts = (f"{code.bind(key)}: {emit_structure(v, code, required=required)}" for key, v in value.items())
        return "{" + ", ".join(parts) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(emit_structure(v, code, required=required) for v in value) + "]"
    return code.bind(value)


def check_structure(value: Any) -> Any:
    """Validate every template inside a JSON value.

    Raises ValueError with the place of the first fault.
    """
    if isinstance(value, str):
        parse(value)
    elif isinstance(value, dict):
        for inner in value.values():
            check_structure(inner)
    elif isinstance(value, list):
        for inner in value:
            check_structure(inner)
    return value


Structure = Annotated[Any, AfterValidator(check_structure)]
"""A document key that holds any JSON value with templates in its strings."""


def _lambda(env: Env, warn: Warn | None, expression: Callable[[Builder], str]) -> Any:
    code = Builder(env, warn or (lambda text: env.log("warning", text)))
    body = f"    return {expression(code)}"
    return code.function("event, run", [body], "template")
