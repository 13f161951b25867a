"""A Lua 5.4 state for untrusted code: capped memory, a budget for each call, plain data in and out.

What makes it safe: the code's globals are an allow-list without files, processes, modules, loading, debug,
coroutines, metatables or pcall; no Python object is reachable from it; a hook ends every call that runs
long, and because nothing can catch an error, the error of the hook always arrives; the library functions that could
work long inside C, where no hook runs, are bounded by the sizes of their arguments (sandbox.lua).
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from lupa import lua54

from core.dsl.events import patterns
from core.dsl.events.select import MISSING
from core.errors import shorten

MAX_INSTRUCTIONS = 5_000_000
MAX_CPU_SECONDS = 1.0
MAX_DEPTH = 64
MAX_NODES = 100_000  # values of a result, and items that a function of the library goes through
MAX_STEPS = 50_000_000  # of a pattern over a text: some tenths of a second
LOOK_EVERY = 200  # instructions

# What a condition may name. The test of their costs walks all that they lead to.
FUNCTIONS = ("assert", "error", "ipairs", "next", "pairs", "select", "tonumber", "tostring", "type")
LIBRARIES = ("math", "string", "table", "utf8")
HELPERS = ("count", "matches", "array")

_INSIDE = files(__package__).joinpath("sandbox.lua").read_text(encoding="utf-8")

_LUA = {"!=": "~=", "!==": "~=", "===": "==", "&&": "and", "||": "or", "!": "not"}
_FOREIGN = re.compile(
    r"""--\[\[.*?(?:\]\]|\Z)|--[^\n]*|\[\[.*?(?:\]\]|\Z)"""
    r"""|"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'|(!==?|===|&&|\|\||!)""",
    re.DOTALL,
)

LuaFault: type[Exception] = lua54.LuaError


class ScriptError(Exception):
    """The Lua code failed, or gave something that is not JSON."""


def _refuse_attribute(subject: Any, name: Any, setting: bool) -> Any:
    raise AttributeError("Python objects have no attributes here")


def _matches(text: str, pattern: str) -> bool:
    compiled = patterns.compile(pattern)
    if not compiled.tame and len(text) * compiled.size > MAX_STEPS // 2:
        raise ValueError(f"the pattern {shorten(pattern, 60)!r} takes too long on a text of {len(text)} characters")
    return compiled.matches(text)


def _in_order(result: Any, event: dict[str, Any]) -> Any:
    """The fields in the order in which the event had them, new ones by name: a Lua table has no order."""
    if type(result) is not dict:
        return result
    ordered = {key: result.pop(key) for key in event if key in result}
    ordered.update(sorted(result.items()))
    return ordered


def foreign(source: str) -> str:
    """`; Lua writes …` for the first operator of other languages outside of texts and comments; nothing for Lua."""
    written = next((found[1] for found in _FOREIGN.finditer(source) if found[1]), None)
    return f"; Lua writes {_LUA[written]} for {written}" if written else ""


@dataclass(slots=True)
class _Room:
    """What a result may still take."""

    values: int
    text: int  # characters


