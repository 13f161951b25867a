"""Jobs in the browser: written, traced, staged, deployed, stopped and deleted; clones of managed ones; two who edit."""

from __future__ import annotations

import re
from typing import Any

from tests.console.served import Served, Visitor, visiting
from tests.console.test_editing import PASTE

JOB = """# Doubles nothing, says so.
name: NAME
input:
  echo:
    event: '{"amount": 3, "who": "ana"}'
    json: true
    interval: 1s
actions:
  - add:
      output-fields: {doubled: 6}
output:
  print: STDOUT
"""


def write(visitor: Visitor, text: str, label: str = "Job as YAML") -> None:
    """Put a text in place of what is there, as a paste does."""
    box = visitor.page.get_by_label(label)
    box.click()
    visitor.page.keyboard.press("Control+a")
    box.evaluate(PASTE, text)


def test_a_job_is_written_traced_staged_deployed_and_deleted(visitor: Visitor, served: Served) -> None:
    page = visitor.page
    visitor.go("")
    visitor.press("Jobs", "link")
    visitor.press("New job", "link")
    write(visitor, JOB.replace("STDOUT", "STDOUTT").replace("NAME", "beat"))
    visitor.sees("did you mean 'STDOUT'?")  # as it is typed
    assert page.get_by_role("button", name="Stage").is_disabled()
    write(visitor, "input:\n  ")
    page.keyboard.type("ech")  # completed by the schema of jobs
    page.get_by_role("option", name="echo").wait_for()
    write(visitor, JOB.replace("NAME", "beat"))
    visitor.sees("valid")
    visitor.press("Run and trace")
    step = page.get_by_role("region", name="Events of action 1")
    step.get_by_text('{"amount":3,"who":"ana","doubled":6}').wait_for()
    assert step.locator("tbody td").nth(3).inner_text() == "doubled: 6", "what the action changed"
    page.get_by_text("My own").click()
    write(visitor, '[{"who": "bo"}, {"who": "cy"}]', "Events as JSON")
    visitor.press("Run and trace")
    step.get_by_text('{"who":"cy","doubled":6}').wait_for()
    assert served.call("job_list")["total"] == 0, "a trace keeps nothing"

    visitor.press("Save draft")
    page.wait_for_url("**/jobs/beat")
    visitor.sees("saved as draft, revision 1")
    page.reload()
    visitor.sees("# Doubles nothing, says so.", within=".cm-content")
    visitor.press("Stage")
    visitor.sees("Version 1 is staged.")
    visitor.press("Deploy")
    visitor.press("Deploy it")
    page.get_by_role("dialog").wait_for(state="detached")
    visitor.sees("healthy")
    page.locator("main").get_by_role("link", name="Runs").click()
    visitor.sees("succeeded", within="main table")
    page.locator("main").get_by_role("link", name="Lines of it").first.click()
    visitor.sees('"doubled"', within=".lines")

    visitor.go("jobs/beat")
    visitor.press("More")
    visitor.press("Stop it on every worker", "menuitem")
    visitor.press("Stop beat")
    visitor.sees("staged")
    visitor.press("More")
    visitor.press("Delete it with all its versions", "menuitem")
    page.get_by_label("Type beat to go on").fill("beat")
    visitor.press("Delete beat")
    visitor.sees("sluice job put")
    assert served.call("job_list")["total"] == 0


