"""What is said of a line that is no command: what is wrong with it, what was probably meant, and an example.

cyclopts finds the fault; its own words for it fold names and say "requires an argument" of a file that was given.
"""

from __future__ import annotations

import shlex
from collections.abc import Collection, Sequence

import cyclopts
from cyclopts import exceptions

from core import errors, near
from mcp_server.cli import codes, examples, failures, leading, meanings


def report(
    error: cyclopts.CycloptsError, words: Sequence[str], known: Collection[str], program: str, *, as_json: bool
) -> int:
    """Print what is wrong on stderr, and return the exit code of wrong usage."""
    failures.report(explain(error, words, known, program), as_json=as_json)
    return codes.USAGE


def explain(
    error: cyclopts.CycloptsError, words: Sequence[str], known: Collection[str], program: str
) -> errors.InvalidParams:
    """The fault of a line in our words; `known` are the commands by their paths."""
    path = " ".join(error.command_chain or ())
    if isinstance(error, exceptions.UnknownCommandError):
        return _unknown(error, list(words), known, program)
    if isinstance(error, exceptions.MissingArgumentError) and error.argument is not None:
        return _missing(error, path, program)
    if isinstance(error, exceptions.UnusedCliTokensError):
        extra = " ".join(map(shlex.quote, error.unused_tokens or ()))
        return errors.InvalidParams(
            f"{_named(path)} takes no {errors.shorten(extra, 100)}.", hint=_example(path, program)
        )
    return errors.InvalidParams(errors.shorten(str(error), 400), hint=_example(path, program))


def _unknown(
    error: exceptions.UnknownCommandError, words: list[str], known: Collection[str], program: str
) -> errors.InvalidParams:
    token = (error.unused_tokens or [""])[0]
    typed = [*(error.command_chain or ()), *(error.unused_tokens or ())]
    if token.startswith("-"):
        guess = near.did_you_mean(token, [*leading.common_flags(), "--help", "--version"], "Did you mean {}? ")
        hint = f"{guess}`{program} --help` names the commands, `{program} COMMAND --help` the flags of one."
        return errors.InvalidParams(f"There is no flag {errors.shorten(token, 60)} here.", hint=hint)
    meant = [f"{program} {one}" for one in meanings.commands_for(typed, known)]
    above = " ".join(error.command_chain or ())
    every = f"`{' '.join((program, above)).rstrip()} --help` names the commands."
    hint = f"Did you mean {_listed(meant)}? {every}" if meant else every
    return errors.InvalidParams(f"There is no command {errors.shorten(f'{above} {token}'.strip(), 80)}.", hint=hint)


def _missing(error: exceptions.MissingArgumentError, path: str, program: str) -> errors.InvalidParams:
    assert error.argument is not None
    name, given = error.argument.name, [one for one in error.unused_tokens or () if not one.startswith("-")]
    if error.keyword is not None:
        return errors.InvalidParams(f"{error.keyword} needs a value.", hint=_example(path, program))
    if given and name.startswith("-"):
        short = next((one for one in error.argument.names if len(one) == 2), name)
        line = f"{program} {path} {short} {shlex.quote(errors.shorten(given[0], 100))}"
        return errors.InvalidParams(f"{_named(path)} takes what it works on with {short}.", hint=f"Write: {line}")
    return errors.InvalidParams(f"{_named(path)} needs {name}.", hint=_example(path, program))


def _example(path: str, program: str) -> str:
    """A line that works, or where the flags are."""
    lines = examples.of(path)
    return f"As in: {lines[0]}" if lines else f"See {program} {path} --help".replace("  ", " ")


def _named(path: str) -> str:
    return f"`{path}`" if path else "This"


def _listed(names: Sequence[str]) -> str:
    quoted = [f"`{name}`" for name in names]
    return " or ".join(filter(None, (", ".join(quoted[:-1]), quoted[-1])))
