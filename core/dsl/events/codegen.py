"""Make one Python function out of small statements that components write.

Nothing that a user wrote ever becomes source text: every name, literal and closure is bound to a generated name in
the namespace of the function, and the statements mention those names only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any

from core.dsl.component import Env, Event, Run
from core.dsl.events.sandbox import Sandbox

Warn = Callable[[str], None]


_BUILTINS = {"__builtins__": {}, "len": len, "type": type, "str": str, "int": int, "float": float, "list": list}
_BUILTINS |= {"enumerate": enumerate, "zip": zip}


class Lua:
    """The one Lua state of a job, made when it is first needed."""

    def __init__(self, env: Env) -> None:
        self._env = env

    @cached_property
    def state(self) -> Sandbox:
        return Sandbox(self._env.limits.lua_memory_mb)


class Builder:
    """Collects the statements of one function and the values that they use.

    In the statements, `event` is the event at hand, `run` the firing, `number` the place of the event in the run
    (from 1; only when `numbered` is set) and `continue` drops the event. `owner` is noted beside every line, so that
    an error can be traced to the action that wrote it.
    """

    def __init__(self, env: Env, warn: Warn, lua: Lua | None = None) -> None:
        """`lua` is the state that this function shares with the others of its job."""
        self.env = env
        self.warn = warn
        self.owner = 0
        self.numbered = False
        self.slow = False  # the statements call what may take long for one event
        self.lines: list[tuple[str, int]] = []
        self.once: list[str] = []
        self.names: dict[str, Any] = dict(_BUILTINS)
        self._bound: dict[tuple[type, Any], str] = {}
        self._indent = 0
        self._lua = lua or Lua(env)

    @property
    def lua(self) -> Sandbox:
        """The one Lua state of this job; what is done in it may take long."""
        self.slow = True
        return self._lua.state

    def bind(self, value: Any) -> str:
        """The name under which the statements find this value; equal strings and integers share one."""
        shared = isinstance(value, str | int)
        key = (type(value), value) if shared else (object, len(self.names))
        if key in self._bound:
            return self._bound[key]
        name = self._bound[key] = f"k{len(self.names)}"
        self.names[name] = value
        return name

    def local(self) -> str:
        """A fresh name of a local variable."""
        name = f"v{len(self.names)}"
        self.names[name] = None  # keeps the numbering of names going
        return name

    def line(self, statement: str) -> None:
        self.lines.append(("    " * self._indent + statement, self.owner))

    @contextmanager
    def block(self, header: str) -> Iterator[None]:
        """Indent what is written inside under `header:`."""
        self.line(header + ":")
        self._indent += 1
        before = len(self.lines)
        yield
        if len(self.lines) == before:
            self.line("pass")
        self._indent -= 1

    def hoist(self, expression: str) -> str:
        """A local that holds the value of an expression over `run`, computed once per batch."""
        name = self.local()
        self.once.append(f"{name} = {expression}")
        return name

    def call(self, each: Callable[[Event, Run], Any]) -> None:
        """Write a call of a function that returns the event or None, and may take long."""
        self.slow = True
        self.line(f"event = {self.bind(each)}(event, run)")
        self.line("if event is None: continue")

    def function(self, arguments: str, body: list[str], label: str) -> Any:
        """Compile a body (already indented) after what is computed once, as a function over the bound values."""
        # Values come in as defaults of arguments: a local is read faster than a global.
        values = "".join(f", {name}={name}" for name in self.names if name.startswith("k"))
        source = "\n".join([f"def made({arguments}{values}):", *("    " + line for line in self.once), *body])
        exec(compile(source, f"<{label}>", "exec"), self.names)
        return self.names["made"]
