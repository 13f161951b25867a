"""Field descriptions from the strings below the fields, read with one parse of each module.

Pydantic can do the same (`use_attribute_docstrings`), but it finds and parses the source of every class anew, which
cost every process 0.15 s at its start.
"""

from __future__ import annotations

import ast
import functools
import inspect
import sys
from typing import Any


@functools.cache
def of_module(name: str) -> dict[str, dict[str, str]]:
    """Class -> field -> description, for the classes at the top of a module; empty where there is no source."""
    return {node.name: _fields(node) for node in _classes(name)}


@functools.cache
def bases_of_module(name: str) -> dict[str, list[str]]:
    """Class -> its bases, as its source names them; empty where there is no source."""
    return {node.name: [ast.unparse(base).partition("[")[0] for base in node.bases] for node in _classes(name)}


def _classes(name: str) -> list[ast.ClassDef]:
    path = getattr(sys.modules.get(name), "__file__", None)
    if path is None or not path.endswith(".py"):
        return []
    with open(path, encoding="utf-8") as file:  # noqa: PTH123 - at every start: no detour through a Path
        tree = ast.parse(file.read())
    return [node for node in tree.body if isinstance(node, ast.ClassDef)]


def _fields(node: ast.ClassDef) -> dict[str, str]:
    found = {}
    for statement, following in zip(node.body, node.body[1:], strict=False):
        if (
            isinstance(statement, ast.AnnAssign)
            and isinstance(statement.target, ast.Name)
            and isinstance(following, ast.Expr)
            and isinstance(following.value, ast.Constant)
            and isinstance(following.value.value, str)
        ):
            found[statement.target.id] = inspect.cleandoc(following.value.value)
    return found


class Described:
    """Mixin for pydantic models: the string below a field is its description, unless the field gives one itself.

    The strings are read when the schema of a model is built, which for a model with `defer_build` is its first use.
    """

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        for name, field in cls.__pydantic_fields__.items():  # type: ignore[attr-defined]  # of the model
            if field.description is None:
                owner = next(base for base in cls.__mro__ if name in inspect.get_annotations(base))
                field.description = of_module(owner.__module__).get(owner.__name__, {}).get(name)
        return handler(source)
