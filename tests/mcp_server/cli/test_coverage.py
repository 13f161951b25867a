"""Every operation has a command, which takes every argument; what the engine advises is said in commands."""

from __future__ import annotations

import ast
import functools
import importlib
import inspect
import re
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import cyclopts

import mcp_server.cli
from core.operations import REGISTRY
from mcp_server.cli import commands as made
from mcp_server.cli import main, wording
from mcp_server.cli.form import Form
from mcp_server.cli.forms import FORMS, PARTS
from tests import cases
from tests.hints import hints

HERE = Path(mcp_server.cli.__file__).parent
DOORS = sorted((one for one in REGISTRY if one.http or one.tool), key=lambda one: one.name)
SENT_BY_PROGRAMS = {
    "mcp_activity_record",  # an MCP server sends it by itself: sluice mcp --activity-forward
    "call_preview",  # an MCP server asks it by itself, before it asks its user
    "token_mint",  # the way to a remote engine asks for it: mcp_server/remote.py
}
WHOLE = {"trigger_publish", "trigger_revise"}  # the file that the command takes is all the arguments
SAID_OTHERWISE = {
    "tenant_id": "every command has --tenant",
    "trigger_tools.known_version": "for programs that keep the list",
    "gitops_export.cursor": "the command reads every page",
    "dead_letter_export.cursor": "the command reads every page",
    "dead_letter_export.limit": "the command reads every page",
    "job_log.after": "--follow",
    "job_log.wait_seconds": "--follow",
    "log_search.after": "--follow",
    "log_search.wait_seconds": "--follow",
    "trigger_invocation_get.wait_seconds": "sluice invocation watch",
    "deployment_plan.to_revision": "sluice rollback",
    "kv_set.format": "--raw",
    "secret_set.value": "--from-file, --from-env or standard input",
}


@functools.cache
def apps() -> dict[str, cyclopts.App]:
    """Every command by its path."""
    found: dict[str, cyclopts.App] = {}

    def walk(app: cyclopts.App, path: str) -> None:
        if app.default_command is not None:
            found[path] = app
        for name in app:
            if not name.startswith("-"):
                walk(app[name], f"{path} {name}".strip())

    walk(main.build(), "")
    return found


def commands() -> dict[str, Any]:
    """The function of every command by its path."""
    return {path: app.default_command for path, app in apps().items()}


