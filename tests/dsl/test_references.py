"""convert, extract, templates and selectors against slow, plain references."""

from __future__ import annotations

import json
import math
import re
from decimal import Decimal, InvalidOperation
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from core.dsl.component import Event, Run
from core.dsl.events import select
from core.dsl.language import templates
from tests.dsl.stub import Stub, run

scalars = (
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
written = st.text(st.sampled_from("0123456789.-+eE, _abtrufls{}[]\":'"), max_size=10)
keys = st.text(st.sampled_from("ab0"), min_size=1, max_size=2)
trees = st.recursive(
    scalars | texts, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3), max_leaves=8
)


# ---- convert -------------------------------------------------------------------------------------------------------

FAILED = object()


def number(text: str) -> Any:
    """Decimal notation as JSON and people write it: sign, digits, point, exponent, white space around it."""
    text = text.strip()
    if not re.fullmatch(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", text):
        return FAILED
    try:
        exact = Decimal(text)
    except InvalidOperation:
        return FAILED
    if re.fullmatch(r"[+-]?\d+", text) and -(2**63) <= int(text) < 2**63:
        return int(text)
    value = float(exact)
    return value if math.isfinite(value) else FAILED


def reference(value: Any, conversion: str) -> Any:
    if value is None:
        return None
    text = isinstance(value, str)
    match conversion:
        case "num":
            if isinstance(value, bool):
                return int(value)
            return number(value) if text else value if isinstance(value, int | float) else FAILED
        case "str":
            return value if text else json.dumps(value, separators=(",", ":"), ensure_ascii=False)
        case "bool":
            if isinstance(value, bool):
                return value
            word = value.strip().lower() if text else value
            if word in ("true", "yes", "on", "1", "t", "y") or (not text and word == 1):
                return True
            return False if word in ("false", "no", "off", "0", "f", "n") or (not text and word == 0) else FAILED
        case "json":
            if not text:
                return value
            try:
                parsed = json.loads(value, parse_constant=lambda name: FAILED)
            except ValueError:
                return FAILED
            return FAILED if _unfit(parsed) else parsed
        case _:
            if text:
                return re.split(r"\s*,\s*|\s+", value.strip()) if value.strip() else []
            return value if isinstance(value, list) else FAILED if isinstance(value, dict) else [value]


def _unfit(value: Any) -> bool:
    """What no event may hold: an integer of more than 64 bits, and what is no number in JSON."""
    if isinstance(value, dict | list):
        return any(map(_unfit, value.values() if isinstance(value, dict) else value))
    big = isinstance(value, int) and not -(2**63) <= value < 2**63
    return value is FAILED or big or (isinstance(value, float) and not math.isfinite(value))


def same(left: Any, right: Any) -> bool:
    """Equal with the types of the numbers."""
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(same, left, right))
    return type(left) is type(right) and left == right


@given(written | trees, st.sampled_from(["num", "str", "bool", "json", "split"]))
def test_convert_does_what_the_reference_does(value: Any, conversion: str) -> None:
    expected = reference(value, conversion)
    action = {"convert": {"conversions": [{"field": "v", "conversion": conversion}], "suppress-warnings": True}}
    (out,) = run([{"v": json.loads(json.dumps(value))}], action)
    if conversion == "str" and value is not None and not isinstance(value, str):
        out["v"], expected = json.loads(out["v"]), value  # floats may be written in several ways
    assert same(out["v"], value if expected is FAILED else expected), (value, conversion)


@given(
    st.integers(-(2**62), 2**62),
    st.sampled_from("ns us ms s m h d".split()),
    st.sampled_from("ns us ms s m h d".split()),
)
def test_units_of_integers_are_exact_or_the_nearest_float(value: int, source: str, target: str) -> None:
    sizes = {"ns": 1, "us": 10**3, "ms": 10**6, "s": 10**9, "m": 6 * 10**10, "h": 36 * 10**11, "d": 864 * 10**11}
    (out,) = run([{"v": value}], {"convert": {"units": [{"field": "v", "from": source, "to": target}]}})
    exact = Decimal(value) * sizes[source] / sizes[target]
    whole = value * sizes[source] % sizes[target] == 0
    assert type(out["v"]) is (int if whole else float)
    assert math.isclose(out["v"], exact, rel_tol=1e-15)


# ---- extract -------------------------------------------------------------------------------------------------------

