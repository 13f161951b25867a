"""From one HTTP request to the arguments of one operation: path, query and body, merged and typed by the schema."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from core import errors
from core.documents import canonical

_INTEGER = re.compile(r"-?(0|[1-9][0-9]{0,18})")
_NUMBER = re.compile(r"-?(0|[1-9][0-9]{0,18})(\.[0-9]+)?([eE][+-]?[0-9]{1,3})?")


class Malformed(errors.InvalidParams):
    """The request cannot be read at all (HTTP 400), as opposed to saying something wrong (422)."""

    status = 400


_JSON_TYPES: Mapping[type, str] = {
    list: "an array",
    str: "a string",
    bool: "a boolean",
    int: "a number",
    float: "a number",
    type(None): "null",
}


def from_body(raw: bytes, content_type: str | None, max_bytes: int = canonical.MAX_JSON_BYTES) -> dict[str, Any]:
    """The JSON object in a request body; an empty body is an empty object.

    Raises Malformed when it is not JSON, and InvalidParams when it is JSON but no object.
    """
    if not raw:
        return {}
    media = (content_type or "application/json").partition(";")[0].strip().lower()
    if media != "application/json" and not media.endswith("+json"):
        raise Malformed(
            f"The body is {errors.shorten(media, 60)}, and this server takes application/json.",
            hint="Send 'Content-Type: application/json'.",
        )
    try:
        value = canonical.parse_json(raw, max_bytes=max_bytes)
    except errors.SluiceError as error:
        raise Malformed(error.message, hint=error.hint, errors=error.errors) from None
    if not isinstance(value, dict):
        raise errors.InvalidParams(
            "The body must be a JSON object.", errors=[errors.Problem("", f"is {_JSON_TYPES[type(value)]}")]
        )
    return value


def from_query(pairs: Iterable[tuple[str, str]], schema: Mapping[str, Any]) -> dict[str, Any]:
    """Query parameters as values of the types that the operation's schema names.

    A text that does not read as its type stays a text, so that the schema reports it like any other fault. A list is
    given by repeating the parameter or by commas.
    Raises InvalidParams when a parameter that is no list is repeated.
    """
    gathered: dict[str, list[str]] = {}
    for name, text in pairs:
        gathered.setdefault(name, []).append(text)
    values: dict[str, Any] = {}
    properties = schema.get("properties", {})
    for name, texts in gathered.items():
        types = list(_types(properties.get(name, {}), schema))
        if "array" in types and not texts[0].startswith("["):
            kinds = list(_item_types(properties.get(name, {}), schema))
            values[name] = [from_text(part, kinds) for text in texts for part in text.split(",") if part]
        elif len(texts) > 1:
            raise errors.InvalidParams(
                f"The query parameter {errors.shorten(name, 60)} is given {len(texts)} times.",
                errors=[errors.Problem("/" + name, "must be given once")],
            )
        else:
            values[name] = from_text(texts[0], types)
    return values


def from_text(text: str, types: Iterable[str]) -> Any:
    """One text as the first of the JSON Schema `types` that it reads as; otherwise the text itself."""
    for kind in types:
        if kind == "integer" and _INTEGER.fullmatch(text):
            return int(text)
        if kind == "number" and _NUMBER.fullmatch(text):
            return float(text)
        if kind == "boolean" and text in ("true", "false"):
            return text == "true"
        if (kind == "object" and text.startswith("{")) or (kind == "array" and text.startswith("[")):
            try:
                return canonical.parse_json(text.encode())
            except errors.SluiceError:
                return text
    return text


def merge(query: dict[str, Any], body: dict[str, Any], path: Mapping[str, str]) -> dict[str, Any]:
    """All arguments of a request; the path names the thing, and the body may repeat it but not contradict it.

    Raises InvalidParams on a contradiction.
    """
    arguments = {**query, **body}
    for name, value in path.items():
        said = arguments.get(name, value)
        if said != value:
            raise errors.InvalidParams(
                f"The path says {name} is {errors.shorten(value, 60)}, the body says something else.",
                errors=[errors.Problem("/" + name, f"must be {errors.shorten(value, 60)!r} or left out")],
            )
        arguments[name] = value
    return arguments


def _item_types(node: Mapping[str, Any], root: Mapping[str, Any]) -> Iterable[str]:
    """The types of the items of a list."""
    for branch in (node, *node.get("anyOf", ())):
        if isinstance(branch.get("items"), Mapping):
            yield from _types(branch["items"], root)


def _types(node: Mapping[str, Any], root: Mapping[str, Any]) -> Iterable[str]:
    if "$ref" in node:
        node = root.get("$defs", {}).get(str(node["$ref"]).rpartition("/")[2], {})
    for branch in node.get("anyOf", ()):
        yield from _types(branch, root)
    kind = node.get("type")
    if isinstance(kind, str):
        yield kind
    elif isinstance(kind, list):
        yield from kind
