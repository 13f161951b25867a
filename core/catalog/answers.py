"""What a wizard asks for, and whether a value is an answer."""

from __future__ import annotations

from typing import Any

from core.model.catalog import WizardField


def fit(question: WizardField, value: Any) -> tuple[bool, Any]:
    """Whether a value answers the question, and the value in its type (a number given for a text is its text)."""
    match question.type:
        case "string" | "path":
            if isinstance(value, int | float) and not isinstance(value, bool):
                value = str(value)
            fits = isinstance(value, str)
        case "boolean":
            fits = isinstance(value, bool)
        case "integer":
            fits = isinstance(value, int) and not isinstance(value, bool)
        case "number":
            fits = isinstance(value, int | float) and not isinstance(value, bool)
    return fits and (not question.choices or value in question.choices), value


def allowed(question: WizardField) -> str:
    """What may be answered, in words."""
    choices = ", ".join(map(str, question.choices))
    return f"one of {choices}" if choices else f"of type {question.type}"