PATTERNS = [
    r"^(\S+) (\S+)$",
    r"(a+)(b*)",
    r"(\d+)-(\d+)?",
    r"([^,]*),([^,]*)",
    r"(a|ab)(c|bcd)?",
    r"(?:x|y)(z)$",
    r"(\w+)\s*=\s*([^;]+)",
    r"((a)b)+",
    r"(.)(.)",
]


@given(st.sampled_from(PATTERNS), st.text(st.sampled_from("ab cdxyz01-,=;\n\u00e9"), max_size=14))
def test_extract_finds_what_the_re_module_finds(pattern: str, text: str) -> None:
    # A final newline is where $ of re and RE2 differ, and \w is ASCII in RE2.
    found = re.search(pattern.replace("$", r"\Z"), text, re.ASCII)
    fields = [f"g{n}" for n in range(re.compile(pattern).groups)]
    action = {"extract": {"pattern": pattern, "output-fields": fields, "suppress-warnings": True}}
    (out,) = run([{"_raw": text}], action)
    groups = {} if found is None else {f"g{n}": group for n, group in enumerate(found.groups()) if group is not None}
    assert out == {"_raw": text, **groups}


# ---- templates -----------------------------------------------------------------------------------------------------

pieces = st.lists(
    st.sampled_from(["${a}", "${a.b}", "${/a/b}", "${a/0}", "${x||f}", "${a||}", "${x||a||b}", "$${", "@@{", "@{job}"])
    | st.sampled_from(["{", "}", "$", "@", "text ", "\u00e9", "||", "#{a}"]),
    max_size=6,
)  # fmt: skip


def single_pass(template: str, event: Event) -> str:
    """One look at each character from left to right."""
    out, at = "", 0
    while at < len(template):
        if template[at : at + 3] in ("$${", "@@{"):
            out, at = out + template[at + 1 : at + 3], at + 3
        elif template[at : at + 2] in ("${", "@{"):
            end, depth = at + 2, 1
            while depth:
                depth += {"{": 1, "}": -1}.get(template[end], 0)
                end += 1
            body = template[at + 2 : end - 1]
            out += "handler" if template[at] == "@" else looked_up(body, event)
            at = end
        else:
            out, at = out + template[at], at + 1
    return out


def looked_up(body: str, event: Event) -> str:
    path, bar, fallback = body.partition("||")
    value = plain_find(event, path)
    if value is FAILED or (value is None and bar):
        return fallback
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def plain_find(value: Any, path: str) -> Any:
    steps = path[1:].split("/") if path.startswith("/") else path.split("/") if "/" in path else path.split(".")
    for step in steps:
        try:
            value = value[step] if isinstance(value, dict) else value[int(step)] if isinstance(value, list) else FAILED
        except (KeyError, IndexError, ValueError):
            return FAILED
    return value


def whole(template: str) -> bool:
    try:
        templates.parse(template)
    except ValueError:
        return False
    return True


plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.sampled_from(["${a}", "x", "@{job}", "$${"]),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["a", "b", "ab", "0"]), inner, max_size=2)
    ),
    max_leaves=6,
)


@given(pieces.map("".join).filter(whole), st.dictionaries(st.sampled_from(["a", "b", "ab"]), plain, max_size=3))
def test_a_template_is_expanded_in_one_pass(template: str, event: Event) -> None:
    render = templates.template(template, Stub())
    assert render(json.loads(json.dumps(event)), Run()) == single_pass(template, event)


# ---- selectors -----------------------------------------------------------------------------------------------------


def spell(path: tuple[str, ...], how: str) -> str:
    match how:
        case "pointer":
            return select.pointer(path)
        case "dots":
            return ".".join(path)
        case "slashes":
            return "/".join(path)
        case _:
            return "$" + "".join(f"['{step}']" for step in path)


paths = st.lists(keys, min_size=1, max_size=3).map(tuple)


@given(st.dictionaries(keys, trees, max_size=3), paths, st.sampled_from(["pointer", "dots", "slashes", "jsonpath"]))
def test_every_spelling_of_a_path_finds_sets_and_removes_the_same_field(
    event: Event, path: tuple[str, ...], how: str
) -> None:
    text = spell(path, how)
    expected = plain_find(event, select.pointer(path))
    steps = select.parse(text)
    found = select.getter(steps)(event)
    assert found is (select.MISSING if expected is FAILED else expected)
    try:
        select.setter(steps)(event, "set")
    except ValueError:
        return  # something above it is no object
    assert select.getter(steps)(event) == "set"
    assert select.remover(steps)(event) == "set"
    assert select.remover(steps)(event) != "set"
