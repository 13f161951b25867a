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
    schema = next(one for one in REGISTRY if one.name == operation).result_schema
    try:
        return all(render.names(one, column) for one in answers(schema, schema["$defs"]))
    except errors.InvalidParams:
        return False


@pytest.mark.parametrize(("operation", "form"), EVERY, ids=[form.path for _, form in EVERY])
def test_a_form_takes_it_when_its_answer_has_a_name(operation: str, form: Any) -> None:
    secret = any(one.told_once for one in REGISTRY if one.name == operation)
    wanted = has_names(operation, form.columns.partition(" ")[0]) if form.named is None else form.named
    assert (naming.refusal(form.path) is None) == (wanted and not secret)


def test_what_is_not_made_of_forms_says_what_it_answers() -> None:
    alone = set(main.commands()) - {form.path for _, form in EVERY}
    assert alone == NAMED | SILENT | naming.NAMELESS
    assert {path for path in alone if naming.refusal(path)} == naming.NAMELESS


@pytest.mark.parametrize(
    "words",
    [
        "token create --username ada",
        "worker-token create --group edge",
        "service-account key robot",
        "console",
        "reconcile web",
        "letters discard one",
        "backup {place}/home.tar --without-keys",
        "restore {place}/home.tar --without-keys",
    ],
)
def test_it_is_refused_before_anything_is_done(
    words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def asked(*_: Any, **__: Any) -> Any:
        raise AssertionError("the engine was asked")

    monkeypatch.setattr(connect, "engine", asked)
    assert main.run([*words.format(place=tmp_path).split(), "-o", "name", "--home", str(tmp_path / "home")]) == 2
    said = capsys.readouterr()
    assert said.out == "" and "takes no -o name" in said.err and not list(tmp_path.iterdir())
