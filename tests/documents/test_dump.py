"""Values written as YAML come back as the same values, and look like something a person would write."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from core.documents import load
from core.documents.dump import to_yaml

TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    TEXTS,
    st.sampled_from(
        ["012", "1_000", "1e3", ".5", "0x1F", "off", "~", "<<", "- a", "a: b", "#x", "a\nb\n", " \n", "a \nb"]
    ),
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(TEXTS, inner, max_size=3)),
    max_leaves=8,
)


@given(st.dictionaries(TEXTS, VALUES, min_size=1, max_size=4))
def test_a_document_comes_back_as_it_was(data: dict[str, Any]) -> None:
    (read,) = load(to_yaml(data))
    assert read.data == data


def test_the_keys_of_a_job_stand_in_the_usual_order_and_scripts_stay_readable() -> None:
    job = {
        "output": {"print": "STDOUT"},
        "actions": [{"script": {"code": "a = 1\nb = 2\n"}}],
        "name": "j",
        "input": {"echo": {"event": '{"a": 1}', "json": True}},
    }
    assert (
        to_yaml(job)
        == """\
name: j
input:
  echo:
    event: '{"a": 1}'
    json: true
actions:
- script:
    code: |
      a = 1
      b = 2
output:
  print: STDOUT
"""
    )
