"""The exec input: the output of a command as events. It is off unless an administrator allows it."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self

from pydantic import Field, model_validator

from core.dsl.component import REGISTRY, Batch, Config, Env, Event, Run
from core.dsl.connections.retry import Retry, attempt
from core.dsl.events import select
from core.dsl.events.select import Selector
from core.dsl.inputs import command, descendants, lines
from core.dsl.language import places, templates
from core.dsl.language.duration import Duration
from core.errors import Forbidden, JobFailed, shorten
from core.guard import file_access, open_places, pathrules

MOST_STREAMED_BYTES = 1024**3  # of one run whose lines are passed on as they come
ENVIRONMENT = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8"}
# Names that make a shell, the dynamic linker or an interpreter run other code.
_CLOSED_NAMES = re.compile(
    r"LD_.*|DYLD_.*|GLIBC_TUNABLES|PATH|IFS|ENV|BASH_.*|SHELLOPTS|BASHOPTS|PS4|PROMPT_COMMAND|PYTHON.*|PERL.*|RUBY.*|"
    r"NODE_.*|JAVA_TOOL_OPTIONS|_JAVA_OPTIONS|GIT_.*|EDITOR|PAGER|SLUICE_.*"
)


class ResultFields(Config):
    """One event for each run of the command, with the parts of its result."""

    status_field: Selector | None = None
    """Put the exit status here; then a status other than 0 is no fault."""
    stdout_field: Selector | None = None
    """Put what the command wrote to its standard output here."""
    stderr_field: Selector | None = None
    """Put what the command wrote to its standard error here (the last 64 KiB)."""


class Environment(Config):
    """Variables of the command, besides a fixed PATH and LANG."""

    file: Annotated[str | None, places.READ] = None
    """A file with a line NAME=value for each variable."""
    values: templates.Text | None = None
    """A line NAME=value for each variable; `${…}` is filled in within the values."""


@REGISTRY.register("exec")
class Exec(lines.TextInput):
    """Run a command and make events of its standard output. Needs the setting `allow_exec`.

    A text runs in /bin/sh exactly as written: nothing is filled in, so no value can become a part of the command;
    values reach it through `env`. A list is a program with its arguments, without a shell; `${…}` in an argument
    stays one argument. The command runs in its own process group with a clean environment and an empty standard
    input; what it leaves running is killed when it ends. An exit status other than 0 fails the job unless
    `result.status-field` is set; lines that were passed on before stay delivered.
    """

    spellings: ClassVar = {"ignore-line-breaks": "ignore-linebreaks"}
    needs: ClassVar = ("exec",)
    connects_to: ClassVar[str] = "command"
    example: ClassVar[str] = """
name: load
input:
  exec: {command: "cat /proc/loadavg", trigger: {interval: 10s}}