@functools.cache
def functions(module: str) -> dict[str, ast.AST]:
    tree = ast.parse(inspect.getsource(importlib.import_module(module)))
    return {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


@functools.cache
def calls(command: Any) -> dict[str, set[str | None]]:
    """The operations that a command names, each with the arguments that it gives; None is those made elsewhere."""
    own, seen, todo = functions(command.__module__), set(), [command.__name__]
    found: dict[str, set[str | None]] = {}
    while todo:
        name = todo.pop()
        if name in seen or name not in own:
            continue
        seen.add(name)
        for node in ast.walk(own[name]):
            if isinstance(node, ast.Name):
                todo.append(node.id)
            if not isinstance(node, ast.Call):
                continue
            for given in node.args:
                if isinstance(given, ast.Constant) and given.value in REGISTRY:
                    found.setdefault(given.value, set()).update(keyword.arg for keyword in node.keywords)
    return found


def test_every_operation_has_a_form_and_no_form_is_for_one_that_is_gone() -> None:
    assert set(FORMS) == {one.name for one in DOORS}, "which command does it? say it in mcp_server/cli/forms.py"


def test_the_command_of_a_form_does_the_operation() -> None:
    known = commands()
    with cases.every() as case:
        for one in DOORS:
            operation, form = one.name, FORMS[one.name]
            with case(operation):
                assert form.path in known, f"there is no command sluice {form.path}"
                if not form.by:
                    assert known[form.path].__name__ == operation
                    assert not form.does or operation in calls(made.function(form.does))
                elif operation not in SENT_BY_PROGRAMS:
                    assert operation in calls(known[form.path])


def test_a_form_names_no_argument_that_the_params_model_does_not_have() -> None:
    with cases.every() as case:
        for operation, form in [*FORMS.items(), *PARTS.values()]:
            with case(form.typed):
                switched = {switch.argument for switch in form.switches.values()}
                read = {*form.only, *form.texts, *form.reads, *switched}
                known = set(REGISTRY[operation].params.model_fields)
                assert {*re.findall(r"\{(\w+)\}", form.typed + form.faults_in), *read} <= known
                assert set(form.flags) <= known | {one.name for one in form.beside}


def test_what_only_a_made_command_does_is_not_said_of_one_that_is_written_by_hand() -> None:
    with cases.every() as case:
        for operation, form in FORMS.items():
            if form.by:
                plain = Form(form.typed, by=form.by, about=form.about, flags=form.flags, named=form.named)
                with case(operation):
                    assert form == plain


def test_what_a_form_refers_to_is_there() -> None:
    more = {"about": "", "flags": {}, "texts": {}, "reads": {}, "switches": {}, "beside": (), "makes": ""}
    with cases.every() as case:
        for operation, form in FORMS.items():
            if form.by:
                continue
            with case(operation):
                for place in filter(None, (form.does, form.makes, form.shows, *form.reads.values())):
                    assert callable(made.function(place))
                bare = replace(form, **more, optional=(), named=None)
                assert not form.does or Form(form.typed, does=form.does) == bare, "what does it shows it, too"


def test_every_argument_of_an_operation_can_be_given_on_the_command_line() -> None:
    by_hand: dict[str, set[str | None]] = {}
    for command in commands().values():
        for name, named in calls(command).items():
            by_hand.setdefault(name, set()).update(named)
    absent = set()
    for one in DOORS:
        if one.name in SENT_BY_PROGRAMS | WHOLE:
            continue
        arguments, form = set(one.schema.get("properties", {})), FORMS[one.name]
        if form.by:
            named = by_hand.get(one.name, set())
            given = arguments if None in named else {str(argument) for argument in named}
        else:
            given = set(inspect.signature(commands()[form.path]).parameters)
            if form.does:
                given |= {str(argument) for argument in calls(made.function(form.does))[one.name]}
        absent |= {f"{one.name}.{name}" for name in arguments - given if name not in SAID_OTHERWISE}
    assert absent - SAID_OTHERWISE.keys() == set()


def test_the_flags_that_a_command_is_said_to_have_are_flags_of_it() -> None:
    with cases.every() as case:
        for operation, form in FORMS.items():
            said = set(re.findall(r" (--?[a-z-]+)", form.typed))
            if said:
                collection = apps()[form.path].assemble_argument_collection()
                with case(operation):
                    assert said <= {name for argument in collection for name in argument.names}


SHOWN: list[tuple[str, dict[str, Any], str]] = [
    ("deployment_get", {"name": "a b", "detail": "detailed"}, "sluice status 'a b'"),
    ("deployment_list", {}, "sluice status"),
    ("deployment_plan", {"name": "x", "to_revision": 3}, "sluice rollback x --to 3"),
    (
        "deployment_plan",
        {"name": "x", "source": "workflow:a@1", "values": {"path": "/tmp/a b", "n": 3}, "worker_group": "etl"},
        "sluice plan x --from workflow:a@1 --set 'path=/tmp/a b' --set n=3 --group etl",
    ),
    ("deployment_reconcile", {"name": "x", "dry_run": True}, "sluice reconcile x --dry-run"),
    ("catalog_search", {"source": "portal"}, "sluice catalog search --source portal"),
    ("trigger_invocation_get", {"invocation_id": "inv_1", "wait_seconds": 60}, "sluice invocation watch inv_1"),
    ("trigger_invoke", {"slug": "s", "params": {"env": "prod"}}, "sluice trigger invoke s --set env=prod"),
    ("worker_update", {"name": "w", "labels": ["a", "b"]}, "sluice worker update w --label a --label b"),
    ("context_set", {"values": {"a": 1, "b": "x y"}, "job": "j"}, "sluice context set a=1 'b=x y' --job j"),
    ("job_put", {"document": "name: one", "draft": True}, "sluice job put -f FILE --draft"),
    ("log_search", {"run": "run_1"}, "sluice logs --run run_1"),
    ("log_search", {"invocation": "inv_1"}, "sluice logs --invocation inv_1"),
    ("token_verify", {"token": "x"}, 'token_verify {"token":"x"}'),
]


def test_a_call_is_shown_as_what_is_typed() -> None:
    assert [wording.command(operation, given) for operation, given, _ in SHOWN] == [typed for _, _, typed in SHOWN]


HINTS = {
    "job_list shows what there is.": "'sluice job list' shows what there is.",
    "Plan again and look at the new plan: deployment_plan(name='roundtrip').": (
        "Plan again and look at the new plan: 'sluice plan roundtrip'."
    ),
    "Move them to another group first: worker_update(name=..., group=...).": (
        "Move them to another group first: 'sluice worker update NAME'."
    ),
    "Leave base_revision out to start a new draft.": "Leave --base-revision out to start a new draft.",
    "Ask an admin.": "Ask an admin.",
}
"""What the engine says, and what people read."""


def test_a_hint_names_commands_to_people() -> None:
    assert {said: wording.hint(said) for said in HINTS} == HINTS


def test_no_hint_leaves_the_name_of_an_operation_to_a_person() -> None:
    names = re.compile(r"\b(" + "|".join(one.name for one in REGISTRY if "_" in one.name) + r")\b")
    assert len(hints()) > 100
    assert [text for text in map(wording.hint, hints()) if names.search(text)] == []


def test_every_command_that_a_hint_leads_to_exists() -> None:
    known = set(commands())
    for text in map(wording.hint, hints()):
        for line in re.findall(r"'sluice ([^']+)'", text):
            words = [word for word in shlex.split(line) if re.fullmatch(r"[a-z-]+", word)]
            assert " ".join(words[:2]) in known or words[0] in known, text
