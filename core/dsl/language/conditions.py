"""Conditions: one Lua expression over the fields of an event, as in `condition: level == "error" and status >= 500`.

A name is a field (`level`, `user.name`, `event.level`, `event["odd name"]`) unless it is called like a function or is
one of Lua's libraries. A field that is missing or null is nil. Besides Lua's own functions there are `count()`, the
number of the event in this run starting at 1, and `matches(text, pattern)` for regular expressions. A condition holds
when its value is neither nil nor false; one that fails (comparing nil with a number, say) does not hold, and
is counted.

Comparisons of fields with literals, joined by and, or, not, are compiled to Python that gives the same answer;
everything else runs in the Lua sandbox.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, WithJsonSchema

from core.dsl.component import Event, Run
from core.dsl.events import sandbox, select
from core.dsl.events.codegen import Builder
from core.dsl.events.select import MISSING, Path
from core.errors import shorten
from core.near import did_you_mean

MAX_LENGTH = 4096

_TOKEN = re.compile(
    r"""\s+|(?P<name>[A-Za-z_]\w*)|(?P<number>0[xX][0-9a-fA-F]+|(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)"""
    r"""|(?P<string>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')|(?P<op>\.\.\.?|==|~=|<=|>=|//|<<|>>|[-+*/%^#&~|<>=(){}\[\];:,.])""",
    re.ASCII,
)
_WORDS = frozenset(("and", "or", "not", "true", "false", "nil"))
_STATEMENTS = frozenset("break do else elseif end for function goto if in local repeat return then until while".split())
_CALLABLE = frozenset((*sandbox.FUNCTIONS, *sandbox.HELPERS))


LuaFault = sandbox.LuaFault


class ConditionError(Exception):
    """The condition could not be worked out for this event."""


@dataclass(frozen=True, slots=True)
class Token:
    kind: str  # name (a word of Lua or a function), field, number, string, op
    text: str
    path: Path = ()


@dataclass(frozen=True, slots=True)
class Parsed:
    """A condition with its fields found."""

    tokens: tuple[Token, ...]

    @property
    def numbered(self) -> bool:
        """Whether it asks for count()."""
        return any(token.kind == "name" and token.text == "count" for token in self.tokens)


def parse(text: str) -> Parsed:
    """Find the fields of a condition.

    Raises ValueError that says what is wrong: not one expression, an unknown function, or not Lua.
    """
    parsed = Parsed(tuple(_fields(_tokens(text))))
    source, paths = _lua(parsed)
    _CHECKER.expression(source, [f"f{n}" for n in range(len(paths))])
    return parsed


def _tokens(text: str) -> list[Token]:
    if not text.strip():
        raise ValueError("a condition cannot be empty")
    if len(text) > MAX_LENGTH:
        raise ValueError(f"a condition has at most {MAX_LENGTH} characters")
    tokens: list[Token] = []
    at = depth = 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise ValueError(f"not valid Lua at {shorten(text[at : at + 20], 24)!r}{sandbox.foreign(text[at:])}")
        kind, piece = match.lastgroup, match[0]
        at = match.end()
        if kind is None:
            continue
        if piece == "-" and tokens and tokens[-1].text == "-" and text[at - 2 : at] == "--":
            raise ValueError("a condition cannot hold a comment; use the action's description")
        if piece in ("&", "|") and text[at : at + 1] == piece:
            raise ValueError(f"not valid Lua at {shorten(text[at - 1 : at + 19], 24)!r}{sandbox.foreign(piece * 2)}")
        if piece == "==" and text[at : at + 1] == "=":
            raise ValueError(f"not valid Lua at {shorten(text[at - 2 : at + 18], 24)!r}{sandbox.foreign('===')}")
        if piece in ("=", ";") or (kind == "name" and piece in _STATEMENTS):
            hint = "write == to compare" if piece == "=" else "use the script action for statements"
            raise ValueError(f"a condition is one Lua expression, without {piece!r}; {hint}")
        if kind == "op":
            depth += (piece in "([{") - (piece in ")]}")
            if depth < 0:
                raise ValueError(f"{piece!r} closes nothing")
        tokens.append(Token(kind, piece))
    return tokens


def _fields(tokens: list[Token]) -> list[Token]:
    """Join the tokens of each field reference into one."""
    out: list[Token] = []
    at = 0
    while at < len(tokens):
        token = tokens[at]
        at += 1
        if token.kind != "name" or token.text in _WORDS or (out and out[-1].text in (".", ":")):
            out.append(token)
            continue
        following = tokens[at] if at < len(tokens) else Token("op", "")
        is_call = following.text in ("(", "{") or following.kind == "string"
        if token.text in sandbox.LIBRARIES and following.text in (".", ":"):
            out.append(token)
        elif is_call:
            if token.text not in _CALLABLE:
                guess = did_you_mean(token.text, _CALLABLE, "did you mean {}? ")
                raise ValueError(f"there is no function {token.text}; {guess}allowed: {', '.join(sorted(_CALLABLE))}")
            out.append(token)
        else:
            steps, at = _path(tokens, at)
            if at < len(tokens) and tokens[at].text == "(" and steps:
                called = ".".join((token.text, *steps))
                raise ValueError(f"there is no function {called}; allowed: {', '.join(sorted(_CALLABLE))}")
            whole = (token.text, *steps) if token.text != "event" else steps
            out.append(Token("field", token.text, tuple(whole)))
    return out


def _path(tokens: list[Token], at: int) -> tuple[list[str], int]:
    """The `.name` and `["name"]` steps from `at` on."""
    steps: list[str] = []
    while at + 1 < len(tokens):
        first, second = tokens[at], tokens[at + 1]
        if first.text == "." and second.kind == "name":
            steps.append(second.text)
            at += 2
        elif first.text == "[" and second.kind == "string" and at + 2 < len(tokens) and tokens[at + 2].text == "]":
            name = _literal(second)
            if not isinstance(name, str):
                break
            steps.append(name)
            at += 3
        else:
            break
    return steps, at


def _lua(parsed: Parsed) -> tuple[str, list[Path]]:
    """The Lua source with each field as an argument f0, f1, ... and the paths of those arguments."""
    paths: list[Path] = []
    pieces = []
    for token in parsed.tokens:
        if token.kind != "field":
            pieces.append(token.text)
            continue
        if token.path not in paths:
            paths.append(token.path)
        pieces.append(f"f{paths.index(token.path)}")
    return f"({' '.join(pieces)}) and true or false", paths


_CHECKER = sandbox.Sandbox(memory_mb=16)


Failed = Callable[[BaseException, Event, Run], bool]
"""Hears of a condition that could not be worked out for an event, and says what it counts as."""


def emit(text: str, code: Builder, failed: Failed) -> str:
    """Write the statements that work the condition out; the name of the local that holds True or False."""
    parsed = parse(text)
    holds = code.local()
    source = _Inline(parsed.tokens, code).source()
    if source in ("True", "False"):
        return source
    with code.block("try"):
        code.line(f"{holds} = {source or _emit_lua(parsed, code)}")
    with code.block(f"except {code.bind(Exception)} as error"):
        code.line(f"{holds} = {code.bind(failed)}(error, event, run)")
    return holds


def _emit_lua(parsed: Parsed, code: Builder) -> str:
    source, paths = _lua(parsed)
    if parsed.numbered:
        code.numbered = True
    call = code.lua.expression(source, [f"f{n}" for n in range(len(paths))])
    arguments = []
    scalars, convert = code.bind(frozenset((str, int, float, bool))), code.bind(code.lua.argument)
    for path in paths:
        value = code.local()
        arguments.append(f"({value} if type({value} := {_get(path, code)}) in {scalars} else {convert}({value}))")
    number = "number" if parsed.numbered else "1"
    return f"{code.bind(call)}({', '.join([number, *arguments])})"


def _get(path: Path, code: Builder) -> str:
    """An expression for a field: None or MISSING when it is not there."""
    if not path:
        return "event"
    if len(path) == 1:
        return f"event.get({code.bind(path[0])})"
    return f"{code.bind(select.getter(path))}(event)"


def _literal(token: Token) -> Any:
    """The value of a literal that Lua and Python read alike, or MISSING."""
    if token.kind == "string" and "\\" not in token.text:
        return token.text[1:-1]
    if token.kind == "number" and token.text.isdigit() and len(token.text) <= 18:
        return int(token.text)
    if token.kind == "number" and not token.text.lower().startswith("0x"):
        return float(token.text)
    return MISSING


def _mismatch(value: Any, literal: Any) -> bool:
    names = {bool: "boolean", int: "number", float: "number", str: "string"}
    left = names.get(type(value), "nil" if value is None or value is MISSING else "table")
    raise ConditionError(f"attempt to compare {left} with {names[type(literal)]}")


class _Unsupported(Exception):
    """This condition needs Lua."""


_FLIPPED = {"<": ">", ">": "<", "<=": ">=", ">=": "<=", "==": "==", "~=": "~="}


class _Inline:
    """A recursive descent over `or`, `and`, `not`, parentheses and comparisons of a field with a literal."""

    def __init__(self, tokens: tuple[Token, ...], code: Builder) -> None:
        self._tokens = tokens
        self._code = code
        self._at = 0

    def source(self) -> str | None:
        """A Python expression whose truth is that of the condition, or None when it needs Lua."""
        if len(self._tokens) > 200:
            return None
        try:
            source = self._or()
        except _Unsupported:
            return None
        return source if self._at == len(self._tokens) else None

    def _next(self) -> Token:
        return self._tokens[self._at] if self._at < len(self._tokens) else Token("end", "")

    def _take(self) -> Token:
        token = self._next()
        self._at += 1
        return token

    def _or(self) -> str:
        parts = [self._and()]
        while self._next().text == "or":
            self._at += 1
            parts.append(self._and())
        return parts[0] if len(parts) == 1 else f"({' or '.join(parts)})"

    def _and(self) -> str:
        parts = [self._not()]
        while self._next().text == "and":
            self._at += 1
            parts.append(self._not())
        return parts[0] if len(parts) == 1 else f"({' and '.join(parts)})"

    def _not(self) -> str:
        if self._next().text == "not":
            self._at += 1
            inner = self._not() if self._next().text in ("not", "(") else self._truth(self._take())
            if self._next().text not in ("", "and", "or", ")"):
                raise _Unsupported
            return f"(not {inner})"
        if self._next().text == "(":
            self._at += 1
            inner = self._or()
            if self._take().text != ")" or self._next().text not in ("", "and", "or", ")"):
                raise _Unsupported
            return inner
        return self._comparison()

    def _comparison(self) -> str:
        left = self._take()
        if self._next().text not in _FLIPPED:
            if self._next().text not in ("", "and", "or", ")"):
                raise _Unsupported
            return self._truth(left)
        operator = self._take().text
        right = self._take()
        if self._next().text not in ("", "and", "or", ")"):
            raise _Unsupported
        if left.kind == "field":
            return self._compare(left, operator, right)
        if right.kind == "field":
            return self._compare(right, _FLIPPED[operator], left)
        raise _Unsupported

    def _truth(self, token: Token) -> str:
        if token.kind == "field" and token.path:
            value = self._code.local()
            get = _get(token.path, self._code)
            missing = self._code.bind(MISSING)
            return f"(({value} := {get}) is not None and {value} is not False and {value} is not {missing})"
        if token.kind == "name" and token.text in ("true", "false", "nil"):
            return "True" if token.text == "true" else "False"
        raise _Unsupported

    def _compare(self, field: Token, operator: str, other: Token) -> str:
        if not field.path:
            raise _Unsupported
        code, get, value = self._code, _get(field.path, self._code), self._code.local()
        equal = operator in ("==", "~=")
        if other.kind == "name" and other.text in ("true", "false", "nil"):
            if not equal:
                raise _Unsupported
            if other.text == "nil":
                test = f"(({value} := {get}) is None or {value} is {code.bind(MISSING)})"
            else:
                test = f"({get} is {other.text == 'true'})"
            return test if operator == "==" else f"(not {test})"
        literal = _literal(other)
        if literal is MISSING:
            raise _Unsupported
        bound = code.bind(literal)
        if equal:
            test = f"{get} == {bound}"
            if literal in (0, 1):  # in Python True equals 1, in Lua it does not
                test = f"({value} := {get}) == {bound} and type({value}) is not {code.bind(bool)}"
            return f"({test})" if operator == "==" else f"(not ({test}))"
        wrong = f"{code.bind(_mismatch)}({value}, {bound})"
        if isinstance(literal, str):
            return f"({value} {operator} {bound} if type({value} := {get}) is str else {wrong})"
        kind = code.local()
        fits = f"({kind} := type({value} := {get})) is int or {kind} is float"
        return f"({value} {operator} {bound} if {fits} else {wrong})"


def _from_yaml(value: Any) -> Any:
    """YAML reads `condition: true` as a boolean; it means the expression."""
    return str(value).lower() if isinstance(value, bool) else value


def _check(text: str) -> str:
    parse(text)
    return text


Condition = Annotated[
    str,
    BeforeValidator(_from_yaml),
    AfterValidator(_check),
    WithJsonSchema({"type": ["string", "boolean"], "maxLength": MAX_LENGTH, "format": "lua-expression"}),
]
"""A document key that holds a condition."""
