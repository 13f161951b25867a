"""Which commands `-o name` is for: those whose answer has a name, asked before anything is done.

Whether an answer has one is read off the type that the operation answers with (`named` in operations.json). A form says
it where its command prints something else, and here is what is said of commands that do no operation.
"""

from __future__ import annotations

from core import errors
from mcp_server.cli.arguments import DECLARED
from mcp_server.cli.forms import FORMS, PARTS

NAMELESS = frozenset({"backup", "backup verify", "restore", "completion", "logout", "service status"})
"""Commands that are not made of forms and print an answer without a name."""


def refusal(path: str) -> errors.InvalidParams | None:
    """What is wrong with `-o name` for the command of this path; None when nothing is."""
    forms = [(name, form) for name, form in (*FORMS.items(), *PARTS.values()) if form.path == path]
    declared = [(told, form) for name, form in forms if (told := DECLARED.get(name)) is not None]
    if any(told.told_once for told, _ in declared):
        return errors.InvalidParams(
            f"`{path}` tells something once, which a name alone would lose: it takes no -o name.",
            hint="Take -o json in place of it.",
        )
    if path in NAMELESS or not all(told.named if form.named is None else form.named for told, form in declared):
        return errors.InvalidParams(
            f"What `{path}` answers has no names: it takes no -o name.", hint="Take -o json in place of it."
        )
    return None
