from __future__ import annotations

from typing import Any

import pytest

from core.dsl.language import hops

DISPATCH = {"outputs": {"a": "ca", "b": "cb", "c": "ca"}, "copies": ["tap", "cb"]}


@pytest.mark.parametrize(
    ("document", "reads", "writes"),
    [
        ({"input": {"worker-channel": {"channel": "in"}}, "output": {"worker-channel": "out"}}, "in", ("out",)),
        ({"input": {"worker-channel": "in"}, "output": {"dispatch": DISPATCH}}, "in", ("ca", "cb", "tap")),
        ({"input": {"echo": {}}, "output": "print"}, "", ()),
        ({"input": "echo", "output": {"dispatch": {"outputs": ["a"], "copies": "b"}}}, "", ()),
        ({"input": {"worker-channel": 7}, "output": {"dispatch": None}}, "", ()),
        ({"output": "print", "on-error": {"send": {"channel": "rejects"}}}, "", ("rejects",)),
        ({"output": {"worker-channel": "out"}, "on-error": {"send": {"message": "tag"}}}, "", ("out",)),
        ({"output": "print", "on-error": "log"}, "", ()),
        ({}, "", ()),
    ],
)
def test_a_document_tells_which_channels_it_reads_and_writes(
    document: dict[str, Any], reads: str, writes: tuple[str, ...]
) -> None:
    assert (hops.reads(document), hops.writes(document)) == (reads, writes)
