"""Descriptions of fields are the strings below them."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import BaseModel, Field

from core.docstrings import Described


class Example(Described, BaseModel):
    kept: ClassVar[str] = "not a field"
    """Not a description."""
    plain: int
    """A number."""
    with_default: str = "x"
    """A text
    over two lines."""
    own: int = Field(default=1, description="Its own words.")
    """Not this."""
    bounded: Annotated[int, Field(ge=1)] = Field(default=2, le=9)
    """Between 1 and 9."""
    silent: bool = False


class Child(Example):
    more: int = 3
    """Of the child."""


def test_the_string_below_a_field_is_its_description() -> None:
    properties = Child.model_json_schema()["properties"]
    assert {name: p.get("description") for name, p in properties.items()} == {
        "plain": "A number.",
        "with_default": "A text\nover two lines.",
        "own": "Its own words.",
        "bounded": "Between 1 and 9.",
        "silent": None,
        "more": "Of the child.",
    }


def test_defaults_bounds_and_class_variables_are_as_written() -> None:
    assert Example.kept == "not a field"
    assert Example(plain=1).model_dump() == {
        "plain": 1,
        "with_default": "x",
        "own": 1,
        "bounded": 2,
        "silent": False,
    }
    schema = Example.model_json_schema()
    assert schema["required"] == ["plain"]
    assert (schema["properties"]["bounded"]["minimum"], schema["properties"]["bounded"]["maximum"]) == (1, 9)
