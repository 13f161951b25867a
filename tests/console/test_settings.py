"""Settings in the browser: contexts, variables, secrets, KV, tokens, the audit log; and what a user may not do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import orjson

from tests.console.served import Served, Visitor, visiting

SECRET = "correct horse battery staple"


def fill(visitor: Visitor, label: str, text: str) -> None:
    """A field of the dialog."""
    visitor.page.get_by_role("dialog").get_by_label(label).first.fill(text)


def test_contexts_are_set_seen_with_their_level_and_removed(visitor: Visitor, served: Served) -> None:
    page = visitor.page
    served.call("context_set", values={"REGION": "eu"})
    visitor.go("")
    visitor.press("Settings", "link")
    visitor.press("Set a value")
    page.get_by_label("Level").first.click()
    visitor.press("environment", "option")
    fill(visitor, "Name of the environment", "prod")
    fill(visitor, "Key", "REGION")
    fill(visitor, "Value", "us")
    visitor.press("Set it")
    row = page.locator("section", has_text="Values that are set").locator("tr", has_text="environment prod")
    row.wait_for()
    page.get_by_label("Environment", exact=True).fill("prod")
    page.keyboard.press("Enter")
    seen = page.get_by_role("region", name="What a job sees").locator("tr", has_text="REGION")
    seen.get_by_text("global: eu").wait_for()  # what it hides
    assert "us" in seen.inner_text() and "environment=prod" in page.url

    row.get_by_role("button", name="Remove REGION").click()
    visitor.sees("At environment prod go 1 value: REGION")
    page.get_by_role("dialog").get_by_role("button", name="Remove REGION").click()
    row.wait_for(state="detached")
    assert served.call("context_get", environment="prod")["values"] == {"REGION": "eu"}


def test_a_secret_is_set_and_deleted_and_its_value_is_nowhere_in_the_page(visitor: Visitor, served: Served) -> None:
    page = visitor.page
    visitor.go("settings/secrets")
    visitor.press("Set a secret")
    fill(visitor, "Name", "mail/password")
    fill(visitor, "Value", SECRET)
    visitor.press("Set it")
    visitor.sees("mail/password", within="table")
    page.get_by_role("dialog").wait_for(state="detached")
    kept = page.evaluate("document.documentElement.outerHTML + JSON.stringify({...localStorage, ...sessionStorage})")
    assert SECRET not in kept and SECRET not in page.url

    visitor.press("Delete mail/password")
    dialog = page.get_by_role("dialog")
    sure = dialog.get_by_role("button", name="Delete mail/password")
    assert sure.is_disabled()
    dialog.get_by_label("Type mail/password to go on").fill("mail/password")
    sure.click()
    visitor.sees("None is set.")
    assert served.call("secret_list")["total"] == 0


def test_variables_and_keys_of_the_kv_store_are_set_and_shown(visitor: Visitor, served: Served) -> None:
    page = visitor.page
    visitor.go("settings/variables")
    visitor.press("Set a variable")
    fill(visitor, "Name", "greeting")
    fill(visitor, "Value", "hello")
    visitor.press("Set it")
    visitor.sees("hello", within="table")
    visitor.press("KV", "link")
    visitor.press("Set a value")
    fill(visitor, "Namespace", "shop")
    fill(visitor, "Key", "cart:1")
    fill(visitor, "Value as JSON", '{"items": [1, ')
    visitor.press("Set it")
    visitor.sees("The value is no JSON")
    fill(visitor, "Value as JSON", '{"items": [1, 2]}')
    visitor.press("Set it")
    visitor.press(f"{served.tenant}:shop")
    visitor.press("cart:1")
    visitor.sees('"items"', within="pre")
    visitor.press("Delete cart:1")
    page.get_by_role("dialog").get_by_role("button", name="Delete cart:1").click()
    visitor.sees("No job keeps anything in the KV store.")
    assert [one["name"] for one in served.call("variable_list")["items"]] == ["greeting"]
    assert served.call("kv_list", namespace=f"{served.tenant}:shop")["items"] == []


def test_a_token_is_told_once_works_and_is_revoked(visitor: Visitor, served: Served) -> None:
    page = visitor.page
    visitor.go("settings/tokens")
    visitor.sees("a browser's session")
    visitor.press("Create a token")
    fill(visitor, "What it is for", "ci")
    fill(visitor, "User", "carl")
    fill(visitor, "Limited to", "read")
    visitor.press("Create it")
    secret = page.get_by_role("dialog").locator("pre").inner_text()
    answer = httpx.get(f"{served.url}/api/auth/whoami", headers={"authorization": f"Bearer {secret}"}, trust_env=False)
    assert (answer.json()["username"], answer.json()["scopes"]) == ("carl", ["read"])
    visitor.press("Done")
    page.get_by_role("dialog").wait_for(state="detached")
    assert secret not in page.evaluate("document.documentElement.outerHTML")
    visitor.press("Revoke ci of carl")
    visitor.press("Revoke this token")
    page.get_by_role("row").filter(has_text="carl").wait_for(state="detached")

    visitor.press("Audit", "link")
    visitor.fill("Operation", "token_revoke")
    page.keyboard.press("Enter")
    page.get_by_role("row").filter(has_text="token_create").first.wait_for(state="detached")
    with page.expect_download() as started:
        visitor.press("Export these")
    lines = [orjson.loads(line) for line in Path(started.value.path()).read_bytes().splitlines()]
    assert {line["operation"] for line in lines} == {"token_revoke"}


def test_a_user_is_told_what_is_for_admins(browser: Any, served: Served) -> None:
    key = served.call("token_create", username="uma", role="user", tenants=[served.tenant])["token"]
    with visiting(browser, served, expects=("status of 401",)) as visitor:
        visitor.go("settings/secrets")
        visitor.fill("API key", key)
        visitor.press("Sign in")
        visitor.sees("Looking at secrets is for admins; you are signed in as a user.")
        visitor.press("Tokens", "link")
        visitor.sees("Looking at tokens is for admins; you are signed in as a user.")
        visitor.press("License", "link")
        visitor.sees("Installing a license is for admins of the platform.")
        visitor.sees("external-workers")
        assert visitor.page.get_by_role("button", name="Install a license").count() == 0