class Sandbox:
    """One Lua state, for one job."""

    def __init__(self, memory_mb: int = 64, instructions: int = MAX_INSTRUCTIONS) -> None:
        self._lua = lua54.LuaRuntime(
            register_eval=False,
            register_builtins=False,
            attribute_filter=_refuse_attribute,
            unpack_returned_tuples=True,
            max_memory=memory_mb * 1024 * 1024,
        )
        made = self._lua.execute(_INSIDE, _matches, instructions, MAX_CPU_SECONDS, LOOK_EVERY, MAX_NODES, MAX_STEPS)
        self._max_text = memory_mb * 1024 * 1024
        self.functions: frozenset[str] = frozenset(made.functions)
        """What code can call, under the names that it calls it by, such as `string.find`."""
        self._null = made.null
        self._mark, self._kind, self._collect = made.mark, made.kind, made.collect
        self._expression, self._script = made.expression, made.script

    def expression(self, source: str, arguments: list[str]) -> Callable[..., Any]:
        """Compile an expression over named arguments; the function takes the event number and then the arguments.

        Raises ValueError for a syntax error; the function raises lua54.LuaError and the like (see `explain`).
        """
        chunk = f"local enter = ... return function({', '.join(['n', *arguments])}) enter(n) return {source} end"
        made: Callable[..., Any] = self._compiled(self._expression(chunk, "condition"), source)
        return made

    def script(self, source: str) -> Callable[[int, dict[str, Any]], Any]:
        """Compile a chunk that finds the event in the global `event` and may change, replace or return it.

        The function takes the event number and the event, and returns plain data. It raises ScriptError.
        Raises ValueError for a syntax error.
        """
        chunk = self._compiled(self._script(source, "script"), source)

        def run(number: int, event: dict[str, Any]) -> Any:
            try:
                return _in_order(self.from_lua(chunk(number, self.to_lua(event))), event)
            except (lua54.LuaError, OverflowError, UnicodeError, ValueError) as error:
                raise ScriptError(self.explain(error)) from None

        return run

    def _compiled(self, result: Any, source: str) -> Any:
        if isinstance(result, tuple):
            raise ValueError(f"not valid Lua: {shorten(str(result[1]), 160)}{foreign(source)}")
        return result

    def explain(self, error: BaseException) -> str:
        """One line for people about an error that a call raised."""
        if isinstance(error, lua54.LuaMemoryError):
            self._collect()
            return "Lua used more memory than it may"
        text = str(error).split("\nstack traceback:")[0]
        if text.startswith('[string "<python>"]'):  # a place in our own prelude says nothing to a reader
            text = text.split(": ", 1)[-1]
        return shorten(text or type(error).__name__, 200)

    def to_lua(self, value: Any, depth: int = 0) -> Any:
        """A Lua value: null becomes the Lua global `null`, arrays are marked so that they come back as arrays."""
        kind = type(value)
        if kind is dict:
            if depth > MAX_DEPTH:
                raise ValueError(f"the event is nested more than {MAX_DEPTH} deep")
            return self._lua.table_from({key: self.to_lua(inner, depth + 1) for key, inner in value.items()})
        if kind is list:
            if depth > MAX_DEPTH:
                raise ValueError(f"the event is nested more than {MAX_DEPTH} deep")
            return self._mark(self._lua.table_from([self.to_lua(inner, depth + 1) for inner in value]))
        return self._null if value is None else value

    def argument(self, value: Any) -> Any:
        """A Lua value for a condition: there, a field that is null or missing is nil."""
        return None if value is MISSING or value is None else self.to_lua(value)

    def from_lua(self, value: Any) -> Any:
        """Plain data from a Lua value.

        Raises ValueError for functions, numbers that JSON lacks, arrays with holes, cycles and too much data. A text
        or a table counts as often as it is found: a few that are named again and again could fill the memory.
        """
        return self._from_lua(value, 0, _Room(MAX_NODES, self._max_text))

    def _from_lua(self, value: Any, depth: int, room: _Room) -> Any:
        room.values -= 1
        if room.values < 0:
            raise ValueError(f"the result has more than {MAX_NODES} values")
        if isinstance(value, str | bool | int) or value is None:
            return value
        if isinstance(value, float):
            if not math.isfinite(value):
                raise ValueError(f"{value} is not a number in JSON")
            return value
        if lua54.lua_type(value) != "table":
            raise ValueError(f"a {lua54.lua_type(value) or 'foreign value'} is not JSON")
        kind = self._kind(value)
        if kind == 0:
            return None
        if depth > MAX_DEPTH:
            raise ValueError(f"the result is nested more than {MAX_DEPTH} deep")
        pairs, numbered = {}, True
        for key, inner in value.items():  # each is made a Python value only when it is asked for
            if type(key) is not int:
                numbered = False
                if not isinstance(key, str | float):
                    raise ValueError("the name of a field must be text")
                if type(key) is str:
                    room.text -= len(key)
            if type(inner) is str:
                room.text -= len(inner)
            pairs[key] = inner
            if len(pairs) > room.values or room.text < 0:
                much = f"{MAX_NODES} values" if room.text >= 0 else f"{self._max_text} characters"
                raise ValueError(f"the result has more than {much}")
        if numbered and (kind == 1 or pairs):
            if sorted(pairs) != list(range(1, len(pairs) + 1)):
                raise ValueError("an array has holes; remove elements with table.remove")
            return [self._from_lua(pairs[n], depth + 1, room) for n in range(1, len(pairs) + 1)]
        return {str(key): self._from_lua(inner, depth + 1, room) for key, inner in pairs.items()}
