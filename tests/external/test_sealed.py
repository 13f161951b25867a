"""Records between an engine and a worker of another machine: they open once, in order, and for nobody else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.external.sealed import Lost, Records, WorkerKey

KEY = WorkerKey(b"k" * 32)
OTHER = WorkerKey(b"o" * 32)


def ends() -> tuple[Records, Records]:
    of_worker, of_engine = KEY.session(b"w" * 32, b"e" * 32)
    return Records(of_worker, of_engine), Records(of_engine, of_worker)


@given(st.lists(st.tuples(st.integers(0, 255), st.binary(max_size=500)), max_size=30))
def test_what_is_sealed_opens_in_order_at_the_other_end(said: list[tuple[int, bytes]]) -> None:
    worker, engine = ends()
    assert [engine.open(worker.seal(kind, body)) for kind, body in said] == said
    assert [worker.open(engine.seal(kind, body)) for kind, body in said] == said


@given(st.data())
def test_a_record_that_was_changed_does_not_open_and_the_right_one_still_does(data: st.DataObject) -> None:
    worker, engine = ends()
    record = worker.seal(1, b"a body")
    at = data.draw(st.integers(0, len(record) - 1))
    bit = 1 << data.draw(st.integers(0, 7))
    assert engine.open(record[:at] + bytes((record[at] ^ bit,)) + record[at + 1 :]) is None
    assert engine.open(record) == (1, b"a body")


@given(st.binary(max_size=300))
def test_foreign_bytes_do_not_open_and_end_nothing(noise: bytes) -> None:
    worker, engine = ends()
    assert engine.open(noise) is None
    assert engine.open(worker.seal(1, b"")) == (1, b"")


def test_a_record_does_not_open_twice_nor_at_the_end_that_sealed_it() -> None:
    worker, engine = ends()
    record = worker.seal(1, b"once")
    assert engine.open(record) == (1, b"once")
    assert engine.open(record) is None
    assert worker.open(record) is None


def test_a_missing_record_is_noticed_at_the_next_one() -> None:
    worker, engine = ends()
    worker.seal(1, b"lost")
    with pytest.raises(Lost, match="1 records are missing"):
        engine.open(worker.seal(1, b"after it"))


def test_another_session_and_another_key_have_other_keys() -> None:
    keys = {
        *KEY.session(b"w" * 32, b"e" * 32),
        *KEY.session(b"w" * 32, b"f" * 32),
        *KEY.session(b"v" * 32, b"e" * 32),
        *OTHER.session(b"w" * 32, b"e" * 32),
    }
    assert len(keys) == 8
    assert KEY.installation != OTHER.installation


def test_a_letter_opens_for_its_purpose_and_with_its_key_only() -> None:
    letter = KEY.seal({"name": "edge"}, b"join")
    assert KEY.open(letter, b"join") == {"name": "edge"}
    assert KEY.open(letter, b"welcome") is None
    assert OTHER.open(letter, b"join") is None
    assert KEY.open(letter[:-1], b"join") is None
    assert KEY.open(b"", b"join") is None
    assert KEY.open(b"x" * 9000, b"join") is None