def test_who_saved_meanwhile_is_told_and_nothing_that_was_typed_is_lost(visitor: Visitor, served: Served) -> None:
    page = visitor.page
    first = JOB.replace("NAME", "shared")
    served.call("job_put", document=first, draft=True)
    visitor.go("jobs/shared")
    visitor.sees("saved as draft, revision 1")
    write(visitor, first.replace("ana", "mine"))
    visitor.sees("not saved")
    served.call("job_put", document=first.replace("3", "4"), draft=True, base_revision=1)
    visitor.sees(re.compile("saved revision 2 of this draft since you began"))
    assert "mine" in page.locator(".cm-content").first.inner_text()
    visitor.press("Look at both")
    visitor.press("Go on with the text on the right")
    visitor.press("Save draft")
    visitor.sees("saved as draft, revision 3")
    assert "mine" in served.call("job_get", name="shared")["draft"]["document"]

    fresh = JOB.replace("NAME", "fresh")
    served.call("job_put", document=fresh)
    visitor.go("jobs/fresh")
    write(visitor, fresh.replace("ana", "second"))
    visitor.sees("not saved")
    served.call("job_put", document=fresh.replace("ana", "quicker"), draft=True)
    visitor.press("Save draft")
    page.get_by_role("dialog").get_by_text("quicker").wait_for()  # at the first refusal
    visitor.press("Go on with the text on the right")
    visitor.press("Save draft")
    visitor.sees("saved as draft, revision 2")
    visitor.faults.clear()  # the browser's own word for the refusal
    visitor.go("jobs/shared")
    visitor.sees("saved as draft, revision 3")

    write(visitor, first.replace("ana", "typed and not saved"))
    visitor.sees("not saved")
    page.reload()
    visitor.sees(re.compile("until then nothing can be typed"))
    assert page.get_by_role("button", name="Save draft").is_disabled()
    visitor.press("Go on with it")
    visitor.sees("typed and not saved", within=".cm-content")


def test_a_managed_job_is_marked_and_edited_as_a_clone(visitor: Visitor, served: Served) -> None:
    page = visitor.page
    source = "workflow:quickstart-file-store-roundtrip@1"
    plan = served.call("deployment_plan", name="walk", source=source, values={"path": "files"})
    served.call("deployment_apply", plan_id=plan["plan_id"])
    visitor.go("jobs?query=generate")
    row = page.get_by_role("row").filter(has=page.get_by_role("link", name="walk--generate", exact=True))
    row.get_by_role("link", name="walk", exact=True).wait_for()
    row.get_by_role("link", name="walk--generate").click()
    visitor.sees("manages this job")
    assert page.get_by_role("button", name="Save draft").count() == 0
    visitor.press("Clone it to edit")
    page.get_by_role("dialog").get_by_label("Name of the copy").fill("mine")
    page.get_by_role("dialog").get_by_role("button", name="Clone it").click()
    visitor.sees("events are divided between them")
    visitor.press("Edit mine")
    page.wait_for_url("**/jobs/mine")
    visitor.sees("saved as draft, revision 1")
    visitor.sees("name: mine", within=".cm-content")


def test_a_job_of_the_catalog_begins_a_new_one_and_placeholders_stay(visitor: Visitor, served: Served) -> None:
    visitor.go("catalog?type=job")
    visitor.press("Heartbeat", "link")
    visitor.press("New job of this", "link")
    visitor.sees("name:", within=".cm-content")
    visitor.sees("valid")

    served.call("context_set", values={"WHO": "eu"})
    served.call("job_put", document=JOB.replace("NAME", "placed").replace("ana", "{{WHO}}"))
    visitor.go("jobs/placed")
    assert "eu" not in visitor.sees(re.compile(r"\{\{WHO\}\}"), within=".cm-content").inner_text()


def test_a_user_reads_jobs_and_is_told_why_no_more(browser: Any, served: Served) -> None:
    served.call("job_put", document=JOB.replace("NAME", "seen"))
    key = served.call("token_create", username="uma", role="user", tenants=[served.tenant])["token"]
    with visiting(browser, served, expects=("status of 401",)) as visitor:
        visitor.go("jobs/seen")
        visitor.fill("API key", key)
        visitor.press("Sign in")
        visitor.sees("Editing and tracing jobs is for admins; you are signed in as a user.")
        assert visitor.page.get_by_role("button", name="Deploy").count() == 0
        visitor.press("Jobs", "link")
        visitor.sees("Writing and deploying jobs is for admins")
        assert visitor.page.get_by_role("link", name="New job").count() == 0
