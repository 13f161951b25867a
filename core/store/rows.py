"""Rows as named values: one type for each table, whose fields are its columns."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any


def fields_of(row: type[Any]) -> tuple[str, ...]:
    """The columns of a row that is a NamedTuple or a dataclass, in their order; what is made of others is none."""
    if dataclasses.is_dataclass(row):
        return tuple(field.name for field in dataclasses.fields(row) if field.init)
    names: tuple[str, ...] = row._fields
    return names


def insertion(table: str, row: type[Any]) -> str:
    """The statement that adds a row, with its columns by name: in which order migrations made them does not matter."""
    fields = fields_of(row)
    return f"INSERT INTO {table} ({', '.join(fields)}) VALUES ({', '.join('?' * len(fields))})"


def upsertion(table: str, columns: Sequence[str], key: Sequence[str]) -> str:
    """The statement that adds a row, or gives these columns of the row with its key other values."""
    new = ", ".join(f"{column} = excluded.{column}" for column in columns if column not in key)
    values = ", ".join("?" * len(columns))
    into = f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({values})"
    return f"{into} ON CONFLICT ({', '.join(key)}) DO UPDATE SET {new}"
