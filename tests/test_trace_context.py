"""Trace contexts: what is a `traceparent` and what is none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.model import trace_context
from core.model.trace_context import TraceContext

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


def digits(length: int) -> st.SearchStrategy[str]:
    return st.integers(1, 16**length - 1).map(lambda number: f"{number:0{length}x}")


@given(digits(32), digits(16), st.booleans())
def test_what_is_written_is_read(trace_id: str, span_id: str, sampled: bool) -> None:
    context = TraceContext(trace_id, span_id, sampled)
    assert trace_context.parse(str(context)) == context


@given(st.text() | st.from_regex(r"[0-9a-fA-F]{2}-[0-9a-f]{30,34}-[0-9a-f]{15,17}-[0-9a-z]{2}.?"))
def test_whatever_text_it_is_it_is_read_or_is_as_nothing(text: str) -> None:
    context = trace_context.parse(text)
    assert context is None or (len(context.trace_id), len(context.span_id)) == (32, 16)


@pytest.mark.parametrize(
    "text",
    [
        "",
        f"00-{TRACE}-{SPAN}",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-01-more",
        f"00-{TRACE}-{SPAN}-01\n",
        f" 00-{TRACE}-{SPAN}-01",
        f"cc-{TRACE}-{SPAN}-01-{'x' * 300}",
    ],
)
def test_what_is_malformed_is_as_nothing(text: str) -> None:
    assert trace_context.parse(text) is None


def test_a_later_version_is_read_as_far_as_it_is_known() -> None:
    assert trace_context.parse(f"cc-{TRACE}-{SPAN}-09-more") == TraceContext(TRACE, SPAN, True)
    assert trace_context.parse(f"cc-{TRACE}-{SPAN}-08") == TraceContext(TRACE, SPAN, False)


def test_spans_have_ids_of_their_own() -> None:
    assert len({trace_context.new_span() for _ in range(100)}) == 100
    assert len(trace_context.new_span()) == 16
