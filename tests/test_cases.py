"""A test of many cases fails with all that are faulty (tests/cases.py)."""

from __future__ import annotations

import inspect

import pytest

from tests import cases


def test_every_faulty_case_is_named_with_its_line_and_its_reason() -> None:
    tried = []
    with pytest.raises(AssertionError) as failure, cases.every() as case:
        for number in range(4):
            with case("number", number):
                tried.append(number)
                assert number != 1, "it is one"
                if number == 2:
                    raise ValueError("it is two")
                if number == 3:
                    pytest.fail("it is three")
    first, *others = str(failure.value).splitlines()
    assert tried == [0, 1, 2, 3]
    assert first == "3 of 4 cases are faulty:"
    assert [line.split(" (")[0] for line in others if line.startswith("- ")] == [
        "- number 1: it is one",
        "- number 2: ValueError: it is two",
        "- number 3: Failed: it is three",
    ]
    assert "(test_cases.py:" in str(failure.value)
    assert str(failure.value.__cause__).startswith("it is one")


def test_many_faults_are_counted_and_the_first_ones_are_shown() -> None:
    with pytest.raises(AssertionError, match=r"(?s)60 of 60 cases.*- 49: no .*\nand 10 more$"), cases.every() as case:
        for number in range(60):
            with case(number):
                raise AssertionError("no")


def test_a_table_without_rows_is_a_fault() -> None:
    with pytest.raises(AssertionError, match="there was no case"), cases.every():
        pass


def test_what_ends_the_test_is_not_kept() -> None:
    with pytest.raises(KeyboardInterrupt), cases.every() as case, case("stopped"):
        raise KeyboardInterrupt


@cases.table("number", [1, 2, 3])
@cases.table(("word", "sign"), [("a", "+"), pytest.param("b", "-", id="minus")])
def faulty(number: int, word: str, sign: str, tmp_path: object) -> None:
    assert tmp_path and (number, word) != (2, "b"), sign


def test_each_row_of_a_table_is_tried_with_each_row_of_the_other() -> None:
    assert list(inspect.signature(faulty).parameters) == ["tmp_path"]
    with pytest.raises(AssertionError, match=r"^1 of 3 cases are faulty:\n- 2: 1 of 2 cases are faulty:\n- minus: -"):
        faulty(tmp_path="/")


@pytest.mark.anyio
async def test_a_coroutine_function_of_a_table_is_one() -> None:
    tried = []

    @cases.table("number", range(3), ids=["none", "one", "two"])
    async def test(number: int) -> None:
        tried.append(number)
        assert number < 2

    assert inspect.iscoroutinefunction(test)
    with pytest.raises(AssertionError, match="- two: "):
        await test()
    assert tried == [0, 1, 2]
