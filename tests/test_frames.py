"""Frames between engine and workers: what is written is read the same, and what is none is refused with its reason."""

from __future__ import annotations

import functools
import socket
from typing import Any, get_args, get_type_hints

import anyio
import msgspec
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core import channel
from core.model import frames
from core.model.states import WorkloadState

KINDS = sorted({*get_args(frames.FromEngine), *get_args(frames.FromWorker)}, key=lambda kind: kind.__name__)
CODECS = ((frames.OF_ENGINE, frames.FromEngine), (frames.OF_WORKER, frames.FromWorker))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
NATURAL = st.integers(0, 2**63 - 1)


@functools.cache
def of_type(hint: Any) -> st.SearchStrategy[Any]:
    """Values of a field."""
    known: dict[Any, st.SearchStrategy[Any]] = {
        frames.Json: JSON.map(lambda value: frames.Json(orjson.dumps(value))),
        frames.Natural: NATURAL,
        str: st.text(max_size=20),
        int: NATURAL,
        bool: st.booleans(),
        float: st.floats(0, 1e9),
        WorkloadState: st.sampled_from(WorkloadState),
        str | None: st.none() | st.text(max_size=20),
        frames.SpanId: st.from_regex(r"[0-9a-f]{16}", fullmatch=True),
        frames.Method: st.sampled_from(get_args(frames.Method)),
        tuple[frames.Span, ...]: st.lists(of_struct(frames.Span), max_size=3).map(tuple),
        list[frames.Lines]: st.lists(of_struct(frames.Lines), max_size=3),
        list[frames.ChannelDriver]: st.lists(of_struct(frames.ChannelDriver), max_size=3),
        dict[str, str]: st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=3),
        dict[str, frames.Figures]: st.dictionaries(st.text(max_size=5), of_struct(frames.Figures), max_size=3),
        frames.TargetOutage | None: st.none() | of_struct(frames.TargetOutage),
        dict[str, Any] | None: st.none() | st.dictionaries(st.text(max_size=5), JSON, max_size=3),
    }
    return known[hint]


@functools.cache
def of_struct(kind: type[Any]) -> st.SearchStrategy[Any]:
    hints = get_type_hints(kind, include_extras=True)
    return st.deferred(lambda: st.builds(kind, **{name: of_type(hints[name]) for name in kind.__struct_fields__}))


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
@given(data=st.data())
def test_a_frame_that_is_written_is_read_the_same(kind: type[frames.Frame], data: st.DataObject) -> None:
    frame = data.draw(of_struct(kind))
    line = frames.encode(frame)
    assert b"\n" not in line
    for codec, kinds in CODECS:
        if kind in get_args(kinds):
            assert codec.decode(line) == frame
            assert codec.decode(line[:-1] + b',"of a later protocol"]') == frame
        else:
            with pytest.raises(frames.FrameRefused, match="no frame of protocol"):
                codec.decode(line)


@given(st.binary(max_size=60) | JSON.map(orjson.dumps) | st.lists(JSON, max_size=5).map(orjson.dumps))
def test_what_is_no_frame_is_refused(line: bytes) -> None:
    for codec, _ in CODECS:
        try:
            found = codec.decode(line)
        except frames.FrameRefused as refused:
            assert f"protocol {frames.PROTOCOL}" in str(refused)
        else:
            assert isinstance(found, frames.Frame)


def test_kinds_have_names_of_their_own_and_say_since_when_they_are() -> None:
    assert len({kind.__struct_config__.tag for kind in KINDS}) == len(KINDS)
    assert all(1 < kind.since <= frames.PROTOCOL for kind in KINDS)
    assert all(kind.__doc__ for kind in KINDS)


@pytest.mark.anyio
@pytest.mark.parametrize(
    "line",
    [
        b'["assign"]',
        b'["nonsense",1]',
        b'["deliver",1,"w","x",{}]',
        b'["deliver",-1,"w",1,{}]',
        b"[",
        b"[]",
        b"5",
        b'{"notice":"drain","data":null}',
    ],
)
async def test_a_peer_that_says_something_else_is_told_and_left(line: bytes) -> None:
    left, right = socket.socketpair()
    left.settimeout(10)
    heard: list[frames.Frame] = []
    link = await channel.over_socket(right, codec=frames.OF_ENGINE, on_frame=heard.append)
    behind = frames.encode(frames.Drain())
    with anyio.fail_after(10):
        left.sendall(behind + b"\n" + line + b"\n" + behind + b"\n")
        await link.closed.wait()
    answer = left.recv(65536)
    left.close()
    refused = msgspec.json.decode(answer, type=frames.Refused)
    assert f"protocol {frames.PROTOCOL}" in refused.reason
    assert heard == [frames.Drain()], "nothing behind it is done"
