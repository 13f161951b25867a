"""Rows of a list in the order that its reader wants."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core import errors
from core.model import row_order

VALUES = st.none() | st.integers() | st.text() | st.booleans()


@given(st.lists(VALUES), st.booleans())
def test_all_rows_stay_those_without_a_value_last_and_equal_ones_as_they_were(values: list[Any], down: bool) -> None:
    rows = [{"name": "x", "n": n, "value": value} for n, value in enumerate([*values, 1])]
    ordered = row_order.arranged(rows, "-value" if down else "value")
    assert sorted(row["n"] for row in ordered) == list(range(len(rows)))
    missing = [row["value"] is None for row in ordered]
    assert missing == sorted(missing)
    numbers = [row["value"] for row in ordered if isinstance(row["value"], int)]
    texts = [row["value"] for row in ordered if isinstance(row["value"], str)]
    assert numbers == sorted(numbers, reverse=down) and texts == sorted(texts, reverse=down)
    for value in {*texts, None}:
        places = [row["n"] for row in ordered if row["value"] == value]
        assert places == sorted(places)


def test_a_field_that_no_row_has_is_refused_with_those_there_are() -> None:
    rows: list[dict[str, Any]] = [{"name": "a", "state": "up", "job": None, "conditions": []}]
    with pytest.raises(errors.InvalidParams) as caught:
        row_order.arranged(rows, "-stat")
    assert "state" in str(caught.value.hint) and "conditions" not in str(caught.value.hint)
    assert row_order.arranged([], "anything") == []
