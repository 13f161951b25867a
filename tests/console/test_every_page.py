"""Every page, light and dark, wide and narrow: what axe finds, what sticks out, and how large the files are."""

from __future__ import annotations

import gzip

import orjson

from mcp_server.http import console
from tests.console import axe
from tests.console.served import Served, Visitor
from tests.engines import EXAMPLES

KIB = 1024
ENTRY_KIB, CSS_KIB, PART_KIB, EDITOR_KIB, VIEWER_KIB, WHEEL_KIB = 200, 25, 155, 215, 480, 1400
SCHEME = "(wanted) => document.documentElement.dataset.mantineColorScheme === wanted"
LOOKS = {"light": 1280, "dark": 390}
GO = """async ([home, path]) => {
  const none = () => document.querySelector("main").textContent.includes("There is no such page.");
  history.pushState({}, "", home + "-none");
  while (!none()) await new Promise(requestAnimationFrame);
  history.pushState({}, "", home + path);
}"""
"""Goes to another page as a link does, by way of one that has none of the texts of the page before."""
PAGES = {
    "": "Needs attention",
    "deployments": "page",
    "deployments/page": "healthy",
    "deployments/page?tab=workloads": "page--generate",
    "deployments/page?tab=history": "apply",
    "deployments/page?tab=values": "guid_prefix",
    "deployments/page?tab=drift": "what was applied",
    "deployments/page?tab=placement": "Placement is sticky",
    "deployments/page?table=true&step=print": "The last hour",
    "plans": "plan_",
    "plans/PLAN": "Changes",
    "catalog": "Quickstart",
    "catalog/workflow/quickstart-file-store-roundtrip": "Asks for",
    "catalog/workflow/quickstart-file-store-roundtrip/deploy": "Nothing changes until",
    "triggers": "Smoke trigger",
    "triggers/smoke_trigger": "Earlier runs",
    "triggers/smoke_trigger/revise": "Nothing yet.",
    "new-trigger": "Target job",
    "invocations": "smoke_trigger",
    "invocations/RUN": "Smoke check passed",
    "workflows": "greetings",
    "workflows/workflow/greetings": "Compare the draft",
    "workflows/workflow/greetings/edit": "saved as revision",
    "workflows/workflow/greetings/compare?from=1&to=draft": "They say the same.",
    "workloads": "page--generate",
    "workers": "local-1",
    "workers/local-1": "Workloads of this tenant",
    "schedules": "page--generate",
    "schedules?view=calendar": "today",
    "schedules/page--generate": "Next firings",
    "device?code=BBBB-BBBB": "Let a program in",
    "logs": "hello",
    "messages": "job-run-ended",
    "issues": "No event waits here.",
    "jobs": "smoke_trigger_handler",
    "jobs/smoke_trigger_handler": "Run & Trace",
    "jobs/page--generate": "manages this job",
    "jobs/page--generate?tab=runs": "Lines of it",
    "jobs/smoke_trigger_handler?tab=versions": "What changed since",
    "jobs/smoke_trigger_handler?tab=workloads": "local-1",
    "jobs/-new?from=heartbeat": "Run & Trace",
    "settings": "REGION",
    "settings/variables": "sluice variable set",
    "settings/secrets": "sluice secret set",
    "settings/kv?namespace=shop&key=cart": "items",
    "settings/tokens": "a browser's session",
    "settings/audit": "deployment_apply",
    "settings/activity": "--activity-forward",
    "settings/license": "external-workers",
    "settings/metrics": "All of the tenant",
}


def furnished(served: Served) -> dict[str, str]:
    """Something to show on each page; the ids of a plan and of a run."""
    source = "workflow:quickstart-file-store-roundtrip@1"
    plan = served.call("deployment_plan", name="page", source=source, values={"path": "files"})
    served.call("deployment_apply", plan_id=plan["plan_id"])
    served.call("workflow_save_draft", document=(EXAMPLES / "greetings.yaml").read_text(encoding="utf-8"))
    served.call("workflow_publish", slug="greetings")
    served.call("workflow_clone", slug="greetings")
    served.call("context_set", values={"REGION": "eu"})
    served.call("kv_set", namespace="shop", key="cart", value={"items": [1, 2]})
    served.call("job_put", document=(EXAMPLES / "smoke_trigger_handler.yaml").read_text(encoding="utf-8"))
    served.call("job_deploy", name="smoke_trigger_handler")
    trigger = orjson.loads((EXAMPLES / "smoke_trigger.json").read_bytes())
    served.call("trigger_publish", **{**trigger, "tenant_id": served.tenant})
    run = served.call("trigger_invoke", slug="smoke_trigger", params={"env": "page"})
    change = {"path": "files", "guid_prefix": "other"}
    second = served.call("deployment_plan", name="page", source=source, values=change)
    return {"PLAN": second["plan_id"], "RUN": run["invocation_id"]}


def test_no_page_has_a_fault_of_access_or_sticks_out(visitor: Visitor, served: Served) -> None:
    found: list[str] = []
    ids = furnished(served)
    page = visitor.page
    visitor.go("")
    visitor.sees(PAGES[""], within="main")
    looks = list(LOOKS)
    for path, text in PAGES.items():
        for name, id in ids.items():
            path = path.replace(name, id)
        page.evaluate(GO, [served.console, path])
        for scheme in looks:
            width = LOOKS[scheme]
            page.set_viewport_size({"width": width, "height": 800})
            page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
            page.wait_for_function(SCHEME, arg=scheme)
            visitor.sees(text, within="main")
            found += [f"{path}, {scheme}, {width} px: {fault}" for fault in axe.faults(page)]
        looks.reverse()  # the next page begins as this one looks now
    assert not found, "\n".join(found)


def test_the_files_are_as_small_as_they_have_to_be() -> None:
    static = console.STATIC
    entry = (static / "index.html").read_text(encoding="utf-8")
    sizes = {file.name: len(gzip.compress(file.read_bytes(), 9)) / KIB for file in (static / "assets").iterdir()}
    viewer = (static / "api.html").read_text(encoding="utf-8")
    of_viewer = {name for name in sizes if name in viewer and name not in entry}  # /api/docs, which is opened by itself
    first = {name: size for name, size in sizes.items() if name in entry}
    assert sum(size for name, size in first.items() if name.endswith(".js")) < ENTRY_KIB, first
    assert sum(size for name, size in first.items() if name.endswith(".css")) < CSS_KIB, first
    assert max(size for name, size in sizes.items() if name not in of_viewer | first.keys()) < PART_KIB, sizes
    editor = [size for name, size in sizes.items() if name.startswith(("Edit-", "look-"))]
    assert len(editor) == 2, sizes
    assert sum(editor) < EDITOR_KIB, sizes
    assert sum(sizes[name] for name in of_viewer) < VIEWER_KIB, of_viewer
    files = [file.read_bytes() for file in static.rglob("*") if file.is_file()]
    assert sum(len(gzip.compress(one, 9)) for one in files) / KIB < WHEEL_KIB  # what they add to a wheel
    licenses = (static / "third-party.md").read_text(encoding="utf-8")
    assert "## react-dom - " in licenses and "## Within swagger-ui-dist" in licenses
