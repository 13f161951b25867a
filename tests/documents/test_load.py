"""Loading documents: YAML 1.2 and JSON, places, and everything that is refused."""

from __future__ import annotations

import json
import time

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core import documents
from core.errors import InvalidDocument
from tests import cases

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.text(st.characters(exclude_categories=["Cs", "Cc"])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc~/ ", min_size=1), inner, max_size=3),
    max_leaves=10,
)


@settings(deadline=None)
@given(st.dictionaries(st.text("ab", min_size=1), JSON, min_size=1, max_size=3))
def test_json_text_is_read_as_json_reads_it(value: dict[str, object]) -> None:
    assert documents.load(json.dumps(value))[0].data == value
    assert documents.load(orjson.dumps(value, option=orjson.OPT_INDENT_2).decode())[0].data == value


def test_scalars_follow_the_core_schema_of_yaml_1_2() -> None:
    lines = ["a: off", "b: yes", "c: 012", "d: 0x1F", "e: 0o17", "f: ~", "g: 1e3", "h: 2026-05-25", "i: 12:30"]
    text = "\n".join([*lines, "j: True", "k: '1'", "l: 1739370000000000001"])
    assert documents.load(text)[0].data == {
        "a": "off", "b": "yes", "c": 12, "d": 31, "e": 15, "f": None, "g": 1000.0, "h": "2026-05-25", "i": "12:30",
        "j": True, "k": "1", "l": 1739370000000000001,
    }  # fmt: skip


def test_lines_of_a_folded_text_are_joined_by_a_blank_and_nothing_else() -> None:
    (document,) = documents.load("a: >-\n  one\n  two\n\n  three\nb: >\n  x\n  y\nc: |\n  x\n  y\n")
    assert document.data == {"a": "one two\nthree", "b": "x y\n", "c": "x\ny\n"}


def test_places_are_those_of_the_text() -> None:
    first, second = documents.load("kind: job\na:\n  - b: 1\n    c/d: 2\n---\nkind: trigger\n", origin="f.yaml")
    assert first.where("/a/0/c~1d") == "f.yaml:4:5"
    assert first.where("/a/0/gone/deeper") == "f.yaml:3:5"
    assert (first.kind, second.kind, second.where("/kind")) == ("job", "trigger", "f.yaml:6:1")
    (compact,) = documents.load('{"a": {"b":\n 1}}', origin="f.json")
    assert compact.where("/a/b") == "f.json:1:8"


@cases.table(
    ("text", "told"),
    [
        ("a: 1\na: 2\n", "stands twice"),
        ('{"a": 1, "a": 2}', "stands twice"),
        ("a: &x 1\nb: *x\n", "anchors and aliases"),
        ("a: !!python/object/apply:os.system [x]\n", "tag"),
        ("a: !custom 1\n", "tag"),
        ("<<: {a: 1}\n", "merge keys"),
        ("a: .nan\n", "not-a-number"),
        ("a: -.inf\n", "infinity"),
        ("a: 9223372036854775808\n", "64 bits"),
        ('{"a": 9223372036854775808}', "64 bits"),
        ("a: " + "9" * 5000 + "\n", "64 bits"),
        ("- a\n- b\n", "map of keys"),
        ("just text\n", "map of keys"),
        ("", "empty"),
        ("a: [1\n", "not valid YAML"),
        ("a: b: c\n", "not valid YAML"),
        ("a: \"\\0\"\n", "NUL"),
        ("a: \ud800\n", "not valid YAML"),
        ("? [1]\n: 2\n", "key"),
        (": nameless\n", "expected key"),
        ("%TAG ! x:\n---\na: 1\n", "f.yaml:1:1: tags"),
        ("a: `b`\n", r"f.yaml:1:4: .*found character '`' that cannot start"),
        ("a:\n  b: [1,\n    2\n\n\n", r"f.yaml:3:6: .* while parsing a flow sequence that begins on line 2"),
        ("a: " + "[" * 100 + "]" * 100, "deeper"),
        ("x: " + "y" * (1024 * 1024), "larger"),
        ("a: [" + "1," * 100_001 + "]", "more than"),
    ],
)  # fmt: skip
def test_what_is_refused_is_told_with_its_place(text: str, told: str) -> None:
    with pytest.raises(InvalidDocument, match=told) as caught:
        documents.load(text, origin="f.yaml")
    assert "f.yaml" in str(caught.value)


@cases.table("odd", ["\x85", "\u2028", "\u2029", "\ufeff", "\U0010fffd\u2028"])
def test_characters_that_yaml_1_1_broke_lines_at_are_characters(odd: str) -> None:
    (document,) = documents.load(f"a{odd}b: {{c: x{odd}y, d: '{odd}'}}\n{odd}e: |\n  p{odd}q\n", origin="f.yaml")
    assert document.data == {f"a{odd}b": {"c": f"x{odd}y", "d": odd}, f"{odd}e": f"p{odd}q\n"}
    assert document.where(f"/a{odd}b/d") == f"f.yaml:1:{13 + 2 * len(odd)}"
    assert document.where(f"/{odd}e") == "f.yaml:2:1"


def test_a_byte_order_mark_before_the_text_is_no_part_of_it() -> None:
    assert documents.load("\ufeffa: 1\n")[0].data == {"a": 1}


def test_an_alias_bomb_is_refused_at_once() -> None:
    bomb = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
        f"{chr(98 + n)}: &{chr(98 + n)} [{','.join(['*' + chr(97 + n)] * 9)}]\n" for n in range(8)
    )
    started = time.thread_time()
    with pytest.raises(InvalidDocument, match="anchors"):
        documents.load(bomb)
    assert time.thread_time() - started < 0.5


@settings(deadline=None)
@given(st.text(max_size=60))
def test_any_text_is_a_document_or_a_plain_fault(text: str) -> None:
    try:
        documents.load(text)
    except InvalidDocument as error:
        assert error.message


def test_json_that_is_indented_with_tabs_has_places_too() -> None:
    (found,) = documents.load('{\n\t"a": 1,\n\t"b": {"c":2}\n}', origin="x.json")
    assert found.where("/a") == "x.json:2:2"
    assert found.where("/b/c") == "x.json:3:8"


@pytest.mark.parametrize(
    ("text", "place"), [('{\n\t"a": 1,\n\t"a": 2}', "3:2"), ('{"n":\n 99999999999999999999}', "2:2")]
)
def test_what_is_wrong_in_a_json_text_is_told_with_its_place(text: str, place: str) -> None:
    with pytest.raises(InvalidDocument) as caught:
        documents.load(text, origin="x.json")
    assert caught.value.errors[0].where == f"x.json:{place}"
