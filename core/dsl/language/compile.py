"""Job document in, runnable job out: validation with all faults at once, then one function per batch."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import orjson
import pydantic

from core import near, pointers
from core.documents import lint
from core.dsl.component import REGISTRY, Component, Env, Event, Input, Output, Run
from core.dsl.events.codegen import Builder, Lua
from core.dsl.language import conditions, needs, omitted, places
from core.dsl.language.action import Action, EventFault, JobAborted, WaitingAction
from core.dsl.language.course import Holds, Leg, Legs, Pass, Wait
from core.dsl.language.emit import Emit
from core.dsl.language.on_error import KEEP, OnError
from core.dsl.language.schedule import MessageFilter, Trigger
from core.dsl.language.timers import Timer
from core.errors import InvalidDocument, Problem, shorten
from core.guard import pathrules
from core.guard.pathrules import Locator
from core.model import message

Process = Callable[[list[Event], Run], list[Event]]
Where = Callable[[str], str]

KEYS = ("kind", "name", "description", "tags", "input", "actions", "output", "emit", "on-error", "context")
MAX_ACTIONS = 500
MAX_EMITS = 10
MOST_CHEAP_CHARACTERS = 2000  # of statements that are counted on to take microseconds
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:-]{0,199}")
_C = TypeVar("_C", bound=Component)


@dataclass(frozen=True)
class CheckedJob:
    """A job document whose every part has been validated."""

    name: str
    description: str
    document: dict[str, Any]
    input: Input
    actions: tuple[Action, ...]
    output: Output
    emit: tuple[Emit, ...] = ()
    on_error: OnError = KEEP


@dataclass(frozen=True)
class Step:
    """One action on its own, for a trace that shows the event before and after it."""

    index: int  # position in `actions`
    name: str  # of the action
    description: str
    process: Process


@dataclass(frozen=True)
class CompiledJob:
    """A job that is ready to run: its batches go through `legs` (core.dsl.language.course).

    A fault of one event drops that event, is counted in `run.errors` and logged, and the others go on; `run.events_out`
    is for the executor to count when the output has accepted them.
    """

    name: str
    description: str
    document: dict[str, Any]  # as staged
    input: Input
    output: Output
    legs: Legs
    steps: tuple[Step, ...]
    emit: tuple[Emit, ...] = ()
    on_error: OnError = KEEP


# ---- checking ------------------------------------------------------------------------------------------------------


def check_job(data: dict[str, Any], where: Where | None = None, files: Locator = pathrules.ANYWHERE) -> CheckedJob:
    """Validate a staged job document; `where` turns a pointer into file:line:column, `files` says what is allowed.

    Raises InvalidDocument with every fault at once.
    """
    faults = _Faults(where, files)
    meant_by: set[str] = set()  # keys that are there under another name, and so are not missing as well
    for key in data:
        if key not in KEYS:
            meant = ""
            if len(faults.problems) < lint.SUGGESTED:  # to look for what each of thousands meant takes seconds
                meant = lint.suggest(str(key), KEYS)
                meant_by.update(one for one in near.nearest(str(key), KEYS) if one not in data)
            faults.add(f"/{pointers.escape(key)}", f"unknown key {shorten(key, 60)!r}{meant}")
    if data.get("kind", "job") != "job":
        faults.add("/kind", f"expected a job, found kind {shorten(data['kind'], 60)!r}")
    name = data.get("name")
    if "name" not in meant_by and (not isinstance(name, str) or not _NAME.fullmatch(name)):
        told = "the key 'name' is missing" if name is None else f"{shorten(name, 60)!r} is not a name"
        faults.add("/name", f"{told}; use letters, digits and _ . : - (at most 200)")
    description = data.get("description") or ""
    if not isinstance(description, str):
        faults.add("/description", "must be text")
    tags = data.get("tags") or []
    if not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
        faults.add("/tags", "must be a list of texts")
    if not isinstance(data.get("context") or {}, dict):
        faults.add("/context", "must be a map of names to values")
    source = None if "input" in meant_by else faults.component("input", data.get("input"), "/input", Input)
    actions = []
    listed = data.get("actions") or []
    if not isinstance(listed, list):
        faults.add("/actions", "must be a list; each item is a map with one key, the name of the action")
    elif len(listed) > MAX_ACTIONS:
        faults.add("/actions", f"has {len(listed)} actions; at most {MAX_ACTIONS} are allowed")
    else:
        actions = [faults.component("action", item, f"/actions/{n}", Action) for n, item in enumerate(listed)]
    sink = None if "output" in meant_by else faults.component("output", data.get("output"), "/output", Output)
    emits = faults.emits(data.get("emit"))
    on_error = faults.on_error(data.get("on-error"))
    if faults.problems or source is None or sink is None:
        count = len(faults.problems)
        raise InvalidDocument(
            f"The job document has {count} {'fault' if count == 1 else 'faults'}.",
            hint="A job has name, input (one key), actions (a list, each with one key) and output (one key).",
            errors=faults.problems,
        )
    found = tuple(action for action in actions if action is not None)
    return CheckedJob(str(name), description, data, source, found, sink, emits, on_error)


def refusals(job: CheckedJob, files: Locator) -> Iterator[places.Refused]:
    """The places that a job names and may not use."""
    for pointer, component in _components(job):
        yield from places.refusals(component, files, pointer)


def named_paths(job: CheckedJob) -> Iterator[places.Named]:
    """The files and directories that a job names."""
    for pointer, component in _components(job):
        yield from places.named(component, pointer)


def needs_of(job: CheckedJob) -> Iterator[needs.Need]:
    """What a job needs opened on its worker besides files."""
    for pointer, component in _components(job):
        yield from needs.of(component, pointer)


def _components(job: CheckedJob) -> Iterator[tuple[str, Component]]:
    parts: list[tuple[str, Component]] = [("/input", job.input), ("/output", job.output)]
    parts += [(f"/actions/{index}", action) for index, action in enumerate(job.actions)]
    for pointer, component in parts:
        yield f"{pointer}/{pointers.escape(component.name)}", component


def _called(value: Any) -> str:
    """A value that has to be a map, in the words of documents."""
    return "a list" if isinstance(value, list) else f"{shorten(repr(value), 60)}"


class _Faults:
    """Collects every fault of one document."""

    def __init__(self, where: Where | None, files: Locator) -> None:
        self.problems: list[Problem] = []
        self._where = where
        self._files = files

    def add(self, pointer: str, text: str) -> None:
        self.problems.append(Problem(pointer, text, self._where(pointer) if self._where else None))

    def component(self, kind: str, value: Any, pointer: str, base: type[_C]) -> _C | None:
        """The component that a one-key map declares; None after telling what is wrong with it."""
        names = REGISTRY.names(kind)
        if value is None:
            self.add(pointer, f"the key {kind!r} is missing; it is a map with one key{lint.suggest('', names)}")
            return None
        if isinstance(value, str) and value in names:
            value = {value: None}
        if not isinstance(value, dict) or len(value) != 1:
            found = (
                f"{len(value)} keys ({', '.join(shorten(key, 40) for key in list(value)[:5])})"
                if (isinstance(value, dict))
                else _called(value)
            )
            self.add(pointer, f"must be a map with exactly one key, the name of the {kind}; found {found}")
            return None
        ((name, config),) = value.items()
        at = f"{pointer}/{pointers.escape(name)}"
        cls = REGISTRY.get(kind, name)
        if cls is None or not issubclass(cls, base):
            why = omitted.reason(str(name)) or lint.suggest(str(name), names)
            self.add(at, f"there is no {kind} {shorten(name, 60)!r}{why}")
            return None
        try:
            component = cls.model_validate({} if config is None else config)
        except pydantic.ValidationError as error:
            self.problems += lint.problems_of(error, cls, self._where, at, config)
            return None
        for refused in places.refusals(component, self._files, at):
            self.add(refused.pointer, str(refused))
        return component

    def emits(self, value: Any) -> tuple[Emit, ...]:
        """What stands under `emit`: one, or a list of them."""
        listed = value if isinstance(value, list) else [] if value is None else [value]
        if len(listed) > MAX_EMITS:
            self.add("/emit", f"has {len(listed)} entries; at most {MAX_EMITS} are allowed")
            return ()
        found = []
        for number, one in enumerate(listed):
            at = f"/emit/{number}" if isinstance(value, list) else "/emit"
            try:
                found.append(Emit.model_validate(one))
            except pydantic.ValidationError as error:
                self.problems += lint.problems_of(error, Emit, self._where, at, one)
        return tuple(found)

    def on_error(self, value: Any) -> OnError:
        """What stands under `on-error`."""
        if value is None:
            return KEEP
        try:
            return OnError.model_validate(value)
        except pydantic.ValidationError as error:
            self.problems += lint.problems_of(error, OnError, self._where, "/on-error", value)
            return KEEP


def filter_of(source: Input) -> message.Filter | None:
    """The messages that an input waits for, or None when it does not wait for messages."""
    if isinstance(source, MessageFilter):
        return source.filter()
    trigger: Trigger | None = getattr(source, "trigger", None)
    return trigger.message.filter() if trigger is not None and trigger.message is not None else None


def timer_of(source: Input) -> Timer | None:
    """The timer that an input fires by, or None when it has none."""
    trigger: Trigger | None = getattr(source, "trigger", None)
    return trigger.timer if trigger is not None else None


class Starts(NamedTuple):
    """What makes a staged job run: messages, times, or neither."""

    filter: message.Filter | None
    timer: Timer | None


def starts(document: str | bytes) -> Starts:
    """What makes a staged job (JSON text) run. Raises InvalidDocument."""
    source = check_job(orjson.loads(document)).input
    return Starts(filter_of(source), timer_of(source))


# ---- compiling -----------------------------------------------------------------------------------------------------


def compile_job(data: dict[str, Any], env: Env) -> CompiledJob:
    """Compile a staged job document for the workload that `env` stands for.

    Raises InvalidDocument, also for a document that needs what this worker lacks (secrets).
    """
    job = check_job(data)
    steps = tuple(
        Step(index, action.name, action.description, _on_demand(index, action, env))
        for index, action in enumerate(job.actions)
    )
    legs = _legs(job.actions, env)
    return CompiledJob(job.name, job.description, data, job.input, job.output, legs, steps, job.emit, job.on_error)


def legs_from(data: dict[str, Any], at: int, env: Env) -> Legs:
    """The actions of a staged document from one on, for events that are past those before it."""
    actions = check_job(data).actions[at:]
    return _legs(actions, env, at)


def _waits(action: Action) -> bool:
    return isinstance(action, WaitingAction) and action.waits


def _on_demand(index: int, action: Action, env: Env) -> Process:
    """Only a trace needs the actions one by one; nobody else pays for compiling them twice.

    One that waits is compiled in its dry form, without an effect outside.
    """
    made: list[Pass] = []

    def process(events: list[Event], run: Run) -> list[Event]:
        if not made:
            part = _Part(env, Lua(env))
            part.add(index, action)
            made.append(part.leg(numbered=part.code.numbered).through)
        first = run.events_in + 1
        run.events_in += len(events)
        return made[0](events, run, iter(range(first, first + len(events))))[0]

    return process


def _legs(actions: Sequence[Action], env: Env, first: int = 0) -> Legs:
    """The actions cut into legs: one function for a few cheap actions that follow each other; `first` numbers them.

    An action that may take long for one event ends its leg, as does one that makes several events out of one.
    """
    lua = Lua(env)
    parts: list[_Part | Wait] = []
    open_part: _Part | None = None
    for index, action in enumerate(actions, first):
        if isinstance(action, WaitingAction) and action.waits:
            open_part = None
            warn = _Warner(env, f"actions/{index} {action.name}", action.suppress_warnings)
            acting = f"/actions/{index}", action.name
            parts.append(Wait(action.open(env, warn), _holds(action, env, warn, lua), acting, action.most_at_once))
            continue
        if open_part is None:
            parts.append(open_part := _Part(env, lua))
        open_part.add(index, action)
        if open_part.slow:
            open_part = None
    numbered = any(isinstance(part, Wait) or part.code.numbered for part in parts)
    return tuple(part if isinstance(part, Wait) else part.leg(numbered) for part in parts)


def _holds(action: Action, env: Env, warn: _Warner, lua: Lua) -> Holds | None:
    """A test of the condition for every event of a batch; None when it holds for all."""
    if action.condition is None:
        return None
    code = Builder(env, warn, lua)
    code.numbered = True
    expression = conditions.emit(action.condition, code, warn.condition_failed)
    if expression == "True":
        return None
    made: Holds = code.function(
        "events, run, numbers",
        [
            "    out = []",
            "    for number, event in zip(numbers, events):",
            *("        " + text for text, _ in code.lines),
            f"        out.append(True if {expression} else False)",
            "    return out",
        ],
        "condition",
    )
    return made


class _Part:
    """Actions that become one leg."""

    def __init__(self, env: Env, lua: Lua) -> None:
        self.code = Builder(env, lambda text: None, lua)
        self._env = env
        self._names: dict[int, str] = {}
        self._splits = False

    def add(self, index: int, action: Action) -> None:
        self.code.owner, self._names[index] = index, action.name
        self.code.warn = warner = _Warner(self._env, f"actions/{index} {action.name}", action.suppress_warnings)
        _emit_action(action, self.code, warner)
        self._splits = self._splits or action.splits

    @property
    def slow(self) -> bool:
        """Whether one event may take long: it calls what may, or has very many statements."""
        return self._splits or self.code.slow or sum(len(text) for text, _ in self.code.lines) > MOST_CHEAP_CHARACTERS

    def leg(self, numbered: bool) -> Leg:
        """The function: one loop over the events. With `numbered`, what is left keeps its numbers."""
        code = self.code
        code.numbered = numbered
        body = _loop(code, self._splits)
        report = code.bind(_Reporter(self._env, self._names, lines := []))
        source = [*(text.replace("<report>", report) for text, _ in body)]
        lines += [-1] * (1 + len(code.once)) + [owner for _, owner in body]
        return Leg(code.function("events, run, numbers", source, "job"), self.slow)


def _loop(code: Builder, splits: bool) -> list[tuple[str, int]]:
    """The statements of one pass over `events`."""
    each, before, keep, after = "for event in events:", ["out = []"], ["out.append(event)"], ["return out, numbers"]
    if code.numbered:
        # The event first: when there is none any more, no number is lost.
        each = "for event, number in zip(events, numbers):"
        before.append("left = []")
        keep.append("left.append(number)")
        after = ["return out, left"]
    if splits:  # what an action that splits has left may be a list
        many = ["if type(event) is list:", "    for event in event:", *(f"        {k}" for k in keep), "    continue"]
        keep = many + keep
    aborted, error = code.bind(JobAborted), code.bind(Exception)
    out = [("    " + text, -1) for text in (*before, each, "    try:")]
    out += [("            " + text, owner) for text, owner in code.lines]
    out += [("            " + text, -1) for text in keep]
    out += [
        (f"        except {aborted}: raise", -1),
        (f"        except {error} as error: <report>(error, event, run)", -1),
    ]
    return out + [("    " + text, -1) for text in after]


def _emit_action(action: Action, code: Builder, warner: _Warner) -> None:
    if action.condition is None:
        action.emit(code)
        return
    holds = conditions.emit(action.condition, code, warner.condition_failed)
    if action.guards:
        action.emit_guarded(code, holds)
    elif holds == "True":
        action.emit(code)
    elif holds != "False":
        with code.block(f"if {holds}"):
            action.emit(code)


class _Warner:
    """Writes the warnings of one action to the log of the job: the first few, then ever fewer."""

    def __init__(self, env: Env, step: str, silent: bool) -> None:
        self._env = env
        self._step = step
        self._silent = silent
        self._count = 0

    def __call__(self, text: str) -> None:
        self._count += 1
        often = self._count & (self._count - 1) == 0  # a power of two
        if not self._silent and (self._count <= 5 or often):
            self._env.log("warning", f"{self._step}: {shorten(text, 300)}", times=self._count)

    def condition_failed(self, error: BaseException, event: Event, run: Run) -> bool:
        """A condition that cannot be worked out does not hold."""
        run.condition_failed(event)
        self(f"condition: {_plain(error)}")
        return False


class _Reporter:
    """Counts and logs the fault of one event; the line of the generated function tells which action it was."""

    def __init__(self, env: Env, names: dict[int, str], owners: list[int]) -> None:
        """`names` are those of the actions, by number."""
        self._env = env
        self._names = names
        self._owners = owners

    def __call__(self, error: Exception, event: Event, run: Run) -> None:
        line = error.__traceback__.tb_lineno if error.__traceback__ is not None else 0
        owner = self._owners[line - 1] if 0 < line <= len(self._owners) else -1
        name = self._names.get(owner, "")
        step = f"actions/{owner} {name}" if name else "actions"
        acting = (f"/actions/{owner}" if name else "/actions", name)
        run.fail(self._env, f"{step}: {_plain(error)}; the event is refused", event, acting)


def _plain(error: BaseException) -> str:
    text = str(error).split("\nstack traceback:")[0]
    if isinstance(error, EventFault | ValueError | conditions.ConditionError | conditions.LuaFault):
        return shorten(text, 300)
    return shorten(f"{type(error).__name__}: {text}", 300)
