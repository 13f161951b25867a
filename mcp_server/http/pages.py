"""The description of the API as one page: /api/docs, made of the OpenAPI document, without scripts or other servers."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from typing import Any

MEDIA_TYPE = "text/html; charset=utf-8"
HEADERS = {
    "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
}
_METHODS = ("get", "post", "put", "patch", "delete")
_STYLE = """
:root{color-scheme:light dark}body{font:16px/1.5 system-ui,sans-serif;max-width:62rem;margin:2rem auto;padding:0 1rem}
h2{margin-top:2.5rem;text-transform:capitalize}details{border:1px solid #8886;border-radius:6px;margin:.4rem 0}
summary{cursor:pointer;padding:.45rem .8rem}details>div{padding:0 .8rem .8rem}code,b{font-family:ui-monospace,monospace}
b{display:inline-block;min-width:4.2rem}td,th{text-align:left;vertical-align:top;padding:.2rem .8rem .2rem 0}
p{white-space:pre-line}
"""


def page(document: dict[str, Any]) -> str:
    """The page of an OpenAPI document."""
    groups: dict[str, list[tuple[str, str, dict[str, Any]]]] = {}
    for path, methods in document["paths"].items():
        for method in _METHODS:
            if method in methods:
                one = methods[method]
                groups.setdefault(next(iter(one.get("tags", ())), "other"), []).append((path, method, one))
    info = document["info"]
    title = f"{info['title']} {info['version']}"
    links = " · ".join(f'<a href="#{escape(name)}">{escape(name)}</a>' for name in sorted(groups))
    parts = [
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(title)} API</title>',
        f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style><h1>{escape(title)}</h1>',
        "<p>Send <code>Authorization: Bearer TOKEN</code>, and <code>X-Sluice-Tenant</code> when you have several "
        "tenants. Errors are <code>application/problem+json</code> with code, detail, hint and errors[]. "
        'The same as data: <a href="/api/openapi.json">openapi.json</a>.</p>',
        f"<nav>{links}</nav>",
    ]
    for name in sorted(groups):
        parts.append(f'<h2 id="{escape(name)}">{escape(name)}</h2>')
        parts += [_operation(*one) for one in sorted(groups[name])]
    return "\n".join(parts) + "</html>\n"


def _operation(path: str, method: str, one: dict[str, Any]) -> str:
    rows = "".join(_rows(one))
    table = f"<table><tr><th>name<th>in<th>type<th>meaning</tr>{rows}</table>" if rows else ""
    answers = " ".join(f"<code>{escape(code)}</code>" for code in one.get("responses", {}))
    return (
        f"<details><summary><b>{method.upper()}</b> <code>{escape(path)}</code> {escape(one.get('summary', ''))}"
        f"</summary><div><p>{escape(one.get('description', ''))}</p>{table}<p>Answers: {answers}</p></div></details>"
    )


def _rows(one: dict[str, Any]) -> Iterator[str]:
    for parameter in one.get("parameters", ()):
        needed = parameter.get("required", False)
        text = parameter.get("description", "")
        yield _row(parameter["name"], parameter["in"], parameter.get("schema", {}), text, needed)
    schema = one.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
    for name, node in schema.get("properties", {}).items():
        yield _row(name, "body", node, node.get("description", ""), name in schema.get("required", ()))


def _row(name: str, place: str, node: dict[str, Any], text: str, needed: bool) -> str:
    star = " *" if needed else ""
    return f"<tr><td><code>{escape(name)}{star}</code><td>{place}<td>{escape(_type(node))}<td>{escape(text)}</tr>"


def _type(node: dict[str, Any]) -> str:
    if "enum" in node:
        return " | ".join(str(value) for value in node["enum"])
    branches = [_type(branch) for branch in node.get("anyOf", ()) if branch.get("type") != "null"]
    if branches:
        return " or ".join(dict.fromkeys(branches))
    kind = node.get("type", "any")
    if kind == "array":
        return f"array of {_type(node.get('items', {}))}"
    return " | ".join(kind) if isinstance(kind, list) else str(kind)
