"""Canonical JSON: equal values, equal bytes; hostile text is refused with the reason."""

from __future__ import annotations

import json
import timeit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core import errors
from core.documents import canonical
from tests import cases

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(VALUES)
def test_what_python_writes_as_json_is_read_back_equal(value: object) -> None:
    assert canonical.parse_json(json.dumps(value, ensure_ascii=False).encode()) == value


@given(st.dictionaries(st.text(), VALUES, max_size=6))
def test_the_order_of_keys_does_not_change_the_digest(value: dict[str, object]) -> None:
    turned = dict(reversed(value.items()))
    assert canonical.digest(turned) == canonical.digest(value)
    assert canonical.params_digest(turned) == canonical.params_digest(value)


@cases.table(
    ("left", "right", "same"),
    [
        ({"a": 1}, {"a": 1.0}, True),
        ({"a": 1}, {"a": "1"}, False),
        ({"a": 1}, {"a": True}, False),
        ({"a": 0}, {"a": None}, False),
        ({"a": "\u00e9"}, {"a": "e\u0301"}, False),
        ({"a": [1, 2]}, {"a": [2, 1]}, False),
        ({"a": 1739370000000000001}, {"a": 1739370000000000002}, False),
    ],
)
def test_params_are_compared_as_the_table_says(left: object, right: object, same: bool) -> None:
    assert (canonical.params_digest(left) == canonical.params_digest(right)) is same


@cases.table(
    ("raw", "why"),
    [
        (b'{"a":1,"a":2}', "'a' stands twice"),
        (b'{"a" :1,"a":2,"b" :3}', "'a' stands twice"),
        (b'{"x":{"\\u0061":1,"a":2}}', "'a' stands twice"),
        (b"[9223372036854775808]", "64 bits"),
        (b"[18446744073709551616]", "64 bits"),
        (b"[-9223372036854775809]", "64 bits"),
        (b"[" + b"9" * 5000 + b"]", "not valid JSON"),
        (b"[NaN]", "not valid JSON"),
        (b"[1e999]", "infinity"),
        (b'["\\ud800"]', "surrogate"),
        (b'["\xff"]', "UTF-8"),
        (b"\xef\xbb\xbf{}", "byte order mark"),
        ('{"a":1}'.encode("utf-16"), "not valid JSON"),
        (b"[" * 65 + b"]" * 65, "deeper than 64"),
        (b"[" * 100_000, "deeper than 64"),
        (b'{"a":', "not valid JSON"),
        (b" " * (1024 * 1024 + 1), "at most"),
    ],
)
def test_hostile_json_is_refused_with_the_reason(raw: bytes, why: str) -> None:
    with pytest.raises(errors.InvalidParams, match=why):
        canonical.parse_json(raw)


def test_brackets_and_colons_inside_strings_do_not_count() -> None:
    text = json.dumps({"a": "[" * 100 + '":' * 50, "b": [[]]})
    assert canonical.parse_json(text.encode()) == json.loads(text)


def test_a_megabyte_of_keys_is_read_in_well_under_a_second() -> None:
    raw = b"{" + b",".join(b'"k%d":%d' % (n, n) for n in range(60_000)) + b"}"
    assert timeit.timeit(lambda: canonical.parse_json(raw), number=1) < 1.0
