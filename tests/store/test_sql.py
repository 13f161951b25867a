"""The statements of the store, as they stand in the code: they give the same on every SQLite that is promised."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from core import errors
from core.store import connection
from tests import sources

CODE = Path(connection.__file__).parents[1]


def texts(node: ast.AST) -> Iterator[str]:
    """The strings of a module; what a format string fills in stands as {}."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.JoinedStr):
        yield "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values)
    else:
        for child in ast.iter_child_nodes(node):
            yield from texts(child)


def returning() -> list[str]:
    """What follows each RETURNING in the code of the engine."""
    lists: list[str] = []
    for _, tree in sources.trees(CODE, word="RETURNING"):
        for text in texts(tree):
            lists += re.findall(r"\bRETURNING\b(.*)", text, re.DOTALL)
    return lists


def test_a_returning_names_columns_and_computes_nothing() -> None:
    """SQLite 3.40 gives NULL for `RETURNING (c IS NULL OR c > ?)` of a row whose c is NULL, and later ones give 1."""
    found = returning()
    assert len(found) >= 8, "the statements were found"
    assert [one for one in found if not re.fullmatch(r" [a-z_]+(, [a-z_]+)*", one)] == []


def test_an_sqlite_that_is_too_old_is_refused_in_a_plain_sentence() -> None:
    with pytest.raises(errors.StorageUnavailable, match=r"has SQLite 3.39.4, and Sluice needs 3.40 or later"):
        connection.check_sqlite((3, 39, 4))
    assert connection.check_sqlite((3, 40, 0)) == "3.40.0"
