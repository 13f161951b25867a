"""Commands made of forms: words -> arguments of the params model -> engine.call -> the answer, by its columns.

The attributes of this module are commands, named like the operations that they do; each is made when it is asked for.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from core import errors
from mcp_server.cli import arguments, codes, connect, documents, progress, render, wording
from mcp_server.cli.arguments import Argument
from mcp_server.cli.form import Form
from mcp_server.cli.forms import FORMS, PARTS

Command = Callable[..., Awaitable[int]]
_TYPES: Mapping[str, Any] = {
    "text": str,
    "whole": int,
    "number": float,
    "switch": bool,
    "texts": list[str],
    "pairs": list[str],
    "text pairs": list[str],
    "whole pairs": list[str],
    "json": str,
    "path": Path,
}
_PAIRS: Mapping[str, Callable[[Iterable[str], str], dict[str, Any]]] = {
    "pairs": documents.values,
    "text pairs": documents.texts,
    "whole pairs": documents.numbers,
}


def __getattr__(name: str) -> Command:
    if name in PARTS:
        return make(*PARTS[name])
    if name in FORMS:
        return make(name, FORMS[name])
    raise AttributeError(name)


def make(operation: str, form: Form) -> Command:
    """The command that does an operation, with a signature and help for cyclopts."""
    takes = {name: one for name, one in arguments.of(operation).items() if not form.only or name in form.only}
    signature = inspect.Signature([*_places(form, takes), *_flags(form, takes), *_switches(form), _COMMON])

    async def command(*places: Any, **flags: Any) -> int:
        typed = signature.bind(*places, **flags).arguments
        common = typed.pop("common", connect.DEFAULTS)
        return await _run(operation, form, takes, typed, common)

    command.__name__ = operation
    command.__signature__ = signature  # type: ignore[attr-defined]  # inspect reads it, and through it cyclopts
    command.__annotations__ = {name: one.annotation for name, one in signature.parameters.items()}
    return command


_COMMON = inspect.Parameter(
    "common", inspect.Parameter.KEYWORD_ONLY, annotation=connect.Common, default=connect.DEFAULTS
)


def _places(form: Form, takes: Mapping[str, Argument]) -> list[inspect.Parameter]:
    found = []
    for one in (takes[name] for name in form.places):
        kind = inspect.Parameter.VAR_POSITIONAL if one.many else inspect.Parameter.POSITIONAL_ONLY
        names = "FILE" if one.name == "document" else "KEY=VALUE" if one.pairs else None
        # What may be any text may begin with a hyphen, and a lone one is standard input.
        shown = Parameter(
            name=names, help=_help(form, one, takes), allow_leading_hyphen=one.name in ("document", "value", "values")
        )
        found.append(_parameter(form, one, kind, str if one.many else _type(form, one), shown))
    return found


def _flags(form: Form, takes: Mapping[str, Argument]) -> list[inspect.Parameter]:
    found = []
    for one in _flagged(form, takes):
        names = form.names(one.name)
        if names[0] not in ("", "--tenant"):
            shown = Parameter(
                name=[name for name in names if not name.startswith("--no-")],
                negative=[name for name in names if name.startswith("--no-")],
                help=_help(form, one, takes),
                show_default=str(one.default) if one.default and form.text(one.name) is None else False,
                allow_leading_hyphen=one.name in ("document", "file", *form.reads),
            )
            found.append(_parameter(form, one, inspect.Parameter.KEYWORD_ONLY, _type(form, one), shown))
    return found


def _flagged(form: Form, takes: Mapping[str, Argument]) -> list[Argument]:
    """What has a flag: what stands beside the arguments goes before an argument of that name."""
    beside = {one.name for one in form.beside}
    return [*(one for one in takes.values() if one.name not in {*beside, *form.places}), *form.beside]


def _switches(form: Form) -> list[inspect.Parameter]:
    return [
        inspect.Parameter(
            _variable(flag),
            inspect.Parameter.KEYWORD_ONLY,
            annotation=Annotated[bool, Parameter(name=flag, negative=switch.negative, help=switch.help)],
            default=False,
        )
        for flag, switch in form.switches.items()
    ]


def _parameter(form: Form, one: Argument, kind: Any, type: Any, shown: Parameter) -> inspect.Parameter:
    if form.needs(one) or kind is inspect.Parameter.VAR_POSITIONAL:
        return inspect.Parameter(one.name, kind, annotation=Annotated[type, shown])
    return inspect.Parameter(one.name, kind, annotation=Annotated[type | None, shown], default=None)


def _type(form: Form, one: Argument) -> Any:
    if one.name in form.reads:
        return str
    return Literal[one.choices] if one.choices else _TYPES[one.kind]


def _help(form: Form, one: Argument, takes: Mapping[str, Argument]) -> str:
    text = one.help if one in form.beside else form.text(one.name) or wording.hint(one.help)
    for name in takes:
        if "_" in name:  # no word of a sentence
            text = re.sub(rf"\b{name}\b", form.flag(name), text)
    if one.name.endswith("_seconds") and "second" not in form.flag(one.name):
        text += " In seconds."
    if one.many and one.name not in (*form.places, *form.reads):
        text += " NAME=VALUE; may be repeated." if one.pairs and "=" not in text else " May be repeated."
    return text


def _variable(flag: str) -> str:
    return flag.lstrip("-").replace("-", "_")


async def _run(
    operation: str, form: Form, takes: Mapping[str, Argument], typed: dict[str, Any], common: connect.Common
) -> int:
    beside = {one.name: typed.pop(one.name) for one in form.beside if one.name in typed}
    given, origin = _given(form, takes, typed)
    if form.makes:
        given = function(form.makes)(given, beside, common)
    if beside.get("watch"):
        return await _watch(operation, form, given, common)
    if form.does:
        return int(await function(form.does)(given, beside, common))
    with documents.named(origin) if origin else nullcontext():
        async with connect.engine(common) as engine:
            with _bar(engine, form, given, quiet=common.json):
                answer = await engine.call(operation, **given)
            declared = arguments.DECLARED.get(operation)
            if form.idle or (declared is not None and declared.of_runs):
                engine.tell_when_idle()
    if origin:
        documents.place(answer, origin)
    asked = {**beside, **given, "origin": origin}
    if common.json:
        render.json(answer, form.columns.split(" ")[0])
    elif form.shows:
        function(form.shows)(answer, asked)
    else:
        _show(form, answer)
    return codes.OK if form.fails is None else int(form.fails(answer, asked))


async def _watch(operation: str, form: Form, given: Mapping[str, Any], common: connect.Common) -> int:
    from mcp_server.cli import watching

    async with connect.engine(common, follows=True) as engine:

        async def listed() -> list[dict[str, Any]]:
            rows: list[dict[str, Any]] = (await engine.call(operation, **given))["items"]
            return rows

        return await watching.watch(engine, listed, tuple(form.columns.split()), form.empty)


def _given(form: Form, takes: Mapping[str, Argument], typed: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
    """The arguments of the call, and the name of what its document was read from. Raises InvalidParams."""
    given: dict[str, Any] = {}
    origin = ""
    piped = [name for name in ("document", *form.reads) if typed.get(name) == "-"]
    if len(piped) > 1:
        raise errors.InvalidParams(f"Only one of {' and '.join(piped)} can come from standard input.")
    for name in form.places:
        if takes[name].many and takes[name].required and not typed.get(name):
            raise errors.InvalidParams(f"Give at least one {'KEY=VALUE' if takes[name].pairs else name.upper()}.")
    for name, value in typed.items():
        if name not in takes or value is None or value == ():
            continue
        if name == "document":
            given[name], origin = documents.text(value)
        else:
            given[name] = _read(form, takes[name], value)
    for flag, switch in form.switches.items():
        on = typed.get(_variable(flag), False)
        if switch.value is not None and on:
            given[switch.argument] = switch.value
        elif switch.value is None and on == (switch.argument in given):
            raise errors.InvalidParams(f"Name the {switch.argument}, or say {flag}.")
    return given, origin or form.faults_in.format_map({**dict.fromkeys(form.places, ""), **given})


def _read(form: Form, one: Argument, value: Any) -> Any:
    """What was typed as a value of the argument."""
    flag = form.flag(one.name)
    if one.name in form.reads:
        return function(form.reads[one.name])(value, flag)
    if one.pairs:
        return _PAIRS[one.kind](value, "KEY=VALUE:" if one.name in form.places else flag)
    return list(value) if one.many else value


def _bar(engine: connect.Client, form: Form, given: Mapping[str, Any], *, quiet: bool) -> Any:
    if not form.bar:
        return nullcontext()
    work = str(given[next(form.places)])
    return progress.bar(engine, work, f"{form.bar} {work}", quiet=quiet)


def _show(form: Form, answer: dict[str, Any]) -> None:
    columns = tuple(form.columns.split())
    if "items" not in answer or isinstance(answer["items"], int):  # a number of items is a fact
        steps = [one for one in answer.get("next") or () if isinstance(one, dict) and "call" in one]
        render.facts(answer, columns or tuple(name for name in answer if name != "next" or not steps))
        render.steps(steps)
        return
    items = answer["items"]
    render.rows(
        items,
        columns or tuple(items[0] if items else ()),
        empty=wording.hint(answer.get("hint") or form.empty),
        more=answer.get("next_cursor"),
    )


@functools.cache
def function(place: str) -> Callable[..., Any]:
    """What a form names as module:function, below mcp_server.cli."""
    module, _, name = place.partition(":")
    found: Callable[..., Any] = getattr(importlib.import_module(f"mcp_server.cli.{module}"), name)
    return found