output: {print: STDOUT}
"""

    command: (
        Annotated[str, Field(min_length=1)] | Annotated[tuple[templates.Text, ...], Field(min_length=1, max_length=256)]
    )
    """A text for the shell, or a list of a program and its arguments."""
    no_strip_linefeeds: bool = False
    """Keep the line breaks of a command text; otherwise they become spaces."""
    result: ResultFields | None = None
    """Make one event for each run of the command instead of one for each line."""
    env: Environment | None = None
    """Variables of the command."""
    timeout: Duration = 60.0
    """Kill the command and all it started after this time."""
    retry: Retry | None = None
    """Run it again when it fails. Its output is then passed on only when it has succeeded, and is bounded in size."""

    @model_validator(mode="after")
    def _fixed_program(self) -> Self:
        if isinstance(self.command, tuple) and any(
            isinstance(p, templates.Lookup) for p in templates.parse(self.command[0])
        ):
            raise ValueError("the program cannot come from a value; only its arguments can")
        parts = [p for text in self.command for p in templates.parse(text)] if isinstance(self.command, tuple) else []
        if any(isinstance(p, templates.Lookup) and p.source in templates.SECRET_SOURCES for p in parts):
            raise ValueError("a secret cannot be an argument, which every user of the machine can see; use env.values")
        return self

    def effect_of_reading(self) -> str:
        return ""  # whoever allows exec allows what a command does; where it is not allowed, `open` refuses

    def open(self, env: Env) -> ExecSource:
        if not env.limits.allow_exec:
            raise Forbidden(
                "the exec input is switched off on this worker",
                hint="an administrator can allow it with the setting allow_exec",
            )
        return ExecSource(self, env)


class ExecSource:
    """Starts the command at each firing and reads its output as it comes."""

    def __init__(self, config: Exec, env: Env) -> None:
        self._config = config
        self._env = env
        self._cleared = False
        self._arguments: list[tuple[Callable[[Event, Run], str], bool]] = []
        if isinstance(config.command, tuple):
            for text in config.command:
                first = templates.parse(text)[:1]
                inserted = bool(first) and isinstance(first[0], templates.Lookup)
                self._arguments.append((templates.template(text, env), inserted))
        values = config.env.values if config.env is not None else None
        self._values = [_split_variable(line, env) for line in (values or "").splitlines() if line.strip()]

    async def batches(self, run: Run) -> AsyncIterator[Batch]:
        config, limit = self._config, self._env.limits.max_line_bytes
        if config.result is not None or config.ignore_linebreaks or config.retry is not None:
            events = await attempt(config.retry, self._env, "exec", lambda: self._collect(run, limit))
            yield Batch(events, document_end=True)
            return
        running = await self._start(run)
        splitter = lines.Splitter(limit, "exec")
        passed = 0
        async with running:
            while chunk := await running.read():
                passed += len(chunk)
                run.bytes_in += len(chunk)
                if passed > MOST_STREAMED_BYTES:
                    raise JobFailed(f"exec: the command wrote more than {MOST_STREAMED_BYTES} bytes")
                if events := lines.from_lines(splitter.feed(chunk), config.json_, self._env, run, "exec"):
                    yield Batch(events)
            yield Batch(lines.from_lines(splitter.end(), config.json_, self._env, run, "exec"), document_end=True)
            running.judge(await running.end())

    async def _start(self, run: Run) -> command.Running:
        if self._arguments:
            arguments = []
            for fill, inserted in self._arguments:
                text = fill({}, run)
                if "\0" in text or (inserted and text.startswith("-")):
                    raise Forbidden(f"exec: the value {shorten(text, 60)} would be read as an option of the command")
                arguments.append(text)
        else:
            assert isinstance(self._config.command, str)
            text = self._config.command
            arguments = ["/bin/sh", "-c", text if self._config.no_strip_linefeeds else " ".join(text.splitlines())]
        directory = self._env.state_dir / "exec"
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        owner = descendants.owner(directory)
        if not self._cleared:  # a worker that was killed could not end its command, and two must not run
            self._cleared = True
            if left := await asyncio.to_thread(descendants.kill, owner):
                self._env.log("warning", f"exec: killed {left} processes that an earlier run had left")
        mark = descendants.mark(owner, self._env.state_dir.parent / f"{self._env.worker}.lock")
        files, tenant = self._env.limits.files, self._env.tenant
        places = None
        if self._env.limits.confined:
            places = open_places.of(files, [str(directory)], programs=True, tenant=tenant)
        writes = [directory]
        variables = {**ENVIRONMENT, "HOME": str(directory), "TMPDIR": str(directory), **self._variables(run)}
        if own := pathrules.FileRules(files, tenant).directory:  # only what is there can be left open to it
            file_access.make_data_directory(own)
            writes.append(Path(own))
        try:
            return await command.start(
                arguments, places, directory, {**variables, descendants.NAME: mark}, self._config.timeout, mark, writes
            )
        except OSError as error:
            raise JobFailed(f"exec: cannot start {shorten(arguments[0])}: {error.strerror or error}") from error

    async def _collect(self, run: Run, limit: int) -> list[Event]:
        config = self._config
        out = bytearray()
        async with await self._start(run) as running:
            while chunk := await running.read():
                out += chunk
                if len(out) > limit:
                    raise JobFailed(f"exec: the output is longer than the {limit} bytes that are kept in memory")
            status = await running.end()
            run.bytes_in += len(out)
            if config.result is None:
                running.judge(status)
                return lines.from_text(bytes(out), config.json_, config.ignore_linebreaks, self._env, run, "exec")
            if config.result.status_field is None:
                running.judge(status)
            return [self._result(config.result, status, bytes(out), running.stderr, run)]

    def _result(self, fields: ResultFields, status: int, out: bytes, error: bytes, run: Run) -> Event:
        text: Any = lines.decode_text(out, self._env, run, "exec")
        if self._config.json_:
            events = lines.from_text(out, True, True, self._env, run, "exec")
            text = events[0] if events and lines.RAW not in events[0] else text
        event: Event = {}
        for field, value in (
            (fields.status_field, status),
            (fields.stdout_field, text),
            (fields.stderr_field, error.decode(errors="replace")),
        ):
            if field is not None:
                select.setter(select.parse(field))(event, value)
        return event

    def _variables(self, run: Run) -> dict[str, str]:
        variables: dict[str, str] = {}
        file = self._config.env.file if self._config.env is not None else None
        if file is not None:
            fd = file_access.FileAccess(self._env.limits.files, self._env.tenant).open_read(file)
            with os.fdopen(fd, encoding="utf-8", errors="replace") as stream:
                for line in stream.read(1024 * 1024).splitlines():
                    if line.strip() and not line.lstrip().startswith("#"):
                        name, _, value = line.partition("=")
                        variables[_check_variable(name.strip())] = value
        for name, fill in self._values:
            variables[name] = fill({}, run)
        for name, value in variables.items():
            if "\0" in value:
                raise Forbidden(f"exec: the value of the variable {name} has a NUL")
        return variables

    async def close(self) -> None:
        pass


def _check_variable(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name) or _CLOSED_NAMES.fullmatch(name):
        raise Forbidden(f"exec: the variable {shorten(name, 60)} may not be set", hint="choose a name of your own")
    return name


def _split_variable(line: str, env: Env) -> tuple[str, Callable[[Event, Run], str]]:
    name, equals, value = line.partition("=")
    if not equals:
        raise Forbidden(f"exec: {shorten(line, 60)} is not NAME=value")
    return _check_variable(name.strip()), templates.template(value, env)
