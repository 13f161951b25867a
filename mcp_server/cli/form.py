"""The form of a command: how an operation is typed and how its answer is shown."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import KW_ONLY, dataclass, field
from types import MappingProxyType
from typing import Any, NamedTuple

from mcp_server.cli.arguments import Argument

_PLACE = re.compile(r"\{(\w+)\}")


class Switch(NamedTuple):
    """A flag without a value that gives `argument` this `value`; None leaves the argument out, which has to be said."""

    argument: str
    value: Any
    help: str
    negative: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Form:
    """One operation on the command line."""

    typed: str
    """Its words; {argument} stands where a person types the value of that argument, without a flag or behind one."""
    _: KW_ONLY
    by: str = ""
    """module:function below mcp_server.cli, when its command is written by hand."""
    does: str = ""
    """module:function(given, beside, common) that does it and returns the exit code, when that is more than to call
    and to show; `given` are the arguments of the operation."""
    about: str = ""
    """One line of help, where the summary of the operation does not say what the command does."""
    flags: Mapping[str, str] = field(default_factory=dict)
    """argument -> flag, where it is not the usual one; no flag: the argument is not for people who type."""
    only: tuple[str, ...] = ()
    """The arguments that it takes, when they are not all."""
    optional: tuple[str, ...] = ()
    """Arguments that may be left out, because something that is typed beside them stands for them."""
    texts: Mapping[str, str] = field(default_factory=dict)
    """argument -> help, where a person types something else than what the params model speaks of."""
    beside: tuple[Argument, ...] = ()
    """What is typed beside the arguments of the operation; what it means is known to `makes`, `shows` or `does`."""
    makes: str = ""
    """module:function(given, beside, common) that completes the arguments of the call with what else was typed."""
    switches: Mapping[str, Switch] = field(default_factory=dict)
    """Flags that stand for a value of an argument."""
    reads: Mapping[str, str] = field(default_factory=dict)
    """argument -> module:function that makes its value of what is typed."""
    faults_in: str = ""
    """What has the faults that the engine finds, when no file was read; {argument} is its value."""
    bar: str = ""
    """What a progress bar says in front of the first argument, whose value names the work."""
    idle: bool = False
    """Whether to say that no engine runs before what was recorded is shown, also where the registry does not say that
    it is of what runs."""
    columns: str = ""
    """The columns of a list, or the facts of one thing; all of them when left out."""
    named: bool | None = None
    """Whether -o name is for it, where it prints something else than the answer; None: as the type of that says (see
    naming)."""
    empty: str = ""
    """What stands in place of a list without rows."""
    shows: str = ""
    """module:function(answer, typed) that prints the answer for people, when columns do not do; `origin` in what was
    typed is the name of the file, or what has the faults."""
    fails: Callable[[dict[str, Any], Mapping[str, Any]], int] | None = None
    """The exit code for an answer to what was typed (see codes); True is 1."""

    @property
    def path(self) -> str:
        """The words of the command without its arguments."""
        return " ".join(word for word in self.typed.split()[:2] if word[0].isalpha() and word.islower())

    @property
    def places(self) -> Iterator[str]:
        """The arguments that are typed without a flag, in order."""
        return (name for before, name in self._typed() if not before.startswith("-"))

    def needs(self, one: Argument) -> bool:
        """Whether an argument has to be typed."""
        if one.name in self.optional:
            return False
        return one.required or one.name in (name for before, name in self._typed() if before.startswith("-"))

    def _typed(self) -> Iterator[tuple[str, str]]:
        """The arguments that are named in what is typed, each with the word before it."""
        for before, word in itertools.pairwise(self.typed.split()):
            if found := _PLACE.fullmatch(word):
                yield before, found[1]

    def text(self, argument: str) -> str | None:
        """The help of an argument that is typed otherwise; None when the params model says it."""
        return self.texts.get(argument, _TEXTS.get(argument))

    def flag(self, argument: str) -> str:
        """The flag of an argument; empty when there is none. The first one, when there are several."""
        return self.names(argument)[0]

    def names(self, argument: str) -> tuple[str, ...]:
        """All spellings of the flag of an argument."""
        told = self.flags.get(argument, _USUAL.get(argument))
        return ("--" + argument.replace("_", "-"),) if told is None else tuple(told.split(" "))


_USUAL: Mapping[str, str] = MappingProxyType(
    {
        # flags of arguments whose flag is not --argument
        "document": "--file -f",
        "draft_only": "--draft",
        "interval_seconds": "--interval",
        "labels": "--label",
        "params": "--set",
        "placement": "--place",
        "tags": "--tag",
        "tenant_id": "--tenant",  # which every command has
        "username": "--user",
        "values": "--set",
        "wait_seconds": "--wait",
        "wait_timeout_seconds": "--wait",
        "worker_group": "--group",
    }
)
_TEXTS: Mapping[str, str] = MappingProxyType(
    {
        # help of arguments that a person types otherwise
        "cursor": "Where the last page ended.",
        "document": "The document, or - for standard input.",
    }
)
