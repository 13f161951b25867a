"""Many cases in one test: every case is checked, and the failure names each one that is faulty.

For tables of small checks, where one test per row costs more than the check. Each row stays a case of its own: a fault
of one does not hide the faults of the others.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest

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


def _line(name: str, fault: BaseException) -> str:
    """One fault: the case, the line of the test that failed, and why."""
    steps = [step for step in traceback.extract_tb(fault.__traceback__) if "/tests/" in step.filename]
    step = steps[-1] if steps else traceback.extract_tb(fault.__traceback__)[-1]
    kind = "" if isinstance(fault, AssertionError) else f"{type(fault).__name__}: "
    return f"- {name}: {kind}{fault} ({step.filename.rpartition('/')[2]}:{step.lineno})"
