"""xml: elements to objects, and nothing that XML could do besides."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from core.dsl.actions.xml import MAX_DEPTH, MAX_NODES
from tests import cases
from tests.dsl.stub import Stub, run


def parse(text: str, **keys: Any) -> dict[str, Any]:
    (out,) = run([{"_raw": text}], {"xml": {"remove": True, **keys}})
    return out


@cases.table(
    ("keys", "text", "expected"),
    [
        ({}, "<a/>", {"a": None}),
        ({}, "<a> x </a>", {"a": "x"}),
        ({}, '<a id="7">x</a>', {"a": {"@id": "7", "#text": "x"}}),
        ({}, "<a><b>1</b><c/><b>2</b><b>3</b></a>", {"a": {"b": ["1", "2", "3"], "c": None}}),
        ({}, "<a>one<b>two</b>three</a>", {"a": {"b": "two", "#text": "onethree"}}),
        ({}, '<?xml version="1.0" encoding="latin-1"?>\n<a><!-- no --><![CDATA[<é>]]>&lt;&#233;</a>', {"a": "<é><é"}),
        ({}, '<s:e xmlns:s="urn:s"><s:b>1</s:b></s:e>', {"s:e": {"@xmlns:s": "urn:s", "s:b": "1"}}),
        (
            {"autoconvert": True},
            '<a n="7"><b>true</b><c>[1]</c><c>2</c></a>',
            {"a": {"@n": 7, "b": True, "c": [[1], 2]}},
        ),
        ({"arrays": ["b"]}, "<a><b>1</b></a>", {"a": {"b": ["1"]}}),
        ({"attribute-prefix": "", "text-key": "$"}, '<a id="7">x</a>', {"a": {"id": "7", "$": "x"}}),
        ({"output-field": "doc.xml"}, "<a>1</a>", {"doc": {"xml": {"a": "1"}}}),
    ],
)
def test_elements_become_objects(keys: dict[str, Any], text: str, expected: dict[str, Any]) -> None:
    assert parse(text, **keys) == expected


BOMB = "<!DOCTYPE a [" + "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">' for n in range(1, 9)) + "]><a>&e8;</a>"


@cases.table(
    ("text", "told"),
    [
        (BOMB, "document type"),
        ('<!DOCTYPE a SYSTEM "http://127.0.0.1:9/x.dtd"><a/>', "document type"),
        ('<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><a>&x;</a>', "document type"),
        ("<a>&undefined;</a>", "undefined entity"),
        ("<a>" * (MAX_DEPTH + 1) + "</a>" * (MAX_DEPTH + 1), "nested more than"),
        ("<a>" + "<b/>" * MAX_NODES + "</a>", "more than 100000 elements"),
        ("<a><b></a>", "mismatched tag at 1:9"),
        ("<a/><b/>", "junk after document element"),
        ("plain", "syntax error"),
        ("", "no element found"),
        ("<a>\x00</a>", "not well-formed"),
        ("<a>\ud800</a>", "surrogates not allowed"),
    ],
    ids=["bomb", "dtd", "external", "entity", "deep", "many", "tags", "two", "text", "empty", "nul", "surrogate"],
)
def test_what_is_not_plain_xml_leaves_the_event_alone(text: str, told: str) -> None:
    env = Stub()
    assert run([{"_raw": text, "n": 1}, {"_raw": "<a/>"}], {"xml": {}}, env=env)[0] == {"_raw": text, "n": 1}
    assert told in env.lines[0][1]
    assert run([{"_raw": text}], {"xml": {"drop": True}}, env=Stub()) == []


def test_mixed_content_of_many_elements_takes_time_in_proportion() -> None:
    count = 40_000
    out = parse("<a>" + "t<b/>" * count + "</a>")
    assert (len(out["a"]["b"]), out["a"]["#text"]) == (count, "t" * count)


names = st.text(st.sampled_from("abc"), min_size=1, max_size=2)
leaves = st.text(st.sampled_from("xyz é<&"), min_size=1, max_size=5).map(str.strip).filter(bool)
trees = st.recursive(leaves, lambda inner: st.dictionaries(names, inner, min_size=1, max_size=3), max_leaves=8)


@settings(deadline=None)
@given(st.dictionaries(names, trees, min_size=1, max_size=1))
def test_objects_written_as_xml_come_back(tree: dict[str, Any]) -> None:
    def write(value: Any) -> str:
        if isinstance(value, str):
            return value.replace("&", "&amp;").replace("<", "&lt;")
        return "".join(f"<{name}>{write(inner)}</{name}>" for name, inner in value.items())

    assert parse(write(tree)) == tree
