"""Words of ours in a unit file (systemd.syntax(7), systemd.service(5)): each stays one word, and means what it says.

There is no shell between a unit and a program, but the manager splits at blanks, takes off quotes, and replaces `%x`
and, in the arguments of commands, `$X`: all of that is written so that it comes out again as it was.
"""

from __future__ import annotations

from collections.abc import Iterable

from core import errors

_ESCAPED = {"\\": "\\\\", '"': '\\"', "%": "%%"}


def word(text: str) -> str:
    """One word of a list of paths, or an assignment. Raises InvalidParams for what no unit file can hold."""
    if not text.isprintable():  # a line break would begin a setting of its own
        raise errors.InvalidParams(
            f"{errors.shorten(text, 80)!r} has characters that a unit file cannot hold.", hint="Choose another path."
        )
    escaped = "".join(_ESCAPED.get(character, character) for character in text)
    plain = escaped.isascii() and all(one.isalnum() or one in "/._-+=:,@%" for one in escaped)
    return escaped if plain and escaped else f'"{escaped}"'


def line(text: str) -> str:
    """A path that is all of a setting, where no quotes are taken off. Raises like `word`."""
    word(text)
    return text.replace("%", "%%")


def command(words: Iterable[str]) -> str:
    """A command line, whose first word is an absolute path, in which `$` means itself."""
    program, *arguments = words
    return " ".join([word(program), *(word(one).replace("$", "$$") for one in arguments)])
