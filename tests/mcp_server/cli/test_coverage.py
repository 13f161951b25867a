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
import pytest

import mcp_server.cli
from core.operations import REGISTRY
from mcp_server.cli import commands as made
from mcp_server.cli import main, wording
from mcp_server.cli.form import Form
from mcp_server.cli.forms import FORMS, PARTS
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
def commands() -> dict[str, Any]:
    """The function of every command by its path."""
    found: dict[str, Any] = {}

    def walk(app: cyclopts.App, path: str) -> None:
        if app.default_command is not None:
            found[path] = app.default_command
        for name in app:
            if not name.startswith("-"):
                walk(app[name], f"{path} {name}".strip())

    walk(main.build(), "")
    return found


@functools.cache
def functions(module: str) -> dict[str, ast.AST]:
    tree = ast.parse(inspect.getsource(importlib.import_module(module)))
    return {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


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


@pytest.mark.parametrize("operation", [one.name for one in DOORS])
def test_the_command_of_a_form_does_the_operation(operation: str) -> None:
    form = FORMS[operation]
    assert form.path in commands(), f"there is no command sluice {form.path}"
    if not form.by:
        assert commands()[form.path].__name__ == operation
        assert not form.does or operation in calls(made.function(form.does))
    elif operation not in SENT_BY_PROGRAMS:
        assert operation in calls(commands()[form.path])


EVERY_FORM = [*FORMS.items(), *PARTS.values()]


@pytest.mark.parametrize(("operation", "form"), EVERY_FORM, ids=[form.typed for _, form in EVERY_FORM])
def test_a_form_names_no_argument_that_the_params_model_does_not_have(operation: str, form: Form) -> None:
    switched = {switch.argument for switch in form.switches.values()}
    named = {*re.findall(r"\{(\w+)\}", form.typed + form.faults_in), *form.only, *form.texts, *form.reads, *switched}
    known = set(REGISTRY[operation].params.model_fields)
    assert named <= known
    assert set(form.flags) <= known | {one.name for one in form.beside}


@pytest.mark.parametrize("operation", sorted(name for name, form in FORMS.items() if form.by))
def test_what_only_a_made_command_does_is_not_said_of_one_that_is_written_by_hand(operation: str) -> None:
    form = FORMS[operation]
    plain = Form(form.typed, by=form.by, about=form.about, flags=form.flags, named=form.named)
    assert form == plain


@pytest.mark.parametrize("operation", sorted(name for name, form in FORMS.items() if not form.by))
def test_what_a_form_refers_to_is_there(operation: str) -> None:
    form = FORMS[operation]
    for place in filter(None, (form.does, form.makes, form.shows, *form.reads.values())):
        assert callable(made.function(place))
    assert not form.does or Form(form.typed, does=form.does) == replace(
        form, about="", flags={}, texts={}, reads={}, switches={}, beside=(), makes="", optional=(), named=None
    ), "what does it shows it, too"


@pytest.mark.parametrize("operation", [one.name for one in DOORS if one.name not in SENT_BY_PROGRAMS | WHOLE])
def test_every_argument_of_an_operation_can_be_given_on_the_command_line(operation: str) -> None:
    arguments = set(REGISTRY[operation].schema.get("properties", {}))
    given: set[str] = set()
    if FORMS[operation].by:
        for command in commands().values():
            for name, named in calls(command).items():
                if name == operation:
                    given |= arguments if None in named else {str(one) for one in named}
    else:
        given |= set(inspect.signature(commands()[FORMS[operation].path]).parameters)
        if FORMS[operation].does:
            given |= {str(one) for one in calls(made.function(FORMS[operation].does))[operation]}
    missing = arguments - given
    assert {name for name in missing if name not in SAID_OTHERWISE and f"{operation}.{name}" not in SAID_OTHERWISE} == (
        set()
    )


@pytest.mark.parametrize("operation", sorted(FORMS))
def test_the_flags_that_a_command_is_said_to_have_are_flags_of_it(operation: str) -> None:
    known = {
        name
        for argument in commands_app(FORMS[operation].path).assemble_argument_collection()
        for name in argument.names
    }
    for flag in re.findall(r" (--?[a-z-]+)", FORMS[operation].typed):
        assert flag in known


def commands_app(path: str) -> cyclopts.App:
    app = main.build()
    for word in path.split():
        app = app[word]
    return app


@pytest.mark.parametrize(
    ("operation", "arguments", "typed"),
    [
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
    ],
)
def test_a_call_is_shown_as_what_is_typed(operation: str, arguments: dict[str, Any], typed: str) -> None:
    assert wording.command(operation, arguments) == typed


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("job_list shows what there is.", "'sluice job list' shows what there is."),
        (
            "Plan again and look at the new plan: deployment_plan(name='roundtrip').",
            "Plan again and look at the new plan: 'sluice plan roundtrip'.",
        ),
        (
            "Move them to another group first: worker_update(name=..., group=...).",
            "Move them to another group first: 'sluice worker update NAME'.",
        ),
        (
            "Leave base_revision out to start a new draft.",
            "Leave --base-revision out to start a new draft.",
        ),
        ("Ask an admin.", "Ask an admin."),
    ],
)
def test_a_hint_names_commands_to_people(said: str, shown: str) -> None:
    assert wording.hint(said) == shown


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
