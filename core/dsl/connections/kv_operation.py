"""How documents write the one thing that a KV component does."""

from __future__ import annotations

from typing import Any, ClassVar, Self

from pydantic import model_validator

from core.dsl.component import Config


class OneOperation(Config):
    """A block with exactly one of its keys: `delete` and `{delete: null}` mean `{delete: {}}`."""

    must: ClassVar[str] = ""  # what is said when it has none of them, or several

    @model_validator(mode="before")
    @classmethod
    def _bare_name(cls, value: Any) -> Any:
        if isinstance(value, str):
            return {value: {}}
        if isinstance(value, dict) and len(value) == 1:
            return {name: {} if body is None else body for name, body in value.items()}
        return value

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if len(self.model_fields_set) != 1:
            raise ValueError(self.must)
        return self

    @property
    def chosen(self) -> Any:
        """The body of the key that is there."""
        (name,) = self.model_fields_set
        return getattr(self, name)
