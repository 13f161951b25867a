"""The script action: change the event with Lua."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import AfterValidator

from core.dsl.component import REGISTRY, Event
from core.dsl.events import sandbox
from core.dsl.events.codegen import Builder
from core.dsl.language.action import Action, EventFault

MAX_CODE = 64 * 1024
_CHECKER = sandbox.Sandbox(memory_mb=16)


def _check(code: str) -> str:
    if len(code) > MAX_CODE:
        raise ValueError(f"a script has at most {MAX_CODE} characters")
    _CHECKER.script(code)
    return code


@REGISTRY.register("script")
class Script(Action):
    """Run Lua 5.4 on the event, which is the table `event`. What the script leaves there goes on.

    Return false to drop the event, a table to replace it, or an array of tables for several events. JSON null is the
    value `null`; `array{...}` makes a table an array even when it is empty. Available: math, string, table, utf8, the
    basic functions, `count()` (the number of the event in the run) and `matches(text, pattern)`; no files, clock or
    modules. A script that fails, or uses up its memory or its time, refuses the event: it is dropped and counted.
    """

    scalar: ClassVar[str] = "code"
    splits: ClassVar[bool] = True
    example: ClassVar[str] = """
name: totals
input: {echo: {event: '{"prices": [3, 4.5], "note": null}', json: true}}
actions:
  - script:
      code: |
        event.total = 0
        for _, price in ipairs(event.prices) do event.total = event.total + price end
        event.large = event.total > 5
output: {print: STDOUT}
"""

    code: Annotated[str, AfterValidator(_check)]
    """The Lua code."""

    def emit(self, code: Builder) -> None:
        run = code.lua.script(self.code)

        def change(number: int, event: Event) -> Event | list[Event] | None:
            result = run(number, event)
            if type(result) is dict:
                return result
            if type(result) is list and all(type(item) is dict for item in result):
                return result
            if result is False:
                return None
            kind = type(result).__name__
            raise EventFault(f"the script returned a {kind}; expected a table, an array of tables or false")

        code.numbered = True
        code.line(f"event = {code.bind(change)}(number, event)")
        code.line("if event is None: continue")
