"""A Lua 5.4 state for untrusted code: capped memory, a budget for each call, plain data in and out.

What makes it safe: the code's globals are an allow-list without files, processes, modules, loading, debug,
coroutines, metatables or pcall; no Python object is reachable from it; a hook ends every call that runs
long, and because nothing can catch an error, the error of the hook always arrives; the library functions that could
work long inside C, where no hook runs, are bounded by the sizes of their arguments.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from lupa import lua54

from core.dsl import patterns
from core.dsl.select import MISSING
from core.errors import shorten

MAX_INSTRUCTIONS = 5_000_000
MAX_CPU_SECONDS = 1.0
MAX_DEPTH = 64
MAX_NODES = 100_000

FUNCTIONS = ("assert", "error", "ipairs", "next", "pairs", "select", "tonumber", "tostring", "type")
LIBRARIES = ("math", "string", "table", "utf8")
HELPERS = ("count", "matches", "array")

# string.* are replaced in place, because ("x"):rep(n) finds them through the metatable of strings.
_PRELUDE = """
local py_matches, max_ticks, max_seconds, every = ...
local sethook, clock, load, setmetatable, getmetatable = debug.sethook, os.clock, load, setmetatable, getmetatable
local error, type, next, rawlen, collect = error, type, next, rawlen, collectgarbage
local calls, seen, ticks, started = 0, 0, 0, 0
sethook(function()
  if seen ~= calls then seen, ticks, started = calls, 0, clock() end
  ticks = ticks + 1
  if ticks > max_ticks or clock() - started > max_seconds then error("it runs too long", 0) end
end, "", every)

local rep, sub, find, match = string.rep, string.sub, string.find, string.match
local gmatch, gsub = string.gmatch, string.gsub
local unpack, MAX_TEXT = table.unpack, 1048576
string.dump, string.pack, string.unpack, string.packsize, table.move, math.randomseed = nil, nil, nil, nil, nil, nil
function string.rep(s, n, sep)
  local size = #s + (sep and #sep or 0)
  if n > 0 and (n > MAX_TEXT or size * n > MAX_TEXT) then error("string.rep: the text would be too long", 2) end
  return rep(s, n, sep)
end
function table.unpack(t, i, j)
  i, j = i or 1, j or rawlen(t)
  if j - i > 1000 then error("table.unpack: too many values", 2) end
  return unpack(t, i, j)
