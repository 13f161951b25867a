"""What results of all kinds are made of."""

from typing import Annotated, Generic, NotRequired, TypedDict, TypeVar

from core.errors import Fault, Refusal
from core.model.results.schemas import Format, Json, JsonObject

__all__ = ["Call", "Difference", "Fault", "Item", "Json", "JsonObject", "Listing", "Page", "Refusal", "Row", "Time"]

Time = Annotated[str, Format("date-time")]
"""ISO 8601 in UTC."""


class Row(TypedDict):
    """What stands in a list."""

    cut: NotRequired[bool]
    """It is larger than a page: long texts are cut, and what does not fit is left out."""


Item = TypeVar("Item")


class Page(TypedDict, Generic[Item]):
    """One page of a list."""

    items: list[Item]
    next_cursor: str | None
    """What the next page begins with; null: this is the last one."""


class Listing(TypedDict, Generic[Item]):
    """One page of a list that knows its length."""

    items: list[Item]
    next_cursor: str | None
    """What the next page begins with; null: this is the last one."""
    total: int
    """Rows on all pages."""


class Call(TypedDict):
    """A call that helps now."""

    call: str
    """The operation."""
    arguments: JsonObject
    """All that it needs: the call can be made as it stands, but where `command` says who makes it."""
    why: str
    command: NotRequired[str]
    """What a person types, where only people can make the call."""


class Difference(TypedDict):
    """One value that is not the same; credentials are masked."""

    path: str
    """steps[2].with.path"""
    old: NotRequired[Json]
    """Missing: there is no such value."""
    new: NotRequired[Json]
    """Missing: there is no such value."""
