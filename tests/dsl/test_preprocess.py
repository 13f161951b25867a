from __future__ import annotations

import base64
import gzip
import importlib.util
import os
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.dsl.files import preprocess
from core.dsl.files.preprocess import BadContent, decode, decoder, encode
from core.errors import JobFailed
from tests import cases


@pytest.fixture(autouse=True)
def _pyarrow() -> None:
    pytest.importorskip("pyarrow")  # here, since its import starts a thread


_scalars = st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text(max_size=20)
_rows = st.lists(st.dictionaries(st.sampled_from("abc"), _scalars, min_size=1), min_size=1, max_size=20)


@given(st.binary(max_size=5000), st.lists(st.sampled_from(["gzip", "base64"]), max_size=4), st.integers(1, 700))
def test_what_is_encoded_comes_back_whatever_the_chunks(data: bytes, names: list[Any], size: int) -> None:
    packed = encode(names, data)
    back = list(reversed(names))
    assert decode(back, packed, "x") == data
    chain = decoder(back, "x")
    parts = [part for at in range(0, len(packed), size) for part in chain.feed(packed[at : at + size])]
    assert b"".join([*parts, *chain.end()]) == data


@settings(deadline=None)  # the first call imports the library
@given(_rows)
def test_rows_come_back_from_parquet_with_their_values(rows: list[dict[str, Any]]) -> None:
    lines = b"".join(orjson.dumps(row) + b"\n" for row in rows)
    back = [orjson.loads(line) for line in decode(["parquet"], encode(["parquet"], lines), "x").splitlines()]
    assert len(back) == len(rows)
    for row, got in zip(rows, back, strict=True):
        for name, value in row.items():
            found = got[name]
            if value is None or type(value) is type(found):
                assert found == value
            else:  # the values of this column do not fit together: it holds them as text
                assert found == (value if isinstance(value, str) else orjson.dumps(value).decode())


def test_parquet_keeps_objects_arrays_and_what_is_no_object() -> None:
    lines = b'{"a":{"b":[1,2]},"e":{}}\n{"a":{"b":[]}}\nplain text\n'
    assert [orjson.loads(line) for line in decode(["parquet"], encode(["parquet"], lines), "x").splitlines()] == [
        {"a": {"b": [1, 2]}, "e": "{}", "_raw": None},
        {"a": {"b": []}, "e": None, "_raw": None},
        {"a": None, "e": None, "_raw": "plain text"},
    ]


@cases.table(
    ("name", "steps"),
    [
        ("a.json", []),
        ("a.json.gz", ["gzip"]),
        ("a.JSON.GZ", ["gzip"]),
        ("a.b64.gz", ["gzip", "base64"]),
        ("a.parquet", ["parquet"]),
        ("a.parquet.gz", ["gzip", "parquet"]),
        ("gz", []),
    ],
)
def test_extension_means_what_the_name_says(name: str, steps: list[str]) -> None:
    assert preprocess.steps(["extension"], name) == steps


@cases.table(
    ("names", "data", "told"),
    [
        (["gzip"], b"nothing packed", "not valid gzip"),
        (["gzip"], gzip.compress(os.urandom(1000))[:-9], "cut off"),
        (["gzip"], gzip.compress(b"x", mtime=0) + b"junk", "not valid gzip"),
        (["base64"], b"!!!!", "not valid base64"),
        (["base64"], b"YWJjZ", "cut off"),
        (["parquet"], b"no parquet", "not valid parquet"),
        (["parquet"], b"PAR1" + b"x" * 100 + b"PAR1", "not valid parquet"),
        (["gzip"], gzip.compress(b"0" * 10_000_000, mtime=0), "longer than 1000000 bytes"),
        (
            ["gzip", "gzip"],
            gzip.compress(gzip.compress(b"0" * 10_000_000, mtime=0), mtime=0),
            "longer than 1000000 bytes",
        ),
    ],
)
def test_content_that_is_not_what_it_should_be_is_named(names: list[Any], data: bytes, told: str) -> None:
    with pytest.raises(BadContent, match=rf"^\w+: thing: .*{told}|^thing: .*{told}") as caught:
        decode(names, data, "thing", 1_000_000)
    assert caught.value.message.startswith("thing: ")


def test_members_of_gzip_that_were_joined_are_read_one_after_the_other() -> None:
    assert decode(["gzip"], gzip.compress(b"a") + gzip.compress(b"") + gzip.compress(b"b"), "x") == b"ab"


def test_a_small_bomb_gives_small_parts() -> None:
    bomb = gzip.compress(b"0" * 50_000_000)
    assert max(map(len, decoder(["gzip"], "x").feed(bomb))) <= preprocess.CHUNK_BYTES


def test_without_pyarrow_parquet_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    for use in (lambda: preprocess.require(["parquet"]), lambda: encode(["parquet"], b"{}")):
        with pytest.raises(JobFailed) as caught:
            use()
        assert caught.value.hint == "pip install 'sluice-mcp[parquet]'"
    preprocess.require(["gzip", "base64", "extension"])


def test_base64_may_be_broken_into_lines() -> None:
    assert decode(["base64"], base64.encodebytes(b"x" * 1000), "x") == b"x" * 1000
