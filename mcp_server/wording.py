"""The directions of the engine as one MCP session can follow them: the tools that it has; else commands, for a person.

Pure: door.py knows what the session has.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from core import errors
from mcp_server import directions
from mcp_server.cli import wording
from mcp_server.cli.forms import FORMS


class Use(NamedTuple):
    """A tool of the session, with the arguments that it takes for a call."""

    tool: str
    arguments: Mapping[str, Any]


Find = Callable[[str, Mapping[str, Any]], Use | None]
"""(operation, arguments) -> how the session makes this call; None when it cannot."""


def concerned(answer: Mapping[str, Any]) -> bool:
    """Whether an answer may have directions."""
    return any(key in answer for key in ("next", "hint", "warnings", "blockers", "errors"))


def unsaved(answer: dict[str, Any], arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The answer of a plan that a read-only session made, with what a person does to have one that can be applied."""
    why = "makes a plan that can be applied; or start the server with --allow-write"
    step = {"command": wording.command("deployment_plan", arguments), "why": why}
    return {**answer, "outside": [step], "text": f"{answer['text']}\nFor a person: {step['command']} {why}."}


@dataclass(frozen=True, slots=True)
class Steps:
    """What a session says of the directions of the engine."""

    find: Find

    def hint(self, text: str) -> str:
        """A hint whose operations are tools of the session, or commands that a person can run."""
        return directions.reworded(text, FORMS, self._say)

    def _say(self, operation: str, given: Mapping[str, Any]) -> str | None:
        return f"'{wording.command(operation, given)}'" if self.find(operation, given) is None else None

    def answer(self, answer: dict[str, Any]) -> dict[str, Any]:
        """An answer whose `next` has the calls that the session can make; `outside`, if there are others, has those as
        commands for whoever may."""
        answer = directions.with_hints(answer, self.hint)
        found = directions.steps(answer)
        if not found:
            return answer
        inside, outside = [], []
        for step in found:
            operation = directions.operation(step)
            use = self.find(operation, step["arguments"])
            if use is not None:
                key = "call" if "call" in step else "operation"
                kept = {name: part for name, part in step.items() if name != "command"}
                inside.append({**kept, key: use.tool, "arguments": dict(use.arguments), "why": self.hint(step["why"])})
            elif operation in FORMS:
                command = step.get("command") or wording.command(operation, step["arguments"])
                outside.append({"command": command, "why": self.hint(step["why"])})
        return {**answer, "next": inside, **({"outside": outside} if outside else {})}

    def fault(self, error: errors.SluiceError) -> errors.SluiceError:
        """The fault with a hint that the session can follow."""
        return directions.fault(error, self.hint)
