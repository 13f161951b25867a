"""Many cases in one test: every case is checked, and the failure names each one that is faulty.

For tables of small checks, where one test per row costs more than the check. Each row stays a case of its own: a fault
of one does not hide the faults of the others.
"""

from __future__ import annotations

import functools
import inspect
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

_ParameterSet = type(pytest.param())
Case = Callable[..., AbstractContextManager[None]]
_SHOWN = 50  # of very many faults
_FAULTS = (Exception, pytest.fail.Exception)


@contextmanager
def every() -> Iterator[Case]:
    """Give a function that opens a case: `with cases.every() as case: for row in rows: with case(row.id): assert ...`.

    What fails in a case is kept, and the next case goes on. Raises AssertionError at the end with the name, the line
    and the message of each fault, and when there was no case at all.
    """
    faults: list[tuple[str, BaseException]] = []
    tried = 0

    @contextmanager
    def case(*name: object) -> Iterator[None]:
        nonlocal tried
        tried += 1
        try:
            yield
        except _FAULTS as fault:
            faults.append((" ".join(map(str, name)), fault))

    yield case
    if not tried:
        raise AssertionError("there was no case")
    if faults:
        told = [_line(name, fault) for name, fault in faults[:_SHOWN]]
        told += [f"and {len(faults) - _SHOWN} more"] * (len(faults) > _SHOWN)
        raise AssertionError("\n".join([f"{len(faults)} of {tried} cases are faulty:", *told])) from faults[0][1]


Ids = Callable[[Any], object] | Iterable[str] | None


def table(
    names: str | Sequence[str], rows: Iterable[Any], *, ids: Ids = None
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Like `pytest.mark.parametrize`, as one test: all rows are tried, with the same fixtures.

    For rows that leave nothing behind. Two of them on one function try each row of the one with each of the other.
    """
    own = tuple(name.strip() for name in names.split(",")) if isinstance(names, str) else tuple(names)
    numbered = enumerate(rows)
    labels = None if ids is None or callable(ids) else list(ids)
    each = [_Row(own, row, ids if callable(ids) else None, labels and labels[number]) for number, row in numbered]

    def decorate(test: Callable[..., Any]) -> Callable[..., Any]:
        if inspect.iscoroutinefunction(test):

            async def tried(**fixtures: Any) -> None:
                with every() as case:
                    for row in each:
                        with case(row):
                            await test(**fixtures, **row.arguments())

        else:

            def tried(**fixtures: Any) -> None:  # type: ignore[misc]
                with every() as case:
                    for row in each:
                        with case(row):
                            test(**fixtures, **row.arguments())

        signature = inspect.signature(test)
        fixtures = [one for one in signature.parameters.values() if one.name not in own]
        assert len(fixtures) + len(own) == len(signature.parameters), f"{test.__name__} takes {own}"
        functools.update_wrapper(tried, test)
        tried.__signature__ = signature.replace(parameters=fixtures)  # type: ignore[attr-defined]
        return tried

    return decorate


@dataclass(frozen=True)
class _Row:
    """One row of a table; its name is worked out when it is faulty."""

    names: tuple[str, ...]
    row: Any
    name: Callable[[Any], object] | None
    label: str | None

    @property
    def values(self) -> tuple[Any, ...]:
        if isinstance(self.row, _ParameterSet):
            return tuple(self.row.values)
        return (self.row,) if len(self.names) == 1 else tuple(self.row)

    def arguments(self) -> dict[str, Any]:
        return dict(zip(self.names, self.values, strict=True))

    def __str__(self) -> str:
        if isinstance(self.row, _ParameterSet) and self.row.id:
            return str(self.row.id)
        named = [self.name(value) if self.name else None for value in self.values]
        return self.label or ", ".join(
            _short(value) if name is None else str(name) for name, value in zip(named, self.values, strict=True)
        )


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _line(name: str, fault: BaseException) -> str:
    """One fault: the case, the line of the test that failed, and why."""
    steps = [step for step in traceback.extract_tb(fault.__traceback__) if "/tests/" in step.filename]
    step = steps[-1] if steps else traceback.extract_tb(fault.__traceback__)[-1]
    kind = "" if isinstance(fault, AssertionError) else f"{type(fault).__name__}: "
    return f"- {name}: {kind}{fault} ({step.filename.rpartition('/')[2]}:{step.lineno})"
