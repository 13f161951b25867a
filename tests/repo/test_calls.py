"""The calls that the pages show are calls of tools that there are, with arguments that they take; and stand first."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import jsonschema
import orjson

from core.model.trigger import TOOL_PREFIX, Definition
from core.operations import REGISTRY
from core.triggers import tools as trigger_tools
from core.triggers.registry import Trigger
from mcp_server import manual, tools
from mcp_server.cli.forms import FORMS
from mcp_server.door import LOCAL
from tests import cases, fences

EVERY = list(fences.of_docs())
CALLS = [fence for fence in EVERY if fence.is_call]
OPERATIONS = {operation.name: operation for operation in (*REGISTRY, *LOCAL) if operation.tool}


def definitions() -> Iterator[dict[str, Any]]:
    """The triggers that the pages publish."""
    for fence in EVERY:
        if fence.is_call:
            call = orjson.loads(fence.text)
            if call["name"] == "trigger_publish":
                yield call["arguments"]
        elif fence.kind == "json" and "target_job_name" in fence.text:
            yield orjson.loads(fence.text)


def input_schemas() -> dict[str, Any]:
    """The input schema of every tool, by name, as a session with all of them lists it."""
    found = {name: tools.operation_tool(operation, True)["inputSchema"] for name, operation in OPERATIONS.items()}
    for said in definitions():
        definition = Definition.model_validate({key: value for key, value in said.items() if key != "kind"})
        trigger = Trigger(1, "default", 1, True, 0, "ada", definition, None, "")
        found[TOOL_PREFIX + definition.slug] = trigger_tools.tool(trigger)["input_schema"]
    return found


SCHEMAS = input_schemas()


@cases.table("fence", CALLS, ids=[fence.at for fence in CALLS])
def test_a_call_names_a_tool_and_its_arguments_fit(fence: fences.Fence) -> None:
    call = orjson.loads(fence.text)
    assert call.keys() == {"name", "arguments"}
    assert call["name"] in SCHEMAS, f"{fence.at}: there is no tool {call['name']}"
    # An unknown key would be refused by the operation, whose schema leaves it open.
    closed = {"additionalProperties": False, **SCHEMAS[call["name"]]}
    faults = [error.message for error in jsonschema.Draft202012Validator(closed).iter_errors(call["arguments"])]
    assert faults == [], fence.at


def test_a_call_has_one_form() -> None:
    odd = [
        fence.at
        for fence in EVERY
        if not fence.is_call
        and fence.kind in ("", "json", "jsonc")
        and re.search(r'^\{\s*"name": "[a-z_]+",\s*"arg', fence.text)
    ]
    assert odd == []


COMMANDS = {
    tuple(re.sub(r" ?(\{\w+\}|-f|--\w+|[A-Z]+)", "", form.path).split()): name
    for name, form in FORMS.items()
    if name in OPERATIONS
}


ROUTES = [
    (method, re.compile(re.sub(r"\{\w+\}", "[^/]+", path)), operation.name)
    for operation in OPERATIONS.values()
    for method, _, path in [(operation.http or "").partition(" ")]
]


def called_by(line: str) -> str | None:
    """The tool whose operation a line of the shell does; where a command reaches is no matter of a tool (`--url`)."""
    method = "POST" if re.search(r" (-d|--json) ", line) and "curl" in line else "GET"
    if (route := re.search(r"curl .*(/api/[^\s\"?]+)", line)) is not None:
        return next((name for verb, path, name in ROUTES if verb == method and path.fullmatch(route[1])), None)
    if "--url " in line:
        return None
    for words in re.findall(r"(?:^|\s|\()sluice ((?:[a-z][a-z-]*\s?)+)", line):
        parts = words.split()
        for length in range(len(parts), 0, -1):
            if (found := COMMANDS.get(tuple(parts[:length]))) is not None:
                return found
    return None


@cases.table("name", manual.pages())
def test_a_page_shows_the_call_of_a_tool_before_its_command(name: str) -> None:
    called: set[str] = set()
    late = []
    for fence in fences.of_page(fences.DOCS / f"{name}.md"):
        if fence.is_call:
            tool = orjson.loads(fence.text)["name"]
            called.add("trigger_invoke" if tool.startswith(TOOL_PREFIX) else tool)
        elif fence.kind in ("", "sh", "console"):
            late += [
                f"{fence.at}: {tool}"
                for line in fence.text.replace("\\\n", " ").splitlines()
                if (tool := called_by(line)) and tool not in called
            ]
    assert late == []
