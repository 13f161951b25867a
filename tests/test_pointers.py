"""JSON Pointers: every key comes back, whatever is in it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from core import pointers


@given(st.lists(st.text(max_size=8) | st.sampled_from(["~", "/", "~1", "~0", "", "a/b~c"]), max_size=6))
def test_what_is_joined_is_split_into_the_same(steps: list[str]) -> None:
    assert pointers.split(pointers.join(steps)) == steps


def test_the_examples_of_the_rfc() -> None:
    assert pointers.join([]) == ""
    assert pointers.join(["foo", 0]) == "/foo/0"
    assert pointers.join([""]) == "/"
    assert pointers.join(["a/b"]) == "/a~1b"
    assert pointers.join(["m~n"]) == "/m~0n"
