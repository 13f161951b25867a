"""The viewer of the HTTP API: calls are tried from it, as who is signed in to the console or with a key."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.console.served import Served, Visitor, visiting
from tests.console.test_every_page import AXE, FIND

READ_MS = 60_000  # Swagger UI takes seconds over a description of this size, and more on a busy machine


def opened(visitor: Visitor, anchor: str = "") -> None:
    visitor.page.goto(f"{visitor.served.url}/api/docs{anchor}")
    visitor.page.locator(".opblock").first.wait_for(timeout=READ_MS)


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 390)])
def test_a_call_is_tried_as_who_is_signed_in(browser: Any, served: Served, scheme: str, width: int) -> None:
    size = {"width": width, "height": 800}
    with visiting(browser, served, color_scheme=scheme, viewport=size) as visitor:
        visitor.page.goto(served.new_link())
        visitor.sees("Needs attention")
        opened(visitor, "#/administration/whoami")
        visitor.sees("Calls go as")
        visitor.press("Execute")
        visitor.sees(re.compile('"role": "admin"'), within=".live-responses-table")
        visitor.sees("x-sluice-tenant: default", within=".curl-command")
        visitor.page.evaluate(AXE)
        faults = visitor.page.evaluate(FIND)["violations"]
        assert not faults, [(one["id"], [node["target"] for node in one["nodes"][:4]]) for one in faults]
        assert visitor.page.evaluate("document.documentElement.scrollWidth") <= width


def test_without_a_session_a_key_is_asked_for_and_used(browser: Any, served: Served) -> None:
    with visiting(browser, served, expects=("status of 401",)) as visitor:
        opened(visitor, "#/administration/whoami")
        visitor.sees("Nobody is signed in")
        visitor.press("Execute")
        visitor.sees("unauthenticated")
        visitor.press("Authorize")
        visitor.page.locator(".modal-ux input").fill(served.token)
        visitor.page.locator(".modal-ux button.authorize").click()
        visitor.page.locator(".modal-ux button.btn-done").click()
        visitor.press("Execute")
        assert visitor.sees('"role": "admin"').is_visible()
        assert served.token not in visitor.page.evaluate("JSON.stringify({...localStorage, ...sessionStorage})")
