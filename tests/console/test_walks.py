"""Walks: the tutorial of a roundtrip, sentence by sentence; deploying and running without a mouse."""

from __future__ import annotations

import re
from pathlib import Path

import orjson

from core.settings import data_root_of
from tests import waiting
from tests.console.keys import Keys
from tests.console.served import Served, Visitor
from tests.engines import EXAMPLES

NAME = "file-store-roundtrip-demo"


def files_of(served: Served, folder: str) -> list[Path]:
    """What jobs keep below a path of theirs."""
    return [one for one in (data_root_of(served.home) / served.tenant / folder).rglob("*") if one.is_file()]


def test_the_tutorial_of_the_roundtrip_is_walked(visitor: Visitor, served: Served) -> None:
    page = visitor.page
    # Before: a worker is online in a group.
    visitor.go("")
    visitor.press("Workers", "link")
    page.locator("tbody tr", has_text="local-1").get_by_text("online").wait_for()

    # 1. Open the catalog; filter to workflows; search; the latest version; plan and register.
    visitor.press("Catalog", "link")
    page.get_by_role("radiogroup", name="Kind").get_by_text("Workflows").click()
    visitor.fill("Search the catalog", "quickstart-file-store-roundtrip")
    page.keyboard.press("Enter")
    visitor.press("Quickstart: File Store Roundtrip", "link")
    visitor.press("Plan and register", "link")

    # 2. A name; a group of workers; the fields of the wizard.
    visitor.fill("Name", NAME)
    page.get_by_label("Worker group").first.click()
    page.get_by_role("option").first.click()
    visitor.fill("File-store path", "roundtrip-files")
    visitor.fill("GUID prefix", "seen")
    visitor.press("Plan")

    # 3. Review what the plan changes: jobs, transports, placement; apply.
    visitor.sees(re.compile("Plan for"))
    changes = page.locator(".change")
    for kind in ("job", "channel", "placement"):
        changes.filter(has_text=kind).first.wait_for()
    visitor.press(f"Apply {NAME}")
    visitor.sees(re.compile("Revision 1"))

    # 4. The workloads run; the logs show printed events; files are below the path.
    visitor.press("Workloads", "link")
    row = page.locator("tbody tr", has_text=f"{NAME}--print").first
    row.get_by_text("running").wait_for()
    visitor.press("Logs", "link")
    visitor.fill("Text", "hello")
    page.keyboard.press("Enter")
    page.locator(".line", has_text=NAME).filter(has_text="hello").first.wait_for()
    waiting.until_now(lambda: any(one.name.startswith("seen") for one in files_of(served, "roundtrip-files")))
    assert served.call("deployment_get", name=NAME)["revision"] == 1


def test_a_pipeline_is_deployed_with_keys_alone(visitor: Visitor, served: Served) -> None:
    keys = Keys(visitor.page)
    visitor.go("")
    visitor.sees("Needs attention")
    keys.press("Catalog")
    visitor.sees("Quickstart: File Store Roundtrip")
    keys.fill("Search the catalog", "roundtrip")
    visitor.page.keyboard.press("Enter")
    visitor.page.wait_for_url("**query=roundtrip*")
    visitor.sees("Quickstart: File Store Roundtrip")
    keys.press("Quickstart: File Store Roundtrip")
    visitor.sees("Asks for")
    keys.press("Plan and register")
    visitor.sees("Nothing changes until")
    keys.fill("Name", "by-keys")
    keys.fill("File-store path", "by-keys")
    keys.press("Plan")
    visitor.sees(re.compile("Plan for"))
    keys.press("Apply by-keys")
    visitor.sees(re.compile("Revision 1"))
    keys.press("Watch")
    visitor.page.wait_for_url("**/deployments/by-keys")
    assert served.call("deployment_get", name="by-keys")["revision"] == 1


def test_a_trigger_is_run_with_keys_alone(visitor: Visitor, served: Served) -> None:
    served.call("job_put", document=(EXAMPLES / "smoke_trigger_handler.yaml").read_text(encoding="utf-8"))
    served.call("job_deploy", name="smoke_trigger_handler")
    trigger = orjson.loads((EXAMPLES / "smoke_trigger.json").read_bytes())
    served.call("trigger_publish", **{**trigger, "tenant_id": served.tenant})
    keys = Keys(visitor.page)
    visitor.go("")
    visitor.sees("Needs attention")
    keys.press("Triggers")
    visitor.sees("Smoke trigger")
    keys.press("Smoke trigger")
    visitor.page.get_by_label("env").first.wait_for()
    keys.fill("env", "keys")
    keys.press("Run Smoke trigger")
    visitor.sees("Smoke check passed")
    assert served.call("trigger_invocation_list", limit=1)["items"][0]["state"] == "succeeded"