end
-- A Lua pattern backtracks inside C: its work is at most length ^ (items that repeat and have something after them).
local function bounded(s, pattern)
  if type(s) ~= "string" or type(pattern) ~= "string" then return end
  local power, at, last = 0, 1, 0
  while at <= #pattern do
    local c = sub(pattern, at, at)
    if c == "%" then
      c = sub(pattern, at + 1, at + 1)
      if c == "b" or c == "f" then power = power + 1 end
      at = at + 1
    elseif c == "*" or c == "+" or c == "-" then power, last = power + 1, at
    elseif c == "?" then power = power + 0.25
    end
    at = at + 1
    if at > 1000 then error("the pattern is too long", 3) end
  end
  if last == #pattern and last > 0 then power = power - 1 end
  if sub(pattern, 1, 1) ~= "^" then power = power + 1 end
  if #s > 1 and (#s) ^ power > 20000000 then
    error("this pattern could take too long on a text of " .. #s .. " bytes; use matches(text, pattern)", 3)
  end
end
function string.find(s, p, init, plain) if not plain then bounded(s, p) end return find(s, p, init, plain) end
function string.match(s, p, init) bounded(s, p) return match(s, p, init) end
function string.gmatch(s, p) bounded(s, p) return gmatch(s, p) end
function string.gsub(s, p, r, n) bounded(s, p) return gsub(s, p, r, n) end

local null, array, number = {}, {}, 0
local public = {
  assert = assert, error = error, ipairs = ipairs, next = next, pairs = pairs, select = select, tonumber = tonumber,
  tostring = tostring, type = type, string = string, table = table, math = math, utf8 = utf8, null = null,
  count = function() return number end,
  array = function(t) return setmetatable(t or {}, array) end,
  matches = function(text, pattern) return type(text) == "string" and py_matches(text, pattern) end,
}
local fallback = { __index = public }
local function enter(n) calls = calls + 1; number = n end

-- Each of these begins a call of its own for the hook.
local made = { null = null, collect = function() enter(0) collect() end }
function made.mark(t) enter(0) return setmetatable(t, array) end
function made.kind(t)
  enter(0)
  if t == null then return 0 elseif getmetatable(t) == array then return 1 end
  return 2
end
function made.expression(source, name)
  enter(0)
  local chunk, problem = load(source, "=" .. name, "t", setmetatable({}, fallback))
  if not chunk then return nil, problem end
  return chunk(enter)
end
function made.script(source, name)
  enter(0)
  local globals = setmetatable({}, fallback)
  local chunk, problem = load(source, "=" .. name, "t", globals)
  if not chunk then return nil, problem end
  return function(n, event)
    enter(n)
    for key in next, globals do globals[key] = nil end
    globals.event = event
    local result = chunk()
    if result == nil then return globals.event end
    return result
  end
end
return made
"""


LuaFault: type[Exception] = lua54.LuaError


class ScriptError(Exception):
    """The Lua code failed, or gave something that is not JSON."""


def _refuse_attribute(subject: Any, name: Any, setting: bool) -> Any:
    raise AttributeError("Python objects have no attributes here")


def _matches(text: str, pattern: str) -> bool:
    return patterns.compile(pattern).matches(text)


def _in_order(result: Any, event: dict[str, Any]) -> Any:
    """The fields in the order in which the event had them, new ones by name: a Lua table has no order."""
    if type(result) is not dict:
        return result
    ordered = {key: result.pop(key) for key in event if key in result}
    ordered.update(sorted(result.items()))
    return ordered


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
        every = 200
        made = self._lua.execute(_PRELUDE, _matches, instructions // every, MAX_CPU_SECONDS, every)
        self._null = made.null
        self._mark, self._kind, self._collect = made.mark, made.kind, made.collect
        self._expression, self._script = made.expression, made.script

    def expression(self, source: str, arguments: list[str]) -> Callable[..., Any]:
        """Compile an expression over named arguments; the function takes the event number and then the arguments.

        Raises ValueError for a syntax error; the function raises lua54.LuaError and the like (see `explain`).
        """
        chunk = f"local enter = ... return function({', '.join(['n', *arguments])}) enter(n) return {source} end"
        made: Callable[..., Any] = self._made(self._expression(chunk, "condition"))
        return made

    def script(self, source: str) -> Callable[[int, dict[str, Any]], Any]:
        """Compile a chunk that finds the event in the global `event` and may change, replace or return it.

        The function takes the event number and the event, and returns plain data. It raises ScriptError.
        Raises ValueError for a syntax error.
        """
        chunk = self._made(self._script(source, "script"))

        def run(number: int, event: dict[str, Any]) -> Any:
            try:
                return _in_order(self.from_lua(chunk(number, self.to_lua(event))), event)
            except (lua54.LuaError, OverflowError, UnicodeError, ValueError) as error:
                raise ScriptError(self.explain(error)) from None

        return run

    def _made(self, result: Any) -> Any:
        if isinstance(result, tuple):
            raise ValueError(f"not valid Lua: {shorten(str(result[1]), 160)}")
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

        Raises ValueError for functions, numbers that JSON lacks, arrays with holes, cycles and too much data.
        """
        return self._from_lua(value, 0, [0])

    def _from_lua(self, value: Any, depth: int, nodes: list[int]) -> Any:
        nodes[0] += 1
        if nodes[0] > MAX_NODES:
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
        pairs = list(value.items())
        if (kind == 1 or pairs) and all(type(key) is int for key, _ in pairs):
            numbered = dict(pairs)
            if sorted(numbered) != list(range(1, len(pairs) + 1)):
                raise ValueError("an array has holes; remove elements with table.remove")
            return [self._from_lua(numbered[n], depth + 1, nodes) for n in range(1, len(pairs) + 1)]
        out = {}
        for key, inner in pairs:
            if not isinstance(key, str | int | float) or isinstance(key, bool):
                raise ValueError("the name of a field must be text")
            out[str(key)] = self._from_lua(inner, depth + 1, nodes)
        return out
