"""`-o name` of every command: refused before anything is done where the answer has no name, or is told once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from core import errors
from core.operations import REGISTRY
from mcp_server.cli import connect, main, naming, render
from mcp_server.cli.forms import FORMS, PARTS
from tests import cases

EVERY = [*FORMS.items(), *PARTS.values()]
NAMED = {"up", "wait", "workflow new", "catalog pack"}
SILENT = {"demo", "serve", "service install", "service remove", "mcp install"}
"""Commands that print no answer."""


def answers(node: dict[str, Any], definitions: dict[str, Any]) -> Iterator[Any]:
    """An answer of each type that a schema admits, as far as names are concerned: lists have one row."""
    if "$ref" in node:
        yield from answers(definitions[node["$ref"].rpartition("/")[2]], definitions)
    elif "anyOf" in node:
        for one in node["anyOf"]:
            yield from answers(one, definitions)
    else:
        properties = node.get("properties", {})
        row = dict.fromkeys(properties, "x")
        if properties.get("items", {}).get("type") == "array":
            yield from ({**row, "items": [one]} for one in answers(properties["items"]["items"], definitions))
        else:
            yield row


def has_names(operation: str, column: str) -> bool:
    schema = REGISTRY[operation].result_schema
    try:
        return all(render.names(one, column) for one in answers(schema, schema["$defs"]))
    except errors.InvalidParams:
        return False


def test_a_form_takes_it_when_its_answer_has_a_name() -> None:
    with cases.every() as case:
        for operation, form in EVERY:
            with case(form.path):
                named = has_names(operation, form.columns.partition(" ")[0]) if form.named is None else form.named
                assert (naming.refusal(form.path) is None) == (named and not REGISTRY[operation].told_once)


def test_what_is_not_made_of_forms_says_what_it_answers() -> None:
    alone = set(main.commands()) - {form.path for _, form in EVERY}
    assert alone == NAMED | SILENT | naming.NAMELESS
    assert {path for path in alone if naming.refusal(path)} == naming.NAMELESS


def test_it_is_refused_before_anything_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def asked(*_: Any, **__: Any) -> Any:
        raise AssertionError("the engine was asked")

    monkeypatch.setattr(connect, "engine", asked)
    with cases.every() as case:
        for words in (
            "token create --username ada",
            "worker-token create --group edge",
            "service-account key robot",
            "console",
            "reconcile web",
            "letters discard one",
            f"backup {tmp_path}/home.tar --without-keys",
            f"restore {tmp_path}/home.tar --without-keys",
        ):
            with case(words):
                assert main.run([*words.split(), "-o", "name", "--home", str(tmp_path / "home")]) == 2
                said = capsys.readouterr()
                assert said.out == "" and "takes no -o name" in said.err and not list(tmp_path.iterdir())
