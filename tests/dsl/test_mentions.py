"""Which secrets a document names: those that its templates would read, with the first place of each."""

from __future__ import annotations

from typing import Any

import pytest

from core.dsl.language import compile as compiler
from core.dsl.language import mentions, templates
from core.errors import InvalidDocument
from core.model.secret import Reference, named, parse
from tests import cases


@cases.table(
    ("text", "found"),
    [
        ("${secret|gcp/key}", ["gcp/key"]),
        ("${secret|key} and ${secrets.old}", ["default/key", "default/old"]),
        ("${cred|id} ${cred|id|token}", ["cred/id", "cred/id"]),
        ("Bearer ${ secret | web/token }", ["web/token"]),
        ("$${secret|written/out}", []),
        ("${field||$${secret|in/a-fallback}}", []),
        ("${event.secret} ${dyn|secret}", []),
        ("^(?P<secret>\\d+)${", []),
        ("{{secrets.staged}}", []),
    ],
)
def test_what_a_text_names(text: str, found: list[str]) -> None:
    document = {"name": "j", "output": {"x": {"deep": [text]}}}
    named = mentions.secrets(document)
    assert sorted(one.secret for one in named) == sorted(found)
    assert set(named.values()) <= {"/output/x/deep/0"}


def test_prose_names_nothing_and_each_secret_has_its_first_place() -> None:
    text = "${secret|a/b}"
    document: dict[str, Any] = {"name": text, "description": text, "tags": [text], "input": {"x~/y": text}, "z": text}
    assert mentions.secrets(document) == {Reference("a", "b"): "/input/x~0~1y"}
    assert mentions.secrets({"name": text, "description": text}) == {}


def test_a_staged_older_spelling_is_found() -> None:
    staged = templates.stage({"v": "key={{secrets.token}}"}, {})
    assert staged == {"v": "key=${secrets.token}"}
    assert list(mentions.secrets(staged)) == [Reference("default", "token")]


@cases.table("text", ["", "a/b/c", "/a", "a/", "a b", "../a", "a" * 101, "é", "a\n"])
def test_what_is_no_name_of_a_secret_is_refused_with_what_is_allowed(text: str) -> None:
    with pytest.raises(ValueError, match="scope/name"):
        named(text)


@cases.table("text", ["a/b", "id|", "", "a b"])
def test_a_malformed_credential_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="ID"):
        parse("cred", text)


def test_a_secret_cannot_be_an_argument_of_a_command() -> None:
    document = {
        "name": "j",
        "input": {"exec": {"command": ["curl", "-H", "x: ${secret|web/token}"]}},
        "output": {"discard": {}},
    }
    with pytest.raises(InvalidDocument) as caught:
        compiler.check_job(document)
    assert any("a secret cannot be an argument" in problem.message for problem in caught.value.errors)
    document["input"] = {"exec": {"command": ["curl"], "env": {"values": "T=${secret|web/token}"}}}
    compiler.check_job(document)
