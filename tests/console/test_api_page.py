"""The viewer of the HTTP API: calls are tried from it, as who is signed in to the console or with a key."""

from __future__ import annotations

import re
from typing import Any

import orjson

from tests.console import axe
from tests.console.served import Served, Visitor, visiting

READ_MS = 180_000  # Swagger UI takes seconds over a description of this size, and minutes on a very busy machine


def opened(visitor: Visitor, anchor: str = "") -> None:
    visitor.page.goto(f"{visitor.served.url}/api/docs{anchor}")
    visitor.page.locator(".opblock").first.wait_for(timeout=READ_MS)


def describe_briefly(route: Any) -> None:
    """Of the description: all calls of one kind, and one of each other, so that the page shows the same headings."""
    whole = orjson.loads(route.fetch().body())
    kinds = {"administration"}
    paths = {}
    for path, calls in whole["paths"].items():
        of = {kind for call in calls.values() for kind in call["tags"]}
        if "administration" in of or not of <= kinds:
            kinds |= of
            paths[path] = calls
    whole["paths"], schemas = paths, whole["components"].pop("schemas")
    named = more = _named(whole)
    while more := _named([schemas[name] for name in more]) - named:
        named |= more
    whole["components"]["schemas"] = {name: schemas[name] for name in named}
    route.fulfill(json=whole)


def _named(part: Any) -> set[str]:
    return set(re.findall(r"#/components/schemas/([^\"]+)", orjson.dumps(part).decode()))


def test_a_call_is_tried_as_who_is_signed_in(browser: Any, engine: Served) -> None:
    with visiting(browser, engine) as visitor:
        visitor.sign_in()
        opened(visitor, "#/administration/whoami")
        visitor.sees("Calls go as")
        visitor.press("Execute")
        visitor.sees(re.compile('"role": "admin"'), within=".live-responses-table")
        visitor.sees("x-sluice-tenant: default", within=".curl-command")
        assert not (faults := axe.faults(visitor.page)), faults


def test_without_a_session_a_key_is_asked_for_and_used(browser: Any, engine: Served) -> None:
    narrow = {"width": 390, "height": 800}
    with visiting(browser, engine, expects=("status of 401",), color_scheme="dark", viewport=narrow) as visitor:
        visitor.page.route("**/api/openapi.json", describe_briefly)
        opened(visitor, "#/administration/whoami")
        visitor.sees("Nobody is signed in")
        visitor.press("Execute")
        visitor.sees("unauthenticated")
        visitor.press("Authorize")
        visitor.page.locator(".modal-ux input").fill(engine.token)
        visitor.page.locator(".modal-ux button.authorize").click()
        visitor.page.locator(".modal-ux button.btn-done").click()
        visitor.press("Execute")
        assert visitor.sees('"role": "admin"').is_visible()
        assert not (faults := axe.faults(visitor.page)), faults
        assert engine.token not in visitor.page.evaluate("JSON.stringify({...localStorage, ...sessionStorage})")
