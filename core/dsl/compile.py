"""Job document in, runnable job out: validation with all faults at once, then one function per batch."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import orjson
import pydantic

from core import pointers
from core.documents import lint
from core.dsl import conditions, omitted, places
from core.dsl.action import Action, EventFault, JobAborted, WaitingAction
from core.dsl.codegen import Builder
from core.dsl.component import REGISTRY, Component, Env, Event, Input, Output, Run
from core.dsl.emit import Emit
from core.dsl.filerules import Locator
from core.dsl.registry import load_components
from core.dsl.schedule import MessageFilter, Trigger
from core.dsl.stages import Holds, Stage, Stages, Wait
from core.errors import InvalidDocument, Problem, shorten
from core.model import message

Process = Callable[[list[Event], Run], list[Event]]
Where = Callable[[str], str]

KEYS = ("kind", "name", "description", "tags", "input", "actions", "output", "emit", "context")
MAX_ACTIONS = 500
MAX_EMITS = 10
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


@dataclass(frozen=True)
class Step:
    """One action on its own, for a trace that shows the event before and after it."""

    index: int  # position in `actions`
    name: str  # of the action
    description: str
    process: Process


@dataclass(frozen=True)
class CompiledJob:
    """A job that is ready to run.

    `process(events, run)` takes the events over (it changes them in place) and returns those that the output
    gets. It adds to `run.events_in` and `run.errors`; `run.events_out` is for the executor to count when the
    output has accepted them. A fault of one event drops that event, is counted and logged, and the others go on.
    It raises JobAborted when an `abort` (or an `assert` that aborts) says so.
    A job with actions that wait has `stages`, which does the same and is awaited; its `process` is the dry form,
    without an effect outside.
    """

    name: str
    description: str
    document: dict[str, Any]  # as staged
    input: Input
    output: Output
    process: Process
    steps: tuple[Step, ...]
    stages: Stages | None = None
    emit: tuple[Emit, ...] = ()


# ---- checking ------------------------------------------------------------------------------------------------------


def check_job(data: dict[str, Any], where: Where | None = None, files: Locator = places.ANYWHERE) -> CheckedJob:
    """Validate a staged job document; `where` turns a pointer into file:line:column, `files` says what is allowed.

    Raises InvalidDocument with every fault at once.
    """
    load_components()
    faults = _Faults(where, files)
    for key in data:
        if key not in KEYS:
            faults.add(f"/{pointers.escape(key)}", f"unknown key {shorten(key, 60)!r}{lint.suggest(str(key), KEYS)}")
    if data.get("kind", "job") != "job":
        faults.add("/kind", f"expected a job, found kind {shorten(data['kind'], 60)!r}")
    name = data.get("name")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
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
    source = faults.component("input", data.get("input"), "/input", Input)
    actions = []
    listed = data.get("actions") or []
    if not isinstance(listed, list):
        faults.add("/actions", "must be a list; each item is a map with one key, the name of the action")
    elif len(listed) > MAX_ACTIONS:
        faults.add("/actions", f"has {len(listed)} actions; at most {MAX_ACTIONS} are allowed")
    else:
        actions = [faults.component("action", item, f"/actions/{n}", Action) for n, item in enumerate(listed)]
    sink = faults.component("output", data.get("output"), "/output", Output)
    emits = faults.emits(data.get("emit"))
    if faults.problems or source is None or sink is None:
        count = len(faults.problems)
        raise InvalidDocument(
            f"The job document has {count} {'fault' if count == 1 else 'faults'}.",
            hint="A job has name, input (one key), actions (a list, each with one key) and output (one key).",
            errors=faults.problems,
        )
    found = tuple(action for action in actions if action is not None)
    return CheckedJob(str(name), description, data, source, found, sink, emits)


def refusals(job: CheckedJob, files: Locator) -> Iterator[places.Refused]:
    """The places that a job names and may not use."""
    parts: list[tuple[str, Component]] = [("/input", job.input), ("/output", job.output)]
    parts += [(f"/actions/{index}", action) for index, action in enumerate(job.actions)]
    for pointer, component in parts:
        yield from places.refusals(component, files, f"{pointer}/{pointers.escape(component.name)}")


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
                else type(value).__name__
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


def filter_of(source: Input) -> message.Filter | None:
    """The messages that an input waits for, or None when it does not wait for messages."""
    if isinstance(source, MessageFilter):
        return source.filter()
    trigger: Trigger | None = getattr(source, "trigger", None)
    return trigger.message.filter() if trigger is not None and trigger.message is not None else None


def message_filter(document: str | bytes) -> message.Filter | None:
    """The messages that a staged job (JSON text) waits for, or None when it does not wait for messages."""
    return filter_of(check_job(orjson.loads(document)).input)


# ---- compiling -----------------------------------------------------------------------------------------------------


def compile_job(data: dict[str, Any], env: Env) -> CompiledJob:
    """Compile a staged job document for the workload that `env` stands for.

    Raises InvalidDocument, also for a document that needs what this worker lacks (secrets).
    """
    job = check_job(data)
    steps = tuple(
        Step(index, action.name, action.description, _on_demand([(index, action)], env))
        for index, action in enumerate(job.actions)
    )
    actions = list(enumerate(job.actions))
    if any(map(_waits, job.actions)):
        process, stages = _on_demand(actions, env), _stages(actions, env)
    else:
        process, stages = generate(actions, env), None
    return CompiledJob(job.name, job.description, data, job.input, job.output, process, steps, stages, job.emit)


def _waits(action: Action) -> bool:
    return isinstance(action, WaitingAction) and action.waits


def _stages(actions: list[tuple[int, Action]], env: Env) -> Stages:
    """The actions cut at those that wait: one function for each run of others between them."""
    parts: list[Stage | Wait] = []
    between: list[tuple[int, Action]] = []
    for index, action in [*actions, (-1, None)]:
        if action is not None and not _waits(action):
            between.append((index, action))
            continue
        if between:
            parts.append(generate(between, env, staged=True))
            between = []
        if isinstance(action, WaitingAction):
            warn = _Warner(env, f"actions/{index} {action.name}", action.suppress_warnings)
            parts.append(Wait(action.open(env, warn), _holds(action, env, warn)))
    return Stages(parts)


def _holds(action: Action, env: Env, warn: _Warner) -> Holds | None:
    """A test of the condition for every event of a batch; None when it holds for all."""
    if action.condition is None:
        return None
    code = Builder(env, warn)
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


def _on_demand(actions: list[tuple[int, Action]], env: Env) -> Process:
    """Only a trace needs the actions one by one; nobody else pays for compiling them twice."""
    made: list[Process] = []

    def process(events: list[Event], run: Run) -> list[Event]:
        if not made:
            made.append(generate(actions, env))
        return made[0](events, run)

    return process


def generate(actions: Sequence[tuple[int, Action]], env: Env, staged: bool = False) -> Any:
    """One function (a Process) that takes a batch through all the actions, event by event.

    An action that splits ends a loop; the next loop goes over what the first one left. With `staged` the function is
    a Stage: it is given the numbers of its events and returns those of what it leaves, and does not count them.
    """
    if not actions:
        return _count
    code = Builder(env, lambda text: None)
    code.numbered = staged
    splits: list[int] = []  # numbers of lines after which a new loop begins
    for index, action in actions:
        code.owner = index
        code.warn = warner = _Warner(env, f"actions/{index} {action.name}", action.suppress_warnings)
        _emit_action(action, code, warner)
        if action.splits:
            splits.append(len(code.lines))
    ends = [*splits, len(code.lines)] if not splits or splits[-1] != len(code.lines) else splits
    body: list[tuple[str, int]] = []
    start = 0
    for loop, end in enumerate(ends):
        body += _loop(code, code.lines[start:end], first=loop == 0 and not staged, several=staged or bool(splits))
        start = end
    report = code.bind(_Reporter(env, {i: f"actions/{i} {a.name}" for i, a in actions}, lines := []))
    head = ["    first = run.events_in + 1"] if code.numbered and not staged else []
    head += [] if staged else ["    run.events_in += len(events)"]
    result = "    return events, numbers" if staged else "    return events"
    source = [*head, *(text.replace("<report>", report) for text, _ in body), result]
    lines += [-1] * (1 + len(code.once) + len(head)) + [owner for _, owner in body]
    return code.function("events, run, numbers" if staged else "events, run", source, "job")


def _count(events: list[Event], run: Run) -> list[Event]:
    run.events_in += len(events)
    return events


def _loop(code: Builder, lines: list[tuple[str, int]], first: bool, several: bool) -> list[tuple[str, int]]:
    """The statements of one pass over `events`, which leaves its result in `events` again."""
    numbers = code.numbered and several
    each = "for event in events:"
    if code.numbered:
        each = f"for number, event in {'enumerate(events, first)' if first else 'zip(numbers, events)'}:"
    before = ["out = []"]
    keep = ["out.append(event)"]
    after = ["events = out"]
    if numbers:
        before.append("left = []")
        keep.append("left.append(number)")
        after.append("numbers = left")
    if several:  # what an action that splits has left may be a list
        many = ["if type(event) is list:", "    for event in event:", *(f"        {k}" for k in keep), "    continue"]
        keep = many + keep
    aborted, error = code.bind(JobAborted), code.bind(Exception)
    out = [("    " + text, -1) for text in (*before, each, "    try:")]
    out += [("            " + text, owner) for text, owner in lines]
    out += [("            " + text, -1) for text in keep]
    out += [
        (f"        except {aborted}: raise", -1),
        (f"        except {error} as error: <report>(error, run)", -1),
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

    def condition_failed(self, error: BaseException) -> bool:
        """A condition that cannot be worked out does not hold."""
        self(f"condition: {_plain(error)}")
        return False


class _Reporter:
    """Counts and logs the fault of one event; the line of the generated function tells which action it was."""

    def __init__(self, env: Env, steps: dict[int, str], owners: list[int]) -> None:
        self._env = env
        self._steps = steps
        self._owners = owners

    def __call__(self, error: Exception, run: Run) -> None:
        line = error.__traceback__.tb_lineno if error.__traceback__ is not None else 0
        owner = self._owners[line - 1] if 0 < line <= len(self._owners) else -1
        step = self._steps.get(owner, "actions")
        run.refuse(self._env, f"{step}: {_plain(error)}; the event is dropped")


def _plain(error: BaseException) -> str:
    text = str(error).split("\nstack traceback:")[0]
    if isinstance(error, EventFault | ValueError | conditions.ConditionError | conditions.LuaFault):
        return shorten(text, 300)
    return shorten(f"{type(error).__name__}: {text}", 300)
