"""What one eye reads in an answer, and which facts of a call it cannot know from there. Pure."""

from __future__ import annotations

import enum
import re
from collections.abc import Iterator, Mapping
from typing import Any

import orjson

WORD = re.compile(r"[A-Za-z0-9_-]{4,}(?:@[0-9.]+)?")
FEW = 3  # what has at most so many characters is found everywhere


class Eye(enum.StrEnum):
    """What of an answer a host gives its model."""

    TEXT = "text"
    STRUCTURE = "structure"

    def reads(self, content: list[str], structure: Any) -> str:
        """What the model gets; its length is what the answer costs."""
        return "\n".join(content) if self is Eye.TEXT else orjson.dumps(structure).decode()

    def knows(self, content: list[str], structure: Any) -> str:
        """The same to look facts up in: of a structure its keys and values, a line each, as they are."""
        return "\n".join(content) if self is Eye.TEXT else "\n".join(leaves(structure, keys=True))

    def find(self, content: list[str], structure: Any, path: str, pattern: str) -> Any:
        """A fact: by the pattern in the text (its first group, or all of it), by the path in the structure."""
        if self is Eye.STRUCTURE:
            return at(structure, path)
        found = re.search(pattern, "\n".join(content), re.MULTILINE)
        assert found is not None, f"the text has no {pattern!r}:\n" + "\n".join(content)
        return found[found.lastindex or 0]


def at(structure: Any, path: str) -> Any:
    """What is at a path such as `items.slug=mine.version`, `next.0.arguments` or `text`."""
    here = structure
    for part in path.split("."):
        try:
            if isinstance(here, list):
                key, is_row, value = part.partition("=")
                here = next(row for row in here if str(row[key]) == value) if is_row else here[int(part)]
            else:
                here = here[part]
        except (KeyError, IndexError, StopIteration, TypeError) as error:
            raise AssertionError(f"the structure has no {path} (at {part}):\n{orjson.dumps(here).decode()}") from error
    return here


def leaves(value: Any, *, keys: bool = False) -> Iterator[str]:
    """Every text and number in a value, and the keys on the way."""
    if isinstance(value, Mapping):
        for key, one in value.items():
            if keys:
                yield str(key)
            yield from leaves(one, keys=keys)
    elif isinstance(value, list | tuple):
        for one in value:
            yield from leaves(one, keys=keys)
    elif isinstance(value, str):
        yield value
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield orjson.dumps(value).decode()


def unknown(arguments: Mapping[str, Any], known: str) -> list[str]:
    """What the arguments of a call name that `known` does not have.

    A value counts as known as a whole, or else word by word: a document that is written is made of words that were
    read. The names of the arguments themselves are those of the tool.
    """
    missing = []
    for value in arguments.values():
        for leaf in leaves(value, keys=True):
            if len(leaf) > FEW and leaf not in known:
                missing += [word for word in WORD.findall(leaf) if word not in known]
    return missing
