"""Walks: what an expert does for a task, call by call, over a real session of sluice-mcp, with one eye open.

An expert knows the task, the tools and what was answered so far, and nothing else. So every value in a call has to be
found in one of these: where an answer lacks a fact that the next call needs, the walk ends there.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import orjson

from tests.walks import facts
from tests.walks.facts import Eye
from tests.walks.stage import Session

MANY_CALLS = 15  # an expert needs no more for anything
HOME = "/home"  # what the home counts as, wherever it lies


@dataclass(frozen=True, slots=True)
class Task:
    """What a user wants, and how an expert gets it."""

    name: str
    statement: str
    """In the user's words. `{name}` is filled with what `given` returns."""
    walk: Callable[[Walk], Awaitable[None]]
    given: Callable[[Walk], Awaitable[dict[str, str] | None]] | None
    """What has happened before, which nobody counts."""
    own: str
    """Words that the expert chooses: names of steps and the like."""
    tools: str
    """Which tools the session has (stage.TOOLS)."""


class Tasks(list[Task]):
    """The tasks of a file."""

    def task(
        self, statement: str, *, given: Any = None, own: str = "", tools: str = "default"
    ) -> Callable[[Callable[[Walk], Awaitable[None]]], Callable[[Walk], Awaitable[None]]]:
        """The walk of a task, which is called as the function is."""

        def add(walk: Callable[[Walk], Awaitable[None]]) -> Callable[[Walk], Awaitable[None]]:
            self.append(Task(walk.__name__, statement, walk, given, own, tools))
            return walk

        return add


@dataclass(slots=True)
class Walk:
    """One way through a task. The last answer is what `find` and `shows` look at."""

    task: Task
    eye: Eye
    session: Session
    known: str
    """All that the expert may have a fact from."""
    told: dict[str, str] = field(default_factory=dict)
    """What fills the statement."""
    calls: int = 0
    characters: int = 0
    failed: bool = False
    """Whether the last answer is an error."""
    log: list[str] = field(default_factory=list)
    _content: list[str] = field(default_factory=list)
    _structure: Any = None

    async def engine(self, operation: str, **arguments: Any) -> dict[str, Any]:
        """What happens beside the expert: before the task begins, by somebody else, or to look whether it is done."""
        return await self.session.engine(operation, arguments)

    async def call(self, tool: str, **arguments: Any) -> None:
        """Call a tool as the expert does. AssertionError when it names what the expert cannot know."""
        missing = facts.unknown({"": tool, **arguments}, self.known)
        assert not missing, f"{tool}: no answer so far says {missing}"
        result = await self.session.client.call_tool(tool, arguments)
        self._content = [getattr(part, "text", "") for part in result.content]
        self._structure = result.structured_content
        self.failed = bool(result.is_error)
        read = self.eye.reads(self._content, self._structure)
        self.calls += 1
        self.characters += len(read.replace(str(self.session.home), HOME))
        self.known += "\n" + self.eye.knows(self._content, self._structure)
        self.log.append(f"> {tool} {orjson.dumps(arguments).decode()}\n{read}")
        assert self.calls <= MANY_CALLS

    async def does(self, tool: str, **arguments: Any) -> None:
        """The same for a call that has to succeed."""
        await self.call(tool, **arguments)
        assert not self.failed, self.log[-1]

    def find(self, path: str, pattern: str) -> Any:
        """A fact of the last answer: at a path of its structure, or by a pattern in its text."""
        return self.eye.find(self._content, self._structure, path, pattern)

    def number(self, path: str, pattern: str) -> int:
        """The same for a whole number."""
        return int(self.find(path, pattern))

    def shows(self, *wanted: str) -> None:
        """The last answer has what the user wanted to know."""
        seen = self.eye.knows(self._content, self._structure)
        missing = [one for one in wanted if one not in seen]
        assert not missing, f"the answer lacks {missing}:\n{self.log[-1]}"

    def lacks(self, *unwanted: str) -> None:
        """The last answer does not have these."""
        seen = self.eye.knows(self._content, self._structure)
        assert not [one for one in unwanted if one in seen], self.log[-1]


async def walk(task: Task, eye: Eye, session: Session) -> Walk:
    """Walk through a task with one eye."""
    one = Walk(task, eye, session, "")
    one.told = (await task.given(one) if task.given else None) or {}
    one.known = "\n".join((task.statement.format(**one.told), task.own, await session.introduction()))
    try:
        await task.walk(one)
    except BaseException as error:
        error.add_note("\n".join(one.log))
        raise
    finally:
        await _clear(one)
    return one


async def _clear(walk: Walk) -> None:
    """Stop what runs: workers have only so many slots, and what runs takes time."""
    for deployment in (await walk.engine("deployment_list"))["items"]:
        plan = await walk.engine("deployment_plan", name=deployment["name"], remove=True)
        await walk.engine("deployment_apply", plan_id=plan["plan_id"], wait_seconds=0)
    for job in (await walk.engine("job_list", limit=200))["items"]:
        if not job["managed_by"]:
            await walk.engine("job_undeploy", name=job["name"])
